"""Leases: which other environments use images of this one, so that gc leaves those alone.

P/.tykky/leases/<digest of the path>.json, one for each child environment:

    {"environment": "/home/ada/climate", "keys": ["5e…", "a9…"], "created": "2026-11-22T09:30:00+00:00"}
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tykky.environment.directory import EnvironmentDirectory
from tykky.errors import EnvironmentDirectoryError
from tykky.guard.holder import user_name
from tykky.guard.ownership import private_name
from tykky.guard.regular import read_regular
from tykky.store.images import flush_file

_NAMED = re.compile(r"[0-9a-f]{32}\.json")
_PATH = re.compile(r"/[^\0-\x1f\x7f-\x9f]*")  # it is printed
_LARGEST = 1 << 20  # bytes; ten thousand images have fewer


class Lease(msgspec.Struct, frozen=True, rename="kebab"):
    """One child environment: the absolute path of its directory, and the keys of the images that it uses."""

    environment: str
    keys: tuple[str, ...]
    created: str  # UTC, ISO 8601


def read_leases(directory: EnvironmentDirectory) -> tuple[Lease, ...]:
    """Return all leases, sorted by environment.

    Anybody may have written them, so nothing of them is followed or waited for. Raises `EnvironmentDirectoryError` for
    one that cannot be read: which images it means is not known then.
    """
    found = []
    for path in _files(directory):
        try:
            found.append(_decoded(path))
        except FileNotFoundError:
            continue  # taken back meanwhile
        except (msgspec.MsgspecError, OSError) as error:
            raise EnvironmentDirectoryError(
                f"{path}{_of(path)} is damaged: {(error.strerror if isinstance(error, OSError) else None) or error}",
                hint="it names images that another environment uses; build that one again, or remove the file if it is "
                "gone",
            ) from None
    return tuple(sorted(found, key=lambda lease: lease.environment))


def _files(directory: EnvironmentDirectory) -> list[Path]:
    try:
        names = sorted(os.listdir(directory.leases))  # noqa: PTH208 - names are all that is needed
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise EnvironmentDirectoryError(
            f"{directory.leases} cannot be read: {(error.strerror or str(error)).lower()}",
            hint="which images other environments use is not known then; its owner has to let you read it",
        ) from None
    return [directory.leases / name for name in names if _NAMED.fullmatch(name)]


def _decoded(path: Path) -> Lease:
    """Return the lease in a file. Raises `OSError` or `MsgspecError`."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", os.fspath(path))
    lease = msgspec.json.decode(read_regular(path, _LARGEST), type=Lease)
    if not _PATH.fullmatch(lease.environment):
        raise msgspec.ValidationError("it names no environment")
    return lease


def _of(path: Path) -> str:
    """Say whose a file is, if it is not ours."""
    with contextlib.suppress(OSError):
        owner = path.lstat().st_uid
        return "" if owner == os.geteuid() else f" (of {user_name(owner)})"
    return ""


def write_lease(directory: EnvironmentDirectory, child: Path, keys: Sequence[str]) -> Path:
    """Say that the environment `child` uses these images; return the lease's file. An earlier lease of it is replaced.

    All generations of the child count: `keys` are those of every one that is kept. Raises `OSError` where that cannot
    be written, which is for the caller to explain: a parent need not be ours.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    lease = Lease(os.fspath(child.absolute()), tuple(sorted(set(keys))), now)
    with contextlib.suppress(FileExistsError):
        directory.leases.mkdir()
        directory.leases.chmod(0o755 | (directory.private.stat().st_mode & (stat.S_IWGRP | stat.S_ISGID)))
    path = lease_file(directory, child)
    staged = directory.leases / private_name(".")
    try:
        # The directory may be for everybody to write: what stands there under this name is not ours to write into.
        with staged.open("xb") as file:
            file.write(msgspec.json.encode(lease) + b"\n")
        staged.chmod(0o644)  # for who collects, whatever our umask
        flush_file(staged)
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    flush_file(directory.leases)
    return path


def renew_leases(child: EnvironmentDirectory, before: Iterable[Path] = ()) -> None:
    """Tell every environment whose images the child's generations use that they do, where that may be written.

    `before` are environments that were used until now: leases in those that are used no more are taken back. A parent
    that cannot be written has no lease; its site lets generations live on for a while instead (`gc-grace`).
    """
    used = borrowed(child)
    for parent, keys in used.items():
        directory = EnvironmentDirectory(parent)
        with contextlib.suppress(OSError):
            path = lease_file(directory, child.path)
            if not path.exists() or set(_read(path).keys) != keys:
                write_lease(directory, child.path, sorted(keys))
    for parent in set(before) - set(used):
        with contextlib.suppress(OSError):
            end_lease(EnvironmentDirectory(parent), child.path)


def borrowed(child: EnvironmentDirectory) -> dict[Path, set[str]]:
    """Return the environment directories whose images the child's generations use, and the keys of these images."""
    used: dict[Path, set[str]] = {}
    for number in child.numbers():
        try:
            layers = child.record(number).layers
        except EnvironmentDirectoryError:
            continue
        for layer in layers:
            path = Path(layer.image)
            if path.is_absolute() and path.parent.parts[-2:] == (".tykky", "layers"):
                used.setdefault(path.parent.parent.parent, set()).add(layer.key)
    return used


def _read(path: Path) -> Lease:
    """Return one lease, an empty one for a file that cannot be read."""
    try:
        return _decoded(path)
    except (msgspec.MsgspecError, OSError):
        return Lease("", (), "")


def end_lease(directory: EnvironmentDirectory, child: Path) -> None:
    """Take the lease of a child back. Raises `OSError` if it is there and cannot be removed."""
    lease_file(directory, child).unlink(missing_ok=True)


def lease_file(directory: EnvironmentDirectory, child: Path) -> Path:
    """Return where the lease of the environment `child` is."""
    digest = hashlib.sha256(os.fsencode(child.absolute())).hexdigest()[:32]
    return directory.leases / f"{digest}.json"
