"""The disk of P is full in the middle of an update: P is as before, and the next one works when there is room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.mortal import why_not
from tests.crash.scenes import SCENES
from tests.crash.stage import Stage
from tests.end_to_end.test_bad_places import needs_tmpfs

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
SIZES = [f"size+{pages}" for pages in range(24)]
INODES = [f"nr_inodes+{number}" for number in range(0, 90, 6)]


@needs_tmpfs
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param([*SIZES[::8], *INODES[::7]], id="sample"),
        pytest.param(SIZES, id="sizes", marks=pytest.mark.thorough),
        pytest.param(INODES, id="inodes", marks=pytest.mark.thorough),
    ],
)
def test_the_disk_of_an_update_is_full(stage: Stage, tmp_path: Path, limits: list[str]) -> None:
    (scene,) = [scene for scene in SCENES if scene.name == "update"]
    laid, _, _ = stage.laid(scene)
    copy = laid.copy(tmp_path / "before", others=False)
    small = tmp_path / "small"
    small.mkdir()
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = [scene.name, small, copy.desk.directory, laid.cache, *limits]
    argv = ["unshare", *user, "--mount", "--", sys.executable, "-m", "tests.crash.small_disk", *map(str, words)]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["wrong"], "\n\n".join(found["wrong"])
    assert 0 < found["failed"] < len(limits), "some must fail, and some must have room enough"
