"""What the verbs that edit tykky.toml share: read it, check the result, and only then write it."""

from __future__ import annotations

import re
from pathlib import Path

from tykky.cli.clicks import click
from tykky.errors import SpecError, UsageError
from tykky.spec.model import CondaRequirement, Spec
from tykky.spec.read import parse_spec
from tykky.spec.requirements import (
    BadRequirement,
    check_conda_build,
    check_conda_name,
    check_conda_version,
    parse_pypi,
)
from tykky.toml.document import read_text
from tykky.toml.files import replace_text

_CONDA = re.compile(
    r"(?:(?P<channel>\S+)::)?(?P<name>[^\s=<>!~]+)(?:\s*(?P<version>[=<>!~*\d(]\S*)(?:\s+(?P<build>\S+))?)?"
)
_BLANKS_AROUND_SIGNS = re.compile(r"\s*([=<>!~,|]+)\s*")


def read_for_edit(spec_path: Path) -> tuple[str, Spec]:
    """Return the text and the spec of a file; raise `SpecError` if it is not in order already."""
    text = read_text(spec_path, SpecError, missing="make one with 'tykky init'")
    return text, parse_spec(text, str(spec_path))


def write_edited(spec_path: Path, text: str) -> bool:
    """Write the edited text if it is a spec; return whether its bytes changed. Otherwise nothing is written."""
    try:
        parse_spec(text, str(spec_path))
    except SpecError as error:
        raise SpecError(error.file, error.problems, hint="nothing was written") from None
    return replace_text(spec_path, text, SpecError)


def one_of(*, conda: bool, pypi: bool) -> str | None:
    """Return the table that `--conda` or `--pypi` names, or None."""
    if conda and pypi:
        raise click.UsageError("--conda and --pypi exclude each other")
    return "conda" if conda else "pypi" if pypi else None


def check_pypi(text: str) -> None:
    """Raise `UsageError` if a word of the command line is no PyPI requirement."""
    try:
        parse_pypi(text)
    except BadRequirement as error:
        raise UsageError(f"{text!r} is not a requirement: {error}") from None


def parse_conda(text: str) -> tuple[str, CondaRequirement]:
    """Return name and requirement of a word such as `gdal`, `gdal>=3.9`, `forge::gdal 3.9.* *mpi*`.

    One `=` asks for a version that begins so, as on conda's command line: `python=3.12` is `3.12.*`. Raises
    `UsageError`.
    """
    match = _CONDA.fullmatch(_BLANKS_AROUND_SIGNS.sub(r"\1", text.strip()))
    if match is None:
        raise UsageError(f"{text!r} is not a conda requirement such as 'gdal' or 'gdal>=3.9'")
    version = match["version"] or "*"
    if fuzzy := re.fullmatch(r"=\s*([\w.]+?)(?:\.?\*)?", version):
        version = f"{fuzzy[1]}.*"
    try:
        check_conda_name(match["name"])
        check_conda_version(version)
        if match["build"] is not None:
            check_conda_build(match["build"])
    except BadRequirement as error:
        raise UsageError(f"{text!r} is not a conda requirement: {error}") from None
    return match["name"], CondaRequirement(version, match["build"], match["channel"])
