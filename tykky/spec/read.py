"""Read `tykky.toml`: values of the model, or one error that names every problem of the file."""

from __future__ import annotations

import contextlib
import datetime
import re
from pathlib import Path
from typing import Any

import msgspec

from tykky.errors import Problem, SpecError
from tykky.spec.checks import Finding, check_spec
from tykky.spec.model import Spec
from tykky.toml.document import Document, parse, read_text
from tykky.toml.strict import without


def read_spec(path: Path) -> Spec:
    """Return the spec of a file; raise `SpecError` with all its problems."""
    return parse_spec(read_text(path, SpecError, missing="make one with 'tykky init'"), str(path))


def parse_spec(text: str, file: str = "tykky.toml") -> Spec:
    """Return the spec of a text; `file` is its name in messages. Raise `SpecError` with all its problems."""
    document = parse(text, file, SpecError)
    values = _with_cutoff_as_text(document.values)
    try:
        spec = msgspec.convert(values, Spec)
    except msgspec.ValidationError as error:
        raise SpecError(file, _all_problems(document, values, str(error))) from None
    if found := check_spec(spec):
        raise SpecError(file, [_problem(document, finding) for finding in found])
    return spec


def _all_problems(document: Document, values: dict[str, Any], first: str) -> list[Problem]:
    """Return what the model does not take and what is wrong with the rest.

    A spec without a usable name or environment gets a stand-in, so that its other tables are checked too.
    """
    from tykky.toml.mismatch import mismatches  # most specs have none

    found = mismatches(values, Spec)
    rest = without(values, found)
    rest["environment"] = {"name": "unnamed"} | rest.get("environment", {})
    problems = [document.problem(m.path, m.message, m.suggestion) for m in found]
    # Where a needed key had to go, what is left does not convert: its other problems come next time.
    with contextlib.suppress(msgspec.ValidationError):
        problems += [_problem(document, finding) for finding in check_spec(msgspec.convert(rest, Spec))]
    return problems or [Problem(first)]


def _problem(document: Document, finding: Finding) -> Problem:
    message = finding.message
    if finding.other is not None:
        message = message.replace("{line}", str(document.line(finding.other)))
    return document.problem(finding.path, message, finding.suggestion)


def _with_cutoff_as_text(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with `exclude-newer` as text, where TOML's own date or date-time was written."""
    environment = values.get("environment")
    if not isinstance(environment, dict):
        return values
    cutoff = environment.get("exclude-newer")
    if isinstance(cutoff, str):
        cutoff = re.sub(r"^([\d-]{10}) (?=\d)", r"\1T", cutoff)
    elif isinstance(cutoff, datetime.date):  # a date-time is one too
        cutoff = cutoff.isoformat().replace("+00:00", "Z")
    else:
        return values
    return values | {"environment": environment | {"exclude-newer": cutoff}}
