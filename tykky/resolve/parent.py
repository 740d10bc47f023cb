"""What a parent environment means for the questions: its packages are there, and stay or may be replaced. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tykky.lock.model import Package, Parent
from tykky.spec.names import canonical_name
from tykky.spec.requirements import BadRequirement, LocalRequirement, parse_pypi

# What only its own place can give again: no index offers a choice of it.
_FROM_A_PLACE = ("git", "directory")


def conda_given(parent: Parent, *, upgrade: bool) -> tuple[tuple[str, ...], tuple[Package, ...]]:
    """Return the requirements that the parent's conda packages make, and these packages.

    All of them are asked for, so that nothing is chosen that breaks one of them. Python itself always stays: every
    package of the parent was compiled for it.
    """
    packages = tuple(p for p in parent.package if p.kind == "conda")
    exact = [p for p in packages if not upgrade or p.name == "python"]
    free = [p for p in packages if upgrade and p.name != "python"]
    return (*(f"{p.name} =={p.version} {p.build}" for p in exact), *(p.name for p in free)), packages


def pypi_given(
    parent: Parent, requirements: Iterable[str], *, upgrade: bool
) -> tuple[tuple[Package, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what stays as it is, constraints, and further requirements.

    What stays is shown to the resolver as it is shown what conda provides. That knows no extras: a package that is
    asked for with some is held by its version instead, and chosen once more. With `upgrade` every package of an index
    may move, and is asked for, so that what moves goes with the rest.
    """
    packages = [p for p in parent.package if p.kind == "pypi"]
    with_extras = _with_extras(requirements)
    stays: list[Package] = []
    constraints: list[str] = []
    wanted: list[str] = []
    for package in packages:
        if upgrade and package.source not in _FROM_A_PLACE:
            wanted.append(package.name)
        elif canonical_name(package.name) in with_extras and package.source not in _FROM_A_PLACE:
            constraints.append(f"{package.name}=={package.version}")
        else:
            stays.append(msgspec.structs.replace(package, provides=(f"{package.name}=={package.version}",)))
    return tuple(stays), tuple(constraints), tuple(wanted)


def own(packages: Iterable[Package], parent: Parent | None) -> tuple[Package, ...]:
    """Return the packages that the parent does not have just so: what is added, and what is replaced."""
    if parent is None:
        return tuple(packages)
    theirs = {_identity(p) for p in parent.package}
    return tuple(p for p in packages if _identity(p) not in theirs)


def _identity(package: Package) -> tuple[str | None, ...]:
    """Return what makes a package the same for who uses it: of a version, any file of it that is installed."""
    return (
        package.kind,
        str(canonical_name(package.name)),
        package.version,
        package.build,
        package.commit,
        package.tree,
    )


def _with_extras(requirements: Iterable[str]) -> set[str]:
    """Return the names that are asked for with extras."""
    found: set[str] = set()
    for text in requirements:
        try:
            requirement = parse_pypi(text)
        except BadRequirement:
            continue  # the resolver says what is wrong
        if not isinstance(requirement, LocalRequirement) and requirement.extras:
            found.add(canonical_name(requirement.name))
    return found
