"""What `tykky lock` says: the changes, and whether the extended environment moved on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from tykky.cli.ports import open_relatives
from tykky.cli.reporters import JsonReporter
from tykky.environment.parent import Relatives, moved_on
from tykky.lock.changes import changes, image_changes
from tykky.lock.model import Lock
from tykky.site.offer import Site

_REBASE = "'tykky lock --rebase' takes what is there now"


class LockReport(Struct, frozen=True):
    """How to say what was done."""

    lock_path: Path
    as_json: bool
    quiet: bool

    def show(self, lock: Lock, previous: Lock | None, site: Site, *, written: bool) -> None:
        """Say what has changed against the previous lock, and if the extended environment is not what is locked."""
        self._changes(lock, previous, written=written)
        if not (self.as_json or self.quiet):
            self._moved_on(lock, open_relatives(site, self.lock_path.absolute().parent))

    def fresh(self, lock: Lock, relatives: Relatives) -> None:
        """Say that the lock answers the spec."""
        if self.as_json:
            moved = moved_on(lock, relatives, at_home=True)
            print(json.dumps({"fresh": True} | ({"parent": moved.said} if moved else {}), ensure_ascii=False))
        elif not self.quiet:
            print(f"{self.lock_path} answers the spec")
            self._moved_on(lock, relatives)

    def _changes(self, lock: Lock, previous: Lock | None, *, written: bool) -> None:
        changed = changes(previous, lock) if written else ()
        if self.as_json:
            JsonReporter(sys.stdout).emit(
                "result", lock=str(self.lock_path), written=written, changes=[change.as_json() for change in changed]
            )
            return
        if self.quiet:
            return
        if not written:
            print(f"{self.lock_path} is up to date")
            return
        before = None if previous is None else previous.parent
        if lock.parent is not None and lock.parent != before:
            was = "" if before is None or before.path != lock.parent.path else f"{before.generation} -> "
            print(f"  on {lock.parent.name} ({lock.parent.path}), generation {was}{lock.parent.generation}")
        for platform, text in image_changes(previous, lock):
            print(f"  {text}  ({platform})")
        if previous is None and lock.parent is not None:
            # What the extended environment brings is nothing new.
            changed = changes(replace(lock, package=()), lock)
        for change in changed:
            print(change.render())
        print(f"wrote {self.lock_path}")

    def _moved_on(self, lock: Lock, relatives: Relatives) -> None:
        moved = moved_on(lock, relatives, at_home=True)
        if moved is not None:
            print(f"{moved.said}; {moved.hint or _REBASE}")
