"""Which packages two stacks have and do not have in common. Pure, over manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tykky.layers.merged import PackageName
from tykky.store.images import Manifest, PackagePaths


@dataclass(frozen=True, slots=True)
class PackageChange:
    """One package that differs. `before` and `after` are versions, None where it is not there."""

    kind: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class PackageChanges:
    """What leads from one stack to another, each sorted by name.

    `changed` are packages of the same name and kind that are not the same: another version, another build of a version,
    or built from another source. One that moves from conda to PyPI is removed and added.
    """

    added: tuple[PackageChange, ...]
    removed: tuple[PackageChange, ...]
    changed: tuple[PackageChange, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def installed(manifests: Iterable[Manifest]) -> dict[PackageName, PackagePaths]:
    """Return the packages of a stack, bottom first: as `merge` does, without a look at files."""
    packages: dict[PackageName, PackagePaths] = {}
    for manifest in manifests:
        for name in manifest.removed:
            packages.pop(name, None)
        for package in manifest.packages:
            packages[package.kind, package.name] = package
    return packages


def compare_packages(
    old: Mapping[PackageName, PackagePaths], new: Mapping[PackageName, PackagePaths]
) -> PackageChanges:
    """Return what leads from `old` to `new`."""
    names = sorted(old.keys() | new.keys(), key=lambda name: (name[1], name[0]))
    both = [name for name in names if name in old and name in new]
    return PackageChanges(
        added=tuple(_change(name, None, new[name]) for name in names if name not in old),
        removed=tuple(_change(name, old[name], None) for name in names if name not in new),
        changed=tuple(_change(name, old[name], new[name]) for name in both if not _same(old[name], new[name])),
    )


def _same(old: PackagePaths, new: PackagePaths) -> bool:
    return old.version == new.version and old.identity == new.identity


def _change(name: PackageName, old: PackagePaths | None, new: PackagePaths | None) -> PackageChange:
    before = None if old is None else old.version
    after = None if new is None else new.version
    return PackageChange(name[0], name[1], before, after)
