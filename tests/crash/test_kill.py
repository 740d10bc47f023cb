"""Invariant 6: kill -9 anywhere, and the last published generation runs, nothing is half-made, the next run cleans up.

Each verb is killed before every one of its system calls that changes something. What is done inside a scratch directory
(and inside the tree of a host image) is alike, so there every eighth call has to do. A part of the points is in
`make test`, all others in `make test-crash`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.mortal import why_not
from tests.crash.scenes import SCENES, Scene
from tests.crash.stage import PARTS, Stage, parts
from tests.crash.verdict import check_killed, outcome

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.mark.parametrize(("scene", "part"), list(parts()))
def test_killed_anywhere(stage: Stage, scene: Scene, part: int, tmp_path: Path) -> None:
    laid, where, undisturbed = stage.laid(scene)
    wrong = []
    for point in where[part::PARTS]:
        copy = laid.copy(tmp_path / str(point), others=True)
        before = {path: path.read_bytes() for path in copy.theirs if path.is_file()}
        killed = stage.run(copy, scene.words, point)
        try:
            assert killed["status"] in (-9, 0), killed["err"]  # 0: it made fewer calls this time
            check_killed(copy)
            stage.do(copy, scene.words, scene.after)
            assert outcome(copy) == undisturbed
            assert {path: path.read_bytes() for path in before} == before
        except (AssertionError, OSError) as error:
            wrong.append(f"killed before {point}, {killed['calls'][-1]}:\n{error}")
    assert not wrong, "\n\n".join([f"{len(wrong)} of {len(where[part::PARTS])}", *wrong])


def test_there_are_enough_points(stage: Stage) -> None:
    counts = {scene.name: len(stage.laid(scene)[1]) for scene in SCENES}
    assert sum(counts.values()) > 200, counts
    assert all(count > 4 for count in counts.values()), counts
