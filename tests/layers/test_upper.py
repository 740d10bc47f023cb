"""The upper directory of an overlay: a real try, and what one says."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.layers.stacks import PREFIX, Bench
from tykky.layers import upper
from tykky.layers.upper import Marks, open_up, take_marks


def stacked(tmp_path: Path) -> tuple[Bench, list[Path]]:
    """Return a bench and its images, over which something can be written."""
    bench = Bench(tmp_path)
    images = bench.stack()
    if upper.why_not(PREFIX, images, bench.workshop("it")) is not None:
        pytest.skip("no overlay can be written here")
    return bench, images


def test_nothing_below(tmp_path: Path) -> None:
    assert upper.why_not(PREFIX, [], Bench(tmp_path).workshop("it")) == "there is nothing below"


def test_a_try_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, images = stacked(tmp_path)
    monkeypatch.setattr(upper, "_CHANGES", "echo 'rm: Input/output error' >&2; exit 5")
    workshop = bench.workshop("again")
    assert upper.why_not(PREFIX, images, workshop) == "rm: Input/output error"
    assert not (workshop.scratch / "probe").exists()


def test_a_file_system_that_does_not_keep_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, images = stacked(tmp_path)
    monkeypatch.setattr(upper, "_OPAQUE", "user.overlay.of-another-kernel")
    reason = upper.why_not(PREFIX, images, bench.workshop("again"))
    assert reason == "this file system does not keep what an overlay needs"


def test_marks_are_taken_out_of_a_tree(tmp_path: Path) -> None:
    tree = tmp_path / "upper"
    (tree / "d" / "deep").mkdir(parents=True)
    (tree / "d" / "file").write_text("x")
    try:
        os.mknod(tree / "d" / "gone", stat.S_IFCHR, os.makedev(0, 0))  # allowed to everybody since Linux 5.8
        os.setxattr(tree / "d" / "deep", "user.overlay.opaque", b"y")
    except OSError as error:
        pytest.skip(f"this file system: {error}")
    assert take_marks(tree) == Marks(frozenset({"d/gone"}), frozenset({"d/deep"}))
    assert sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*")) == ["d", "d/deep", "d/file"]
    assert take_marks(tree) == Marks(frozenset(), frozenset({"d/deep"}))


def test_what_is_closed_is_opened(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    (closed / "in" / "file").write_text("x")
    (closed / "in" / "program").write_text("x")
    (closed / "link").symlink_to("/nowhere")
    (closed / "in" / "file").chmod(0)
    (closed / "in" / "program").chmod(0o111)
    (closed / "in").chmod(0)
    closed.chmod(0)
    open_up(tmp_path)
    modes = {
        path.relative_to(tmp_path).as_posix(): oct(stat.S_IMODE(path.lstat().st_mode)) for path in tmp_path.rglob("*")
    }
    assert modes == {
        "closed": "0o700",
        "closed/in": "0o700",
        "closed/in/file": "0o600",
        "closed/in/program": "0o711",
        "closed/link": "0o777",
    }


def test_nothing_is_left_mounted_after_a_try(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    upper.why_not(PREFIX, bench.stack(), bench.workshop("it"))
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in mounts
    assert subprocess.run(["find", tmp_path, "-name", "work"], capture_output=True, check=True).stdout == b""
