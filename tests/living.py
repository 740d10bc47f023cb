"""What runs on this host, by what it is about; and waiting for what has to come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def naming(text: object) -> dict[int, list[str]]:
    """Return the processes with `text` in one of their words, by number, with their words; not those of the tests."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if int(process.name) not in (os.getpid(), os.getppid()) and any(str(text) in word for word in words):
            found[int(process.name)] = words
    return found


def programs_naming(text: object) -> list[str]:
    """Return the names of these processes' programs, sorted."""
    return sorted(Path(words[0]).name for words in naming(text).values())


def until(what: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that has to come, for a while that is long on a busy machine too."""
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.02)
