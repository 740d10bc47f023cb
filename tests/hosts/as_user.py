"""as_user.py [--no-userns[=ERROR]] USER PROGRAM ARG…: run a program as another user, perhaps without user namespaces.

Started by root. With `--no-userns` a seccomp filter makes `unshare` and `clone` with CLONE_NEWUSER fail with ENOSPC, as
`user.max_user_namespaces = 0` does on clusters that forbid them, or with another error (EPERM), for this process tree
only. Root may install it without no_new_privs, so setuid programs keep working under it. (The sysctl's file still
shows the machine's value.)
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import pwd
import struct
import sys
import warnings  # noqa: F401 - os.execvp wants it when the user may no longer read this interpreter's library

_CLONE_NEWUSER = 0x10000000
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
# machine: (audit architecture, clone, unshare, clone3)
_CALLS = {"x86_64": (0xC000003E, 56, 272, 435), "aarch64": (0xC00000B7, 220, 97, 435)}


def refuse_user_namespaces(error: int) -> None:
    """Install the filter, which answers `error`.

    Raises `OSError` if the kernel refuses it, `KeyError` on an unknown machine.
    """
    architecture, clone, unshare, clone3 = _CALLS[platform.machine()]

    def step(code: int, operand: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, operand)

    program = b"".join(
        (
            step(_LOAD, 4),
            step(_EQUAL, architecture, 0, 8),  # another architecture: allowed
            step(_LOAD, 0),
            step(_EQUAL, clone3, 5, 0),  # its flags lie in memory; without it, libc falls back to clone
            step(_EQUAL, clone, 1, 0),
            step(_EQUAL, unshare, 0, 4),
            step(_LOAD, 16),
            step(_ANY_BIT, _CLONE_NEWUSER, 0, 2),
            step(_RETURN, _ERRNO | error),
            step(_RETURN, _ERRNO | errno.ENOSYS),
            step(_RETURN, _ALLOW),
        )
    )
    buffer = ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    wanted = Filter(len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(wanted), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def main(words: list[str]) -> None:
    """Become the user, then the program."""
    option, _, error = words[0].partition("=")
    if option == "--no-userns":
        words = words[1:]
        refuse_user_namespaces(getattr(errno, error or "ENOSPC"))
    user = pwd.getpwnam(words[0])
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.execvp(words[1], words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
