"""Read a file that others may have put there: a regular one, of no absurd size, and nothing that makes us wait."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LARGEST = 1 << 26  # bytes; a packed manifest of half a million files has a 60th of that


def read_regular(path: Path, largest: int = LARGEST, *, follow: bool = True) -> bytes:
    """Return a file's content. Unless `follow`, the path may not be a symlink (ELOOP).

    Raises `OSError`, also for what is no regular file (EINVAL; a FIFO or a device is not waited for) or has more than
    `largest` bytes (EFBIG).
    """
    links = 0 if follow else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | links)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest} bytes", os.fspath(path))
    return content
