"""Publish a generation of P: everything under private names first, then one rename.

A new P is assembled beside its place and renamed there. In an existing P the generation is assembled beside the
others, renamed to its number, and the link `current` is switched by rename. At every moment either the old
generation runs or the new one (invariants 5 and 6).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, is_of_ancestor
from tykky.errors import EnvironmentDirectoryError
from tykky.guard.holder import user_name
from tykky.guard.ownership import make_private
from tykky.store.images import flush_file

_LARGEST_LAUNCHER = 1 << 16  # bytes
_NEW_LAUNCHER, _NEW_CURRENT = ".launcher.new", ".current.new"


@dataclass(frozen=True, slots=True)
class Generation:
    """What is published: the record and the files of one generation, and the text of the launcher."""

    record: GenerationRecord
    files: Mapping[str, bytes]
    launcher: bytes


@contextlib.contextmanager
def opened(path: Path) -> Iterator[EnvironmentDirectory]:
    """Give P to work on. A new P is a private directory beside its place, renamed there when the block ends well.

    Raises `EnvironmentDirectoryError` if the place is taken by something else or cannot be written.
    """
    check_place(path)
    existing = EnvironmentDirectory(path)
    if existing.exists():
        yield existing
        return
    if path.is_symlink():  # to an empty directory, which is what will be replaced
        path = path.resolve()
    beside = existing.beside
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        staged = make_private(beside.parent, beside.name)
    except OSError as error:
        raise cannot_write(beside.parent, error) from None
    try:
        yield EnvironmentDirectory(staged)
        _set_mode(staged, 0o777 & ~_umask())
        _rename_new(staged, path)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _rename_new(staged: Path, path: Path) -> None:
    try:
        staged.rename(path)  # also over an empty directory
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise EnvironmentDirectoryError(
                f"{path} was made by somebody else while this build ran", hint="run 'tykky build' again"
            ) from None
        raise cannot_write(path.parent, error) from None
    flush_file(path.parent)


def check_place(path: Path) -> None:
    """Raise `EnvironmentDirectoryError` if no environment directory can be at `path`."""
    text = os.fspath(path)
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise EnvironmentDirectoryError(
            f"{text!r} holds a control character", hint="scripts cannot name such a path; choose another with --prefix"
        )
    if ":" in text:
        raise EnvironmentDirectoryError(
            f"{path} holds a colon, which separates directories in PATH", hint="choose another with --prefix"
        )
    try:
        _check_what_is_there(path)
    except OSError as error:
        raise cannot_write(path, error) from None


def _check_what_is_there(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise EnvironmentDirectoryError(f"{path} is a dangling symlink", hint="remove it or choose another --prefix")
    if path.exists() and not path.is_dir():
        raise EnvironmentDirectoryError(f"{path} exists and is a file", hint="choose another directory with --prefix")
    if path.is_dir() and not EnvironmentDirectory(path).exists() and any(path.iterdir()):
        what = "was made by hpc-container-wrapper" if is_of_ancestor(path) else "is no environment directory"
        raise EnvironmentDirectoryError(
            f"{path} exists and {what}", hint="choose another directory with --prefix; nothing of it was touched"
        )
    nearest = next(p for p in (path, *path.parents) if p.exists())
    if not nearest.is_dir():
        raise EnvironmentDirectoryError(
            f"{nearest} is a file, so {path} cannot be made", hint="choose another directory with --prefix"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise EnvironmentDirectoryError(
            f"{nearest} is not writable", hint="choose another directory with --prefix, or ask its owner"
        )


def publish(directory: EnvironmentDirectory, generation: Generation) -> None:
    """Write the generation and make it the current one."""
    target = directory.generations / str(generation.record.number)
    try:
        directory.generations.mkdir(parents=True, exist_ok=True)
        staged = make_private(directory.generations, ".stage-")
        try:
            _write_generation(staged, generation)
            _open_below(directory, staged)
            staged.rename(target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        make_current(directory, generation.record, generation.launcher)
    except OSError as error:
        raise cannot_write(directory.path, error) from None


def make_current(directory: EnvironmentDirectory, record: GenerationRecord, launcher: bytes | None = None) -> None:
    """Switch to a generation that is there: its programs get their names before, what only others have goes after.

    At every moment a name in P/bin starts what the current generation has of it. `launcher` is the text of a newer
    one, if there is. Raises `OSError`.
    """
    before = launcher_names(directory)
    _link_programs(directory, record.programs, launcher)
    _switch(directory, record.number)
    for name in before - set(record.programs):
        (directory.path / "bin" / name).unlink(missing_ok=True)


def shown_names(directory: EnvironmentDirectory, record: GenerationRecord) -> tuple[str, ...]:
    """Return the names at the top of the merged trees of `record` and of the current generation, sorted.

    Mount points are made for both before a switch, so that launches on either side of it find theirs.
    """
    try:
        current = directory.record().top
    except EnvironmentDirectoryError:  # there is none yet, or none that runs
        current = ()
    return tuple(sorted({*record.top, *current}))


def _write_generation(staged: Path, generation: Generation) -> None:
    record = msgspec.json.format(msgspec.json.encode(generation.record), indent=2)
    for name, content in {**generation.files, "environment.json": record}.items():
        path = staged / name
        path.write_bytes(content)
        path.chmod(0o644)
        flush_file(path)


def _open_below(directory: EnvironmentDirectory, generation: Path) -> None:
    """Let all who may enter P read what is below it, whatever umask this process has.

    P itself is the door: made by the umask of its first build, opened and closed by its owner. Where its group may
    write to it, it may below, too; others never.
    """
    door = stat.S_IMODE(directory.path.stat().st_mode) if directory.exists() else 0o777 & ~_umask()
    private = directory.private
    programs = directory.path / "bin"
    programs.mkdir(exist_ok=True)
    for path in (generation, private, directory.generations, directory.store.directory, private / "inside", programs):
        with contextlib.suppress(OSError):  # somebody else's, who sees to it
            _set_mode(path, 0o755 | (door & stat.S_IWGRP))


def _set_mode(path: Path, mode: int) -> None:
    """Set the permissions of a directory and leave it to the group that it hands on (setgid). Follows no symlink."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if before != (wanted := mode | (before & stat.S_ISGID)):
            os.fchmod(descriptor, wanted)
    finally:
        os.close(descriptor)


