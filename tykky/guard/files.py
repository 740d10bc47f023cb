"""The files of a guard: published by a hard link, watched, and removed by exactly one of many who want to.

    guard                         the guard; its presence is the guard
    .guard.PLACE-PID-START-XXXX   a private name, there for a moment while one is being published
    .guard.DIGEST.claim           the right to remove the one guard with this content, there for a moment

link(2) makes a name with its content in one step and fails where the name is taken, also over NFS. Removing is the
harder half: whoever finds a guard left behind may be slower than another one who has found the same, and would then
remove the guard that a third one has just taken. Moving it aside, looking, and putting it back does not help: the
name is free meanwhile. So a guard is removed only by who holds the *claim* on its content, which is unique; under the
claim the content is looked at once more. A claim is published in the same way, and one left behind is removed in the
same way.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

from tykky.guard.holder import Holder, Process, Verdict, dump, holding, judge, parse, start_of

_MOST = 1 << 16  # bytes of a guard that are looked at
_FOLLOW_NOTHING = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Pace(Struct, frozen=True):
    """How often things are done, in seconds: a holder's sign of life, a waiter's look (at most), and after how
    much silence a holder that cannot be looked at is taken as dead."""

    beat: float = 5.0
    look: float = 1.0
    silence: float = 60.0


class Seen(Struct, frozen=True):
    """A guard file at one moment. `touched` is its time of change in nanoseconds, by whatever clock."""

    raw: bytes
    touched: int
    holder: Holder | None


def look(path: Path) -> Seen | None:
    """Return what a guard file holds, or None if there is none. Raises `OSError` if the name is something else.

    The file is opened, not only looked at by name, because opening is what makes NFS ask the server (nfs(5),
    "close-to-open cache consistency").
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _FOLLOW_NOTHING)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EEXIST, "is in the way of a guard", str(path))
        raw = os.read(descriptor, _MOST)
    except OSError as error:
        if error.errno == errno.ESTALE:  # removed by another NFS client since it was opened
            return None
        raise
    finally:
        os.close(descriptor)
    return Seen(raw, status.st_mtime_ns, parse(raw))


class _Quiet(Struct):
    seen: Seen
    last: float
    seconds: float = 0.0


class Watch(Struct):
    """What one waiter has seen so far. Only its own clock counts, and only time in which it could look:
    when a file server stands still, holders and waiters stand still together."""

    here: Process
    pace: Pace
    _quiet: dict[Path, _Quiet] = field(default_factory=dict)

    def is_dead(self, path: Path, seen: Seen) -> bool:
        """Say whether who published `path` is gone: provably, or after a long silence."""
        verdict = self._verdict(seen)
        return verdict == "dead" or (verdict == "unknown" and self._silent_for(path, seen) >= self.pace.silence)

    def is_provably_dead(self, seen: Seen) -> bool:
        """Say whether the process can be looked at from here, and is gone."""
        return self._verdict(seen) == "dead"

    def _verdict(self, seen: Seen) -> Verdict:
        return "unknown" if seen.holder is None else judge(seen.holder, self.here)

    def _silent_for(self, path: Path, seen: Seen) -> float:
        now = time.monotonic()
        quiet = self._quiet.get(path)
        if quiet is None or (quiet.seen.raw, quiet.seen.touched) != (seen.raw, seen.touched):
            self._quiet[path] = _Quiet(seen, now)
            return 0.0
        quiet.seconds += min(now - quiet.last, 2 * self.pace.look)
        quiet.last = now
        return quiet.seconds


class Files(Struct, frozen=True):
    """The files of the guard `path`, in the hands of one process."""

    path: Path
    watch: Watch

    def publish(self, name: Path, raw: bytes) -> bool:
        """Give `raw` the name; return whether that worked, False if the name is taken."""
        here = self.watch.here
        private = f".{self.path.name}.{here.place}-{here.pid}-{here.start}-{os.urandom(4).hex()}"
        private_path = self.path.with_name(private)
        try:
            descriptor = os.open(private_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FOLLOW_NOTHING, 0o644)
            try:
                os.fchmod(descriptor, 0o644)  # whatever the umask: who else waits must see for whom
                if os.write(descriptor, raw) != len(raw):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(private_path))
            finally:
                os.close(descriptor)  # before it gets its name: an NFS client writes when it closes
            try:
                name.hardlink_to(private_path)
            except FileExistsError:
                # Over NFS the answer to a link that worked can be lost, and the question is asked again.
                return _holds(name, raw)
            return True
        finally:
            private_path.unlink(missing_ok=True)

    def remove(self, name: Path, seen: Seen) -> bool:
        """Remove `name` if it still is what was seen. Return False while somebody else may be removing it."""
        claim = self._claim_on(seen.raw)
        mine = dump(holding(self.watch.here, "removal of a guard"))
        try:
            if self.publish(claim, mine):
                if _holds(name, seen.raw):
                    name.unlink(missing_ok=True)
                return True
        finally:
            if _holds(claim, mine):
                claim.unlink(missing_ok=True)
        other = look(claim)
        if other is not None and self.watch.is_dead(claim, other):
            self.remove(claim, other)
        return False

    def sweep(self) -> None:
        """Remove what processes that are provably dead have left beside the guard."""
        for path, seen in self.left_beside():
            if seen is None:
                path.unlink(missing_ok=True)
            else:
                self.remove(path, seen)

    def left_beside(self) -> Iterator[tuple[Path, Seen | None]]:
        """Give the private names and claims of processes that are provably dead; of a claim, what it holds too."""
        private = re.compile(rf"\.{re.escape(self.path.name)}\.([0-9a-f]{{12}})-(\d+)-(\d+)-[0-9a-f]{{8}}")
        claim = re.compile(rf"\.{re.escape(self.path.name)}\.[0-9a-f]{{32}}\.claim")
        for name in os.listdir(self.path.parent):  # noqa: PTH208 - names are all that is needed
            beside = self.path.with_name(name)
            if match := private.fullmatch(name):
                place, pid, start = match.groups()
                if place == self.watch.here.place and self.watch.here.space and _is_gone(int(pid), int(start)):
                    yield beside, None
            elif claim.fullmatch(name) and (seen := look(beside)) and self.watch.is_provably_dead(seen):
                yield beside, seen

    def _claim_on(self, raw: bytes) -> Path:
        return self.path.with_name(f".{self.path.name}.{hashlib.sha256(raw).hexdigest()[:32]}.claim")


def _holds(name: Path, raw: bytes) -> bool:
    seen = look(name)
    return seen is not None and seen.raw == raw


def _is_gone(pid: int, start: int) -> bool:
    with contextlib.suppress(ProcessLookupError, OverflowError):
        return start_of(pid) not in (None, start)
    return True
