"""Files of others, with names like those of a killed process: nobody may remove them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tykky.guard.ownership import make_private

_NOBODY = 65534


@cache
def _dead_note() -> str:
    """Return what a process of this host that is gone has in its private names, after their start."""
    code = "import sys; from pathlib import Path; from tykky.guard.ownership import make_private as make\n"
    code += "made = make(Path(sys.argv[1]), ''); made.rmdir(); print(made.name)"
    argv = [sys.executable, "-c", code, os.environ.get("TMPDIR", "/tmp")]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def _of_another_host() -> str:
    return f"0badcafe{_dead_note()[8:]}"


@dataclass(frozen=True)
class Foreign:
    """What others have around the environment directory `env` and in `temporary`."""

    env: Path
    temporary: Path

    def put(self) -> frozenset[Path]:
        """Put it all there and return its paths; what is in P only where there is a P."""
        made = [self._directory(path, "theirs") for path in self._paths()]
        made += [self._fill(make_private(place, start), "theirs") for place, start in self._places()]  # ours: we live
        made.append(self._directory(self.temporary / f"tykky-{_dead_note()}", ".kept"))
        if os.geteuid() == 0:
            another = self.temporary / f"tykky-{_dead_note()[:-8]}01234567"
            made.append(self._directory(another, "theirs"))
            os.chown(another, _NOBODY, _NOBODY)
        files = [self.env.parent / ".tykky.lock.bak", self.temporary / "tykky-notes.txt"]
        if self.env.exists():
            files += [self.env / "bin" / "mine", self.env / ".tykky" / "layers" / f"{'0' * 64}.sqfs.part"]
        for path in files:
            path.write_text(path.name)
        return frozenset({*files, *(path for folder in made for path in (folder, *folder.iterdir()))})

    def _directory(self, path: Path, name: str) -> Path:
        path.mkdir()
        return self._fill(path, name)

    def _fill(self, path: Path, name: str) -> Path:
        (path / name).write_text(path.name)
        return path

    def _paths(self) -> Iterator[Path]:
        for place, start in self._places():
            yield place / f"{start}mine"
            yield place / f"{start}{_of_another_host()}"
        yield self.env.parent / f".env2.tykky-{_dead_note()}"
        yield self.env.parent / ".env.tykky-guard.bak"
        yield self.env.parent / f".tykky.lock.{_of_another_host()}"

    def _places(self) -> Iterator[tuple[Path, str]]:
        yield self.env.parent, ".env.tykky-"
        yield self.temporary, "tykky-"
        if self.env.exists():
            yield self.env / ".tykky" / "layers", ".stage-"
            yield self.env / ".tykky" / "generations", ".stage-"
            yield self.env / ".tykky", ".host-"
