"""Interpreters that uv manages: what is chosen from uv's list and from a site's, by the real uv without a network."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from packaging.version import Version

from tests.channel.server import Served, serve
from tests.standalone import RELEASES, archive, entry, file_name, write
from tykky.access import Access
from tykky.cli.ports import find_uv
from tykky.errors import FetchError, ResolveError
from tykky.lock.model import Package
from tykky.progress import Silent
from tykky.resolve.managed_python import Build, UvPythons, listed_builds, newest
from tykky.resolve.ports import PythonRequest

EMPTY = archive({})


@pytest.fixture
def access(tmp_path: Path) -> Access:
    """Nothing may be fetched."""
    return Access(tmp_path / "cache", offline=True)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Served]:
    """A server with one archive of 3.12.4, at the path it has on GitHub."""
    write(tmp_path / "mirror", file_name("3.12.4", "20260110"), EMPTY)
    with serve(tmp_path / "mirror") as served:
        yield served


def chosen(pythons: UvPythons, platform: str = "linux-64", minor: str | None = "3.12", **more: str) -> Package:
    return pythons.choose(PythonRequest(platform, minor, **more), Silent())


def listed(path: Path, *entries: tuple[str, dict[str, object]]) -> str:
    path.write_text(json.dumps(dict(entries)))
    return str(path)


@pytest.mark.parametrize(
    ("platform", "machine"),
    [("linux-64", "x86_64"), ("linux-aarch64", "aarch64"), ("linux-ppc64le", "ppc64le")],
)
def test_uvs_own_list_answers_for_every_platform_without_a_network(access: Access, platform: str, machine: str) -> None:
    package = chosen(UvPythons(access, find_uv()), platform)
    assert (package.name, package.kind, package.platform) == ("cpython", "python", platform)
    version = Version(package.version)
    assert version.release[:2] == (3, 12)
    day = re.escape(RELEASES) + r"/(\d{8})/"
    assert package.url is not None
    found = re.match(day, package.url)
    assert found is not None
    name = f"cpython-{version}%2B{found[1]}-{machine}-unknown-linux-gnu-install_only_stripped.tar.gz"
    assert package.url == f"{RELEASES}/{found[1]}/{name}"
    assert package.sha256 is not None
    assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
    assert package.sha256 != hashlib.sha256(EMPTY).hexdigest()


def test_the_sha256_is_of_that_archive(access: Access) -> None:
    """A published fact: what uv's list has for one old build, which no later version of uv can change."""
    package = chosen(UvPythons(access, find_uv()), "linux-ppc64le", "3.11", exclude_newer="2025-06-01")
    assert package.version == "3.11.12"
    assert package.sha256 == "04073a80743a45be1451995824b7a7c7cc32846fc0ef7257e77a17e2f9536a18"


def test_without_a_version_the_newest_stable_one_is_taken(access: Access) -> None:
    package = chosen(UvPythons(access, find_uv()), minor=None)
    version = Version(package.version)
    assert not version.is_prerelease
    assert version >= Version("3.14")


def test_an_unknown_version_is_refused_with_what_there_is(access: Access) -> None:
    with pytest.raises(ResolveError) as caught:
        chosen(UvPythons(access, find_uv()), minor="3.99")
    assert caught.value.reason == "uv has no Python 3.99 for linux-64"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("there are 3.")
    assert ", 3.12, 3.13, " in caught.value.hint


