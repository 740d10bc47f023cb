"""Who holds a guard, and whether that process can still be alive.

What a guard file holds (one line):

    {"host":"node7","machine":"9f…","boot":"f1c3…","space":"pid:[4026531836]","pid":123,"start":88131,
     "user":"alice","what":"build of /p/env","since":"2026-11-19T11:03:10Z","nonce":"5b…"}
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
import xxhash
from msgspec import Meta, Struct

Verdict: TypeAlias = Literal["alive", "dead", "unknown"]

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_START = 22 - 3  # field 22 of /proc/PID/stat, counted after the name in parentheses (proc_pid_stat(5))


class Process(Struct, frozen=True):
    """One process, told apart from all others of all hosts and times.

    `machine` is a hash of /etc/machine-id and `space` the process's pid namespace; either may be empty, when it
    cannot be told. `start` is the time of its start after boot, in ticks of the kernel.
    """

    host: str
    machine: str
    boot: str
    space: str
    # 0 and negative numbers would mean groups of processes to kill(2)
    pid: Annotated[int, Meta(ge=1, lt=2**31)]
    start: int

    @property
    def place(self) -> str:
        """Where its pid means something: 12 hexadecimal digits for one boot of one host and one pid namespace."""
        return xxhash.xxh3_128_hexdigest("\0".join((self.host, self.boot, self.space)).encode())[:12]


class Holder(Process, frozen=True):
    """A process that holds a guard: on whose behalf, doing what, since when. `nonce` makes every holding unique."""

    user: str
    what: str
    since: datetime
    nonce: str


def this_process() -> Process:
    """Return who we are."""
    machine = _first_line(_MACHINE_ID)
    # After unshare(2) without a new /proc, or in a sandbox, the pids in /proc are not ours: then nothing can be told.
    start = _read_start(os.getpid())
    consistent = _link(_PROC / "self") == str(os.getpid()) and start is not None
    return Process(
        host=os.uname().nodename,
        # machine-id(5) asks not to hand the number itself around: half as many bits cannot give it away
        machine=xxhash.xxh3_128_hexdigest(f"tykky guard {machine}".encode())[:16] if machine else "",
        boot=_first_line(_PROC / "sys/kernel/random/boot_id"),
        space=_link(_PROC / "self/ns/pid") if consistent else "",
        pid=os.getpid(),
        start=start or 0,
    )


def holding(process: Process, what: str) -> Holder:
    """Return the record of `process` taking a guard now."""
    return Holder(
        **msgspec.structs.asdict(process),
        user=current_user(),
        what=_plain(what),
        since=datetime.now(UTC).replace(microsecond=0),
        nonce=os.urandom(8).hex(),
    )


def current_user() -> str:
    """Return the name of the user we run as."""
    return user_name(os.geteuid())


def user_name(number: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def dump(holder: Holder) -> bytes:
    """Return the guard file's bytes."""
    return msgspec.json.encode(holder) + b"\n"


def parse(raw: bytes) -> Holder | None:
    """Return who a guard file names, or None if that cannot be read. Unknown keys are a newer Tykky's."""
    try:
        return msgspec.json.decode(raw, type=Holder)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def start_of(pid: int) -> int | None:
    """Return when a process of this pid namespace started, in ticks after boot; None if that is hidden from us.

    Raises `ProcessLookupError` if there is none; one that has ended and waits for its parent counts as gone.
    """
    with contextlib.suppress(PermissionError):
        os.kill(pid, 0)  # /proc may be mounted with hidepid=2; this tells the truth also then
    return _read_start(pid)


def judge(process: Process, here: Process, start: Callable[[int], int | None] = start_of) -> Verdict:
    """Say whether a process is alive, as far as that can be told from `here`."""
    if not process.space or process.space != here.space:
        return "unknown"  # two containers on one host share its name and boot id, but not their pids
    if process.boot != here.boot:
        # Many hosts of the name `localhost` may share a file system: only a known machine can have been rebooted.
        known = bool(process.machine) and (process.host, process.machine) == (here.host, here.machine)
        return "dead" if known else "unknown"
    try:
        started = start(process.pid)
    except ProcessLookupError:
        return "dead"
    if started is None:
        return "unknown"
    return "alive" if started == process.start else "dead"


def describe(holder: Holder, now: datetime) -> str:
    """Return `pid 123 on node7, since 12:03`: in local time, with the day if it is another, and with another's name."""
    since, now = holder.since.astimezone(), now.astimezone()
    moment = since.strftime("%H:%M" if since.date() == now.date() else "%Y-%m-%d %H:%M")
    user = "" if holder.user == current_user() else f" of {_plain(holder.user)}"
    return f"pid {holder.pid}{user} on {_plain(holder.host)}, since {moment}"


def activity(holder: Holder, what: str) -> str:
    """Return what the holder does, as seen by one who wants to do `what`."""
    return f"another {_plain(what)}" if holder.what == _plain(what) else f"the {_plain(holder.what)}"


def _plain(text: str) -> str:
    """Return text that does nothing to a terminal: guards in shared places are written by others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:500])


def _read_start(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = stat.rpartition(")")[2].split()
        if state in ("Z", "X"):
            raise ProcessLookupError(pid)
        return int(fields[_START - 1])
    except ProcessLookupError:
        raise
    except (OSError, ValueError, IndexError):
        return None


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
