"""Start any program inside a published environment: what `tykky run` and `tykky shell` do.

The launchers in P/bin start the environment's own programs; this starts whatever PATH finds inside.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# $1 is the environment directory, $2 the program that launch.sh runs; nothing of them is part of the text.
_ENTER = '_tykky_p=$1 _tykky_called=$2; shift 2; . "$_tykky_p/.tykky/current/launch.sh"'
# Inside, the command is looked up in the PATH that the launch has set.
_LOOK_UP = 'exec "$@"'


def enter_argv(environment: Path, command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` inside the environment directory `environment` (absolute)."""
    if not command:
        raise ValueError("no program to run")
    return ["/bin/sh", "-c", _ENTER, "tykky", os.fspath(environment), "/bin/sh", "-c", _LOOK_UP, "tykky", *command]
