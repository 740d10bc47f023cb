"""`tykky init`: write a new tykky.toml."""

from __future__ import annotations

import json
import os
import platform as host
import re
import shlex
import sys
import unicodedata
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.editing import one_of
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.errors import SpecError, ToolError, UsageError
from tykky.process import Commands
from tykky.runtime.interpreter import find_interpreter
from tykky.site.load import load_site
from tykky.site.model import Init
from tykky.spec.read import parse_spec
from tykky.spec.template import Sources, new_spec
from tykky.toml.files import replace_text

_PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}
_DEFAULT_CONDA_PYTHON = "3.12.*"
# Where a value of the command line ends up in the spec.
_OPTIONS = {
    "environment.name": "--name",
    "environment.extends": "--extends",
    "pypi.python": "--python",
    "conda.dependencies.python": "--python",
}


@click.command()
@click.argument("directory", type=Place(), default=Path())
@click.option("--name", help="The environment's name.  [default: made from the directory's]")
@click.option("--python", help="Python's minor version, such as 3.12; with --pypi also the path of an interpreter.")
@click.option("--extends", metavar="NAME|DIR", help="Add to another environment: its directory, or its name.")
@click.option("--conda", is_flag=True, help="Take packages from conda channels, Python too.")
@click.option("--pypi", is_flag=True, help="Take packages from PyPI, with a Python of this host.  [default]")
@common
def command(
    *,
    directory: Path,
    name: str | None,
    python: str | None,
    extends: str | None,
    conda: bool,
    pypi: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Write a new tykky.toml into DIRECTORY, by default the current one.

    Channels, indexes and the compression are those that [init] of site.toml names.

    \b
    Examples:
      tykky init
      tykky init climate --conda --python 3.12
      tykky init mine --extends pytorch
    """
    kind = one_of(conda=conda, pypi=pypi) or "pypi"
    if extends is not None and (python is not None or conda):
        raise UsageError("--extends: Python and the kind of packages come from the extended environment")
    path = directory / "tykky.toml"
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already", hint="change it with 'tykky add', 'tykky remove' or an editor")
    name = name if name is not None else name_of(directory.absolute().name)
    kind, base = _base(kind, python, None if extends is None else _seen_from(directory, extends))
    text = new_spec(name, _platform(), kind, base, _sources(load_site(os.environ).init))
    _check(text, path)
    directory.mkdir(parents=True, exist_ok=True)
    replace_text(path, text, SpecError)
    _report(path, directory, name, as_json=as_json, quiet=quiet)


def name_of(directory: str) -> str:
    """Return a valid environment name for a directory's name: `Häme_2` -> `hame-2`."""
    plain = unicodedata.normalize("NFKD", directory).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].rstrip("-") or "environment"


def _platform() -> str:
    return _PLATFORMS.get(host.machine(), "linux-64")


def _sources(wanted: Init) -> Sources:
    return Sources(wanted.channels, wanted.index_url, wanted.extra_index_url, wanted.compression_level)


def _base(kind: str, python: str | None, extends: str | None) -> tuple[str, str]:
    """Return the kind of spec, and what its interpreter comes from."""
    if extends is not None:
        return "extends", extends
    return kind, _conda_python(python) if kind == "conda" else _pypi_python(python)


def _seen_from(directory: Path, extends: str) -> str:
    """Return what was typed here as the spec in `directory` has to say it: relative paths start there."""
    if "/" not in extends or extends.startswith(("/", "~")):
        return extends
    path = os.path.relpath(extends, directory)
    return path if "/" in path else f"./{path}"


def _conda_python(python: str | None) -> str:
    if python is None:
        return _DEFAULT_CONDA_PYTHON
    return f"{python}.*" if re.fullmatch(r"\d+(\.\d+)*", python) else python


def _pypi_python(python: str | None) -> str:
    if python is not None:
        return python
    try:
        return find_interpreter(None, Commands()).minor
    except ToolError:  # a host without python3; the lock may be for another
        return f"{sys.version_info.major}.{sys.version_info.minor}"


def _check(text: str, path: Path) -> None:
    """Raise `UsageError` for a name or a version that the spec does not take."""
    try:
        parse_spec(text, str(path))
    except SpecError as error:
        problem = error.problems[0]
        option = _OPTIONS.get(problem.where or "", problem.where)
        raise UsageError(f"{option}: {problem.message}") from None


def _report(path: Path, directory: Path, name: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps({"spec": str(path), "name": name, "prefix": f"/tykky/{name}"}, ensure_ascii=False))
        return
    if quiet:
        return
    print(f"wrote {path}")
    print("\nnext:")
    if directory.absolute() != Path.cwd():
        print(f"  cd {shlex.quote(str(directory))}")
    print("  tykky add numpy    ask for what the environment shall hold")
    print("  tykky lock         choose exact versions")
    print(f"  tykky build        make the environment directory {name}")
