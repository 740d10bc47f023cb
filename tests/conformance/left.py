"""What a launch may leave behind: processes, and through them mounts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def left(place: Path) -> dict[int, str]:
    """Return the processes that name `place` in their words or variables, or hold a file below it, with their words."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes()
            files = [os.readlink(link) for link in (process / "fd").iterdir()]
            text = words + (process / "environ").read_bytes() + os.fsencode("\n".join(files))
            if os.fsencode(place) in text:
                found[int(process.name)] = words.replace(b"\0", b" ").decode(errors="replace")
    return found


def until(what: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that has to come, for a while that is long on a busy machine too."""
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.02)
