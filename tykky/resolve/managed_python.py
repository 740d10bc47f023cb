"""Interpreters that uv manages: builds of python-build-standalone, chosen from uv's own list or the site's.

uv's list is part of uv and knows every platform, so nothing is fetched to choose. What it does not print is the sha256
of an archive; it says it when an archive is not what it expected, so it is handed an empty one
(docs/decisions/0006-managed-interpreter.md).
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.version import InvalidVersion, Version

from tykky.access import Access
from tykky.errors import FetchError, ResolveError
from tykky.guard.ownership import private_directory, temporary_place
from tykky.lock.checks import INTERPRETER_SUFFIXES
from tykky.lock.model import Package
from tykky.process import CommandFailed, Commands
from tykky.progress import Reporter
from tykky.resolve.ports import PythonRequest
from tykky.resolve.pypi.download import download, sha256_of
from tykky.resolve.pypi.question import cutoff
from tykky.resolve.pypi.trouble import offline_missing
from tykky.resolve.pypi.urls import file_path, redacted

RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"
# Where uv (0.10 and later) looks first for the same files.
_UVS_MIRROR = "https://releases.astral.sh/github/python-build-standalone/releases/download"

_MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64", "linux-ppc64le": "powerpc64le"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EXPECTED = re.compile(r"Expected:\s+([0-9a-f]{64})\b")
_RELEASE_DAY = re.compile(r"/(20\d{6})(?:T\d+)?/[^/]+$")
_SITE_HINT = "the list is what 'downloads' under [python] in site.toml names; its format is uv's download-metadata.json"


@dataclass(frozen=True, slots=True)
class Build:
    """One archive of uv's list: `key` is uv's name for it, `url` as a lock holds it."""

    key: str
    version: Version
    platform: str
    url: str

    @property
    def minor(self) -> str:
        """The minor version: `3.12`."""
        return f"{self.version.major}.{self.version.minor}"

    @property
    def published(self) -> datetime | None:
        """The end of the day of its release, if its URL names that day as those of python-build-standalone do."""
        day = _RELEASE_DAY.search(self.url)
        try:
            return datetime.strptime(f"{day[1]}235959", "%Y%m%d%H%M%S").replace(tzinfo=UTC) if day else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class UvPythons:
    """Chooses from uv's list, or from the one at `downloads` (a URL or an absolute path)."""

    access: Access
    uv: Path
    downloads: str | None = None
    commands: Commands = field(default_factory=Commands)

    def choose(self, request: PythonRequest, reporter: Reporter) -> Package:
        """Return the newest stable build of the wanted minor version for the platform.

        Raises `ResolveError` when there is none, `FetchError` when the site's list cannot be read.
        """
        with (
            reporter.phase(f"choose a Python for {request.platform}"),
            private_directory(temporary_place(), "tykky-python-") as scratch,
        ):
            site = self._site_list(scratch)
            build = newest(self._builds(site, scratch), request)
            sha256, size = self._digest(build, site, scratch)
        return Package(
            name="cpython",
            version=str(build.version),
            kind="python",
            platform=request.platform,
            url=build.url,
            sha256=sha256,
            size=size,
        )

    def _builds(self, site: Path | None, scratch: Path) -> list[Build]:
        options = [] if site is None else [f"--python-downloads-json-url={site}"]
        words = ["list", "--only-downloads", "--all-versions", "--all-platforms", "--all-arches"]
        argv = [*self._uv(scratch), *words, "--output-format=json", *options]
        try:
            said = self.commands.run(argv).stdout
        except CommandFailed as error:
            if site is None:
                raise
            raise ResolveError(
                f"uv cannot read {redacted(self.downloads or '')}", hint=_SITE_HINT, output=error.output
            ) from None
        return listed_builds(json.loads(said), self.access)

    def _site_list(self, scratch: Path) -> Path | None:
        """Return the site's list as a file, or None for uv's own."""
        if self.downloads is None:
            return None
        local = Path(self.downloads) if self.downloads.startswith("/") else file_path(self.downloads)
        if local is not None:
            if not local.is_file():
                raise FetchError(f"{local} does not exist", hint=_SITE_HINT)
            return local
        if self.access.offline:
            raise offline_missing(redacted(self.downloads))
        target = scratch / "downloads.json"
        download(self.downloads, target, self.commands.environ)
        return target

    def _digest(self, build: Build, site: Path | None, scratch: Path) -> tuple[str, int | None]:
        """Return the archive's sha256, and its size in bytes if it had to be downloaded for that."""
        known = self._told_by_uv(build, scratch) if site is None else told_by_list(site, build.url, self.access)
        if known is not None:
            return known, None
        if self.access.offline:
            raise offline_missing(redacted(build.url))
        return sha256_of(build.url, self.access, self.commands.environ)

    def _told_by_uv(self, build: Build, scratch: Path) -> str | None:
        """Return the sha256 in uv's own list: what uv says it expected when it is given an empty archive."""
        below = canonical(build.url, self.access).removeprefix(f"{RELEASES}/")
        decoy = scratch / "mirror" / unquote(below)
        decoy.parent.mkdir(parents=True)
        with tarfile.open(decoy, "w:gz") as archive:
            top = tarfile.TarInfo("python")
            top.type = tarfile.DIRTYPE
            archive.addfile(top)
        words = ["install", "--offline", "--no-bin", f"--install-dir={scratch / 'installed'}", build.key]
        environ = {"UV_PYTHON_INSTALL_MIRROR": (scratch / "mirror").as_uri()}
        said = self.commands.run([*self._uv(scratch), *words], environ=environ, check=False)
        expected = _EXPECTED.search(said.stderr)
        return expected[1] if expected is not None else None

    def _uv(self, scratch: Path) -> list[str]:
        settings = ["--no-config", "--color=never", "--no-progress", f"--cache-dir={scratch / 'cache'}"]
        return [os.fspath(self.uv), "python", *settings]


