"""Which PyPI distributions a conda package holds: from its purls, else from what lies in its site-packages.

Never from its name: conda's `pytorch` holds `torch`, and `opencv` holds something else on every platform.

What is trusted: a package is looked into by a few range requests where the server allows them, so its sha256 is not
checked here. The answer only decides what PyPI need not bring; the archive itself is checked whole before it is used.
Where ranges do not work the archive is downloaded whole, checked, and kept for the build.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from packaging.version import InvalidVersion, Version

from tykky.access import Access
from tykky.digests import file_sha256
from tykky.lock.model import Package
from tykky.progress import Phase, Reporter
from tykky.resolve.conda.archives import Archives
from tykky.resolve.conda.network import client
from tykky.resolve.conda.records import display_name, record_of
from tykky.resolve.conda.running import run
from tykky.spec.names import canonical_name

if TYPE_CHECKING:
    from rattler import Client
    from rattler.package_streaming import PackageArchive

_AT_ONCE = 8

# A distribution's own directory (or, for an old egg-info, its file) directly in site-packages: what others have
# vendored lies deeper and is nothing a requirement can be satisfied by.
_METADATA = re.compile(
    r"(?:lib/python\d+\.\d+t?/)?site-packages/(?P<stem>[^/]+)"
    r"(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info)"
)
_EGG_TAG = re.compile(r"-py\d+(?:\.\d+)?(?:-[\w.-]+)?$")


def with_provides(packages: Sequence[Package], access: Access, reporter: Reporter) -> tuple[Package, ...]:
    """Return `packages` with `provides` filled in (`name==version`, normalised), in the same order.

    Answers are kept in the cache by sha256. Raises `FetchError` if a package cannot be looked into.
    """
    answers = _Answers(access.cache / "conda" / "provides")
    unknown = [p for p in packages if _may_provide(p) and answers.get(p) is None]
    if unknown:
        with reporter.phase("look into conda packages", total=len(unknown), unit="packages") as phase:
            run(_look(unknown, Archives(access), answers, phase))
    return tuple(msgspec.structs.replace(p, provides=answers.get(p) or ()) if _may_provide(p) else p for p in packages)


def _may_provide(package: Package) -> bool:
    if package.kind != "conda" or package.provides:
        return False
    needs = {dependency.split()[0] for dependency in package.depends}
    return package.noarch == "python" or "python" in needs


@dataclass(frozen=True, slots=True)
class _Answers:
    """What was found before, one small file per archive."""

    directory: Path

    def get(self, package: Package) -> tuple[str, ...] | None:
        try:
            return tuple(json.loads(self._file(package).read_bytes()))
        except (OSError, ValueError):
            return None

    def put(self, package: Package, provides: Sequence[str]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.directory / f".{secrets.token_hex(8)}"
        unfinished.write_text(json.dumps(list(provides)))
        unfinished.replace(self._file(package))

    def _file(self, package: Package) -> Path:
        return self.directory / f"{package.sha256}.json"


async def _look(packages: Sequence[Package], archives: Archives, answers: _Answers, phase: Phase) -> None:
    asking = client()
    extracted = await _extracted(packages, archives.access)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(package: Package) -> None:
        async with turn:
            if package.name in extracted:
                answers.put(package, _held_in(extracted[package.name]))
            else:
                try:
                    archive = await _opened(package, archives, asking)
                    if archive is None:
                        return
                    answers.put(package, await _held(archive))
                except (RuntimeError, OSError):  # a range request went wrong: the whole download says why
                    return
            phase.advance(1)

    await asyncio.gather(*map(one, packages))
    whole = [package for package in packages if answers.get(package) is None]
    places = await archives.fetch_all(whole, lambda count: None)
    for package in whole:
        answers.put(package, await _held(await _local(places[package.name])))
        phase.advance(1)


async def _extracted(packages: Sequence[Package], access: Access) -> dict[str, Path]:
    """Return name -> directory of the packages that a build has put into the package cache already."""
    from rattler import PackageCache

    directory = access.cache / "conda" / "pkgs"
    if not directory.is_dir():
        return {}
    index = await PackageCache(directory).index()
    return {p.name: directory / display_name(p) for p in packages if index.contains_record(record_of(p))}


async def _opened(package: Package, archives: Archives, asking: Client) -> PackageArchive | None:
    """Return the archive, from the cache or by range requests; None if it has to be downloaded whole."""
    from rattler.package_streaming import PackageArchive

    place = archives.place(package)
    if place.is_file() and await asyncio.to_thread(file_sha256, place) == package.sha256:
        return await _local(place)
    url = archives.access.mirrored(package.url or "")
    if url.startswith("file://") or archives.access.offline or not url.endswith(".conda"):
        return None
    return await PackageArchive.from_url(asking, url, sparse="require")


async def _local(place: Path) -> PackageArchive:
    from rattler.package_streaming import PackageArchive

    return await PackageArchive.from_path(place)


async def _held(archive: PackageArchive) -> tuple[str, ...]:
    """Return the distributions that an open archive holds, sorted."""
    try:
        paths = [entry.relative_path.as_posix() for entry in (await archive.paths_json()).paths]
    except (RuntimeError, OSError):  # archives from before 2017 have no paths.json
        paths = await archive.list_files("pkg")
    found, unclear = distributions(paths)
    contents = (await archive.read_files(unclear)).values() if unclear else ()
    return tuple(sorted(found.union(*map(_declared, contents))))


def _held_in(directory: Path) -> tuple[str, ...]:
    """Return the distributions that an extracted package holds, sorted."""
    found, unclear = distributions(path.relative_to(directory).as_posix() for path in directory.rglob("*"))
    return tuple(sorted(found.union(*(_declared((directory / path).read_bytes()) for path in unclear))))


def _declared(metadata: bytes | None) -> set[str]:
    """Return what a METADATA or PKG-INFO file says it belongs to."""
    headers = HeaderParser().parsestr((metadata or b"").decode("utf-8", "replace"))
    return {_provided(headers["Name"], headers["Version"])} if headers["Name"] and headers["Version"] else set()


def distributions(paths: Iterable[str]) -> tuple[set[str], list[str]]:
    """Return the distributions that a package's paths name, and the metadata files that have to be read.

    The directory's name is `{name}-{version}.dist-info` by the specification of installed projects
    (https://packaging.python.org/en/latest/specifications/recording-installed-packages/), and paths are in the small
    part of an archive; reading METADATA would mean downloading most of the large one.
    """
    found: set[str] = set()
    unclear: list[str] = []
    for path in paths:
        match = _METADATA.fullmatch(path)
        if match is None:
            continue
        name, _, version = _EGG_TAG.sub("", match["stem"]).rpartition("-")
        try:
            Version(version)
        except InvalidVersion:
            unclear.append(path)
            continue
        if name:
            found.add(_provided(name, version))
        else:
            unclear.append(path)
    return found, unclear


def _provided(name: str, version: str) -> str:
    return f"{canonical_name(name)}=={version}"
