"""One image from one store to another: a hard link, else a clone of its blocks, else a copy."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import EnvironmentDirectoryError
from tykky.progress import Reporter
from tykky.store.images import Manifest, load_manifest

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Source:
    """An open regular file and what is known of it. The path is for messages: the file may have lost that name."""

    path: Path
    descriptor: int
    status: os.stat_result

    def manifest(self) -> Manifest:
        """Return the manifest that this file is; raise `EnvironmentDirectoryError`."""
        opened = f"/proc/self/fd/{self.descriptor}"
        try:
            return load_manifest(Path(opened))
        except EnvironmentDirectoryError as error:
            raise EnvironmentDirectoryError(error.reason.replace(opened, str(self.path)), hint=error.hint) from None


def place(image: Source, target: Path, reporter: Reporter, *, link: bool) -> None:
    """Give an image the new name `target`, in the cheapest way the file systems have; `link` allows a hard link.

    Raises `OSError`. A clone or a copy is a file of our own with mode 0600.
    """
    if link and _linked(image, target):
        return
    made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not _cloned(image.descriptor, made):
            _copy(image, made, reporter)
    finally:
        os.close(made)


def _linked(image: Source, target: Path) -> bool:
    """Link and say whether that is the file that was opened. Another device, or a site's policy, is no error."""
    try:
        os.link(image.path, target, follow_symlinks=False)
    except OSError:
        return False
    if os.path.samestat(image.status, os.lstat(target)):
        return True
    target.unlink()
    return False


def _cloned(source: int, target: int) -> bool:
    """Let two files share their blocks (ioctl_ficlone(2)): on btrfs, XFS and others, within one of them."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False


def _copy(image: Source, target: int, reporter: Reporter) -> None:
    """Copy what the file has, but not more than it had when it was opened."""
    offset, size = 0, image.status.st_size
    with reporter.phase("copy an image from a store", total=size, unit="bytes") as phase:
        while offset < size:
            done = os.sendfile(target, image.descriptor, offset, min(_CHUNK, size - offset))
            if done == 0:  # it has become shorter; who asked looks at the size
                return
            offset += done
            phase.advance(done)
