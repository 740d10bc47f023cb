"""Where Tykky's cache is, and whether it is one's own."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tykky.errors import Problem, SiteError
from tykky.site.places import user_directory


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return Tykky's cache: `$TYKKY_CACHE`, else `tykky` in `${XDG_CACHE_HOME:-~/.cache}`. It is made if missing.

    Raises `SiteError` if there is nowhere to put it, or if others could put files into it.
    """
    if chosen := environ.get("TYKKY_CACHE"):
        if not chosen.startswith("/"):
            raise SiteError("TYKKY_CACHE", [Problem(f"{chosen!r} is not an absolute path")])
        path = Path(chosen)
    else:
        base = user_directory(environ, "XDG_CACHE_HOME", ".cache")
        if base is None:
            message = "neither TYKKY_CACHE nor XDG_CACHE_HOME nor HOME says where it is"
            raise SiteError("cache directory", [Problem(message)], hint="set TYKKY_CACHE to a directory of your own")
        path = base / "tykky"
    _check_own(path)
    return path


def is_private(directory: Path) -> bool:
    """Make a directory if it is not there; say whether it is ours and nobody else can write to it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _check_own(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except FileExistsError:
        raise _cache_error(path, "is not a directory") from None
    except OSError as failure:
        raise _cache_error(path, f"cannot be made: {(failure.strerror or str(failure)).lower()}") from None
    if status.st_uid != os.geteuid():
        raise _cache_error(path, f"belongs to another user (uid {status.st_uid})")
    if status.st_mode & 0o002:
        raise _cache_error(path, "can be written by everybody")
    if not os.access(path, os.W_OK | os.X_OK):
        raise _cache_error(path, "cannot be written")


def _cache_error(path: Path, message: str) -> SiteError:
    return SiteError(str(path), [Problem(message)], hint="set TYKKY_CACHE to a directory of your own")
