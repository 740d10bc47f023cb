"""Write a text file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from tykky.errors import Problem
from tykky.guard.ownership import left_behind, private_name
from tykky.toml.document import FileError


def refusal(path: Path, failure: OSError, error: type[FileError]) -> FileError:
    """Return the error for a file that the system would not let us write."""
    return error(str(path), [Problem(f"cannot be written: {(failure.strerror or str(failure)).lower()}")])


def replace_text(path: Path, text: str, error: type[FileError]) -> bool:
    """Give the file this text; return whether its bytes changed.

    Nothing is written when it has the text already. Otherwise a private file beside it is filled, flushed to
    the disk and renamed over it: a reader or a power cut meets the old text or the new one. A symbolic link
    is followed, the mode of an existing file is kept. Raises `error` when the system refuses.
    """
    try:
        return replace_bytes(path, text.encode("utf-8"))
    except OSError as failure:
        raise refusal(path, failure, error) from None


def replace_bytes(path: Path, content: bytes) -> bool:
    """Give the file this content, as `replace_text` does; return whether it changed. Raises `OSError`."""
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    if mode is not None and target.read_bytes() == content:
        return False
    _replace(target, content, 0o666 & ~_umask() if mode is None else mode)
    return True


def _mode_of(target: Path) -> int | None:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


def _umask() -> int:
    """Return this process's umask without the moment in which another thread would see a changed one."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def _replace(target: Path, content: bytes, mode: int) -> None:
    start = f".{target.name}."
    for path in left_behind(target.parent, start):  # by a process that was killed
        with contextlib.suppress(OSError):
            path.unlink()
    staged = target.with_name(private_name(start))
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        staged.replace(target)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    _flush_directory(target.parent)


def _flush_directory(directory: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot; the rename is done all the same
        pass
    finally:
        os.close(descriptor)
