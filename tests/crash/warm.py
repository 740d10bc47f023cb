"""Runs `tykky` in a process that has imported it already (`mortal.py`): a verb costs what it does, not its start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Warm:
    """That process; it is started when it is needed first. What runs in it sees the variables of that moment."""

    said: Path
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def run(
        self,
        words: Sequence[str],
        cwd: Path,
        *,
        environ: Mapping[str, str] | None = None,
        kill: int | None = None,
        fail: int | None = None,
        traced: bool = True,
    ) -> dict[str, Any]:
        """Run a verb and return what `mortal.py` answers."""
        if self._process is None:
            argv = [sys.executable, "-m", "tests.crash.mortal", str(self.said)]
            self._process = subprocess.Popen(
                argv, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "words": words,
            "cwd": str(cwd),
            "kill": kill,
            "environ": environ or {},
            "traced": traced,
            "fail": fail,
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def do(self, *words: str, cwd: Path, environ: Mapping[str, str] | None = None) -> None:
        """Run a verb that must succeed."""
        done = self.run(words, cwd, environ=environ, traced=False)
        assert done["status"] == 0, f"{words}: {done['err']}"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
