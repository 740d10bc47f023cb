"""A disk that fails once (EIO) or is full from some moment on (ENOSPC), at every call that changes something.

What ran before runs, the error says what happened, and the next run makes everything good, as after a kill.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.crash.mortal import why_none_fails
from tests.crash.scenes import Scene
from tests.crash.stage import PARTS, Stage, parts
from tests.crash.verdict import check_killed, outcome

pytestmark = pytest.mark.skipif(why_none_fails() is not None, reason=str(why_none_fails()))

_STEP = 8  # where a kill does no harm, an error rarely does


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize(("scene", "part"), list(parts()))
def test_the_disk_fails_anywhere(stage: Stage, scene: Scene, part: int, number: int, tmp_path: Path) -> None:
    laid, where, undisturbed = stage.laid(scene)
    wrong = []
    for point in where[part :: _STEP * PARTS]:
        copy = laid.copy(tmp_path / str(point), others=True)
        before = {path: path.read_bytes() for path in copy.theirs if path.is_file()}
        failed = stage.run(copy, scene.words, point, number)
        try:
            check_said(failed, number)
            check_killed(copy)
            stage.do(copy, scene.words, scene.after)
            came = outcome(copy)
            # A name that cannot be a link is a copy, until the launcher's text changes.
            assert {**came, "inodes of bin": 1} == undisturbed
            assert {path: path.read_bytes() for path in before} == before
        except (AssertionError, OSError) as error:
            call = failed["calls"][min(point, len(failed["calls"]) - 1)]
            wrong.append(f"failed at {point}, {call}:\n{error}\n{failed['err']}")
    assert not wrong, "\n\n".join([f"{len(wrong)} of {len(where[part :: _STEP * PARTS])}", *wrong])


def check_said(failed: dict[str, Any], number: int) -> None:
    """The error is one for people; it need not be one, where what failed was of no importance."""
    said = failed["err"]
    assert "Traceback" not in said
    if failed["status"] != 0:
        assert failed["status"] > 0
        assert "error: " in said
        # The third is Python's own, where a full disk leaves no TMPDIR.
        reasons = (os.strerror(number).lower(), "no space left", "no usable temporary directory")
        assert any(reason in said.lower() for reason in reasons)
