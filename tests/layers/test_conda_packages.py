"""From a channel into the package cache, and from there into a tree that believes it stands at the prefix."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tests.channel import Channel, CondaPackage, File, Link, Served, script, serve, text
from tests.channel.hostile import hostile_packages
from tests.resolve.conda_asking import CANONICAL
from tykky.access import Access
from tykky.digests import file_sha256, tree_fingerprint
from tykky.errors import ArtifactError, BuildError, FetchError
from tykky.layers import conda_packages
from tykky.layers.conda_packages import fetch_and_check, link, owner_of
from tykky.lock.model import Package
from tykky.progress import Silent
from tykky.resolve.conda.rattler import RattlerResolver
from tykky.resolve.conda.virtual import default_virtual_packages
from tykky.resolve.ports import CondaRequest

PREFIX = "/tykky/climate"


@dataclass
class Linked:
    """A tree made from locked packages."""

    tree: Path
    paths: Mapping[str, Sequence[str]]

    def text(self, path: str) -> str:
        return (self.tree / path).read_text()

    def meta(self, package: Package) -> dict[str, object]:
        return json.loads(self.text(f"conda-meta/{package.name}-{package.version}-{package.build}.json"))  # type: ignore[no-any-return]


@dataclass
class Maker:
    """Locks and links packages of one channel, which stands for conda-forge."""

    base: Path
    mirror: str
    made: int = field(default=0)

    @property
    def access(self) -> Access:
        return Access(self.base / "cache", mirrors={CANONICAL: self.mirror})

    def lock(self, *requirements: str) -> tuple[Package, ...]:
        request = CondaRequest(
            "linux-64", ("conda-forge",), requirements, virtual_packages=default_virtual_packages("linux-64")
        )
        return RattlerResolver(self.access, timeout=5).resolve(request, Silent())

    def fetch(self, packages: Sequence[Package]) -> None:
        fetch_and_check(packages, self.access, Silent())

    def link(self, packages: Sequence[Package], prefix: str = PREFIX) -> Linked:
        self.fetch(packages)
        self.made += 1
        tree = self.base / f"stage-{self.made}" / "tree"
        tree.mkdir(parents=True)
        return Linked(tree, link(packages, tree, prefix, self.access, "linux-64", Silent()))

    def __call__(self, *requirements: str) -> Linked:
        return self.link(self.lock(*requirements))


@pytest.fixture
def make(tmp_path: Path, channel_server: Served) -> Maker:
    return Maker(tmp_path, channel_server.url)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Maker, Channel]]:
    """A maker and a channel that the test fills itself."""
    channel = Channel(tmp_path / "own").index()
    with serve(channel.root) as server:
        yield Maker(tmp_path, server.url), channel


# The tree


def test_python_believes_it_stands_at_the_prefix(make: Maker) -> None:
    linked = make("python")
    data = next((linked.tree / "lib").glob("python3.*/_sysconfigdata*.py")).read_text()
    assert f"'{PREFIX}/bin'" in data or f"{PREFIX}/bin" in data
    assert "placehold" not in data
    assert os.fspath(linked.tree) not in data
    ask = "import sys, ssl, sqlite3, ctypes; print(sys.prefix)"
    answer = subprocess.run([linked.tree / "bin/python", "-I", "-c", ask], capture_output=True, text=True, check=True)
    assert answer.stdout == f"{linked.tree}\n"


def test_console_scripts_start_the_prefix_s_python(make: Maker) -> None:
    linked = make("greeter", "python")
    assert linked.text("bin/greet").splitlines()[0].startswith(f"#!{PREFIX}/bin/python3.")
    ran = subprocess.run(
        [linked.tree / "bin/python", linked.tree / "bin/greet", "world"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "hello world from greeter 2.0\n"


def test_placeholders_are_the_prefix_in_text_and_in_programs(make: Maker) -> None:
    linked = make("hello")
    assert f"# made for {PREFIX}\n" in linked.text("bin/hello")
    assert linked.text("etc/conda/activate.d/hello.sh").endswith(f'HELLO_BUILT="{PREFIX}"\n')
    if shutil.which("gcc") or shutil.which("cc"):
        ran = subprocess.run([linked.tree / "bin/hello-native"], capture_output=True, text=True, check=True)
        assert ran.stdout == f"{PREFIX}/share/hello {len(PREFIX) + len('/share/hello')}\n"


def test_links_stay_links_and_empty_files_stay_empty(make: Maker) -> None:
    linked = make("hello")
    assert os.readlink(linked.tree / "share/hello/current") == "v1"
    assert os.readlink(linked.tree / "lib/libhello.so") == "libhello.so.1"
    assert linked.text("share/hello/current/data.txt") == "data\n"
    assert linked.text("share/hello/empty") == ""


def test_odd_names_arrive(make: Maker) -> None:
    linked = make("odd-names")
    assert sorted(p.name for p in (linked.tree / "bin").iterdir()) == sorted(
        ["with space", "qu'ote", 'double"quote', "dol$lar", "-dash", "back`tick", "semi;colon"]
    )


def test_no_script_of_a_package_has_run(make: Maker) -> None:
    assert not (make("hello").tree / "share/hello/post-link.txt").exists()


def test_the_paths_are_all_there_is(make: Maker) -> None:
    linked = make("jinja2", "hello", "clobber-a", "clobber-b")
    there = {
        os.fspath(Path(folder, name).relative_to(linked.tree))
        for folder, directories, names in os.walk(linked.tree)
        for name in [*names, *(d for d in directories if Path(folder, d).is_symlink())]
    }
    listed = {path for paths in linked.paths.values() for path in paths}
    assert there - listed == {"conda-meta/history"}
    assert listed <= there
    assert all(list(paths) == sorted(paths) for paths in linked.paths.values())


def test_records_say_what_the_lock_says(make: Maker) -> None:
    packages = make.lock("greeter")
    linked = make.link(packages)
    for package in packages:
        meta = linked.meta(package)
        assert (meta["url"], meta["channel"]) == (package.url, f"{package.channel}/")
        assert meta["sha256"] == package.sha256
        assert meta.get("timestamp") == package.timestamp


# Always the same


def test_the_same_lock_gives_the_same_tree(make: Maker, tmp_path: Path) -> None:
    packages = make.lock("jinja2", "hello", "clobber-a", "clobber-b", "odd-names")

    def fingerprint(umask: int, base: Path, order: int) -> str:
        before = os.umask(umask)
        try:
            linked = Maker(base, make.mirror).link(packages[::order])
        finally:
            os.umask(before)
        for folder in [linked.tree, *(p for p in linked.tree.rglob("*") if p.is_dir() and not p.is_symlink())]:
            folder.chmod(0o755)
        for made in [*(linked.tree / "conda-meta").iterdir(), *(linked.tree / "bin").iterdir()]:
            if not made.is_symlink():
                made.chmod(0o755)
            if made.suffix == ".json":
                meta = json.loads(made.read_text())
                del meta["extracted_package_dir"], meta["link"]
                made.write_text(json.dumps(meta))
        return tree_fingerprint(linked.tree)

    assert fingerprint(0o022, tmp_path / "one", 1) == fingerprint(0o077, tmp_path / "another place", -1)


# Paths that several packages have


def package(name: str, *depends: str) -> Package:
    return Package(name=name, version="1", kind="conda", platform="linux-64", depends=depends)


@pytest.mark.parametrize(
    ("claimants", "owner"),
    [
        ([package("b"), package("a")], "a"),
        ([package("a"), package("b", "a >=1")], "b"),
        ([package("a", "b"), package("b", "a")], "a"),
        ([package("a"), package("b"), package("c", "a")], "b"),
        ([package("c", "b"), package("b", "a"), package("a")], "c"),
    ],
)
def test_whose_a_shared_path_is(claimants: list[Package], owner: str) -> None:
    assert owner_of(claimants).name == owner
    assert owner_of(claimants[::-1]).name == owner


def test_a_shared_path_is_its_owner_s_and_in_all_lists(make: Maker) -> None:
    linked = make("clobber-a", "clobber-b")
    assert linked.text("share/clobber.txt") == "from clobber-a\n"
    assert all("share/clobber.txt" in linked.paths[name] for name in ("clobber-a", "clobber-b"))
    assert not (linked.tree / "__clobbers__").exists()


def test_three_claimants_where_rattler_would_choose_another(own: tuple[Maker, Channel]) -> None:
    make, channel = own
    for name, depends in (("a", ()), ("b", ()), ("c", ("a",))):
        channel.add(CondaPackage(name, "1.0", depends=depends, files={"share/all.txt": text(f"{name}\n")}))
    channel.index()
    assert make("a", "b", "c").text("share/all.txt") == "b\n"
    assert make("a", "c").text("share/all.txt") == "c\n"


def test_a_file_over_a_directory_is_told_the_same_way_when_rattler_meets_it() -> None:
    package = Package("has-file", "1", "conda", "linux-64", url="https://x/linux-64/has-file-1-0.conda", build="0")
    met = (
        "failed to link has-file-1-0.conda\nCaused by: failed to link 'share/clash'\n"
        "Caused by: unexpected io operation while removing clobbered file\n"
        "Caused by: failed to remove file `/t/share/clash`: Is a directory (os error 21)"
    )
    error = conda_packages._link_error(met, [package])
    assert str(error) == "'share/clash' is a file or link in has-file and a directory in another conda package"


def test_a_record_does_not_depend_on_its_neighbours(make: Maker) -> None:
    packages = make.lock("clobber-a", "clobber-b")
    together = make.link(packages)
    for package in packages:
        assert make.link([package]).meta(package) == together.meta(package)


# The cache


def test_a_warm_cache_needs_no_channel(make: Maker, channel_server: Served) -> None:
    packages = make.lock("clobber-a", "hello")
    first = make.link(packages)
    channel_server.requests.clear()
    offline = Access(make.access.cache, offline=True, mirrors=make.access.mirrors)
    fetch_and_check(packages, offline, Silent())
    assert make.link(packages).paths == first.paths
    assert not channel_server.requests


def test_what_is_extracted_is_not_kept_twice(make: Maker) -> None:
    make("clobber-a", "hello")
    assert not [p for p in (make.access.cache / "conda/archives").rglob("*") if p.is_file()]


def test_files_are_shared_with_the_cache_unless_a_script_may_write(make: Maker) -> None:
    shared = make("clobber-a").tree / "share/clobber-a.txt"
    assert shared.stat().st_nlink > 1
    with_script = make("clobber-a", "hello").tree
    assert {p.stat().st_nlink for p in with_script.rglob("*") if p.is_file() and not p.is_symlink()} == {1}
    assert (with_script / "bin/hello").stat().st_mode & 0o777 == 0o755


def test_a_damaged_cache_mends_itself(make: Maker) -> None:
    packages = make.lock("clobber-a", "odd-names")
    whole = make.link(packages)
    next((make.access.cache / "conda/pkgs").glob("clobber-a-*/share/clobber-a.txt")).unlink()
    mended = make.link(packages)
    assert mended.paths == whole.paths
    assert all((mended.tree / path).exists() for path in mended.paths["clobber-a"])


def test_a_directory_that_is_not_empty_is_refused(make: Maker, tmp_path: Path) -> None:
    packages = make.lock("clobber-a")
    make.fetch(packages)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    with pytest.raises(BuildError) as caught:
        link(packages, full, PREFIX, make.access, "linux-64", Silent())
    assert str(caught.value) == f"{full} is not empty"
    assert (full / "mine").read_text() == "mine"


def test_a_channel_of_files_is_used_where_it_is(conda_channel: Path, tmp_path: Path) -> None:
    make = Maker(tmp_path, conda_channel.as_uri())
    before = sorted((p, p.stat().st_mtime_ns) for p in conda_channel.rglob("*"))
    assert make("hello 1.0", "clobber-a").text("share/hello/greeting.txt") == "hello 1.0\n"
    assert sorted((p, p.stat().st_mtime_ns) for p in conda_channel.rglob("*")) == before
    assert not (make.access.cache / "conda/archives").exists()


def test_spaces_and_other_letters_in_every_path(conda_channel: Path, tmp_path: Path) -> None:
    root = tmp_path / "a channel ü"
    shutil.copytree(conda_channel, root)
    make = Maker(tmp_path / "wörk here", root.as_uri())
    assert "share/hello/greeting.txt" in make("clobber-a", "hello").paths["hello"]


# Progress


class Told(Silent):
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None, str, int]] = []

    def phase(self, title: str, *, total: int | None = None, unit: str = "steps"):  # type: ignore[no-untyped-def,override]
        told = self

        class Phase:
            done = 0

            def advance(self, amount: int = 1) -> None:
                self.done += amount

            def expect(self, total: int) -> None:
                raise AssertionError

            def __enter__(self):  # type: ignore[no-untyped-def]
                return self

            def __exit__(self, *args: object) -> None:
                told.phases.append((title, total, unit, self.done))

        return Phase()


def test_downloads_tell_bytes_and_linking_packages(make: Maker, tmp_path: Path) -> None:
    packages = make.lock("clobber-a", "hello")
    told = Told()
    fetch_and_check(packages, make.access, told)
    link(packages, tmp_path / "tree", PREFIX, make.access, "linux-64", told)
    size = sum(p.size or 0 for p in packages)
    assert told.phases == [
        ("download conda packages", size, "bytes", size),
        ("link conda packages", len(packages), "packages", len(packages)),
    ]


# Artifacts that are not what they should be


def nothing_cached(access: Access) -> bool:
    return not [p for p in (access.cache / "conda").rglob("*") if "evil" in p.name or p.suffix in (".conda", ".part")]


def test_a_wrong_sha256_is_told_and_the_file_removed(make: Maker, channel_server: Served) -> None:
    (hello,) = make.lock("hello")
    channel_server.switches.only = "*/hello-*"
    channel_server.switches.corrupt = True
    with pytest.raises(ArtifactError) as caught:
        make.fetch([hello])
    assert str(caught.value) == "hello-1.1-h1234567_0.conda is not what the lock says"
    lines = (caught.value.output or "").splitlines()
    assert lines[:2] == [hello.url, f"expected sha256 {hello.sha256}"]
    assert lines[2].startswith("actual sha256   ")
    assert lines[2] != f"actual sha256   {hello.sha256}"
    assert nothing_cached(make.access)
    channel_server.switches.corrupt = False
    make.link([hello])


def test_a_changed_file_of_a_channel_of_files_is_told_and_left(conda_channel: Path, tmp_path: Path) -> None:
    root = tmp_path / "channel"
    shutil.copytree(conda_channel, root)
    make = Maker(tmp_path, root.as_uri())
    (hello,) = make.lock("hello")
    archive = root / "linux-64/hello-1.1-h1234567_0.conda"
    archive.write_bytes(archive.read_bytes() + b"!")
    with pytest.raises(ArtifactError) as caught:
        make.fetch([hello])
    assert str(caught.value) == "hello-1.1-h1234567_0.conda is not what the lock says"
    assert f"actual sha256   {file_sha256(archive)}" in (caught.value.output or "")
    archive.unlink()
    with pytest.raises(FetchError) as gone:
        make.fetch([hello])
    assert str(gone.value) == "hello-1.1-h1234567_0.conda cannot be read: it is not there"


def test_a_damaged_archive_in_the_cache_is_fetched_again(make: Maker) -> None:
    (hello,) = make.lock("hello")
    make.fetch([hello])
    (archive,) = (make.access.cache / "conda/archives").rglob("hello-*")
    archive.write_bytes(b"damaged")
    make.fetch([hello])
    assert file_sha256(archive) == hello.sha256


def test_a_package_without_a_sha256_is_refused(make: Maker) -> None:
    (hello,) = make.lock("hello")
    with pytest.raises(ArtifactError) as caught:
        make.fetch([msgspec.structs.replace(hello, sha256=None)])
    assert str(caught.value) == "hello-1.1-h1234567_0.conda has no sha256 in the lock, so it cannot be checked"


@pytest.mark.parametrize("name", ["..%2F..%2Fescape.conda", "..", "", "hello.zip", "%00.conda"])
def test_a_url_edited_by_hand_leads_nowhere(make: Maker, name: str) -> None:
    (hello,) = make.lock("hello")
    url = f"{CANONICAL}/linux-64/{name}"
    with pytest.raises(ArtifactError) as caught:
        make.fetch([msgspec.structs.replace(hello, url=url)])
    assert (str(caught.value), caught.value.hint) == (
        f"{url!r} in the lock is no conda package",
        "run 'tykky lock' to make the lock anew",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": "no name"},
        {"version": "no version"},
        {"md5": "xyz"},
        {"size": -1},
        {"build": "../../escape"},
        {"timestamp": 10**30},
        {"build_number": -1},
        {"url": None},
    ],
)
def test_a_package_edited_by_hand_is_no_traceback(make: Maker, change: dict[str, object]) -> None:
    (hello,) = make.lock("hello")
    with pytest.raises(ArtifactError, match=r"in the lock is no conda package|has no sha256"):
        make.fetch([msgspec.structs.replace(hello, **change)])


def test_site_packages_outside_are_refused(make: Maker) -> None:
    packages = [
        msgspec.structs.replace(p, python_site_packages_path="../../escape") if p.name == "python" else p
        for p in make.lock("greeter")
    ]
    with pytest.raises(ArtifactError) as caught:
        make.link(packages)
    assert str(caught.value).endswith(".conda: '../../escape' as site-packages would leave the prefix")


@pytest.mark.parametrize("trick", ["dotdot", "paths-absolute", "setuid", "character-device", "symlink-absolute"])
def test_hostile_packages_never_reach_the_cache(own: tuple[Maker, Channel], trick: str) -> None:
    make, channel = own
    evil = hostile_packages()[trick]
    channel.add(evil, CondaPackage("good", "1.0", files={"share/good.txt": text("good\n")})).index()
    packages = make.lock(evil.name, "good")
    with pytest.raises(ArtifactError) as caught:
        make.fetch(packages)
    assert str(caught.value).startswith(f"{evil.file_name}: ")
    assert nothing_cached(make.access)
    make.link([p for p in packages if p.name == "good"])


# Downloads that fail


def test_a_missing_artifact_is_told(make: Maker, channel_server: Served) -> None:
    (hello,) = make.lock("hello")
    channel_server.switches.only = "*/hello-*"
    channel_server.switches.status = 404
    with pytest.raises(FetchError) as caught:
        make.fetch([hello])
    assert str(caught.value) == f"{hello.url} cannot be read: HTTP 404 Not Found"
    assert channel_server.url in (caught.value.output or "")


def test_a_server_error_that_passes_is_no_error(make: Maker, channel_server: Served) -> None:
    packages = make.lock("hello")
    channel_server.switches.only = "*/hello-*"
    channel_server.switches.status, channel_server.switches.times = 503, 1
    make.fetch(packages)


def test_a_download_that_is_cut_is_told(make: Maker, channel_server: Served) -> None:
    (hello,) = make.lock("hello")
    channel_server.switches.only = "*/hello-*"
    channel_server.switches.truncate = True
    with pytest.raises(FetchError) as caught:
        make.fetch([hello])
    assert str(caught.value) == f"{hello.url} cannot be read: the answer was cut short or damaged"
    assert nothing_cached(make.access)


def test_a_download_that_stalls_is_given_up(make: Maker, channel_server: Served) -> None:
    from tykky.resolve.conda.archives import Archives

    (hello,) = make.lock("hello")
    channel_server.switches.only = "*/hello-*"
    channel_server.switches.hang = True
    with pytest.raises(FetchError) as caught:
        Archives(make.access, stalled=0.2).fetch([hello], lambda count: None)
    assert str(caught.value) == f"{hello.url} cannot be read: no answer in time"


def test_a_refused_connection_is_told(make: Maker, unused_port: int) -> None:
    (hello,) = make.lock("hello")
    dead = Access(make.access.cache, mirrors={CANONICAL: f"http://127.0.0.1:{unused_port}"})
    with pytest.raises(FetchError) as caught:
        fetch_and_check([hello], dead, Silent())
    assert str(caught.value) == f"{hello.url} cannot be read: connection refused"


def test_offline_without_the_artifact_is_told(make: Maker) -> None:
    packages = make.lock("hello")
    offline = Access(make.access.cache, offline=True, mirrors=make.access.mirrors)
    with pytest.raises(FetchError) as caught:
        fetch_and_check(packages, offline, Silent())
    assert (str(caught.value), caught.value.hint) == (
        "hello-1.1-h1234567_0.conda cannot be read: it is not in the cache",
        "run the same command once without --offline",
    )


def test_a_package_the_index_lies_about_is_told(own: tuple[Maker, Channel]) -> None:
    """An honest sha256 of an archive that lacks a file its own list names."""
    make, channel = own
    channel.add(CondaPackage("liar", "1.0", files={"a": File(b"a"), "b": Link("a")}, undeclared=("share/none",)))
    channel.add(CondaPackage("fine", "1.0", files={"bin/fine": script("#!/bin/sh\n")})).index()
    packages = make.lock("liar", "fine")
    with pytest.raises(BuildError) as caught:
        make.link(packages)
    assert str(caught.value) == "liar-1.0-0.conda cannot be linked"
    assert "share/none" in (caught.value.output or "")