def test_a_uv_that_does_not_tell_a_sha256_makes_the_archive_be_fetched(mirror: Served, tmp_path: Path) -> None:
    """The list is printed as uv prints it; the rest of this uv says nothing."""
    url = f"{RELEASES}/{quote(file_name('3.12.4', '20260110'))}"
    said = {"key": "cpython-3.12.4-linux-x86_64-gnu", "version": "3.12.4", "url": url, "arch": "x86_64"}
    said |= {"implementation": "cpython", "os": "linux", "libc": "gnu", "variant": "default"}
    silent = tmp_path / "uv"
    silent.write_text(f"#!/bin/sh\ncase $* in *list*) echo '{json.dumps([said])}' ;; *) exit 1 ;; esac\n")
    silent.chmod(0o755)
    package = chosen(UvPythons(Access(tmp_path / "cache", mirrors={RELEASES: mirror.url}), silent))
    assert (package.url, package.sha256, package.size) == (url, hashlib.sha256(EMPTY).hexdigest(), len(EMPTY))
    with pytest.raises(FetchError) as caught:
        chosen(UvPythons(Access(tmp_path / "cache", offline=True), silent))
    assert caught.value.reason == f"{url} is not in the cache, and --offline allows no network"


@pytest.mark.parametrize("scheme", ["path", "file", "http"])
def test_a_sites_own_list(scheme: str, mirror: Served, tmp_path: Path) -> None:
    """Its hashes are taken, its URLs are written as GitHub's where a mirror says what they stand for."""
    file = tmp_path / "mirror" / "list.json"
    path = file_name("3.12.4", "20260110")
    listed(file, entry("3.12.4", f"{mirror.url}/{quote(path)}", EMPTY))
    place = {"path": str(file), "file": file.as_uri(), "http": f"{mirror.url}/list.json"}[scheme]
    package = chosen(UvPythons(Access(tmp_path / "cache", mirrors={RELEASES: mirror.url}), find_uv(), place))
    assert package.url == f"{RELEASES}/{quote(path)}"
    assert package.sha256 == hashlib.sha256(EMPTY).hexdigest()
    assert mirror.requests == (["GET /list.json"] if scheme == "http" else [])


def test_a_list_without_hashes_makes_the_archive_be_fetched(mirror: Served, tmp_path: Path) -> None:
    url = f"{mirror.url}/{quote(file_name('3.12.4', '20260110'))}"
    place = listed(tmp_path / "list.json", entry("3.12.4", url, None))
    package = chosen(UvPythons(Access(tmp_path / "cache"), find_uv(), place))
    assert (package.url, package.sha256, package.size) == (url, hashlib.sha256(EMPTY).hexdigest(), len(EMPTY))


SITE = "the list is what 'downloads' under [python] in site.toml names; its format is uv's download-metadata.json"


def test_a_list_that_is_not_there(access: Access, tmp_path: Path) -> None:
    place = tmp_path / "list.json"
    with pytest.raises(FetchError) as caught:
        chosen(UvPythons(access, find_uv(), str(place)))
    assert (caught.value.reason, caught.value.hint) == (f"{place} does not exist", SITE)


@pytest.mark.parametrize("content", ["not JSON", "[]", '{"cpython": {}}', '{"version": 2}'])
def test_a_list_that_uv_cannot_read(access: Access, tmp_path: Path, content: str) -> None:
    place = tmp_path / "list.json"
    place.write_text(content)
    with pytest.raises(ResolveError) as caught:
        chosen(UvPythons(access, find_uv(), str(place)))
    assert (caught.value.reason, caught.value.hint) == (f"uv cannot read {place}", SITE)
    assert caught.value.output


def test_a_list_on_a_server_that_has_it_not(mirror: Served, tmp_path: Path) -> None:
    place = f"{mirror.url}/list.json"
    with pytest.raises(FetchError) as caught:
        chosen(UvPythons(Access(tmp_path / "cache"), find_uv(), place))
    assert place in caught.value.reason
    assert "404" in caught.value.reason
    with pytest.raises(FetchError) as caught:
        chosen(UvPythons(Access(tmp_path / "cache", offline=True), find_uv(), place))
    assert caught.value.reason == f"{place} is not in the cache, and --offline allows no network"


