"""The one place where rattler's records and the lock's packages meet. `record_of` is the inverse of `package_of`.

A lock holds all that linking needs; what it leaves out (license family, legacy hashes, run exports) only matters to
those who build packages.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tykky.errors import ArtifactError
from tykky.lock.model import Package
from tykky.spec.names import canonical_name

if TYPE_CHECKING:
    from rattler import RepoDataRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def package_of(record: RepoDataRecord, platform: str) -> Package:
    """Return the lock's package for one record. Its URL and channel must be canonical already."""
    noarch = record.noarch
    return Package(
        name=record.name.normalized,
        version=str(record.version),
        kind="conda",
        platform=platform,
        url=record.url,
        sha256=record.sha256.hex() if record.sha256 else None,
        size=record.size,
        depends=tuple(record.depends),
        build=str(record.build),
        build_number=record.build_number,
        channel=record.channel.rstrip("/") if record.channel else None,
        subdir=record.subdir,
        noarch="python" if noarch.python else "generic" if noarch.generic else None,
        md5=record.md5.hex() if record.md5 else None,
        constrains=tuple(record.constrains),
        track_features=tuple(record.track_features),
        license=record.license,
        timestamp=_milliseconds(record),
        python_site_packages_path=record.python_site_packages_path,
        provides=_from_purls(record),
    )


def record_of(package: Package) -> RepoDataRecord:
    """Return the record that rattler links, from the lock alone.

    Raises `ArtifactError` for what can only be a lock that was edited by hand.
    """
    from rattler.exceptions import InvalidPackageNameError, InvalidVersionError

    wrong = (InvalidPackageNameError, InvalidVersionError, ValueError, TypeError, OverflowError)
    try:
        return _record_of(package)
    except wrong as error:
        raise ArtifactError(
            f"{package.name} in the lock is no conda package",
            hint="run 'tykky lock' to make the lock anew",
            output=str(error),
        ) from None


def _record_of(package: Package) -> RepoDataRecord:
    from rattler import BuildString, PackageRecord, RepoDataRecord

    # These are parts of directory names in the package cache and of file names in conda-meta.
    if any("/" in part or "\0" in part for part in (package.name, package.version, package.build or "")):
        raise ValueError(f"a slash in {display_name(package)!r}")
    base = PackageRecord(
        name=package.name,
        version=package.version,
        # A lock holds what the channel had; very old builds may break today's rules for build strings.
        build=BuildString.new_unchecked(package.build or ""),
        build_number=package.build_number,
        subdir=package.subdir or package.platform,
        noarch=package.noarch,
        depends=list(package.depends),
        constrains=list(package.constrains),
        sha256=bytes.fromhex(package.sha256) if package.sha256 else None,
        md5=bytes.fromhex(package.md5) if package.md5 else None,
        size=package.size,
        license=package.license,
        python_site_packages_path=package.python_site_packages_path,
    )
    if package.track_features:
        base.track_features = list(package.track_features)
    if package.timestamp is not None:
        base.timestamp = _EPOCH + package.timestamp * _MILLISECOND
    channel = f"{package.channel}/" if package.channel else ""
    return RepoDataRecord(base, file_name(package), package.url or "", channel)


def file_name(package: Package) -> str:
    """Return the archive's file name: the last part of the URL. Raises `ArtifactError` if that is none."""
    name = unquote((package.url or "").rpartition("/")[2])
    if "/" in name or "\0" in name or not name.endswith((".conda", ".tar.bz2")):
        raise ArtifactError(
            f"{package.url!r} in the lock is no conda package", hint="run 'tykky lock' to make the lock anew"
        )
    return name


def display_name(package: Package) -> str:
    """Return `name-version-build`, as conda names a package in messages."""
    return f"{package.name}-{package.version}-{package.build}"


def _milliseconds(record: RepoDataRecord) -> int | None:
    moment: datetime | int | None = record.timestamp
    # py-rattler gives the number 0 for the moment 0.
    return (moment - _EPOCH) // _MILLISECOND if isinstance(moment, datetime) else moment


def _from_purls(record: RepoDataRecord) -> tuple[str, ...]:
    """Return the distributions that the record's purls name with a version.

    A purl without a version would make the conda version a guess: such a package is looked into (`provides`).
    """
    purls: list[str] = json.loads(record.to_json()).get("purls") or []
    found = set()
    for purl in purls:
        name, at, version = purl.partition("?")[0].removeprefix("pkg:pypi/").partition("@")
        if purl.startswith("pkg:pypi/") and at:
            found.add(f"{canonical_name(unquote(name))}=={unquote(version)}")
    return tuple(sorted(found))
