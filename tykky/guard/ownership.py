"""Private names that say who made them, so that what a killed process left behind can be told from work in hand.

    .stage-<host>-<boot>-<space>-<pid>-<start>-<random>

The name is the note: it is there in the same moment as the directory, so no kill can come between the two, and it costs
no file. `host`, `boot` and `space` (the pid namespace) are digests; what they and the rest mean is `guard/holder.py`'s.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import xxhash

from tykky.guard.holder import Process, start_of, this_process

_UNKNOWN = "00000000"
_NOTE = r"([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}"
_TRIES = 100


def make_private(parent: Path, start: str) -> Path:
    """Make a directory for this process alone (mode 0700) in `parent`; its name starts with `start`.

    Raises `OSError` as mkdir(2) does. The name is `private_name`'s.
    """
    for _ in range(_TRIES):
        path = parent / private_name(start)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"no private name is free in {parent}")


def private_name(start: str) -> str:
    """Return a name for this process alone that begins with `start`, at most 70 bytes longer."""
    here = this_process()
    return f"{start}{'-'.join(_place(here))}-{here.pid}-{here.start}-{os.urandom(4).hex()}"


def is_left_behind(name: str, start: str) -> bool:
    """Say whether `name` is one that `private_name` gives, and the process that made it is provably gone.

    Nothing is proved about a process of another host, of another pid namespace, or of a machine without an id.
    """
    if not name.startswith(start) or not (note := re.fullmatch(_NOTE, name[len(start) :])):
        return False
    host, boot, space, pid, started = note.groups()
    here = this_process()
    my_host, my_boot, my_space = _place(here)
    if _UNKNOWN in (host, space) or (host, space) != (my_host, my_space):
        return False
    if boot != my_boot:
        return True  # this machine was started again since
    try:
        return start_of(int(pid)) not in (None, int(started))
    except (ProcessLookupError, OverflowError):
        return True


def left_behind(place: Path, start: str) -> list[Path]:
    """Return what processes of this user on this host, provably gone, have left in `place` under such names, sorted.

    Nothing, if the directory cannot be read.
    """
    try:
        with os.scandir(place) as entries:
            found = [entry for entry in entries if is_left_behind(entry.name, start)]
            return sorted(Path(x.path) for x in found if x.stat(follow_symlinks=False).st_uid == os.geteuid())
    except OSError:
        return []


def sweep(place: Path, start: str) -> None:
    """Remove what processes that are gone have left in `place` under names with that start; raises nothing.

    It reads the names in `place`: for a directory in which something is made anyway, and which is not large.
    """
    for path in left_behind(place, start):
        if path.is_dir() and not path.is_symlink():
            _remove(path)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def temporary_place() -> Path:
    """Return the directory for temporary files: as `tempfile.gettempdir` finds it, and quickly where that is plain."""
    named = Path(next((place for name in ("TMPDIR", "TEMP", "TMP") if (place := os.environ.get(name))), "/tmp"))  # noqa: S108
    if named.is_absolute() and named.is_dir() and os.access(named, os.W_OK | os.X_OK):
        return named
    import tempfile  # with random numbers of every distribution

    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def private_directory(parent: Path, start: str) -> Iterator[Path]:
    """Give a directory for this process alone during the block; what dead ones have left of such is removed before.

    Raises `OSError` as mkdir(2) does.
    """
    sweep(parent, start)
    made = make_private(parent, start)
    try:
        yield made
    finally:
        _remove(made)


def _remove(tree: Path) -> None:
    import shutil  # with three libraries of compression, for which what is made here must not wait

    shutil.rmtree(tree, ignore_errors=True)


def _place(process: Process) -> tuple[str, str, str]:
    """Return the digests of the host, its boot and the pid namespace."""
    host = f"{process.host}\0{process.machine}" if process.machine else ""
    return _digest(host), _digest(process.boot), _digest(process.space)


def _digest(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode())[:8] if text else _UNKNOWN
