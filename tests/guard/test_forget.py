"""A guard that nobody takes any more, left by a process that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tykky.guard.hold import forget, guarded, is_forsaken

# Dies while it holds the guard, or in the middle of giving it back: before the unlink number N.
DIES = """
import os, sys
from pathlib import Path
from tykky.guard.hold import guarded
left, unlink = int(sys.argv[2]), Path.unlink
def dying(path, missing_ok=False):
    global left
    left -= 1
    if left < 0:
        os._exit(0)
    unlink(path, missing_ok)
with guarded(Path(sys.argv[1]), "a test", wait=True, say=print):
    Path.unlink = dying
"""


@pytest.mark.parametrize("unlinks", [0, 1, 2])
def test_what_a_dead_one_left_goes(tmp_path: Path, unlinks: int) -> None:
    """At 0 it leaves the guard, a claim and a private name; at 1 the first two, at 2 the claim."""
    guard = tmp_path / "guard"
    subprocess.run([sys.executable, "-c", DIES, str(guard), str(unlinks)], check=True)
    assert len(list(tmp_path.iterdir())) == 3 - unlinks
    assert is_forsaken(guard)
    forget(guard)
    assert list(tmp_path.iterdir()) == []
    assert not is_forsaken(guard)


def test_what_a_living_one_holds_stays(tmp_path: Path) -> None:
    guard = tmp_path / "guard"
    with guarded(guard, "a test", wait=True, say=print):
        assert not is_forsaken(guard)
        forget(guard)
        assert guard.exists()


def test_what_is_no_guard_stays(tmp_path: Path) -> None:
    for path in (tmp_path / "guard", tmp_path / ".guard.notes", tmp_path / ".guard.0123.claim"):
        path.write_text("mine")
    assert not is_forsaken(tmp_path / "guard")
    forget(tmp_path / "guard")
    assert len(list(tmp_path.iterdir())) == 3
    assert not is_forsaken(tmp_path / "nowhere" / "guard")
    forget(tmp_path / "nowhere" / "guard")
