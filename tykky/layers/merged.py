"""What a stack of layers shows when it is mounted, from the layers' manifests alone. Pure.

The rules are overlayfs's: of every path the topmost layer's is seen; a whiteout, or something that is no directory,
hides what lower layers have at that path and below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from tykky.store.images import Manifest, PackagePaths

PackageName: TypeAlias = tuple[str, str]  # kind, name


class Merged(Struct, frozen=True):
    """A mounted stack.

    `packages` are the installed ones with what they claim; `origin` says from which layer (0 is the bottom) each of
    them came last. `files` maps every path that is seen (files, symlinks, empty directories) to its layer.
    """

    packages: Mapping[PackageName, PackagePaths]
    origin: Mapping[PackageName, int]
    files: Mapping[str, int]

    def claims(self) -> dict[str, list[PackageName]]:
        """Return who claims each path, in the order of the packages."""
        found: dict[str, list[PackageName]] = defaultdict(list)
        for name, package in self.packages.items():
            for path in package.paths:
                found[path].append(name)
        return found

    def shared(self) -> set[str]:
        """Return the paths that are seen and belong to no package: the venv's own files."""
        claimed = {path for package in self.packages.values() for path in package.paths}
        return set(self.files) - claimed


def merge(manifests: Sequence[Manifest]) -> Merged:
    """Return what the layers show together, bottom first."""
    packages: dict[PackageName, PackagePaths] = {}
    origin: dict[PackageName, int] = {}
    for number, manifest in enumerate(manifests):
        for name in manifest.removed:
            packages.pop(name, None)
            origin.pop(name, None)
        for package in manifest.packages:
            packages[package.kind, package.name] = package
            origin[package.kind, package.name] = number
    return Merged(packages, origin, _visible(manifests))


def _visible(manifests: Sequence[Manifest]) -> dict[str, int]:
    seen: dict[str, int] = {}
    hiding: set[str] = set()  # paths that hide everything at and below them in lower layers
    covering: set[str] = set()  # directories: they hide a file or link of lower layers at their own path
    for number in range(len(manifests) - 1, -1, -1):
        manifest = manifests[number]
        if not hiding:
            seen.update(dict.fromkeys(manifest.files, number))
        else:
            hidden = _Hidden(hiding)
            for path in manifest.files:
                if path not in hiding and path not in covering and not hidden.directory(path.rpartition("/")[0]):
                    seen[path] = number
        if number:
            # A path that an upper layer has as an empty directory does not hide what is below it; such a layer lists
            # it only if it is empty in the merged tree too, so there is nothing below it to be seen.
            hiding.update(manifest.files)
            hiding.update(manifest.whiteouts)
            covering.update(directories(manifest.files))
    return seen


class _Hidden:
    """Answers whether a directory is hidden by one of `paths`, asking about each directory once."""

    def __init__(self, paths: set[str]) -> None:
        self._paths = paths
        self._known: dict[str, bool] = {"": False}

    def directory(self, path: str) -> bool:
        known = self._known.get(path)
        if known is None:
            known = path in self._paths or self.directory(path.rpartition("/")[0])
            self._known[path] = known
        return known


def directories(paths: Iterable[str]) -> set[str]:
    """Return all directories above the paths."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def merged_programs(manifests: Sequence[Manifest], files: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names in the merged tree's `bin` that can be started, sorted. `files` are `merge(…).files`."""
    return tuple(
        sorted(
            name
            for number, manifest in enumerate(manifests)
            for name in manifest.programs
            if files.get(f"bin/{name}") == number
        )
    )


def top_names(files: Iterable[str]) -> tuple[str, ...]:
    """Return the names at the top of the merged tree, sorted: `bin`, `lib`, `pyvenv.cfg`, …"""
    return tuple(sorted({path.partition("/")[0] for path in files}))
