"""What there is to know about an environment directory, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tykky.environment.directory import EnvironmentDirectory, GenerationRecord
from tykky.errors import EnvironmentDirectoryError
from tykky.layers.merged import merge
from tykky.store.images import PackagePaths


@dataclass(frozen=True, slots=True)
class Description:
    """One environment directory: its record, its packages, and what it costs in bytes and inodes.

    `packages` is None where they cannot be told, because another environment no longer lends what it did.
    """

    path: Path
    record: GenerationRecord
    packages: tuple[PackagePaths, ...] | None
    inodes: int
    bytes_on_disk: int


def describe(directory: EnvironmentDirectory) -> Description:
    """Return the description of an environment directory; raise `EnvironmentDirectoryError` if it is none."""
    record = directory.record()
    packages = None
    try:
        merged = merge(directory.manifests(record))
        packages = tuple(sorted(merged.packages.values(), key=lambda p: (p.name, p.kind)))
    except EnvironmentDirectoryError:
        if not record.parent:
            raise
    inodes, size = _usage(directory.path)
    return Description(directory.path, record, packages, inodes, size)


def _usage(root: Path) -> tuple[int, int]:
    """Return the inodes and bytes below `root`; a hard link counts once."""
    seen: set[int] = set()
    size = 0
    stack = [root]
    while stack:
        current = stack.pop()
        info = current.lstat()
        if info.st_ino not in seen:
            seen.add(info.st_ino)
            size += info.st_blocks * 512
        if current.is_dir() and not current.is_symlink():
            stack.extend(current.iterdir())
    return len(seen), size
