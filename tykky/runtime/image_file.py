"""Look into a file that shall be the root of programs: is it one, where in it is the squashfs, is it for this machine?

A squashfs begins with the superblock of Linux's `fs/squashfs/squashfs_fs.h`. A SIF, Apptainer's format, begins with a
header and a table of what is in it (`pkg/sif` of github.com/apptainer/sif), among that one root file system.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tykky.process import Commands

_SQUASHFS = b"hsqs"
_USED = 40  # where the superblock says how many bytes there are
_SIF = (32, b"SIF_MAGIC\0")
_ARCHITECTURES = {b"02": "x86_64", b"04": "aarch64", b"06": "ppc64le"}
_HEADER, _ENTRY = 128, 585  # bytes
_PARTITION, _ROOT, _SQUASHFS_TYPE, _ENCRYPTED = 0x4004, 2, 1, 5
_MOST_ENTRIES = 4096
# The C library's loader tells for which machine the programs are.
_LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
_SHELL = "bin/sh"


class UnfitImage(Exception):
    """A file that cannot be the root of programs: why, and what to do."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with a root in it: its bytes, and those before the squashfs."""

    size: int
    offset: int


def look_into(path: Path, commands: Commands) -> ImageFile:
    """Return where the root is in a SIF or squashfs for this machine. Raises `UnfitImage` for anything else."""
    try:
        with os.fdopen(_open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            offset = _partition(path, file, size)
            _check_squashfs(path, file, offset, size)
    except FileNotFoundError:
        raise UnfitImage(f"{path} does not exist") from None
    except OSError as error:
        raise UnfitImage(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    _check_content(path, offset, commands)
    return ImageFile(size, offset)


def _open_regular(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnfitImage(f"{path} is no regular file", "an unpacked root can be packed: mksquashfs DIRECTORY root.sqfs")
    return descriptor


def _partition(path: Path, file: BinaryIO, size: int) -> int:
    """Return where in the file its squashfs should begin."""
    start = file.read(_HEADER)
    if start.startswith(_SQUASHFS):
        return 0
    place, magic = _SIF
    if start[place : place + len(magic)] != magic:
        raise UnfitImage(
            f"{path} is neither a SIF nor a squashfs", "make one with 'apptainer build', or with mksquashfs"
        )
    if len(start) < _HEADER:
        raise UnfitImage(f"{path} is cut short: it has {size} bytes", _FETCH)
    (entries, table) = struct.unpack("<2q", start[88:104])
    file.seek(table if 0 <= table <= size else size)
    for _ in range(min(max(entries, 0), _MOST_ENTRIES)):
        entry = file.read(_ENTRY)
        if len(entry) < _ENTRY:
            raise UnfitImage(f"{path} is cut short: it has {size} bytes", _FETCH)
        kind, used, offset = struct.unpack("<i?12xq", entry[:25])
        system, purpose, architecture = struct.unpack("<ii2s", entry[201:211])
        if used and kind == _PARTITION and purpose == _ROOT:
            _check_partition(path, system, architecture)
            return int(offset)
    raise UnfitImage(f"{path} is a SIF without a root file system")


def _check_partition(path: Path, system: int, architecture: bytes) -> None:
    machine = os.uname().machine
    found = _ARCHITECTURES.get(architecture, "another machine")
    if found != machine:
        raise UnfitImage(f"{path} is for {found}, this host is {machine}")
    if system == _ENCRYPTED:
        raise UnfitImage(f"{path} is encrypted", "only Apptainer with its key could mount it; build one that is not")
    if system != _SQUASHFS_TYPE:
        raise UnfitImage(f"{path} is a SIF whose root is no squashfs", "build it again with a recent Apptainer")


def _check_squashfs(path: Path, file: BinaryIO, offset: int, size: int) -> None:
    file.seek(offset)
    start = file.read(_USED + 8)
    if len(start) == _USED + 8 and not start.startswith(_SQUASHFS):
        raise UnfitImage(f"{path} is a SIF whose root is no squashfs", "build it again with a recent Apptainer")
    used = struct.unpack("<Q", start[_USED:])[0] if len(start) == _USED + 8 else 0
    if len(start) < _USED + 8 or offset + used > size:
        raise UnfitImage(f"{path} is cut short: it has {size} bytes of {offset + used or 'more'}", _FETCH)


def _check_content(path: Path, offset: int, commands: Commands) -> None:
    """Raise `UnfitImage` for a root that lacks a shell or the C library. Without an unsquashfs nobody looks."""
    unsquashfs = shutil.which("unsquashfs")
    if unsquashfs is None:
        return
    names = [name for base in (_SHELL, *_LOADERS.values()) for name in (base, f"usr/{base}")]
    listed = commands.run([unsquashfs, "-no-progress", "-o", str(offset), "-ll", path, *names], check=False)
    if listed.status != 0 and "squashfs-root" not in listed.stdout:
        said = (listed.stderr.strip() or listed.stdout.strip()).splitlines()
        raise UnfitImage(f"{path} cannot be listed: {said[0] if said else 'unsquashfs says nothing'}", _FETCH)
    check_names(os.fspath(path), {word.removeprefix("squashfs-root/") for word in listed.stdout.split()})


def check_names(image: str, paths: Set[str]) -> None:
    """Raise `UnfitImage` for a root with such paths (relative to it) if it lacks a shell or the C library."""
    found = {name for name in (_SHELL, *_LOADERS.values()) if name in paths or f"usr/{name}" in paths}
    machine = os.uname().machine
    others = [name for name, loader in _LOADERS.items() if name != machine and loader in found]
    loader = _LOADERS.get(machine)
    if loader is not None and loader not in found:
        if others:
            raise UnfitImage(f"{image} is for {others[0]}, this host is {machine}")
        raise UnfitImage(
            f"{image} has no /{loader}", "packages need the GNU C library: take an image of Debian, EL or SUSE"
        )
    if _SHELL not in found:
        raise UnfitImage(f"{image} has no /{_SHELL}", "launchers and scripts need a shell: take an image that has one")


_FETCH = "fetch or build it again"
