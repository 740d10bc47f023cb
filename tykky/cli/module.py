"""`tykky module`: write a module file for an environment."""

from __future__ import annotations

import json
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.environment.comparison import installed
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.module_file import MARK, Format, ModuleFile, module_file, render_module
from tykky.errors import TykkyError, UsageError
from tykky.toml.files import replace_bytes


@click.command("module")
@click.argument("directory", type=Place())
@click.option(
    "--format",
    "form",
    type=click.Choice(["lmod", "tcl"]),
    default="lmod",
    show_default=True,
    help="Lmod's own, or Tcl for Environment Modules.",
)
@click.option(
    "-o",
    "--output",
    type=Place(),
    help="A file; or a directory of MODULEPATH, in which it becomes NAME or NAME/VERSION. [default: standard output]",
)
@click.option("--name", help="The module's name. [default: the environment's]")
@click.option("--version", help="The module's version. [default: none]")
@click.option("--whatis", metavar="TEXT", help="One line for 'module whatis' and 'module spider'.")
@click.option(
    "--conflict",
    "conflicts",
    metavar="NAME",
    multiple=True,
    help="Another module that must not be loaded beside it; can be given again.",
)
@common
def command(
    directory: Path,
    form: Format,
    output: Path | None,
    name: str | None,
    version: str | None,
    whatis: str | None,
    conflicts: tuple[str, ...],
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Write a module file for an environment: PATH, TYKKY_PREFIX, help with the packages, and only one at a time.

    It stays right when the environment is updated. The list of packages in its help says of which day it is; the same
    command renews it.

    \b
    Examples:
      tykky module /appl/envs/climate
      tykky module /appl/envs/climate --output /appl/modulefiles/ --version 2026
      tykky module /appl/envs/climate --format tcl --output /appl/tcl-modulefiles/
    """
    path = _absolute(directory)
    environment = EnvironmentDirectory(path)
    record = environment.record()
    packages = installed(environment.manifests(record)).values()
    module = module_file(path, record, packages, name=name, version=version, summary=whatis, conflicts=conflicts)
    text = render_module(module, form)
    target = None if output is None else _target(output, module, form)
    if target is not None:
        _write(target, text.encode("utf-8", "surrogateescape"))
    if as_json:
        document = {"file": None if target is None else str(target), "format": form, "name": module.name}
        print(json.dumps({**document, "version": module.version, "text": text}, indent=2, ensure_ascii=False))
    elif target is None:
        print(text, end="")
    elif not quiet:
        print(f"wrote {target}")


def _absolute(directory: Path) -> Path:
    """Return the path to name in the module file: as typed, so that a link that staff move stays a link."""
    return directory.resolve() if ".." in directory.parts else directory.absolute()


def _target(output: Path, module: ModuleFile, form: Format) -> Path:
    """Return the file to write. Raises `UsageError` for one that Lmod would not read."""
    if output.is_dir():
        one, several = output / (f"{module.name}.lua" if form == "lmod" else module.name), output / module.name
        if module.version is None and several.is_dir():
            raise UsageError(f"{several} has versions of this module", hint="give this one a --version too")
        if module.version is not None and one.is_file():
            raise UsageError(
                f"{one} is this module without a version", hint="remove it, or leave --version out to renew it"
            )
        return output / module.place(form)
    if form == "lmod" and output.suffix != ".lua":
        raise UsageError(
            f"{output}: Lmod takes a file for Lua only if its name ends in .lua",
            hint="name it so, or a directory that is there, or say --format tcl",
        )
    if form == "tcl" and output.suffix == ".lua":
        raise UsageError(f"{output}: Lmod would take this file for Lua", hint="name it without .lua")
    return output


def _write(target: Path, content: bytes) -> None:
    """Write the file, or replace the one that an earlier call wrote; a reader meets the one or the other."""
    try:
        if target.exists() and MARK not in target.read_bytes()[:200]:
            raise UsageError(
                f"{target} is there and was not written by tykky module", hint="remove it, or name another --output"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(target, content)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        if isinstance(error, FileExistsError):  # mkdir's word for it
            why = f"{target.parent} is a file"
        raise TykkyError(f"{target} cannot be written: {why}", hint="name another --output") from None
