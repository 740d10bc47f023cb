"""Do the locked conda packages of one platform satisfy what is asked for?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tykky.lock.model import Lock, LockedPlatform, Package, Requirements
from tykky.spec.requirements import conda_name

if TYPE_CHECKING:
    from rattler import MatchSpec


def stale_conda(asked: Requirements, lock: Lock, platform: LockedPlatform) -> tuple[LockedPlatform, list[str]]:
    """Return the platform and why its conda packages are no answer any more."""
    locked = {package.name.lower(): package for package in lock.held(platform.name, "conda")}
    return platform, [
        *_requirements(asked.conda, locked),
        *_constraints(asked.conda_constraints, locked),
        *_no_longer(asked.conda, lock.requirements.conda, locked),
    ]


def _requirements(texts: Iterable[str], locked: Mapping[str, Package]) -> Iterator[str]:
    for text in texts:
        name = conda_name(text)
        if name.startswith("__"):  # a virtual package: the platform's, not the lock's
            continue
        package = locked.get(name)
        if package is None:
            yield f"{text} is asked for but not locked"
        elif not _satisfies(text, package):
            yield f"{text} is asked for, {_shown(package, text)} is locked"


def _constraints(texts: Iterable[str], locked: Mapping[str, Package]) -> Iterator[str]:
    for text in texts:
        package = locked.get(conda_name(text))
        if package is not None and not _satisfies(text, package):
            yield f"constraint {text} excludes the locked {_shown(package, text)}"


def _no_longer(asked: Iterable[str], before: Iterable[str], locked: Mapping[str, Package]) -> Iterator[str]:
    """Name what was asked for, is not any more, and is needed by nothing else."""
    wanted = {conda_name(text) for text in asked}
    needed = _needed(wanted, locked)
    for name in map(conda_name, before):
        if name not in wanted and name in locked and name not in needed:
            yield f"{name} is locked but no longer asked for"


def _needed(roots: Iterable[str], locked: Mapping[str, Package]) -> set[str]:
    needed: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in needed or name not in locked:
            continue
        needed.add(name)
        waiting += [conda_name(text).lower() for text in locked[name].depends]
    return needed


def _satisfies(text: str, package: Package) -> bool:
    """Say whether a locked package matches. rattler decides; it is imported only where conda is asked for."""
    from rattler import BuildString, MatchSpec, PackageRecord
    from rattler.exceptions import InvalidMatchSpecError, InvalidVersionError

    try:
        spec = MatchSpec(text)
        record = PackageRecord(
            name=package.name,
            version=package.version,
            build=BuildString.new_unchecked(package.build or ""),
            build_number=package.build_number,
            subdir=package.subdir or "noarch",
        )
    except (InvalidMatchSpecError, InvalidVersionError):  # the resolver will say why
        return False
    return spec.matches(record) and _same_channel(spec, package)


def _same_channel(spec: MatchSpec, package: Package) -> bool:
    """rattler compares no channel here. The lock has the URL, the spec a URL or the end of one."""
    if spec.channel is None:
        return True
    locked = (package.channel or "").rstrip("/")
    return locked in (spec.channel.base_url.rstrip("/"), spec.channel.name) or locked.endswith(f"/{spec.channel.name}")


def _shown(package: Package, text: str) -> str:
    """Return the package with as much of its identity as the requirement speaks of."""
    shown = f"{package.name} {package.version}"
    if re.search(r"\S+ \S+ \S+", text):
        shown += f" {package.build}"
    return f"{shown} from {package.channel}" if "::" in text or "[channel=" in text else shown