def test_an_empty_list(access: Access, tmp_path: Path) -> None:
    with pytest.raises(ResolveError) as caught:
        chosen(UvPythons(access, find_uv(), listed(tmp_path / "list.json")))
    assert caught.value.reason == "uv has no Python 3.12 for linux-64"
    assert caught.value.hint == "use the host's Python or [conda] instead"


def row(**other: str | None) -> dict[str, str | None]:
    given: dict[str, str | None] = {"key": "k", "version": "3.12.4", "url": "https://h/x.tar.gz", "arch": "x86_64"}
    return given | {"implementation": "cpython", "os": "linux", "libc": "gnu", "variant": "default"} | other


@pytest.mark.parametrize(
    "other",
    [
        {"implementation": "pypy"},
        {"os": "macos"},
        {"libc": "musl"},
        {"variant": "freethreaded"},
        {"arch": "x86_64_v3"},
        {"url": None},
        {"url": "https://h/x.tar.zst"},
        {"version": "nightly"},
    ],
)
def test_what_tykky_cannot_put_into_an_image_is_left_out(access: Access, other: dict[str, str | None]) -> None:
    (build,) = listed_builds([row(), row(**other)], access)
    assert build == Build("k", Version("3.12.4"), "linux-64", "https://h/x.tar.gz")


def test_uvs_own_mirror_is_written_as_github(access: Access) -> None:
    url = "https://releases.astral.sh/github/python-build-standalone/releases/download/20260110/x.tar.gz"
    (build,) = listed_builds([row(url=url)], access)
    assert build.url == f"{RELEASES}/20260110/x.tar.gz"


def build(version: str, day: str = "20260110", platform: str = "linux-64") -> Build:
    return Build(f"cpython-{version}", Version(version), platform, f"https://h/{day}/{version}.tar.gz")


BUILDS = [build("3.13.0rc1"), build("3.12.4"), build("3.12.10", "20260220"), build("3.11.9"), build("3.14.0a1")]


@pytest.mark.parametrize(
    ("minor", "exclude_newer", "version"),
    [
        (None, None, "3.12.10"),
        ("3.12", None, "3.12.10"),
        ("3.11", None, "3.11.9"),
        ("3.13", None, "3.13.0rc1"),
        ("3.12", "2026-02-20", "3.12.10"),
        ("3.12", "2026-02-19", "3.12.4"),
        ("3.12", "2026-02-20T12:00:00Z", "3.12.4"),
        ("3.12", "2026-02-21T01:00:00+02:00", "3.12.4"),
        (None, "2026-02-19", "3.12.4"),
    ],
)
def test_the_newest(minor: str | None, exclude_newer: str | None, version: str) -> None:
    assert str(newest(BUILDS, PythonRequest("linux-64", minor, exclude_newer)).version) == version


def test_a_build_whose_day_is_unknown_is_not_excluded() -> None:
    assert newest([build("3.12.4", "own")], PythonRequest("linux-64", "3.12", "2020-01-01")).version == Version(
        "3.12.4"
    )


@pytest.mark.parametrize(
    ("platform", "minor", "exclude_newer", "reason", "hint"),
    [
        ("linux-64", "3.10", None, "uv has no Python 3.10 for linux-64", "there are 3.11, 3.12, 3.13, 3.14"),
        (
            "linux-aarch64",
            "3.12",
            None,
            "uv has no Python 3.12 for linux-aarch64",
            "use the host's Python or [conda] instead",
        ),
        (
            "linux-64",
            None,
            "2020-01-01",
            "uv has no Python for linux-64 that was there by 2020-01-01 (exclude-newer)",
            "use the host's Python or [conda] instead",
        ),
    ],
)
def test_none_there(platform: str, minor: str | None, exclude_newer: str | None, reason: str, hint: str) -> None:
    with pytest.raises(ResolveError) as caught:
        newest(BUILDS, PythonRequest(platform, minor, exclude_newer))
    assert (caught.value.reason, caught.value.hint) == (reason, hint)
