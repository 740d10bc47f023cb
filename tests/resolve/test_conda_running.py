"""A process that used rattler ends as it should, however soon it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from tykky.access import Access
from tykky.cli.main import leave
from tykky.progress import Silent
from tykky.resolve.conda.rattler import RattlerResolver
from tykky.resolve.ports import CondaRequest

request = CondaRequest("linux-64", (sys.argv[1],), ("variant",))
RattlerResolver(Access(Path(sys.argv[2]))).resolve(request, Silent())
leave(0)
"""


def test_ending_at_once_is_no_crash(conda_channel: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-c", PROGRAM, conda_channel.as_uri(), str(tmp_path / "cache")]
    assert [subprocess.run(argv, check=False).returncode for _ in range(8)] == [0] * 8
