"""Start any program inside a published environment: what `tykky run` and `tykky shell` do.

The launchers in P/bin start the environment's own programs; this starts whatever PATH finds inside.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tykky.process import Commands

# $1 is the environment directory, $2 the program that launch.sh runs; nothing of them is part of the text.
_ENTER = '_tykky_p=$1 _tykky_called=$2; shift 2; . "$_tykky_p/.tykky/current/launch.sh"'
# Inside, the command is looked up in the PATH that the launch has set.
_LOOK_UP = 'exec "$@"'


def enter_argv(environment: Path, command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` inside the environment directory `environment` (absolute)."""
    if not command:
        raise ValueError("no program to run")
    return ["/bin/sh", "-c", _ENTER, "tykky", os.fspath(environment), "/bin/sh", "-c", _LOOK_UP, "tykky", *command]


def enter(environment: Path, command: Sequence[str]) -> NoReturn:
    """Become `command`, inside the environment directory `environment` (absolute)."""
    argv = enter_argv(environment, command)
    # Python ignores these for itself, and what is ignored stays so: `tykky run P -- yes | head` would not end.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execv(argv[0], argv)  # noqa: S606 - argv[0] is /bin/sh, the words are arguments


def backend_here(environment: Path, commands: Commands) -> str | None:
    """Return the backend that serves this environment on this host, found out by a real launch; None if none does."""
    program = 'test -n "${APPTAINER_CONTAINER-}${SINGULARITY_CONTAINER-}" && echo apptainer || echo namespace'
    done = commands.run(enter_argv(environment, ["/bin/sh", "-c", program]), check=False)
    return done.stdout.strip() or None if done.status == 0 else None
