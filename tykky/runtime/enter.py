"""Start any program inside a published environment: what `tykky run` and `tykky shell` do.

The launchers in P/bin start the environment's own programs; this starts whatever PATH finds inside.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tykky.process import Commands

# $1 is the environment directory, $2 the program that launch.sh runs; nothing of them is part of the text.
_ENTER = 'set +efuC; _tykky_p=$1 _tykky_called=$2; shift 2; . "$_tykky_p/.tykky/current/launch.sh"'
# The same with a launch of our own, behind descriptor $3: the shell reads it through one of its own.
_ENTER_TEXT = 'set +efuC; _tykky_p=$1 _tykky_called=$2 _tykky_x=$3; shift 3; . "/proc/self/fd/$_tykky_x"'
_CLOSE = 'eval "exec $_tykky_x<&-"\n'
# Inside, the command is looked up in the PATH that the launch has set.
_LOOK_UP = 'exec "$@"'
# Inside, says which backend mounted: Apptainer makes its root of directories in its session directory. (Its variables
# are not there: a launch takes them away, and may have inherited those of another container.)
WHICH_BACKEND = (
    'while read -r line; do case $line in *" / / "*/mnt/session/*) echo apptainer; exit ;; esac; '
    "done </proc/self/mountinfo; echo namespace"
)
# A launch in dash, which names descriptors up to 9 only, goes on in bash where fewer than five of them are free, by
# reading its launcher again. Here is no launcher, so it starts there.
_SMALL, _NEEDED = range(3, 10), 5


def enter_argv(environment: Path, command: Sequence[str], text: int | None = None) -> list[str]:
    """Return the command line that runs `command` inside the environment directory `environment` (absolute).

    `text` is a descriptor with the launch to use; by default it is that of the current generation.
    """
    if not command:
        raise ValueError("no program to run")
    start = [_ENTER, "tykky", os.fspath(environment), "/bin/sh"]
    if text is not None:
        start = [_ENTER_TEXT, "tykky", os.fspath(environment), "/bin/sh", str(text)]
    return [*_shell(), "-c", *start, "-c", _LOOK_UP, "tykky", *command]


def enter(environment: Path, command: Sequence[str], launch: str | None = None) -> NoReturn:
    """Become `command`, inside the environment directory `environment` (absolute).

    `launch` is the text of a launch to use instead of the current generation's.
    """
    text = None if launch is None else _readable(_CLOSE + launch)
    become(enter_argv(environment, command, text), os.environ)


def become(argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program, looked up in the PATH of `environ`."""
    # Python ignores these for itself, and what is ignored stays so: `tykky run P -- yes | head` would not end.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], list(argv), environ)  # noqa: S606 - the words are arguments, of no shell
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        # As a shell says it.
        print(f"tykky: {argv[0]}: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        raise SystemExit(126 if isinstance(error, PermissionError) else 127) from None


def is_shown(environment: Path) -> bool:
    """Return whether this process runs inside that environment, or where it is shown beside another one."""
    programs = environment / "bin"
    with contextlib.suppress(OSError):
        return any(programs.samefile(tree / "bin") for tree in Path("/tykky").iterdir() if (tree / "bin").is_dir())
    return False


def backend_here(environment: Path, commands: Commands) -> str | None:
    """Return the backend that serves this environment on this host, found out by a real launch; None if none does."""
    done = commands.run(enter_argv(environment, ["/bin/sh", "-c", WHICH_BACKEND]), check=False)
    return done.stdout.strip() or None if done.status == 0 else None


def _readable(text: str) -> int:
    """Return a descriptor of an unnamed file that holds `text`, and that the next program inherits.

    It leaves nothing behind, whatever happens, and no command line is too short for it.
    """
    descriptor = os.memfd_create("tykky-launch", 0)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return descriptor


def _shell() -> list[str]:
    if sum(not _is_open(number) for number in _SMALL) < _NEEDED:
        for bash in ("/bin/bash", "/usr/bin/bash"):
            if os.access(bash, os.X_OK):
                return [bash, "--posix"]
    return ["/bin/sh"]


def _is_open(descriptor: int) -> bool:
    """Return whether the next program inherits a descriptor."""
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False
