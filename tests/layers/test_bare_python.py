"""An interpreter that needs no mount: from the package cache, linked with what it needs, or unpacked."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.channel.nasty import MINOR, put, slim_python
from tests.channel.package import CondaPackage, File, text
from tests.channel.python import interpreter
from tests.layers.stacks import Bench, Notes
from tests.standalone import archive, standalone_files
from tykky.digests import file_sha256, tree_fingerprint
from tykky.errors import ArtifactError
from tykky.layers import managed
from tykky.layers.bare_python import bare_python
from tykky.layers.conda_packages import unpacked
from tykky.layers.workshop import Workshop
from tykky.lock.model import Package
from tykky.resolve.conda.records import file_name


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Bench(tmp_path).workshop("scratch")


@pytest.fixture
def python(tmp_path: Path) -> Package:
    return put(slim_python(), tmp_path / "channel")


def again(workshop: Workshop, name: str) -> Workshop:
    """Return the tools of another build with the same cache."""
    scratch = workshop.scratch.with_name(name)
    scratch.mkdir()
    return replace(workshop, scratch=scratch)


def prefix_of(program: str) -> str:
    argv = [program, "-c", "import sys; print(sys.prefix)"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def notes(workshop: Workshop) -> list[str]:
    assert isinstance(workshop.reporter, Notes)
    return workshop.reporter.notes


def test_a_conda_python_runs_where_the_cache_has_it(workshop: Workshop, python: Package) -> None:
    assert bare_python([python], "linux-64", workshop, fetch=False) is None
    found = bare_python([python], "linux-64", workshop, fetch=True)
    assert found == str(unpacked(python, workshop.access) / "bin" / "python")
    assert prefix_of(found) == str(unpacked(python, workshop.access))
    # From now on it is at hand, and nothing is linked or started twice in one build.
    assert bare_python([python], "linux-64", again(workshop, "next"), fetch=False) == found


def test_a_whole_python_of_conda_starts_alone_and_is_left_as_it_is(
    conda_channel: Path, tmp_path: Path, workshop: Workshop
) -> None:
    (place,) = (conda_channel / "linux-64").glob("python-3*.conda")
    name, version, build = place.stem.rsplit("-", 2)
    package = Package(
        name, version, "conda", "linux-64", url=place.as_uri(), sha256=file_sha256(place), build=build, build_number=0,
        channel=conda_channel.as_uri(), subdir="linux-64",
    )  # fmt: skip
    found = bare_python([package], "linux-64", workshop, fetch=True)
    root = unpacked(package, workshop.access)
    before = tree_fingerprint(root)
    assert found == str(root / "bin" / "python")
    assert bare_python([package], "linux-64", again(workshop, "next"), fetch=False) == found
    assert tree_fingerprint(root) == before


def test_one_that_does_not_start_alone_is_linked_with_what_it_needs(tmp_path: Path, workshop: Workshop) -> None:
    whole = slim_python()
    channel = tmp_path / "channel"
    files = {"share/meta": text("x\n")}
    meta = CondaPackage("python", whole.version, "0_meta", files=files, depends=("impl >=1", "gone"))
    packages = [
        put(meta, channel),
        put(CondaPackage("impl", "1", files=whole.files, depends=("python",)), channel),
        put(CondaPackage("other", "1", files={"share/other": text("x\n")}), channel),
    ]
    found = bare_python(packages, "linux-64", workshop, fetch=True)
    assert found == str(workshop.scratch / "python-whole" / "bin" / "python")
    assert not (workshop.scratch / "python-whole" / "share" / "other").exists()
    assert prefix_of(found) == str(workshop.scratch / "python-whole")


def test_a_cache_that_was_thinned_out_is_mended(workshop: Workshop, python: Package) -> None:
    found = bare_python([python], "linux-64", workshop, fetch=True)
    assert found is not None
    (Path(found).parent / f"python{MINOR}").unlink()
    second = again(workshop, "second")
    assert bare_python([python], "linux-64", second, fetch=True) == str(second.scratch / "python-whole/bin/python")
    assert any("is damaged; it is fetched again" in note for note in notes(second))
    assert bare_python([python], "linux-64", again(workshop, "third"), fetch=False) == found


def test_one_that_does_not_start_at_all_is_none(tmp_path: Path, workshop: Workshop) -> None:
    broken = CondaPackage("python", "3.11.0", files={"bin/python": File(b"#!/bin/sh\nexit 1\n", 0o755)})
    assert bare_python([put(broken, tmp_path / "channel")], "linux-64", workshop, fetch=True) is None


def test_an_interpreter_of_another_place_is_none(tmp_path: Path, workshop: Workshop) -> None:
    """What says that its prefix is elsewhere would tell uv to install there."""
    elsewhere = CondaPackage("python", "3.11.0", files={"bin/python": File(b"#!/bin/sh\necho /usr\n", 0o755)})
    assert bare_python([put(elsewhere, tmp_path / "channel")], "linux-64", workshop, fetch=True) is None


def test_what_cannot_be_had_is_said(workshop: Workshop, python: Package) -> None:
    gone = msgspec.structs.replace(python, url=f"https://example.org/linux-64/{file_name(python)}")
    assert bare_python([gone], "linux-64", workshop, fetch=True) is None
    assert [note for note in notes(workshop) if note.startswith("the environment is mounted for its interpreter: ")]


def test_what_is_not_what_the_lock_says_is_an_error(tmp_path: Path, workshop: Workshop, python: Package) -> None:
    place = next((tmp_path / "channel").rglob("python-*.conda"))
    place.write_bytes(place.read_bytes() + b"x")
    with pytest.raises(ArtifactError):
        bare_python([python], "linux-64", workshop, fetch=True)


def test_without_a_python_there_is_none(tmp_path: Path, workshop: Workshop) -> None:
    other = put(CondaPackage("other", "1", files={"share/other": text("x\n")}), tmp_path / "channel")
    assert bare_python([other], "linux-64", workshop, fetch=True) is None


@pytest.fixture(scope="module")
def standalone() -> bytes:
    source = interpreter()
    return archive(standalone_files(source, source.version))


@pytest.fixture
def own(standalone: bytes, tmp_path: Path) -> Package:
    """An interpreter that uv manages."""
    place = tmp_path / "cpython.tar.gz"
    source = interpreter()
    place.write_bytes(standalone)
    sha256 = file_sha256(place)
    return Package("cpython", source.version, "python", "linux-64", url=place.as_uri(), sha256=sha256)


def test_a_managed_python_is_unpacked_once(tmp_path: Path, workshop: Workshop, own: Package) -> None:
    assert bare_python([own], "linux-64", workshop, fetch=False) is None
    found = bare_python([own], "linux-64", workshop, fetch=True)
    assert found == str(workshop.access.cache / "pythons" / str(own.sha256) / "bin" / f"python{MINOR}")
    (tmp_path / "cpython.tar.gz").unlink()
    assert bare_python([own], "linux-64", again(workshop, "next"), fetch=True) == found
    assert sorted(path.name for path in (workshop.access.cache / "pythons").iterdir()) == [own.sha256]


def test_a_managed_python_that_was_thinned_out_is_unpacked_again(workshop: Workshop, own: Package) -> None:
    found = bare_python([own], "linux-64", workshop, fetch=True)
    assert found is not None
    shutil.rmtree(Path(found).parents[1] / "lib" / f"python{MINOR}" / "json")
    assert bare_python([own], "linux-64", again(workshop, "next"), fetch=True) == found
    assert prefix_of(found) == str(Path(found).parents[1])


def test_two_builds_unpack_one_managed_python(
    workshop: Workshop, own: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = managed.unpack

    def slow(archive: Path, target: Path) -> None:
        real(archive, target)
        shutil.copytree(target, workshop.access.cache / "pythons" / str(own.sha256), symlinks=True)  # the other's

    monkeypatch.setattr(managed, "unpack", slow)
    assert bare_python([own], "linux-64", workshop, fetch=True) is not None
