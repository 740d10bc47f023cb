"""Module files: what `module load` reads to put an environment in front of PATH. Pure; every value is quoted here.

A module file names P alone, so it stays right when P is updated. What it tells of packages is as of the generation that
was current when it was written, and it says so.

    Lmod                  https://lmod.readthedocs.io/en/latest/050_lua_modulefiles.html
    Environment Modules   https://modules.readthedocs.io/en/stable/modulefile.html
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import jinja2

from tykky.environment.directory import GenerationRecord
from tykky.errors import EnvironmentDirectoryError, UsageError
from tykky.layers.keys import counted
from tykky.store.images import PackagePaths

Format = Literal["lmod", "tcl"]

FAMILY = "tykky_environment"  # becomes part of a variable's name in both programs
MARK = b"Written by `tykky module`"

_KINDS = {"conda": "conda packages", "pypi": "PyPI packages"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """What a module file says. `version` is None for a module that has only a name; `conflicts` are modules' names."""

    name: str
    version: str | None
    path: Path
    summary: str
    help: str
    conflicts: tuple[str, ...] = ()

    def place(self, form: Format) -> Path:
        """Return where it belongs, below a directory of MODULEPATH: `name` or `name/version`, `.lua` for Lmod."""
        place = Path(self.name) if self.version is None else Path(self.name, self.version)
        return place.with_name(f"{place.name}.lua") if form == "lmod" else place


def module_file(
    path: Path,
    record: GenerationRecord,
    packages: Iterable[PackagePaths],
    *,
    name: str | None = None,
    version: str | None = None,
    summary: str | None = None,
    conflicts: tuple[str, ...] = (),
) -> ModuleFile:
    """Return the module file of the environment directory `path` (absolute).

    By default its name is the environment's. Raises `UsageError` for a name that is none of a module, and
    `EnvironmentDirectoryError` for a path that PATH or a script cannot hold.
    """
    _check_path(path)
    name = record.name if name is None else name
    for text in (name, *conflicts):
        if not _NAME.fullmatch(text):
            raise UsageError(f"{text!r} is no name of a module", hint="use letters, digits and _ . + - and /")
    if version is not None and not _VERSION.fullmatch(version):
        raise UsageError(f"{version!r} is no version of a module", hint="use letters, digits and _ . + -")
    summary = _one_line(summary or f"Python environment {name}")
    return ModuleFile(name, version, path, summary, _help(path, record, summary, packages), conflicts)


def render_module(module: ModuleFile, form: Format) -> str:
    """Return the text of a module file, to be written with `surrogateescape`.

    Raises `EnvironmentDirectoryError` for a path that Lmod cannot read from Tcl: what it makes of a backslash is not
    quoted (its tcl2lua.tcl).
    """
    if form == "tcl" and "\\" in str(module.path):
        raise EnvironmentDirectoryError(
            f"{module.path} holds a backslash, which Lmod misreads in a Tcl module file", hint="move the environment"
        )
    version = [] if module.version is None else [f"Version: {module.version}"]
    return (
        _templates()
        .get_template("module.lua.j2" if form == "lmod" else "module.tcl.j2")
        .render(
            own_name=module.name,
            help=module.help,
            whatis=[f"Name: {module.name}", *version, f"Description: {module.summary}"],
            family=FAMILY,
            conflicts=module.conflicts,
            prefix=str(module.path),
            programs=f"{module.path}/bin",
        )
    )


def lua_string(text: str) -> str:
    """Return `text` as a string of Lua, whatever it holds (Lua 5.1 Reference Manual, 2.1)."""
    return '"' + re.sub(r'[\\"\n\x00-\x1f\x7f]', _lua_escape, text) + '"'


def tcl_string(text: str) -> str:
    """Return `text` as one word of Tcl in which nothing is substituted, also inside braces (Tcl(n), rules 4 to 9)."""
    return '"' + re.sub(r'[\\"$\[\]{}\x00-\x09\x0b-\x1f\x7f]', _tcl_escape, text) + '"'


def _lua_escape(found: re.Match[str]) -> str:
    character = found[0]
    # A backslash before a real line feed stands for it: a list stays readable in the file.
    return f"\\{character}" if character in '\\"\n' else f"\\{ord(character):03d}"


def _tcl_escape(found: re.Match[str]) -> str:
    character = found[0]
    return f"\\{character}" if character in '\\"$[]{}' else f"\\{ord(character):03o}"


def _check_path(path: Path) -> None:
    text = str(path)
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise EnvironmentDirectoryError(
            f"{text!r} holds a control character", hint="scripts cannot name such a path; move the environment"
        )
    if ":" in text:
        raise EnvironmentDirectoryError(
            f"{text} holds a colon, which separates directories in PATH", hint="move the environment"
        )


def _help(path: Path, record: GenerationRecord, summary: str, packages: Iterable[PackagePaths]) -> str:
    """Return what `module help` prints."""
    found = sorted(packages, key=lambda package: (package.kind, package.name))
    python = f", Python {record.python}" if record.python else ""
    lines = [
        summary,
        "",
        f"Puts {path}/bin in front of PATH{python}.",
        f"Generation {record.number} of {record.created[:10]} had {counted(len(found), 'package')}. What is there now:",
        f"  tykky info --packages {shlex.quote(str(path))}",
    ]
    kinds = sorted({package.kind for package in found})
    for kind in kinds:
        of_kind = [package for package in found if package.kind == kind]
        width = max(len(package.name) for package in of_kind)
        lines += ["", f"{_KINDS.get(kind, kind)}:"]
        lines += [f"  {_plain(p.name):<{width}}  {_plain(p.version)}" for p in of_kind]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    """Return a text without line feeds and whatever else would move the cursor."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def _plain(text: str) -> str:
    """Return a package's name or version without what neither may hold, and Lmod would stumble over in Tcl."""
    return re.sub(r"""[\x00-\x1f\x7f-\x9f\[\]\\"'`$]""", "?", text)


@cache
def _templates() -> jinja2.Environment:
    def source(name: str) -> str:
        return resources.files("tykky.environment").joinpath("templates", name).read_text(encoding="utf-8")

    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - this writes Lua and Tcl, and quotes for them
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters.update(lua=lua_string, tcl=tcl_string)
    return templates
