"""Do the locked PyPI packages of one platform satisfy what is asked for?"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from packaging.version import InvalidVersion

from tykky.lock.model import Lock, LockedPlatform, Package, Requirements
from tykky.spec.names import canonical_name
from tykky.spec.requirements import (
    BadRequirement,
    LocalRequirement,
    NamedRequirement,
    PypiRequirement,
    canonical_pypi,
    parse_pypi,
)

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.specifiers import SpecifierSet

_MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64", "linux-ppc64le": "ppc64le"}
_INTERPRETERS = (("conda", "python"), ("python", "cpython"))
_LEADING_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def stale_pypi(asked: Requirements, lock: Lock, platform: LockedPlatform) -> tuple[LockedPlatform, list[str]]:
    """Return the platform and why its PyPI packages are no answer any more."""
    check = _Check(_Locked.of(lock, platform), marker_environment(platform.name, _python(lock, platform)))
    return platform, list(check.reasons(asked, lock.requirements))


def marker_environment(platform: str, python: str) -> dict[str, str]:
    """Return the values of PEP 508 markers on a platform with this Python (`3.12` or `3.12.7`).

    Kernel release and version differ from node to node, so they are empty.
    """
    release = python.split(".")
    full = python if len(release) > 2 else f"{python}.0"
    return {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": _MACHINES.get(platform, ""),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full,
        "python_version": ".".join(release[:2]),
        "sys_platform": "linux",
    }


def _python(lock: Lock, platform: LockedPlatform) -> str:
    """Return the exact version where the lock has the interpreter, else the minor one."""
    brought = (p.version for p in lock.held(platform.name) if (p.kind, p.name) in _INTERPRETERS)
    return next(brought, platform.python or "3.0")


class _Locked(Struct, frozen=True):
    """What one platform has: packages by PEP 503 name, by path, and what conda packages bring."""

    by_name: Mapping[str, Package]
    by_path: Mapping[str, Package]
    provided: Mapping[str, tuple[str, Package]]

    @classmethod
    def of(cls, lock: Lock, platform: LockedPlatform) -> _Locked:
        pypi = lock.held(platform.name, "pypi")
        provided: dict[str, tuple[str, Package]] = {}
        for package in lock.held(platform.name, "conda"):
            for entry in package.provides:
                name, _, version = entry.partition("==")
                provided[canonical_name(name)] = (version, package)
        return cls(
            by_name={str(canonical_name(p.name)): p for p in pypi},
            by_path={_path_of(p): p for p in pypi if p.path or (p.url or "").startswith("file:")},
            provided=provided,
        )

    def answer(self, requirement: PypiRequirement) -> Package | None:
        """Return the PyPI package that a requirement led to."""
        if isinstance(requirement, LocalRequirement):
            return self.by_path.get(posixpath.normpath(requirement.path))
        return self.by_name.get(canonical_name(requirement.name))


def _path_of(package: Package) -> str:
    return posixpath.normpath(package.path or (package.url or "").removeprefix("file://"))


class _Check(Struct, frozen=True):
    locked: _Locked
    environment: dict[str, str]

    def reasons(self, asked: Requirements, before: Requirements) -> Iterator[str]:
        wanted = self._applying(asked.pypi)
        earlier = {_identity(r): r for r in self._applying(before.pypi)}
        overrides = {_identity(r): r for r in self._applying(asked.pypi_overrides)}
        for requirement in wanted:
            identity = _identity(requirement)
            if not isinstance(requirement, LocalRequirement) and requirement.url is None:
                override = overrides.get(identity)
                yield from self._from_index(requirement, earlier.get(identity), override)
            else:
                yield from self._from_place(requirement, earlier.get(identity))
        yield from self._constraints(asked.pypi_constraints)
        yield from self._no_longer(wanted, earlier)

    def _applying(self, texts: Iterable[str]) -> list[PypiRequirement]:
        """Return the requirements whose marker holds here. What cannot be read was not written by us: left out."""
        found = []
        for text in texts:
            try:
                requirement = parse_pypi(text)
            except BadRequirement:
                continue
            if self._holds(requirement.marker):
                found.append(requirement)
        return found

    def _holds(self, marker: Marker | None) -> bool:
        return marker is None or marker.evaluate(dict(self.environment))

    def _from_index(
        self, wanted: NamedRequirement, earlier: PypiRequirement | None, override: PypiRequirement | None
    ) -> Iterator[str]:
        name = canonical_name(wanted.name)
        counts = wanted if override is None or isinstance(override, LocalRequirement) else override
        if name in self.locked.provided:
            version, conda = self.locked.provided[name]
            if not _satisfies(counts.specifier, version):
                yield f"{_plain(wanted)} is asked for, {name} {version} of conda package {conda.name} is locked"
            return
        package = self.locked.by_name.get(name)
        if package is None:
            yield f"{_plain(wanted)} is asked for but not locked"
        elif earlier is not None and not isinstance(earlier, LocalRequirement) and earlier.url is not None:
            yield f"{_plain(wanted)} is asked for, {_plain(earlier)} is locked"
        elif _extras(wanted) != _extras(earlier):
            yield f"{_with_extras(wanted)} is asked for, {_with_extras(earlier) or name} is locked"
        elif not _satisfies(counts.specifier, package.version):
            yield f"{_plain(wanted)} is asked for, {name} {package.version} is locked"

    def _from_place(self, wanted: PypiRequirement, earlier: PypiRequirement | None) -> Iterator[str]:
        """A URL or a path says exactly what is meant: it must have been asked for in the same words."""
        if self.locked.answer(wanted) is None:
            yield f"{_plain(wanted)} is asked for but not locked"
        elif earlier is None:
            yield f"{_plain(wanted)} is asked for, the lock has another source"
        elif _plain(wanted) != _plain(earlier):
            yield f"{_plain(wanted)} is asked for, {_plain(earlier)} is locked"

    def _constraints(self, texts: Iterable[str]) -> Iterator[str]:
        for requirement in self._applying(texts):
            if isinstance(requirement, LocalRequirement):
                continue
            package = self.locked.by_name.get(canonical_name(requirement.name))
            if package is not None and not _satisfies(requirement.specifier, package.version):
                yield f"constraint {_plain(requirement)} excludes the locked {package.name} {package.version}"

    def _no_longer(self, wanted: Iterable[PypiRequirement], earlier: Mapping[str, PypiRequirement]) -> Iterator[str]:
        """Name what was asked for, is not any more, and is needed by nothing else."""
        needed = self._needed(wanted)
        asked = {_identity(requirement) for requirement in wanted}
        for identity, requirement in earlier.items():
            package = self.locked.answer(requirement)
            if identity not in asked and package is not None and canonical_name(package.name) not in needed:
                yield f"{_name(requirement)} is locked but no longer asked for"

    def _needed(self, wanted: Iterable[PypiRequirement]) -> set[str]:
        roots = (self.locked.answer(requirement) for requirement in wanted)
        waiting = [str(canonical_name(package.name)) for package in roots if package is not None]
        needed: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in needed or name not in self.locked.by_name:
                continue
            needed.add(name)
            for text in self.locked.by_name[name].depends:
                if (leading := _LEADING_NAME.match(text)) is not None:
                    waiting.append(canonical_name(leading.group()))
        return needed


def _satisfies(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def _identity(requirement: PypiRequirement) -> str:
    if isinstance(requirement, LocalRequirement):
        return posixpath.normpath(requirement.path)
    return canonical_name(requirement.name)


def _name(requirement: PypiRequirement) -> str:
    return requirement.path if isinstance(requirement, LocalRequirement) else canonical_name(requirement.name)


def _plain(requirement: PypiRequirement) -> str:
    """Return the requirement without its marker, which holds here anyway."""
    return canonical_pypi(requirement).partition(" ; ")[0]


def _extras(requirement: PypiRequirement | None) -> frozenset[str]:
    if requirement is None:
        return frozenset()
    return frozenset(canonical_name(extra) for extra in requirement.extras)


def _with_extras(requirement: PypiRequirement | None) -> str:
    if requirement is None:
        return ""
    extras = ",".join(sorted(_extras(requirement)))
    return _name(requirement) + (f"[{extras}]" if extras else "")
