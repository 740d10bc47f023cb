"""A file system that fails from its N-th change on, until it is mended: what a disk, a quota or a server does.

It is `tests.flockless` in memory, told by the names of directories that are made in its root:

    mkdir .fail-28-120      from the 120th change on (0: at once) all that needs room fails with errno 28 (ENOSPC)
    mkdir .fail-5-120       from the 120th change on every change, and every fsync, fails with errno 5 (EIO)
    mkdir .mend             nothing fails any more
    readlink .count         how many changes there were since the last of these

None of these directories is there afterwards.
"""

from __future__ import annotations

import errno
import re
import stat

from tests.flockless import Files, Node

# Numbers of fuse.h: symlink, mkdir, rename, link, write, create, rename2; the others are setattr, unlink, rmdir, fsync.
_NEED_ROOM = {6, 9, 12, 13, 16, 35, 45}
_CHANGE = _NEED_ROOM | {4, 10, 11, 20, 30}
_MKDIR, _LOOKUP = 9, 1
_ORDER = re.compile(rb"\.(?:fail-(\d+)-(\d+)|mend)")
_COUNT = b".count"


class FailingFiles(Files):
    """The file system. `error` is the errno with which the change number `after` and those after it fail."""

    asked_for_locks = 0

    def __init__(self) -> None:
        super().__init__()
        self.error, self.after, self.count = 0, 0, 0

    def answer(self, opcode: int, number: int, body: bytes, who: tuple[int, int]) -> bytes:
        """Return the body of the answer, or raise `OSError`."""
        name = body[8:].rstrip(b"\0") if opcode == _MKDIR else b""
        if number == 1 and (order := _ORDER.fullmatch(name)):
            self.error, self.after = (int(order[1]), int(order[2])) if order[1] else (0, 0)
            self.count = 0
            raise OSError(errno.ECANCELED, "")  # the order is taken; there is no such directory
        if number == 1 and opcode == _LOOKUP and body.rstrip(b"\0") == _COUNT:
            node = Node(next(self._numbers), stat.S_IFLNK | 0o777, content=bytearray(b"%d" % self.count))
            self.nodes[node.number] = node
            return self._entry(node)
        if opcode in _CHANGE:
            self.count += 1
            failing = _NEED_ROOM if self.error == errno.ENOSPC else _CHANGE
            if self.error and self.count > self.after and opcode in failing:
                raise OSError(self.error, "")
        return super().answer(opcode, number, body, who)
