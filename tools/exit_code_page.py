"""The exit codes, as a page of the reference, from the tree of errors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import tykky.process  # noqa: F401  errors that other modules add to the tree
from tykky.errors import TykkyError


def exit_codes_page() -> str:
    """Return the page: one row per code."""
    rows = "".join(f"| {code} | {name} | {meaning} |\n" for code, name, meaning in sorted(_rows()))
    return f"""# Exit codes

Made from `tykky/errors.py`; written by `make schemas`. A program that a launcher or `tykky run` starts keeps its own.

| code | class | meaning |
|---|---|---|
{rows}"""


def _rows() -> Iterator[tuple[int, str, str]]:
    yield 0, "", "It worked, or there was nothing to do."
    yield 1, "", "Anything that has no code of its own; a bug, if a traceback is shown."
    yield 130, "", "Interrupted (Ctrl-C)."
    yield 141, "", "The reader of the output went away."
    for kind in _classes(TykkyError):
        if "exit_code" in vars(kind) and kind is not TykkyError:
            yield kind.exit_code, f"`{kind.__name__}`", inspect.cleandoc(kind.__doc__ or "").splitlines()[0]


def _classes(kind: type[TykkyError]) -> Iterator[type[TykkyError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _classes(below)
