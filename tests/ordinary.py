"""Do something as an ordinary user, also where the tests run as root, whom no permission stops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

NOBODY = 65534


@contextmanager
def open_place() -> Iterator[Path]:
    """Give a directory that belongs to the ordinary user; pytest's own directories are closed to others."""
    made = Path(tempfile.mkdtemp(prefix="tykky-test-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            os.chown(made, NOBODY, NOBODY)
        yield made
    finally:
        for folder, _, _ in os.walk(made):
            Path(folder).chmod(0o700)
        shutil.rmtree(made)


def as_ordinary_user(work: Callable[[], None]) -> None:
    """Call `work` as a user without privileges, in a process of its own; what it raises fails the test."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "see the traceback of the other process"


def ordinary_argv(*argv: str | Path) -> list[str]:
    """Return the command line that runs a program as a user without privileges."""
    given = [str(word) for word in argv]
    if os.geteuid() != 0:
        return given
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *given]


@cache
def why_not_ordinary() -> str | None:
    """Return why the command line cannot be run as an ordinary user, or None: root's own checkout may be closed."""
    if os.geteuid() != 0:
        return None
    if shutil.which("setpriv") is None:
        return "setpriv is missing"
    code = (
        "import sys, tykky.cli.boundary, tykky.process, tykky.runtime.interpreter as room;"
        "room.find_interpreter('.'.join(map(str, sys.version_info[:2])), tykky.process.Commands())"
    )
    done = subprocess.run(ordinary_argv(sys.executable, "-c", code), cwd="/", capture_output=True, check=False)
    return None if done.returncode == 0 else "an ordinary user cannot read this checkout, or has no Python like ours"
