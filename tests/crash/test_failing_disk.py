"""A file system that fails (FUSE) under a real update: mksquashfs, uv and rattler meet it too, not only our own calls.

P is as before, the error says what failed where and what to do, and the next update works as if nothing had been.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import flockless
from tests.crash.failing_disk import lay_out
from tests.crash.warm import Warm

pytestmark = pytest.mark.skipif(flockless.why_not() is not None, reason=str(flockless.why_not()))

# Every so many changes, from which on: an update makes 150 in P, 430 in its scratch directory and caches.
_FEW, _MANY = (300, 77), (60, 5, 35)
# What `make test` takes of each error; a disk that is full everywhere is full where P is, too.
_SAMPLE = (("work", errno.EIO), ("all", errno.ENOSPC))


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment before an update, with the caches of both."""
    root = tmp_path_factory.mktemp("laid") / "laid"
    root.mkdir()
    warm = Warm(root.parent / "said")
    lay_out(root, warm)
    warm.close()
    yield root


def tries() -> Iterator[Any]:
    """Each place with either error, at many moments; the sample at one or two."""
    for role in ("env", "work", "all"):
        for number in (errno.EIO, errno.ENOSPC):
            name = f"{role}-{errno.errorcode[number]}"
            yield pytest.param(role, number, _MANY, id=f"{name}-many", marks=pytest.mark.thorough)
            if (role, number) in _SAMPLE:
                yield pytest.param(role, number, _FEW, id=name)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("role", "number", "parts"), list(tries()))
def test_the_file_system_fails(laid: Path, tmp_path: Path, role: str, number: int, parts: tuple[int, ...]) -> None:
    place = tmp_path / "failing"
    place.mkdir()
    own = tmp_path / "own"
    own.mkdir()
    os.symlink(laid, own / "laid")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = [place, own / "laid", role, number, *parts]
    argv = ["unshare", *user, "--mount", "--", sys.executable, "-m", "tests.crash.failing_disk", *map(str, words)]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["wrong"], "\n\n".join([f"{len(found['wrong'])} of {found['tries']}", *found["wrong"]])
    assert found["failed"] > 0, found
