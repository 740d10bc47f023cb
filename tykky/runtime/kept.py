"""Mounts that are kept for one job step or session: who keeps them, and letting go of those of an environment.

A launch finds a keeper by the file `kept-…` in a private directory of the user's (templates/join.sh.j2). Its first line
is the keeper's process, the holder's (by whose descriptors launches join), whether there is a user namespace, whether
nsenter has --wdns, and the processes that serve the images; then nsenter, the environment directory, and the ids it is
for. A keeper that ends takes nothing away from programs that run.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 5.0  # seconds for the kernel and the servers, once nothing holds the mounts any more


@dataclass(frozen=True, slots=True)
class Kept:
    """Mounts of one environment directory that are kept: the keeper's file, and the processes."""

    file: Path
    directory: Path
    keeper: int
    holder: int
    servers: tuple[int, ...]


def private_directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where launches of this user may have put keepers' files: the places that templates/private.sh.j2 tries."""
    places = [Path(f"/tmp/.tykky-{os.geteuid()}"), Path(f"/dev/shm/.tykky-{os.geteuid()}")]  # noqa: S108 - theirs
    if environ.get("XDG_RUNTIME_DIR"):
        places.insert(0, Path(environ["XDG_RUNTIME_DIR"]) / "tykky")
    return tuple(place for place in places if _is_ours(place))


def kept(private: Path) -> Iterator[Kept]:
    """Give the mounts whose keepers are alive, by their files in one private directory."""
    for file in sorted(private.glob("kept-*")):
        try:
            text = os.fsdecode(file.read_bytes())
            first, _, rest = text.partition("\n")
            keeper, holder, _, _, *servers = first.split()
            # Between nsenter's line and that of the ids: a path may hold newlines.
            directory = rest.partition("\n")[2].rstrip("\n").rpartition("\n")[0]
            found = Kept(file, Path(directory), int(keeper), int(holder), tuple(map(int, servers)))
        except (OSError, ValueError):
            continue
        if _holds(found):
            yield found


def let_go(directory: Path, environ: Mapping[str, str]) -> int:
    """End this user's keepers of an environment directory on this host, and return how many there were.

    Mounts that nobody else uses are gone when this returns. Those that programs use stay until the last of them ends.
    """
    real = directory.resolve()
    found = [one for place in private_directories(environ) for one in kept(place) if one.directory == real]
    idle = [one for one in found if not is_used(one)]
    for one in found:
        _end(one)
    until = time.monotonic() + _PATIENCE
    while any(_is_served(one) for one in idle) and time.monotonic() < until:
        time.sleep(0.02)
    return len(found)


def _is_ours(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink() and place.stat().st_uid == os.geteuid()


def _holds(one: Kept) -> bool:
    """Say whether the keeper lives: it has its own file open as descriptor 3, so its number is nobody else's by now."""
    try:
        return Path(f"/proc/{one.keeper}/fd/3").samefile(one.file)
    except OSError:
        return False


def _end(one: Kept) -> None:
    mounts = _mounts(one.keeper)
    if mounts is None or not _holds(one):
        return
    with suppress(OSError):
        one.file.unlink()
        one.file.with_name(one.file.name.replace("kept-", "used-", 1)).unlink(missing_ok=True)
    for process in (one.keeper, one.holder):
        with suppress(OSError):
            # Looked at again by who has a descriptor of it: between two looks a number cannot become another's.
            descriptor = os.pidfd_open(process)
            try:
                if _mounts(process) == mounts:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)


def is_used(one: Kept) -> bool:
    """Say whether a program of this user's runs in the mounts (one that is hidden from us may not count)."""
    mounts = _mounts(one.keeper)
    return mounts is not None and any(_inode(x / "ns" / "mnt") == mounts for x in Path("/proc").glob("[0-9]*"))


def _mounts(process: int) -> int | None:
    """Return which mount namespace a keeper or holder holds."""
    return _inode(Path(f"/proc/{process}/fd/5"))


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _is_served(one: Kept) -> bool:
    # Where nobody reaps them soon, servers that ended are still listed, but without namespaces.
    return any(_inode(Path(f"/proc/{server}/ns/mnt")) is not None for server in one.servers)
