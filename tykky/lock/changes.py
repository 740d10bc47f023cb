"""What a new lock changes, package by package. Pure."""

from __future__ import annotations

from msgspec import Struct

from tykky.lock.model import Lock, Package


class Change(Struct, frozen=True):
    """One package of one platform that came, went or moved. `before` and `after` are versions."""

    name: str
    kind: str
    platform: str
    before: str | None
    after: str | None

    def render(self) -> str:
        """Return one line: `+ numpy 2.4.1`, `- cowsay 6.1`, `~ scipy 1.15 -> 1.16`."""
        where = f"({self.kind}, {self.platform})"
        if self.before is None:
            return f"  + {self.name} {self.after}  {where}"
        if self.after is None:
            return f"  - {self.name} {self.before}  {where}"
        return f"  ~ {self.name} {self.before} -> {self.after}  {where}"

    def as_json(self) -> dict[str, str | None]:
        """Return the change as a JSON object."""
        return {
            "name": self.name,
            "kind": self.kind,
            "platform": self.platform,
            "before": self.before,
            "after": self.after,
        }


def changes(before: Lock | None, after: Lock) -> tuple[Change, ...]:
    """Return what differs, sorted by platform and name. A change of build or file alone shows as `2.1 (build)`.

    What a parent has counts as locked, so that another generation of it shows package by package.
    """
    old = {_place(p): p for p in _everything(before)} if before is not None else {}
    new = {_place(p): p for p in _everything(after)}
    found = []
    for place in sorted(set(old) | set(new)):
        was, now = old.get(place), new.get(place)
        if was == now or (was is not None and now is not None and _identity(was) == _identity(now)):
            continue
        platform, name, kind = place
        found.append(Change(name, kind, platform, _shown(was, now), _shown(now, was)))
    return tuple(found)


def image_changes(before: Lock | None, after: Lock) -> tuple[tuple[str, str], ...]:
    """Return (platform, what it is now) for every image of a registry that is another one, for a line of a report."""
    found = []
    for manifest in after.image_manifest:
        was = None if before is None else before.manifest(manifest.platform)
        if was is None or was.digest != manifest.digest:
            old = "" if was is None else f"sha256:{was.digest[:12]} -> "
            found.append((manifest.platform, f"image {after.requirements.image} {old}sha256:{manifest.digest[:12]}"))
    return tuple(found)


def _everything(lock: Lock) -> tuple[Package, ...]:
    return tuple(package for platform in lock.platform for package in lock.held(platform.name))


def _place(package: Package) -> tuple[str, str, str]:
    return (package.platform, package.name, package.kind)


def _identity(package: Package) -> tuple[str | None, ...]:
    return (package.version, package.build, package.sha256, package.commit, package.tree)


def _shown(package: Package | None, other: Package | None) -> str | None:
    """Return the version, with what tells it from the other one where the versions are the same."""
    if package is None:
        return None
    if other is None or package.version != other.version:
        return package.version
    detail = package.build or package.commit or package.tree or package.sha256 or ""
    return f"{package.version} ({detail[:12]})"
