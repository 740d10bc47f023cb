"""The private directory a build works in, and the log it leaves when it fails."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tykky.errors import BuildError
from tykky.guard.ownership import left_behind, make_private

_PATIENCE = 10.0  # seconds
_MOMENT = 0.2  # seconds
_START = "tykky-"
_STARTS = (_START, "tykky-uv-", "tykky-pip-", "tykky-python-", "tykky-conda-")  # the others are the resolvers'
_KEPT = ".kept"  # in a directory that its user wants to look at
_CANDIDATES = ("/tmp", "/var/tmp")  # noqa: S108 - what is made in them is private


def scratch_parent(chosen: Path | None, warn: Callable[[str], None]) -> Path:
    """Return where scratch directories go: the site's choice, TMPDIR, /tmp.

    A TMPDIR that is gone (a job's, after the job) is no reason to fail: /tmp serves, with a warning. Never the
    cache: a tree is many small files, and the cache may be on a parallel file system.
    """
    if chosen is not None:
        if not chosen.is_dir():
            raise BuildError(f"scratch directory {chosen} of site.toml does not exist", hint="see 'tykky doctor'")
        return chosen
    wanted = os.environ.get("TMPDIR")
    if wanted and _usable(Path(wanted)):
        return Path(wanted)
    for candidate in map(Path, _CANDIDATES):
        if _usable(candidate):
            if wanted:
                warn(f"TMPDIR={wanted} is no directory that can be written; using {candidate}")
            return candidate
    raise BuildError("no directory for temporary files can be written", hint="set TMPDIR to one with some GB free")


def scratch_parents(chosen: Path | None, wanted: str | None) -> tuple[Path, ...]:
    """Return the directories that builds of this user make theirs in; `wanted` is TMPDIR."""
    places = [Path(wanted)] if wanted else [Path(place) for place in _CANDIDATES]
    return (*([] if chosen is None else [chosen]), *(place.absolute() for place in places))


def _usable(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


@contextlib.contextmanager
def scratch(parent: Path, *, keep: bool, say: Callable[[str], None]) -> Iterator[Path]:
    """Give a private directory (mode 0700) and remove it at the end; with `keep`, a failed build's stays."""
    private = make_private(parent, _START)
    try:
        yield private
    except BaseException:
        if keep:
            (private / _KEPT).touch()
            say(f"kept {private}")
        else:
            _remove_for_good(private)
        raise
    try:
        remove_tree(private)
    except BaseException:  # a signal: the next one is ignored
        remove_tree(private)
        raise


def _remove_for_good(path: Path) -> None:
    """Remove the directory of a failed build: threads that link packages may still write there for a moment."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        remove_tree(path)
        time.sleep(_MOMENT)
        if not path.exists():
            return


def remove_tree(path: Path) -> None:
    """Remove a staged tree, also where a package made directories that its owner cannot read or write."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path)
        return
    for folder, names, _ in os.walk(path):
        for directory in (Path(folder), *(Path(folder, name) for name in names)):
            if not directory.is_symlink():
                with contextlib.suppress(OSError):
                    directory.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def scratch_left_behind(parent: Path) -> list[Path]:
    """Return what builds and locks of this user and host, provably gone, have left in `parent`; not what they kept."""
    found = [path for start in _STARTS for path in left_behind(parent, start)]
    return [path for path in found if not (path / _KEPT).exists()]


def is_noexec(path: Path) -> bool:
    """Return whether programs cannot be started from the file system of `path`."""
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
