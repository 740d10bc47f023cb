"""A file system without flock and fcntl locks: what Lustre is where it is mounted without `-o flock`.

    python -m tests.flockless MOUNTPOINT COMMAND WORD…     run the command while it is mounted; its exit status
                                                           is the result, or 77 if nothing can be mounted here

It lives in memory and speaks the kernel's FUSE protocol (include/uapi/linux/fuse.h, 7.31) itself, so no libfuse is
needed. Both kinds of locks are answered with ENOSYS, as Lustre does. Hard links, symlinks, renames and times work.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

CANNOT_MOUNT = 77
_ROOT = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

# numbers of fuse.h
_POSIX_LOCKS, _FLOCK_LOCKS, _BIG_WRITES = 1 << 1, 1 << 10, 1 << 5
_SET_MODE, _SET_UID, _SET_GID, _SET_SIZE, _SET_MTIME, _SET_MTIME_NOW = 1, 2, 4, 8, 1 << 5, 1 << 8
_NO_ANSWER = {2, 42, 36}  # FORGET, BATCH_FORGET, INTERRUPT


@dataclass
class Node:
    """A file or directory."""

    number: int
    mode: int
    links: int = 1
    owner: int = 0
    group: int = 0
    mtime: int = field(default_factory=time.time_ns)
    content: bytearray = field(default_factory=bytearray)
    names: dict[bytes, int] = field(default_factory=dict)

    def attributes(self) -> bytes:
        seconds, rest = divmod(self.mtime, 10**9)
        size = len(self.content)
        times = (seconds, seconds, seconds, rest, rest, rest)
        numbers = (self.mode, self.links, self.owner, self.group, 0, 4096, 0)
        return struct.pack("<QQQ3Q3I7I", self.number, size, (size + 511) // 512, *times, *numbers)


class Files:
    """The file system: one method per request. Each takes the node, the request's body and who asks."""

    asked_for_locks = _POSIX_LOCKS | _FLOCK_LOCKS  # and cannot; without these the kernel keeps locks by itself

    def __init__(self) -> None:
        self.nodes = {_ROOT: Node(_ROOT, stat.S_IFDIR | 0o755, links=2)}
        self._numbers = itertools.count(_ROOT + 1)
        self._requests: dict[int, Callable[[Node, bytes, tuple[int, int]], bytes]] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 5: self._readlink, 6: self._symlink, 9: self._mkdir,
            10: self._unlink, 11: self._unlink, 12: self._rename,
            13: self._link, 14: self._open, 15: self._read, 16: self._write, 17: self._statfs,
            18: self._nothing, 20: self._nothing, 25: self._nothing, 26: self._init, 27: self._open,
            28: self._readdir, 29: self._nothing, 30: self._nothing, 35: self._create, 45: self._rename2,
        }  # fmt: skip

    def answer(self, opcode: int, number: int, body: bytes, who: tuple[int, int]) -> bytes:
        """Return the body of the answer, or raise `OSError`. What is not known (locks: 31 to 33) is ENOSYS."""
        request = self._requests.get(opcode)
        if request is None:
            raise OSError(errno.ENOSYS, "")
        node = self.nodes.get(number) or Node(0, 0)
        return request(node, body, who)

    def _init(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        return struct.pack(
            "<4I2H2I2HI7I",
            7,
            31,
            1 << 17,
            _BIG_WRITES | self.asked_for_locks,
            16,
            12,
            1 << 17,
            1,
            32,
            0,
            0,
            *[0] * 7,
        )

    def _entry(self, node: Node) -> bytes:
        return struct.pack("<4Q2I", node.number, 0, 0, 0, 0, 0) + node.attributes()

    def _child(self, node: Node, name: bytes) -> Node:
        if name not in node.names:
            raise OSError(errno.ENOENT, "")
        return self.nodes[node.names[name]]

    def _lookup(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        return self._entry(self._child(node, body.rstrip(b"\0")))

    def _getattr(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        return struct.pack("<Q2I", 0, 0, 0) + node.attributes()

    def _setattr(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        valid, _, _, size, _, _, mtime, _, _, part, _, mode, _, uid, gid, _ = struct.unpack("<2I6Q8I", body)
        if valid & _SET_MODE:
            node.mode = mode
        if valid & _SET_UID:
            node.owner = uid
        if valid & _SET_GID:
            node.group = gid
        if valid & _SET_SIZE:
            del node.content[size:]
            node.content.extend(bytes(size - len(node.content)))
            node.mtime = time.time_ns()
        if valid & _SET_MTIME_NOW:
            node.mtime = time.time_ns()
        elif valid & _SET_MTIME:
            node.mtime = mtime * 10**9 + part
        return self._getattr(node, b"", who)

    def _new(self, parent: Node, name: bytes, mode: int, who: tuple[int, int]) -> Node:
        if name in parent.names:
            raise OSError(errno.EEXIST, "")
        node = Node(next(self._numbers), mode, owner=who[0], group=who[1])
        self.nodes[node.number] = node
        parent.names[name] = node.number
        return node

    def _mkdir(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        mode, umask = struct.unpack_from("<2I", body)
        return self._entry(self._new(node, body[8:].rstrip(b"\0"), stat.S_IFDIR | (mode & ~umask), who))

    def _create(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        _, mode, umask, _ = struct.unpack_from("<4I", body)
        made = self._new(node, body[16:].rstrip(b"\0"), stat.S_IFREG | (mode & ~umask & 0o7777), who)
        return self._entry(made) + self._open(made, b"", who)

    def _symlink(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        name, target = body.split(b"\0")[:2]
        made = self._new(node, name, stat.S_IFLNK | 0o777, who)
        made.content.extend(target)
        return self._entry(made)

    def _readlink(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        return bytes(node.content)

    def _unlink(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        name = body.rstrip(b"\0")
        if self._child(node, name).names:
            raise OSError(errno.ENOTEMPTY, "")
        self.nodes[node.names.pop(name)].links -= 1  # the node stays: somebody may have it open
        return b""

    def _link(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        (number,), name = struct.unpack_from("<Q", body), body[8:].rstrip(b"\0")
        if name in node.names:
            raise OSError(errno.EEXIST, "")
        node.names[name] = number
        self.nodes[number].links += 1
        return self._entry(self.nodes[number])

    def _rename(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        (number,), names = struct.unpack_from("<Q", body), body[8:].split(b"\0")
        moved = self._child(node, names[0])
        if names[1] in self.nodes[number].names:
            self._unlink(self.nodes[number], names[1], who)
        self.nodes[number].names[names[1]] = moved.number
        del node.names[names[0]]
        return b""

    def _rename2(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        if struct.unpack_from("<I", body, 8)[0]:
            raise OSError(errno.EINVAL, "")
        return self._rename(node, body[:8] + body[16:], who)

    def _open(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        return struct.pack("<Q2I", 0, 0, 0)

    def _read(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<2QI", body)
        return bytes(node.content[offset : offset + size])

    def _write(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<2QI", body)
        node.content.extend(bytes(max(0, offset - len(node.content))))
        node.content[offset : offset + size] = body[40 : 40 + size]
        node.mtime = time.time_ns()
        return struct.pack("<2I", size, 0)

    def _readdir(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<2QI", body)
        found = b""
        for index, (name, number) in enumerate(list(node.names.items())[offset:], offset + 1):
            kind = stat.S_IFMT(self.nodes[number].mode) >> 12
            entry = struct.pack("<2Q2I", number, index, len(name), kind) + name
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found

    def _statfs(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        return struct.pack("<5Q4I6I", 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096, 0, *[0] * 6)

    def _nothing(self, node: Node, body: bytes, who: tuple[int, int]) -> bytes:
        return b""


def serve(device: int, files: Files) -> None:
    """Answer the kernel until the file system is unmounted."""
    while True:
        try:
            request = os.read(device, 1 << 18)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):  # ENOENT: the asking process was interrupted
                continue
            return  # ENODEV: unmounted
        length, opcode, unique, number, uid, gid, _ = struct.unpack_from("<IIQQ3I", request)
        if opcode in _NO_ANSWER:
            continue
        try:
            code, body = 0, files.answer(opcode, number, request[40:length], (uid, gid))
        except OSError as error:
            code, body = -(error.errno or errno.EIO), b""
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(body), code, unique) + body)
        except OSError as error:
            if error.errno != errno.ENOENT:  # nobody waits for the answer any more
                return


def mount(device: int, at: str) -> None:
    """Mount what `device` (an open /dev/fuse) serves; raise `OSError`."""
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions"
    if _LIBC.mount(b"flockless", os.fsencode(at), b"fuse", 2 | 4, options.encode()) != 0:  # nosuid, nodev
        raise OSError(ctypes.get_errno(), "mount")


@cache
def why_not() -> str | None:
    """Return why the file system cannot be mounted here, or None."""
    made = Path(os.environ.get("TMPDIR", "/tmp")) / f"tykky-flockless-{os.getpid()}"
    made.mkdir(mode=0o700)
    try:
        done = run(made, "true")
    finally:
        made.rmdir()
    return None if done.returncode == 0 else f"cannot mount a FUSE file system: {done.stderr.strip()[-200:]}"


def run(at: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command while the file system is mounted at `at`, for it alone: in a mount namespace of its own."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    argv = [*unshare, sys.executable, "-m", "tests.flockless", str(at), *command]
    return subprocess.run(argv, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False, timeout=240)


@contextlib.contextmanager
def mounted(at: str, files: Files) -> Iterator[None]:
    """Serve a file system at a directory, in a mount namespace that is ours alone. Raises `OSError`."""
    device = os.open("/dev/fuse", os.O_RDWR)
    mount(device, at)
    server = os.fork()
    if server == 0:
        _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no server without a mount to serve
        serve(device, files)
        os._exit(0)
    os.close(device)
    try:
        yield
    finally:
        _LIBC.umount2(os.fsencode(at), 2)  # MNT_DETACH
        os.waitpid(server, 0)


def main(at: str, *command: str) -> int:
    try:
        with mounted(at, Files()):
            return subprocess.run(command, check=False).returncode
    except OSError as error:
        print(f"mount: {error.strerror} ({error.errno})", file=sys.stderr)
        return CANNOT_MOUNT


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
