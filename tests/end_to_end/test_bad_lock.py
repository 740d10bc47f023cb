"""Locks that a build refuses: missing, damaged, too new, for another platform, not answering the spec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk
from tests.resolve import pypi_index
from tests.wheelmaker import make_wheel


@pytest.fixture
def index(tmp_path: Path) -> Iterator[pypi_index.Index]:
    """A package index over HTTP with one wheel."""
    root = tmp_path / "index"
    root.mkdir()
    with pypi_index.serve(root) as served:
        served.add(make_wheel(tmp_path / "made", "good", "1.0", files={"good.py": "VERSION = '1.0'\n"}))
        yield served


def pypi_spec(index: pypi_index.Index, dependency: str) -> str:
    return (
        f'[environment]\nname = "demo"\n[pypi]\npython = "{MINOR}"\n'
        f'index-url = "{index.url}"\ndependencies = ["{dependency}"]\n'
    )


def nothing_built(desk: Desk) -> bool:
    return sorted(p.name for p in desk.directory.iterdir()) == ["tykky.lock", "tykky.toml"]


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
