"""The shells that `tykky shell-init` speaks to, run for real: scripts, and a terminal to type on."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tykky.cli.shell_text import shell_functions

# shell: (its command line for a script, what shell-init calls it)
SHELLS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "bash": (("bash", "--norc"), "bash"),
    "zsh": (("zsh", "-f"), "zsh"),
    "ksh93": (("ksh93",), "ksh"),
    "mksh": (("mksh",), "ksh"),
    "dash": (("dash",), "sh"),
    "busybox": (("busybox", "sh"), "sh"),
    "fish": (("fish", "--no-config"), "fish"),
}
POSIX = [name for name in SHELLS if name != "fish"]
PROGRAMS = Path(sys.executable).parent
_PATIENCE = 30.0  # seconds


@dataclass(frozen=True)
class Said:
    """What a script printed, line by line, and its exit status."""

    lines: tuple[str, ...]
    err: str
    status: int


def installed(name: str) -> bool:
    """Return whether a shell is there."""
    return shutil.which(SHELLS[name][0][0]) is not None


def need(name: str) -> None:
    """Skip the test where a shell is missing."""
    if not installed(name):
        pytest.skip(f"{SHELLS[name][0][0]} is not installed (tests/hosts/setup.sh installs it)")


def write_script(name: str, script: str, directory: Path, sites: Mapping[str, str] | None = None) -> list[str | Path]:
    """Write a script for a shell, which has our functions first; return the command line that runs it."""
    need(name)
    argv, init = SHELLS[name]
    functions = directory / f"functions.{name}"
    functions.write_text(shell_functions(init, sites or {}, "tykky"))
    begin = f"source {functions}\n" if name == "fish" else f". {functions}\n"
    file = directory / f"script.{name}"
    file.write_text(begin + script)
    return [*argv, file]


def run_script(
    name: str, script: str, directory: Path, *words: str | Path, sites: Mapping[str, str] | None = None, **environ: str
) -> Said:
    """Run a script in a shell that has our functions; `words` are its $1, $2 …."""
    if name == "fish":
        script = script.replace('"$1"', '"$argv[1]"').replace('"$2"', '"$argv[2]"')
    done = subprocess.run(
        [*write_script(name, script, directory, sites), *words],
        cwd=directory,
        env={**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    return Said(tuple(done.stdout.splitlines()), done.stderr, done.returncode)


# What gives a shell the command `module`: the directories of its files for each shell.
MODULES = {
    "lmod": Path("/usr/share/lmod/lmod/init"),
    "environment-modules": Path("/usr/share/modules/init"),
}


def write_module_script(program: str, shell: str, script: str, modules: Path) -> list[str | Path]:
    """Write a script for bash or zsh, which has the command `module`; return the command line that runs it."""
    init = MODULES[program] / shell
    if not init.exists():
        pytest.skip(f"{program} is not installed (tests/hosts/setup.sh installs it)")
    need(shell)
    file = modules.parent / f"script.{shell}"
    file.write_text(f". {init}\nmodule use {modules}\n{script}")
    return [*SHELLS[shell][0], file]


class Terminal:
    """An interactive shell on a terminal of its own. What it shows is read, and kept in `shown`."""

    def __init__(self, argv: Sequence[str | Path], directory: Path, environ: Mapping[str, str]) -> None:
        self._main, other = pty.openpty()
        self._process = subprocess.Popen(
            argv, cwd=directory, env=dict(environ), stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        os.close(other)
        self.shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the shell has ended
            while some := os.read(self._main, 4096):
                self.shown += some

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def wait_for(self, path: Path) -> str:
        """Return what a file holds, once it is there and ends with a line feed; then it is removed."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if path.exists() and (text := path.read_text()).endswith("\n"):
                path.unlink()
                return text
            time.sleep(0.02)
        raise AssertionError(f"{path.name} was not written; the terminal shows\n{self.shown.decode(errors='replace')}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(_PATIENCE)
        os.close(self._main)


@contextlib.contextmanager
def terminal(name: str, directory: Path, **environ: str) -> Iterator[Terminal]:
    """Give a shell on a terminal, without anybody's settings."""
    need(name)
    argv = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[name]
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    opened = Terminal(argv, directory, {**os.environ, "PATH": path, "TERM": "dumb", **environ})
    try:
        yield opened
    finally:
        opened.close()
