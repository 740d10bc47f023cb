"""What is on disk and what runs: compared before and after something that must leave no trace."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from tests.living import naming

_PATIENCE = 20.0  # seconds until processes that were told to end must be gone


def state(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return every path below `root`, and `root`, with its mode, its time of change and its content.

    But not the times of `root` and of P's private directory: names came and went there (the guard's).
    """
    found = {}
    for path in (root, *sorted(root.rglob("*"))):
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            content = os.fsencode(path.readlink())
        else:
            content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        moment = 0 if path == root or path.name == ".tykky" else info.st_mtime_ns
        found[str(path.relative_to(root))] = (info.st_mode, moment, content)
    return found


def names(root: Path) -> list[str]:
    """Return the names in a directory, sorted; nothing for one that is not there."""
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def wait_until_nothing_names(place: Path) -> None:
    """Wait until no process and no mount of this host has a path below `place` in its words."""
    until = time.monotonic() + _PATIENCE
    while (left := [*_processes(place), *_mounts(place)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left, "\n".join(left)


def _mounts(place: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {place}/" in line]


def _processes(place: Path) -> list[str]:
    return [f"{process}: {' '.join(words)}" for process, words in naming(f"{place}/").items()]
