"""Read `tykky.lock`: values of the model, or one error that names every problem of the file.

A lockfile is written by a program, yet it comes from git: merged by hand, cut short, or made by somebody who
wants a file outside the prefix. So what a build will use as a path is checked here, once.
"""

from __future__ import annotations

import re
from pathlib import Path

from tykky import __version__
from tykky.errors import LockError
from tykky.lock.checks import check_lock
from tykky.lock.model import LOCK_VERSION, Lock
from tykky.toml.document import Document, parse, read_text
from tykky.toml.strict import convert

_AGAIN = "the lockfile is written by 'tykky lock': take it from git again, or remove it and run 'tykky lock'"
_VERSION = re.compile(r"(\d+)\.(\d+)")


def read_lock(path: Path) -> Lock:
    """Return the lock of a file; raise `LockError` with all its problems."""
    return parse_lock(read_text(path, LockError, missing="make it with 'tykky lock'"), str(path))


def parse_lock(text: str, file: str = "tykky.lock") -> Lock:
    """Return the lock of a text; `file` is its name in messages. Raise `LockError` with all its problems.

    A newer minor version of the format is read, and what it adds is passed over.
    """
    document = parse(text, file, LockError, hint=_AGAIN)
    _refuse_other_major(document)
    lock = convert(document, Lock, LockError, hint=_AGAIN)
    if found := check_lock(lock):
        problems = [document.problem(finding.path, finding.message) for finding in found]
        raise LockError(file, problems, hint=_AGAIN)
    return lock


def _refuse_other_major(document: Document) -> None:
    """Raise when the format is not ours. Before all else: its other problems would be no problems there."""
    written = document.values.get("lock-version")
    if not isinstance(written, str):
        return  # the model says what is wrong
    version = _VERSION.fullmatch(written)
    if version is None:
        problem = document.problem(("lock-version",), f"{written!r} is no version of the format, such as '1.0'")
        raise LockError(document.file, [problem], hint=_AGAIN)
    ours = LOCK_VERSION.partition(".")[0]
    if version[1] == ours:
        return
    message = f"the format is version {written}, tykky {__version__} reads version {ours}"
    problem = document.problem(("lock-version",), message)
    hint = (
        f"use a tykky that reads lockfiles of version {version[1]}"
        if int(version[1]) > int(ours)
        else "remove it and write it anew with 'tykky lock'"
    )
    raise LockError(document.file, [problem], hint=hint)
