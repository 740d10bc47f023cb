"""The exit codes, as a page of the reference, from the tree of errors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import tykky.process  # noqa: F401  errors that other modules add to the tree
from tykky.errors import TykkyError
from tykky.runtime import model

# What a launcher itself ends with, before a program of the environment has started.
LAUNCHER = {
    model.EXIT_CANNOT_NEST: "It was called inside another environment, and this host cannot mount a second one there.",
    model.EXIT_DAMAGED: "The environment directory lacks an image, or its `launch.sh`.",
    model.EXIT_MOUNT_FAILED: "A backend was chosen, but could not mount.",
    model.EXIT_NO_BACKEND: "No backend works on this host; `tykky doctor` says why.",
    126: "The program cannot be executed.",
    127: "There is no such program.",
}


def exit_codes_page() -> str:
    """Return the page: one row per code."""
    rows = "".join(f"| {code} | {name} | {meaning} |\n" for code, name, meaning in sorted(_rows()))
    launcher = "".join(f"| {code} | {meaning} |\n" for code, meaning in sorted(LAUNCHER.items()))
    return f"""# Exit codes

Made from `tykky/errors.py` and `tykky/runtime/model.py`; written by `make schemas`.

## tykky

| code | class | meaning |
|---|---|---|
{rows}
## Launchers, `tykky run` and `tykky shell`

A program that was started ends with its own status. What prevents it from starting has these:

| code | meaning |
|---|---|
{launcher}"""


def _rows() -> Iterator[tuple[int, str, str]]:
    yield 0, "", "It worked, or there was nothing to do."
    yield 1, "", "Anything that has no code of its own; a bug, if a traceback is shown."
    yield 129, "", "Ended by SIGHUP: the terminal is gone; nothing half-made is left."
    yield 130, "", "Interrupted (Ctrl-C); nothing half-made is left."
    yield 141, "", "The reader of the output went away."
    yield 143, "", "Ended by SIGTERM, as at the end of a job; nothing half-made is left."
    for kind in _classes(TykkyError):
        if "exit_code" in vars(kind) and kind is not TykkyError:
            yield kind.exit_code, f"`{kind.__name__}`", inspect.cleandoc(kind.__doc__ or "").splitlines()[0]


def _classes(kind: type[TykkyError]) -> Iterator[type[TykkyError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _classes(below)
