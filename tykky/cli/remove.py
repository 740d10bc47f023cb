"""`tykky remove`: remove requirements from tykky.toml."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.editing import one_of, read_for_edit, write_edited
from tykky.cli.options import common, spec_file
from tykky.errors import Problem, SpecError
from tykky.spec.edit import remove_conda, remove_pypi, same_package
from tykky.spec.model import Spec
from tykky.spec.requirements import LocalRequirement, PypiRequirement, parse_pypi


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--conda", is_flag=True, help="Look only in [conda.dependencies].")
@click.option("--pypi", is_flag=True, help="Look only in the dependencies of [pypi].")
@spec_file
@common
def command(
    *, names: tuple[str, ...], conda: bool, pypi: bool, spec_path: Path, as_json: bool, verbose: bool, quiet: bool
) -> None:
    """Remove the requirements of these packages from tykky.toml, from [conda] and [pypi] alike.

    \b
    Examples:
      tykky remove scipy ./my-package
      tykky remove --conda gdal
    """
    named = one_of(conda=conda, pypi=pypi)
    text, spec = read_for_edit(spec_path)
    conda_names = list(spec.conda.dependencies) if spec.conda is not None and named != "pypi" else []
    requirements = _requirements(spec) if named != "conda" else []
    removed = {
        "conda": [name for name in names if name.lower() in map(str.lower, conda_names)],
        "pypi": [name for name in names if any(same_package(old, name) for old in requirements)],
    }
    _refuse_unknown(spec_path, names, removed, [*conda_names, *map(_name, requirements)])
    write_edited(spec_path, remove_pypi(remove_conda(text, removed["conda"]), removed["pypi"]))
    _report(spec_path, removed, as_json=as_json, quiet=quiet)


def _requirements(spec: Spec) -> list[PypiRequirement]:
    return [parse_pypi(text) for text in spec.pypi.dependencies] if spec.pypi is not None else []


def _name(requirement: PypiRequirement) -> str:
    return requirement.path if isinstance(requirement, LocalRequirement) else requirement.name


def _refuse_unknown(spec_path: Path, names: tuple[str, ...], removed: dict[str, list[str]], known: list[str]) -> None:
    problems = []
    for name in names:
        if name not in removed["conda"] and name not in removed["pypi"]:
            close = get_close_matches(name, known, n=1)
            problems.append(Problem(f"{name} is not asked for", suggestion=close[0] if close else None))
    if problems:
        raise SpecError(str(spec_path), problems, hint="nothing was written")


def _report(spec_path: Path, removed: dict[str, list[str]], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps({"spec": str(spec_path), **removed}, ensure_ascii=False))
        return
    if quiet:
        return
    for table, names in removed.items():
        if names:
            print(f"removed {', '.join(names)} from [{table}] of {spec_path}")
    print("next: tykky lock")