def _link_programs(directory: EnvironmentDirectory, programs: Iterable[str], text: bytes | None) -> None:
    """Give every program its launcher, before the switch: a launcher works for any generation."""
    launcher = directory.private / "launcher"
    if text is not None and (not launcher.exists() or launcher.read_bytes() != text):
        staged = launcher.with_name(_NEW_LAUNCHER)
        staged.write_bytes(text)
        staged.chmod(0o755)
        flush_file(staged)
        staged.replace(launcher)
    names = directory.path / "bin"
    names.mkdir(exist_ok=True)
    inode = launcher.stat().st_ino
    for name in programs:
        path = names / name
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_ino == inode:
                continue
        staged = names / _NEW_LAUNCHER
        staged.unlink(missing_ok=True)
        try:
            os.link(launcher, staged)
        except OSError:  # no hard links here (some FUSE and network file systems), or too many for one inode
            shutil.copy2(launcher, staged)
        staged.replace(path)


def launcher_names(directory: EnvironmentDirectory) -> set[str]:
    """Return the names in P/bin that are launchers: what a user put there is not ours to remove."""
    launcher = directory.private / "launcher"
    names = directory.path / "bin"
    if not launcher.exists() or not names.is_dir():
        return set()
    content, inode = launcher.read_bytes(), launcher.stat().st_ino
    found = set()
    for path in names.iterdir():
        info = path.lstat()
        if stat.S_ISREG(info.st_mode) and (info.st_ino == inode or _is_launcher(path, content)):
            found.add(path.name)
    return found


def unfinished_names(directory: EnvironmentDirectory) -> tuple[Path, ...]:
    """Return the paths that are there for a moment while who holds the guard publishes, and never else."""
    private = directory.private
    return (private / _NEW_LAUNCHER, private / _NEW_CURRENT, directory.path / "bin" / _NEW_LAUNCHER)


def _is_launcher(path: Path, content: bytes) -> bool:
    """Return whether a file is a copy of the launcher, or one of another version that a killed build left."""
    # What all versions share: the interpreter's line and the comment below it.
    head = b"".join(content.splitlines(keepends=True)[:2])
    try:
        found = path.read_bytes() if path.stat().st_size < _LARGEST_LAUNCHER else b""
    except PermissionError:
        return False
    return found == content or (b"\n#" in head and found.startswith(head))


def _switch(directory: EnvironmentDirectory, number: int) -> None:
    staged = directory.private / _NEW_CURRENT
    staged.unlink(missing_ok=True)
    staged.symlink_to(f"generations/{number}")
    staged.replace(directory.current)
    flush_file(directory.private)


def cannot_write(path: Path, error: OSError) -> EnvironmentDirectoryError:
    """Return the error for a place that cannot be written, with what to do about it."""
    if error.errno == errno.ENOSPC:
        hint = "free some space there or choose another --prefix; the environment is as it was"
    elif error.errno == errno.EDQUOT:
        hint = "your quota is used up there (space or files); choose another --prefix; the environment is as it was"
    elif error.errno == errno.EROFS:
        hint = "it is mounted read-only here: do this on a host where it is not (programs of an environment run here)"
    elif error.errno in (errno.EACCES, errno.EPERM) and EnvironmentDirectory(path).exists():
        owner = user_name(path.stat().st_uid)
        hint = f"it belongs to {owner}: ask for it there, or build an environment directory of your own"
    else:
        hint = "choose another directory with --prefix, or ask its owner"
    return EnvironmentDirectoryError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}", hint=hint)


def _umask() -> int:
    """Return the process's umask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
