"""The private directory a build works in, and the log it leaves when it fails."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tykky.errors import BuildError

_CANDIDATES = ("/tmp", "/var/tmp")  # noqa: S108 - what is made in them is private (mkdtemp)


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


def _usable(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


@contextlib.contextmanager
def scratch(parent: Path, *, keep: bool, say: Callable[[str], None]) -> Iterator[Path]:
    """Give a private directory (mode 0700) and remove it at the end; with `keep`, a failed build's stays."""
    private = Path(tempfile.mkdtemp(prefix="tykky-", dir=parent))
    try:
        yield private
    except BaseException:
        if keep:
            say(f"kept {private}")
        else:
            remove_tree(private)
        raise
    remove_tree(private)


def remove_tree(path: Path) -> None:
    """Remove a staged tree, also where a package made directories read-only."""

    def retry(function: Callable[..., object], name: str, _: object) -> None:
        parent = Path(name).parent
        with contextlib.suppress(OSError):
            parent.chmod(0o700)
            if Path(name).is_dir() and not Path(name).is_symlink():
                Path(name).chmod(0o700)
            function(name)

    shutil.rmtree(path, onerror=retry)


def is_noexec(path: Path) -> bool:
    """Return whether programs cannot be started from the file system of `path`."""
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
