"""What locked packages need is locked too: nothing is missing from a lock that a resolver wrote.

A merge of two lockfiles, or an edit by hand, can drop a package that no requirement of the spec names. Whether its
version is one that the others accept is not asked again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tykky.lock.model import Lock, LockedPlatform, Package
from tykky.spec.names import canonical_name
from tykky.spec.requirements import conda_name

# What stands before a version, an extra or a build; anything else was not written by a resolver, and is passed over.
_LEADING_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def missing(lock: Lock, platform: LockedPlatform) -> tuple[LockedPlatform, list[str]]:
    """Return the platform and which packages are needed there but not locked."""
    conda, pypi = lock.held(platform.name, "conda"), lock.held(platform.name, "pypi")
    conda_names = {package.name.lower() for package in conda}
    names = {str(canonical_name(package.name)) for package in pypi}
    names |= {canonical_name(entry.partition("==")[0]) for package in conda for entry in package.provides}
    found = [_reason(package, name) for package in conda for name in _conda_needs(package) if name not in conda_names]
    found += [_reason(package, name) for package in pypi for name in _pypi_needs(package) if name not in names]
    return platform, found


def _reason(package: Package, name: str) -> str:
    return f"{package.name} needs {name}, which is not locked"


def _conda_needs(package: Package) -> Iterator[str]:
    for text in package.depends:
        name = conda_name(text.strip()).lower()
        # Virtual packages are the host's.
        if _LEADING_NAME.fullmatch(name) and not name.startswith("__"):
            yield name


def _pypi_needs(package: Package) -> Iterator[str]:
    for text in package.depends:
        leading = _LEADING_NAME.match(text)
        if leading is not None and ";" not in text:  # a marker may not hold here
            yield canonical_name(leading.group())
