"""`tykky add`: add requirements to tykky.toml."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.editing import check_pypi, one_of, parse_conda, read_for_edit, write_edited
from tykky.cli.options import common, spec_file
from tykky.spec.edit import add_conda, add_pypi
from tykky.spec.model import Spec


@dataclass(frozen=True, slots=True)
class _Added:
    table: str
    requirements: tuple[str, ...]
    both: bool  # the spec has the other table too, and nobody said which
    written: bool


@click.command()
@click.argument("requirements", nargs=-1, required=True, metavar="REQUIREMENT...")
@click.option("--conda", is_flag=True, help="Add to [conda.dependencies].")
@click.option("--pypi", is_flag=True, help="Add to the dependencies of [pypi].")
@spec_file
@common
def command(
    *,
    requirements: tuple[str, ...],
    conda: bool,
    pypi: bool,
    spec_path: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Add requirements to tykky.toml. One of a package that is there already takes its place.

    Without --conda or --pypi they go where the spec has packages; to [pypi] if it has both.

    \b
    Examples:
      tykky add numpy 'scipy>=1.14' ./my-package
      tykky add 'mylib @ git+https://github.com/example/mylib@v1'
      tykky add --conda 'gdal>=3.9' 'conda-forge::hdf5 * mpi_mpich_*'
    """
    named = one_of(conda=conda, pypi=pypi)
    text, spec = read_for_edit(spec_path)
    table = named or _table_of(spec)
    if table == "conda":
        changed = add_conda(text, dict(map(parse_conda, requirements)))
    else:
        for requirement in requirements:
            check_pypi(requirement)
        changed = add_pypi(text, requirements)
    written = write_edited(spec_path, changed)
    both = named is None and spec.conda is not None and spec.pypi is not None
    added = _Added(table, requirements, both, written)
    _report(spec_path, added, as_json=as_json, quiet=quiet)


def _table_of(spec: Spec) -> str:
    return "conda" if spec.conda is not None and spec.pypi is None else "pypi"


def _report(spec_path: Path, added: _Added, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        document = {
            "spec": str(spec_path),
            "table": added.table,
            "requirements": added.requirements,
            "written": added.written,
        }
        print(json.dumps(document, ensure_ascii=False))
        return
    if quiet:
        return
    names = ", ".join(added.requirements)
    if not added.written:
        print(f"{names} stands in [{added.table}] of {spec_path} already")
        return
    print(f"added {names} to [{added.table}] of {spec_path}")
    if added.both:
        print("the spec has [conda] and [pypi]; --conda adds to the other")
    print("next: tykky lock")
