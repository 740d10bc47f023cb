"""Which files were read whole already, and had the sha256 that was expected: big images are read once, not per build.

A file of the same device, inode, size and times is the same file (its ctime cannot be set back). That is remembered by
an empty file per image in a private directory of ours; what others may have written there is not believed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tykky.digests import file_sha256
from tykky.site.cache import is_private


def was_checked(image: Path, digest: str, checked: Path) -> bool:
    """Return whether `image` is as it was when it was read and had this sha256."""
    return is_private(checked) and (checked / _identity(image, digest)).exists()


def check_sha256(image: Path, digest: str, checked: Path, on_bytes: Callable[[int], None]) -> str:
    """Return the sha256 of a file, and remember it in `checked` if it is `digest`."""
    before = _identity(image, digest)
    found = file_sha256(image, on_bytes)
    if found == digest and is_private(checked):
        (checked / before).touch(mode=0o600)
    return found


def _identity(image: Path, digest: str) -> str:
    status = image.stat()
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return "-".join((*(f"{number:x}" for number in numbers), digest[:32]))
