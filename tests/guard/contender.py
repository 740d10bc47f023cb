"""Processes that want one guard; run as `python -m tests.guard.contender VERB DIRECTORY …` (see the functions)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tykky.guard.files import Pace
from tykky.guard.hold import guarded

# Nobody here is on another host, so nobody needs the silence: who is taken for dead by it is a failure.
PACE = Pace(beat=0.05, look=0.01, silence=1e6)


def quiet(message: str) -> None:
    """Say nothing."""


def count(directory: str, rounds: str, deadly: str = "0") -> None:
    """Add one to the file `count`, until it is `rounds`; at each multiple of `deadly` before, die holding the guard.

    Nothing but the guard keeps the others out; who meets another one inside leaves the file `met`.
    """
    place = Path(directory)
    counter, inside = place / "count", place / "inside"
    while True:
        with guarded(place / "guard", "count", wait=True, say=quiet, pace=PACE):
            if inside.exists():
                (place / "met").touch()
            inside.touch()
            done = int(counter.read_text())
            if done < int(rounds):
                time.sleep(random.random() / 1000)
                counter.write_text(str(done + 1))
            inside.unlink(missing_ok=True)
            if done + 1 >= int(rounds):
                return
            if int(deadly) and (done + 1) % int(deadly) == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def crowd(directory: str, processes: str, rounds: str, deadly: str = "0") -> None:
    """Let many processes count; replace those that die. Prints the count, and what is left in the directory."""
    place = Path(directory)
    (place / "count").write_text("0")
    argv = [sys.executable, "-m", "tests.guard.contender", "count", directory, rounds, deadly]
    running = [subprocess.Popen(argv) for _ in range(int(processes))]
    deaths = 0
    while running:
        process = running.pop(0)
        status = process.wait()
        if status == -signal.SIGKILL:
            deaths += 1
            running.append(subprocess.Popen(argv))
        elif status:
            sys.exit(f"a contender ended with {status}")
    with guarded(place / "guard", "the last one", wait=False, say=quiet, pace=PACE):
        pass
    met = " met" if (place / "met").exists() else ""
    left = sorted(p.name for p in place.iterdir() if p.name not in ("count", "met"))
    print(f"{(place / 'count').read_text()}{met} left {left} deaths {deaths}")


def hold(path: str) -> None:
    """Take the guard, say so, and keep it until the end of standard input; say what happened."""
    with guarded(Path(path), "build of /p/env", wait=True, say=lambda line: print(line, flush=True), pace=PACE):
        print("held", flush=True)
        sys.stdin.read()
    print("given back", flush=True)


def fork(path: str) -> None:
    """Take the guard, let a forked child leave the block, and say whether the guard is still there."""
    with guarded(Path(path), "build of /p/env", wait=True, say=quiet, pace=PACE):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            print("there" if Path(path).exists() else "gone", flush=True)
    print("gone" if not Path(path).exists() else "there", flush=True)


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]] = {"count": count, "crowd": crowd, "hold": hold, "fork": fork}
    verbs[sys.argv[1]](*sys.argv[2:])
