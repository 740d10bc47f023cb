"""What a build refuses: artifacts that are not what the lock says, hostile ones, locks that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.channel import Channel, Served, serve
from tests.channel.hostile import hostile_packages
from tests.end_to_end.conftest import MINOR, Desk, run
from tests.resolve import pypi_index
from tests.wheelmaker import make_wheel

ZEROS = "0" * 64


@pytest.fixture
def index(tmp_path: Path) -> Iterator[pypi_index.Index]:
    """A package index over HTTP with one good wheel and one hostile one."""
    root = tmp_path / "index"
    root.mkdir()
    with pypi_index.serve(root) as served:
        served.add(make_wheel(tmp_path / "made", "good", "1.0", files={"good.py": "VERSION = '1.0'\n"}))
        served.add(make_wheel(tmp_path / "made", "evil", "1.0", files={"evil.py": "", "../../../escape.py": "x"}))
        yield served


def pypi_spec(index: pypi_index.Index, dependency: str) -> str:
    return (
        f'[environment]\nname = "demo"\n[pypi]\npython = "{MINOR}"\n'
        f'index-url = "{index.url}"\ndependencies = ["{dependency}"]\n'
    )


def nothing_built(desk: Desk) -> bool:
    return sorted(p.name for p in desk.directory.iterdir()) == ["tykky.lock", "tykky.toml"]


def test_a_hostile_wheel_is_refused_by_name(desk: Desk, index: pypi_index.Index) -> None:
    desk.write(pypi_spec(index, "evil"))
    desk.tykky("lock")
    refused = desk.tykky("build", status=8)
    assert (
        "error: evil-1.0-py3-none-any.whl holds what no package may hold:\n"
        "  '../../../escape.py' would leave the prefix\n"
    ) in refused.err
    assert nothing_built(desk)


def test_a_wheel_that_is_not_the_locked_one(desk: Desk, index: pypi_index.Index) -> None:
    desk.write(pypi_spec(index, "good"))
    desk.tykky("lock")
    lock = desk.directory / "tykky.lock"
    right = lock.read_text()
    (true,) = re.findall(r'sha256 = "([0-9a-f]{64})"', right)
    lock.write_text(right.replace(true, ZEROS))
    refused = desk.tykky("build", status=8)
    assert f"is not what the lock says: expected sha256 {ZEROS}, got {true}\n" in refused.err
    assert nothing_built(desk)
    lock.write_text(right)
    desk.tykky("build")
    assert run([desk.directory / "demo" / "bin" / "python", "-c", "import good; print(good.VERSION)"]) == "1.0\n"


def test_a_conda_package_that_is_not_the_locked_one(desk: Desk, channel_server: Served, home: Path) -> None:
    desk.write(
        f'[environment]\nname = "demo"\n[conda]\nchannels = ["{channel_server.url}"]\n'
        '[conda.dependencies]\nclobber-a = "*"\n'
    )
    desk.tykky("lock")
    lock = desk.directory / "tykky.lock"
    right = lock.read_text()
    (true,) = re.findall(r'sha256 = "([0-9a-f]{64})"', right)
    lock.write_text(right.replace(true, ZEROS))
    refused = desk.tykky("build", status=8)
    assert "error: clobber-a-1.0-0.conda is not what the lock says\n" in refused.err
    assert f"    expected sha256 {ZEROS}\n    actual sha256   {true}\n" in refused.err
    assert nothing_built(desk)
    kept = [p for p in (home / ".cache" / "tykky" / "conda").rglob("*clobber*") if p.is_file()]
    assert kept == [], "the bad file is removed"
    lock.write_text(right)
    desk.tykky("build")


def test_hostile_conda_packages_are_refused_by_name(desk: Desk, tmp_path: Path) -> None:
    packages = hostile_packages("conda")
    channel = Channel(tmp_path / "hostile")
    values = list(packages.values()) if isinstance(packages, dict) else list(packages)
    channel.add(*values).index()
    with serve(tmp_path / "hostile") as served:
        for package in values:
            desk.write(
                f'[environment]\nname = "demo"\n[conda]\nchannels = ["{served.url}"]\n'
                f'[conda.dependencies]\n{package.name} = "*"\n'
            )
            (desk.directory / "tykky.lock").unlink(missing_ok=True)
            desk.tykky("lock")
            refused = desk.tykky("build", status=8)
            assert package.name in refused.err
            assert nothing_built(desk), package.name


def test_locks_that_cannot_be_used(desk: Desk, index: pypi_index.Index) -> None:
    desk.write(pypi_spec(index, "good"))
    missing = desk.tykky("build", status=4)
    assert missing.err == "error: tykky.lock: no such file\n\nhint: make it with 'tykky lock'\n"
    desk.tykky("lock")
    lock = desk.directory / "tykky.lock"
    right = lock.read_text()
    cases = {
        right[: len(right) // 2]: "not valid TOML",
        right.replace('"1.0"', '"2.0"', 1): "lock-version: the format is version 2.0, tykky 0.1.0 reads version 1",
        right.replace("linux-64", "linux-aarch64"): "the lock is for linux-aarch64, this host is linux-64",
        right.replace('name = "good"', 'name = "../good"'): "name",
        right.replace('sha256 = "', 'sha256 = "x'): "sha256",
    }
    for text, reason in cases.items():
        lock.write_text(text)
        refused = desk.tykky("build", "--no-check", status=4)
        assert reason in refused.err
        assert "\nhint: " in refused.err
        assert nothing_built(desk)


def test_a_lock_that_does_not_answer_the_spec_is_not_built_unless_asked(desk: Desk, index: pypi_index.Index) -> None:
    desk.write(pypi_spec(index, "good"))
    desk.tykky("lock")
    before = (desk.directory / "tykky.lock").read_bytes()
    desk.write(pypi_spec(index, "good>=2"))
    stale = desk.tykky("build", status=5)
    assert stale.err == (
        "error: tykky.lock does not answer tykky.toml any more:\n"
        "  good>=2 is asked for, good 1.0 is locked\n\n"
        "hint: run 'tykky lock' (or build what is locked with --no-check)\n"
    )
    unsatisfiable = desk.tykky("lock", status=6)
    assert "Because only good==1.0 is available and you require good>=2" in unsatisfiable.err
    assert (desk.directory / "tykky.lock").read_bytes() == before
    desk.tykky("build", "--no-check")


def test_an_index_that_fails_leaves_the_old_lock(desk: Desk, index: pypi_index.Index) -> None:
    desk.write(pypi_spec(index, "good"))
    desk.tykky("lock")
    before = (desk.directory / "tykky.lock").read_bytes()
    index.fault("/simple/good/", 503)
    failed = desk.tykky("lock", "--upgrade", status=7)
    assert index.url in failed.err
    assert "\nhint: " in failed.err
    assert (desk.directory / "tykky.lock").read_bytes() == before
