"""What a launch may leave behind: processes, and through them mounts."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tests.living import until

__all__ = ["left", "until"]


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