def canonical(url: str, access: Access) -> str:
    """Return the URL that a lock holds for one of uv's list: GitHub's, whichever mirror uv or the site would ask."""
    url = access.canonical(url)
    return RELEASES + url.removeprefix(_UVS_MIRROR) if url.startswith(f"{_UVS_MIRROR}/") else url


def listed_builds(entries: Sequence[Mapping[str, Any]], access: Access) -> list[Build]:
    """Return the builds of CPython for glibc that `uv python list --output-format json` names."""
    platforms = {machine: platform for platform, machine in _MACHINES.items()}
    found = []
    for entry in entries:
        kind = (entry["implementation"], entry["os"], entry["libc"], entry["variant"])
        platform = platforms.get(entry["arch"])
        url = entry["url"]
        if kind != ("cpython", "linux", "gnu", "default") or platform is None or not url:
            continue
        url = canonical(url, access)
        try:
            version = Version(entry["version"])
        except InvalidVersion:
            continue
        # A few old builds are archives that only zstandard unpacks.
        if unquote(url).endswith(INTERPRETER_SUFFIXES):
            found.append(Build(entry["key"], version, platform, url))
    return found


def newest(builds: Sequence[Build], request: PythonRequest) -> Build:
    """Return the build to take: the newest stable one, or a pre-release of a minor version that has nothing else.

    Raises `ResolveError` that names the minor versions there are.
    """
    there = [build for build in builds if build.platform == request.platform]
    in_time = [build for build in there if _in_time(build, request.exclude_newer)]
    wanted = [build for build in in_time if request.minor in (None, build.minor)]
    stable = [build for build in wanted if not build.version.is_prerelease]
    chosen = stable or (wanted if request.minor is not None else [])
    if chosen:
        return max(chosen, key=lambda build: (build.version, build.url))
    python = "Python" if request.minor is None else f"Python {request.minor}"
    minors = sorted({build.version.release[:2] for build in in_time})
    names = ", ".join(f"{major}.{minor}" for major, minor in minors)
    if request.exclude_newer is not None and any(request.minor in (None, build.minor) for build in there):
        reason = f"uv has no {python} for {request.platform} that was there by {request.exclude_newer} (exclude-newer)"
    else:
        reason = f"uv has no {python} for {request.platform}"
    raise ResolveError(reason, hint=f"there are {names}" if names else "use the host's Python or [conda] instead")


def _in_time(build: Build, exclude_newer: str | None) -> bool:
    """A build whose day is not known counts: a site that lists its own knows what it lists."""
    if exclude_newer is None or build.published is None:
        return True
    return build.published < datetime.fromisoformat(cutoff(exclude_newer))


def told_by_list(path: Path, url: str, access: Access) -> str | None:
    """Return the sha256 that a downloads JSON has for a URL, None if it has none."""
    for entry in json.loads(path.read_bytes()).values():
        if unquote(canonical(entry["url"], access)) == unquote(url):
            digest = str(entry.get("sha256") or "").lower()
            return digest if _SHA256.fullmatch(digest) else None
    return None
