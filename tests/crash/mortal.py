"""Runs `tykky`, and kills it right before its N-th system call that changes something, or lets that call fail.

    python -m tests.crash.mortal        answers a line of JSON for each line of JSON on its standard input:

    {"words": ["build"], "cwd": "/p", "kill": 17, "environ": {…}}   run it; with `kill` null it lives
    {"status": -9, "err": "…", "calls": [["mkdir", "/p/x"], …]}     the calls that were made; the last one was not

With `"fail": 5` (an errno, here EIO) it is not killed: that call is not made and fails. ENOSPC is what all later calls
that need room meet too, as on a full disk. With `"traced": false` it is only run, which takes less time.

It imports Tykky once and forks for every run. The child is traced (ptrace(2)) call by call, its main thread alone: the
programs that it starts are not, so `clone` stands for each of them. A killed process has made every call before the
N-th and none after it, which is what any kill between the two leaves on the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import signal
import struct
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ready import prepare

# The last argument that is a path says the most: where something goes. None: the first argument is a descriptor.
_X86_64 = {
    1: ("write", None), 18: ("pwrite64", None), 20: ("writev", None), 40: ("sendfile", None), 326: ("copy", None),
    74: ("fsync", None), 75: ("fdatasync", None), 77: ("ftruncate", None), 91: ("fchmod", None), 93: ("fchown", None),
    2: ("open", 0), 85: ("creat", 0), 82: ("rename", 1), 86: ("link", 1), 87: ("unlink", 0), 88: ("symlink", 1),
    83: ("mkdir", 0), 84: ("rmdir", 0), 90: ("chmod", 0), 92: ("chown", 0), 76: ("truncate", 0),
    257: ("open", 1), 258: ("mkdir", 1), 263: ("unlink", 1), 264: ("rename", 3), 316: ("rename", 3), 265: ("link", 3),
    266: ("symlink", 2), 268: ("chmod", 1), 452: ("chmod", 1), 260: ("chown", 1), 280: ("utime", 1),
    56: ("clone", -1), 57: ("clone", -1), 58: ("clone", -1), 435: ("clone", -1), 231: ("exit", -1),
}  # fmt: skip
_AARCH64 = {
    64: ("write", None), 68: ("pwrite64", None), 66: ("writev", None), 71: ("sendfile", None), 285: ("copy", None),
    82: ("fsync", None), 83: ("fdatasync", None), 46: ("ftruncate", None), 52: ("fchmod", None), 55: ("fchown", None),
    45: ("truncate", 0), 56: ("open", 1), 34: ("mkdir", 1), 35: ("unlink", 1), 38: ("rename", 3), 276: ("rename", 3),
    37: ("link", 3), 36: ("symlink", 2), 53: ("chmod", 1), 452: ("chmod", 1), 54: ("chown", 1), 88: ("utime", 1),
    220: ("clone", -1), 435: ("clone", -1), 94: ("exit", -1),
}  # fmt: skip
_CALLS: dict[str, dict[int, tuple[str, int | None]]] = {"x86_64": _X86_64, "aarch64": _AARCH64}
_FLAGS = {"x86_64": {2: 1, 257: 2}, "aarch64": {56: 2}}  # of open and openat: which argument says for what
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# A full disk lets these be done.
_GIVE_ROOM = {"unlink", "rmdir", "chmod", "fchmod", "chown", "fchown", "utime"}
_NEVER_FAIL = {"clone", "exit"}

# numbers of linux/ptrace.h
_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_GETREGS, _SETREGS, _RESULT, _NUMBER = 12, 13, 10, 15
_MARK_CALLS, _KILL_WITH_US = 1, 1 << 20
_ENTRY = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_LIBC.ptrace.restype = ctypes.c_long


@dataclass(frozen=True)
class Run:
    """What is to be run, and before which call it ends (counted from 0; None: it lives), or which one fails and how."""

    words: list[str]
    cwd: str
    kill: int | None
    environ: dict[str, str]
    traced: bool = True
    fail: int | None = None

    def fails(self, number: int, name: str, path: str) -> bool:
        """Say whether the call with this number is one that fails."""
        if self.fail is None or self.kill is None or name in _NEVER_FAIL or path.startswith("/dev/"):
            return False
        return number == self.kill or (self.fail == errno.ENOSPC and number > self.kill and name not in _GIVE_ROOM)


def why_not() -> str | None:
    """Return why nothing can be traced here, or None."""
    if platform.machine() not in _CALLS:
        return f"the system calls of {platform.machine()} are not in {__name__}"
    child = os.fork()
    if child == 0:
        os._exit(0 if _LIBC.ptrace(_TRACEME, 0, None, None) == 0 else 1)
    _, status = os.waitpid(child, 0)
    return None if status == 0 else "ptrace is not allowed here"


def carry_out(run: Run, out: Path) -> dict[str, Any]:
    """Run it and return the answer; what it prints goes to the file `out`."""
    child = os.fork()
    if child == 0:
        _become(run, out)
    if not run.traced:
        _, status = os.waitpid(child, 0)
        return {"status": os.waitstatus_to_exitcode(status), "err": out.read_text(errors="replace"), "calls": []}
    os.waitpid(child, 0)  # it has stopped itself
    _ptrace(_SETOPTIONS, child, None, _MARK_CALLS | _KILL_WITH_US)
    calls: list[list[str]] = []
    entering, number, failing = True, 0, False
    while True:
        _ptrace(_SYSCALL, child, None, number)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            return {"status": os.waitstatus_to_exitcode(status), "err": out.read_text(errors="replace"), "calls": calls}
        number = os.WSTOPSIG(status)
        if number != signal.SIGTRAP | 0x80:
            continue  # a signal: it is handed on
        number = 0
        if entering and (call := _call(child)) is not None:
            calls.append(call)
            failing = run.fails(len(calls) - 1, *call)
            if failing:
                _set_registers(child, {_NUMBER: -1})  # no call has this number
            elif run.fail is None and run.kill == len(calls) - 1:
                os.kill(child, signal.SIGKILL)
        elif failing and not entering:
            _set_registers(child, {_RESULT: -(run.fail or 0)})
            failing = False
        entering = not entering


def _become(run: Run, out: Path) -> None:
    """Be the program, in a forked child. Does not return."""
    status = 1
    try:
        target = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number in (1, 2):
            os.dup2(target, number)
        os.environ.update(run.environ)
        os.chdir(run.cwd)
        from tykky.cli.boundary import run as tykky

        if run.traced:
            _LIBC.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
        status = tykky(run.words)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def why_none_fails() -> str | None:
    """Return why no call can be made to fail here, or None."""
    return why_not() or (
        None if platform.machine() == "x86_64" else "the registers of other machines are not known here"
    )


def _set_registers(pid: int, values: dict[int, int]) -> None:
    """Change registers by their number in `struct user_regs_struct` (sys/user.h, x86_64)."""
    registers = (ctypes.c_int64 * 27)()
    _ptrace(_GETREGS, pid, None, ctypes.addressof(registers))
    for number, value in values.items():
        registers[number] = value
    _ptrace(_SETREGS, pid, None, ctypes.addressof(registers))


def _call(pid: int) -> list[str] | None:
    """Return name and path of the call that a process is about to make, None if it changes nothing on a disk."""
    info = ctypes.create_string_buffer(88)
    _ptrace(_GET_SYSCALL_INFO, pid, len(info), ctypes.addressof(info))
    if info.raw[0] != _ENTRY:
        raise RuntimeError("out of step with the kernel")
    number, *arguments = struct.unpack_from("<7Q", info.raw, 24)
    if number not in _CALLS[platform.machine()]:
        return None
    name, place = _CALLS[platform.machine()][number]
    flags = _FLAGS[platform.machine()].get(number)
    if flags is not None and not arguments[flags] & _FOR_WRITING:
        return None
    if place == -1:
        return [name, ""]
    if place is None or (name == "chmod" and not arguments[place]):
        return _of_descriptor(name, pid, arguments[0])
    path = _text(pid, arguments[place])
    if not path.startswith("/") and place > 0:  # relative to an open directory, as shutil.rmtree does it
        with contextlib.suppress(OSError):
            path = f"{os.readlink(f'/proc/{pid}/fd/{arguments[place - 1]}')}/{path}"
    return [name, path]


def _of_descriptor(name: str, pid: int, descriptor: int) -> list[str] | None:
    try:
        target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return None
    # Pipes, terminals and what is said on standard output change nothing that lasts.
    return [name, target] if target.startswith("/") and descriptor not in (1, 2) else None


def _text(pid: int, address: int) -> str:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        found = b""
        while b"\0" not in found and (more := memory.read(256 - (address + len(found)) % 256)):
            found += more
    return os.fsdecode(found.partition(b"\0")[0])


def _ptrace(request: int, pid: int, address: int | None, data: int | None) -> None:
    if _LIBC.ptrace(request, pid, address, data) == -1:
        error = ctypes.get_errno()
        if error != 3:  # ESRCH: it was killed meanwhile, as waitpid will tell
            raise OSError(error, os.strerror(error), "ptrace")


def main(out: str) -> None:
    """Answer requests until there are no more."""
    prepare()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(carry_out(Run(**request), Path(out))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
