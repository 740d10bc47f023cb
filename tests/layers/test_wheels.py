"""Sources become wheels once, checked, and kept under what can change them."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.repository import git, make_repository
from tests.resolve.pypi_asking import PLATFORM, PYTHON, UV, private_home
from tests.resolve.pypi_index import Index, serve
from tests.wheelmaker import make_project, make_sdist, make_wheel
from tykky.access import Access
from tykky.digests import file_sha256, source_fingerprint
from tykky.errors import ArtifactError, BuildError, FetchError, LockError
from tykky.layers.wheels import Surroundings, build_wheel, key_document, local_wheel
from tykky.layers.workshop import Workshop
from tykky.lock.model import Package
from tykky.process import Commands, clean_environ
from tykky.progress import Silent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return private_home(tmp_path, monkeypatch)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with serve(tmp_path / "index") as running:
        yield running


def workshop(tmp_path: Path, *, offline: bool = False, mirrors: dict[str, str] | None = None) -> Workshop:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    commands = Commands(log=tmp_path / "log", environ=clean_environ({"UV_HTTP_RETRIES": "0"}))
    access = Access(tmp_path / "cache", offline=offline, mirrors=mirrors or {})
    return Workshop(access, commands, Silent(), None, (4, 6), UV, scratch)  # type: ignore[arg-type]


def around(tmp_path: Path, index: Index | None = None, **more: Any) -> Surroundings:
    url = "http://127.0.0.1:9/simple" if index is None else index.url
    return Surroundings(base=tmp_path, python=PYTHON, interpreter=sys.executable, index_url=url, **more)


def sdist_package(sdist: Path, url: str, name: str = "lib", version: str = "1.0") -> Package:
    return Package(
        name=name,
        version=version,
        kind="pypi",
        platform=PLATFORM,
        url=url,
        sha256=file_sha256(sdist),
        source="sdist",
    )


def directory_package(base: Path, path: str, version: str = "1.0") -> Package:
    return Package(
        name="lib",
        version=version,
        kind="pypi",
        platform=PLATFORM,
        path=path,
        source="directory",
        tree=source_fingerprint(base / path),
    )


def built(wheel: Path) -> dict[str, Any]:
    """What the backend wrote into the wheel about its own build."""
    with zipfile.ZipFile(wheel) as archive:
        return json.loads(archive.read("lib_built.json"))


def test_an_sdist_is_fetched_checked_built_and_kept(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0", requires=["leaf"])
    package = sdist_package(sdist, index.add(sdist))
    wheel = build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert wheel.name == "lib-1.0-py3-none-any.whl"
    assert wheel.parent.parent == tmp_path / "cache" / "wheels"
    assert built(wheel)["epoch"] == "315532800"
    document = json.loads((wheel.parent / "key.json").read_text())
    assert document["artifact"] == {"sha256": package.sha256, "commit": None, "tree": None}
    index.fault("/", 500)
    assert build_wheel(package, around(tmp_path), workshop(tmp_path, offline=True)) == wheel
    assert sorted(p.name for p in (tmp_path / "cache" / "wheels").iterdir()) == [wheel.parent.name]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_two_builds_give_the_same_bytes(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = sdist_package(sdist, index.add(sdist))
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        place.mkdir()
    one = build_wheel(package, around(tmp_path), workshop(first))
    other = build_wheel(package, around(tmp_path), workshop(second))
    assert one.parent.name == other.parent.name
    assert one.read_bytes() == other.read_bytes()


def test_settings_reach_the_backend_and_make_another_wheel(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = sdist_package(sdist, index.add(sdist))
    plain = build_wheel(package, around(tmp_path), workshop(tmp_path))
    settings = {"Lib": {"mpi": "on", "arch": ("80", "90")}, "other": {"mpi": "off"}}
    special = build_wheel(package, around(tmp_path, config_settings=settings), workshop(tmp_path))
    assert special != plain
    assert built(special)["settings"] == {"mpi": "on", "arch": ["80", "90"]}


def test_a_build_without_isolation_sees_the_interpreters_packages(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0", build_requires=["packaging"])
    package = sdist_package(sdist, index.add(sdist))
    how = around(tmp_path, no_build_isolation=("Lib",), against=("packaging==1",))
    assert built(build_wheel(package, how, workshop(tmp_path)))["sees"] == ["pytest"]
    environ: dict[str, str] = {}
    newer = replace(how, against=("packaging==2",))
    assert key_document(package, how, environ) != key_document(package, newer, environ)
    isolated = replace(how, no_build_isolation=())
    assert key_document(package, isolated, environ)["against"] == []


def test_an_isolated_build_gets_what_it_asks_for_from_the_index(tmp_path: Path, index: Index) -> None:
    index.add(make_wheel(tmp_path / "made", "builder", "1.0"))
    index.credentials = ("me", "open sesame")
    (tmp_path / "home" / ".netrc").write_text('machine 127.0.0.1 login me password "open sesame"\n')
    sdist = make_sdist(tmp_path / "made", "lib", "1.0", build_requires=["builder"])
    package = sdist_package(sdist, index.add(sdist))
    wheel = build_wheel(package, around(tmp_path, index), workshop(tmp_path))
    assert built(wheel)["sees"] == ["builder"]
    assert "sesame" not in (tmp_path / "log").read_text()


def test_what_the_build_asks_for_cannot_be_fetched(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0", build_requires=["builder"])
    package = sdist_package(sdist, index.add(sdist))
    with pytest.raises(FetchError) as caught:
        build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert str(caught.value) == "what the build of lib 1.0 asks for cannot be fetched"
    assert "http://127.0.0.1:9/simple/builder/" in (caught.value.output or "")


def test_a_compiler_variable_makes_another_wheel(tmp_path: Path) -> None:
    package = Package(name="lib", version="1.0", kind="pypi", platform=PLATFORM, sha256="0" * 64)
    how = around(tmp_path)
    assert key_document(package, how, {"CC": "gcc"}) != key_document(package, how, {"CC": "icx"})
    assert key_document(package, how, {"EDITOR": "vi"}) == key_document(package, how, {})


def test_everything_is_run_by_what_is_handed_in(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = sdist_package(sdist, index.add(sdist))
    how = around(tmp_path, run_inside=lambda argv: ["env", "TYKKY_INSIDE=yes", *argv])
    build_wheel(package, how, workshop(tmp_path))
    commands = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("$ ")]
    assert [line.startswith(f"$ env TYKKY_INSIDE=yes {UV} build --wheel ") for line in commands] == [True]


# Directories and git


def test_a_directory_is_built_from_a_copy(tmp_path: Path) -> None:
    project = make_project(tmp_path / "my lib", "lib", "1.0")
    (project / "build").mkdir()
    (project / "build" / "stale.py").write_text("")
    before = sorted(project.rglob("*"))
    project.chmod(0o555)
    wheel = build_wheel(directory_package(tmp_path, "my lib"), around(tmp_path), workshop(tmp_path))
    project.chmod(0o755)
    assert built(wheel)["python"].startswith(PYTHON)
    assert sorted(project.rglob("*")) == before


def test_a_directory_that_changed_since_it_was_locked(tmp_path: Path) -> None:
    project = make_project(tmp_path / "lib", "lib", "1.0")
    package = directory_package(tmp_path, "lib")
    (project / "lib.py").write_text("changed = True\n")
    with pytest.raises(BuildError) as caught:
        build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert str(caught.value) == f"{project} has changed since it was locked"
    assert caught.value.hint == "run 'tykky lock' to lock it as it is now"


def test_what_is_no_source_does_not_make_a_directory_stale(tmp_path: Path) -> None:
    project = make_project(tmp_path / "lib", "lib", "1.0", files={"lib/__init__.py": "", "lib/build/x.py": ""})
    before = source_fingerprint(project)
    for path in (".git/HEAD", "build/lib.so", "lib.egg-info/PKG-INFO", "lib/__pycache__/x.pyc", "tykky.lock"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text("x")
    (project / "MyEnv" / ".tykky").mkdir(parents=True)
    (project / "empty").mkdir()
    (project / "lib.py").parent.chmod(0o700)
    (project / "recipe.json").chmod(0o600)
    assert source_fingerprint(project) == before
    (project / "recipe.json").chmod(0o755)
    assert source_fingerprint(project) != before
    (project / "recipe.json").chmod(0o644)
    (project / "lib/build/y.py").write_text("")
    assert source_fingerprint(project) != before


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", "lib", "1.0")


def git_package(repository: Path, commit: str) -> Package:
    return Package(
        name="lib",
        version="1.0",
        kind="pypi",
        platform=PLATFORM,
        url=f"git+{repository.as_uri()}",
        source="git",
        commit=commit,
        subdirectory="python",
    )


def test_a_commit_is_checked_out_and_built_also_when_no_branch_has_it(tmp_path: Path, repository: Path) -> None:
    package = git_package(repository, git(repository, "rev-parse", "HEAD"))
    make_project(repository / "python", "lib", "2.0")
    git(repository, "commit", "-a", "--amend", "-m", "second")
    wheel = build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert wheel.name == "lib-1.0-py3-none-any.whl"


def test_a_commit_that_is_not_there(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(FetchError) as caught:
        build_wheel(git_package(repository, "0" * 40), around(tmp_path), workshop(tmp_path))
    assert str(caught.value) == f"{repository.as_uri()} cannot be fetched at {'0' * 40}"


@pytest.mark.parametrize("commit", ["main", "--upload-pack=touch x", None])
def test_a_commit_that_is_none(tmp_path: Path, repository: Path, commit: str | None) -> None:
    with pytest.raises(LockError) as caught:
        build_wheel(git_package(repository, commit), around(tmp_path), workshop(tmp_path))  # type: ignore[arg-type]
    assert str(caught.value) == ("tykky.lock: lib 1.0: a git source needs 'url' (git+…) and 'commit' (a full hash)")


def test_a_subdirectory_cannot_lead_out(tmp_path: Path, repository: Path) -> None:
    package = replace_package(git_package(repository, git(repository, "rev-parse", "HEAD")), subdirectory="../../..")
    with pytest.raises(BuildError) as caught:
        build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert str(caught.value) == "lib 1.0: its source has no directory '../../..'"


def replace_package(package: Package, **changes: Any) -> Package:
    import msgspec

    return msgspec.structs.replace(package, **changes)


# Failures


def test_a_backend_that_fails(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0", fail="wheel")
    with pytest.raises(BuildError) as caught:
        build_wheel(sdist_package(sdist, index.add(sdist)), around(tmp_path), workshop(tmp_path))
    error = caught.value
    assert str(error) == "lib 1.0 cannot be built: its build backend failed"
    assert (error.output or "").endswith("backend: fatal error: mpi.h: No such file or directory")
    assert error.hint == (
        f"install what its build needs, or choose a version with a wheel; the whole output is in {tmp_path / 'log'}"
    )
    assert list((tmp_path / "cache" / "wheels").iterdir()) == []


def test_a_source_that_builds_another_version(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = sdist_package(sdist, index.add(sdist), version="1.1")
    with pytest.raises(BuildError) as caught:
        build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert str(caught.value) == "the source of lib 1.1 builds lib 1.0"


def test_an_sdist_with_another_hash(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = replace_package(sdist_package(sdist, index.add(sdist)), sha256="0" * 64)
    with pytest.raises(ArtifactError) as caught:
        build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert str(caught.value) == (
        f"{package.url} is not what the lock says: expected sha256 {'0' * 64}, got {file_sha256(sdist)}"
    )
    assert [p for p in (tmp_path / "cache" / "artifacts").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (404, "{url} answered 404 Not Found"),
        (500, "{url} answered 500 Internal Server Error"),
        (401, "{url} answered 401 Unauthorized"),
        ("drop", "{url} cannot be reached: the connection was closed"),
    ],
)
def test_an_sdist_that_cannot_be_had(tmp_path: Path, index: Index, fault: Any, reason: str) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = sdist_package(sdist, index.add(sdist))
    index.fault("/files/", fault)
    with pytest.raises(FetchError) as caught:
        build_wheel(package, around(tmp_path), workshop(tmp_path))
    assert str(caught.value) == reason.format(url=package.url)
    assert [p for p in (tmp_path / "cache" / "artifacts").rglob("*") if p.is_file()] == []


def test_an_sdist_that_is_not_cached_offline(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = sdist_package(sdist, index.add(sdist))
    with pytest.raises(FetchError) as caught:
        build_wheel(package, around(tmp_path), workshop(tmp_path, offline=True))
    assert str(caught.value) == f"{package.url} is not in the cache, and --offline allows no network"
    assert index.requests == []


def test_an_sdist_comes_from_the_mirror_with_its_credentials(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    index.add(sdist)
    index.credentials = ("me", "sesame")
    (tmp_path / "home" / ".netrc").write_text("machine 127.0.0.1 login me password sesame\n")
    package = sdist_package(sdist, "https://files.pythonhosted.org/packages/lib-1.0.tar.gz")
    mirrors = {"https://files.pythonhosted.org/packages": f"{index.origin}/files"}
    assert build_wheel(package, around(tmp_path), workshop(tmp_path, mirrors=mirrors)).is_file()


# Many at once, and after a crash


def test_concurrent_builds_give_one_wheel(tmp_path: Path, index: Index) -> None:
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    package = sdist_package(sdist, index.add(sdist))
    shop = workshop(tmp_path)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(build_wheel(package, around(tmp_path), shop))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert [p.name for p in (tmp_path / "cache" / "wheels").iterdir()] == [found[0].parent.name]


def test_what_a_killed_build_left_is_removed_and_nothing_else(tmp_path: Path, index: Index) -> None:
    root = tmp_path / "cache" / "wheels"
    gone = root / f".building-{socket.gethostname()}-999999999-x"
    running = root / f".building-{socket.gethostname()}-{os.getpid()}-x"
    elsewhere = root / ".building-another-host-999999999-x"
    fresh = root / f".building-{socket.gethostname()}-999999998-x"
    for left in (gone, running, elsewhere, fresh):
        left.mkdir(parents=True)
    for left in (gone, running, elsewhere):
        os.utime(left, (0, 0))
    sdist = make_sdist(tmp_path / "made", "lib", "1.0")
    build_wheel(sdist_package(sdist, index.add(sdist)), around(tmp_path), workshop(tmp_path))
    left_over = {p for p in root.iterdir() if p.name.startswith(".")}
    assert left_over == {running, elsewhere, fresh}


# Local wheels


def local_package(wheel: Path) -> Package:
    return Package(
        name="lib",
        version="1.0",
        kind="pypi",
        platform=PLATFORM,
        path=f"dist/{wheel.name}",
        sha256=file_sha256(wheel),
        source="wheel",
    )


def test_a_local_wheel_is_checked(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "lib", "1.0")
    package = local_package(wheel)
    assert local_wheel(package, tmp_path) == wheel
    with pytest.raises(ArtifactError) as caught:
        local_wheel(replace_package(package, sha256="1" * 64), tmp_path)
    assert str(caught.value) == (
        f"{wheel} is not what the lock says: expected sha256 {'1' * 64}, got {file_sha256(wheel)}"
    )
    assert wheel.exists()
    wheel.unlink()
    with pytest.raises(FetchError) as gone:
        local_wheel(package, tmp_path)
    assert str(gone.value) == f"{wheel} does not exist"


def test_a_local_wheel_that_would_leave_the_prefix_is_refused_by_name(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "dist", "lib", "1.0", files={"../../evil.pth": "import os"})
    package = local_package(wheel)
    with pytest.raises(ArtifactError) as caught:
        local_wheel(package, tmp_path)
    assert str(caught.value) == (
        "lib-1.0-py3-none-any.whl holds what no package may hold:\n  '../../evil.pth' would leave the prefix"
    )
