"""Find the host's Python for a venv-type environment.

Only a base installation will do: an interpreter of somebody's venv, or a version manager's shim, may be gone
tomorrow. So every candidate is asked who it really is.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import msgspec
from msgspec import Struct

from tykky.errors import ToolError
from tykky.process import Commands

_QUESTION = """
import json, os, sys, sysconfig
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps({
    "executable": os.path.realpath(base),
    "called": base,
    "version": ".".join(map(str, sys.version_info[:3])),
    "implementation": sys.implementation.name,
    "magic": __import__("importlib.util").util.MAGIC_NUMBER.hex(),
    "prefix": sys.base_prefix,
}))
"""

_MINOR = re.compile(r"\d+\.\d+")


class Interpreter(Struct, frozen=True):
    """A Python on this host: its real path and full version (`3.11.2`)."""

    path: Path
    version: str
    magic: str  # the bytecode's magic number, hexadecimal

    @property
    def minor(self) -> str:
        """The minor version: `3.11`."""
        return ".".join(self.version.split(".")[:2])


def find_interpreter(wanted: str | None, commands: Commands) -> Interpreter:
    """Return the host interpreter for `python = …` of the spec: an absolute path, a version (`3.11`), or None.

    None means the host's `python3`. Raises `ToolError` that names what was looked for and where.
    """
    if wanted is not None and wanted.startswith("/"):
        found = _ask(Path(wanted), commands)
        if found is None:
            raise ToolError(
                f"{wanted} is no working Python", hint="name an interpreter of this host under 'python' in [pypi]"
            )
        return found
    names = ["python3"] if wanted is None else [f"python{wanted}", "python3", "python"]
    for candidate in _on_path(names):
        found = _ask(candidate, commands)
        if found is not None and (wanted is None or _same_version(found.version, wanted)):
            return found
    version = "3" if wanted is None else wanted
    raise ToolError(
        f"no Python {version} on PATH",
        hint=f"load a module that has it, install python{version}, name another version or an absolute path under "
        "'python' in [pypi], or use [conda] with python as a dependency",
    )


def _same_version(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith(f"{wanted}.")


def _on_path(names: list[str]) -> list[Path]:
    """Return the programs of these names on PATH, then those in the usual places (PATH may hide them)."""
    directories = [d for d in os.environ.get("PATH", "").split(os.pathsep) if d]
    directories += ["/usr/bin", "/usr/local/bin"]
    found: dict[Path, None] = {}
    for name in names:
        for directory in directories:
            path = Path(directory) / name
            with contextlib.suppress(OSError):  # a directory that is not for us
                if path.is_file() and os.access(path, os.X_OK):
                    found[path] = None
    return list(found)


def _ask(path: Path, commands: Commands) -> Interpreter | None:
    """Return what a candidate says of itself, or None if it is no usable CPython."""
    try:
        answer = commands.run([path, "-I", "-S", "-c", _QUESTION], check=False, timeout=30)
    except ToolError:
        return None
    if answer.status != 0:
        return None
    try:
        said = msgspec.json.decode(answer.stdout)
    except msgspec.DecodeError:
        return None
    if said["implementation"] != "cpython" or not Path(said["executable"]).is_file():
        return None
    # Of /usr/bin/python3.11 and /usr/bin/python3 (a link to it) the real file is the one that stays.
    return Interpreter(Path(said["executable"]), said["version"], said["magic"])


def minor_of(python: str) -> str | None:
    """Return `3.11` for `3.11` or `3.11.2`, None for a path."""
    match = _MINOR.match(python)
    return match.group(0) if match else None
