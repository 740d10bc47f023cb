"""What no wheel and no sdist may hold: anything that would land, or point, outside the place it is unpacked to.

Only the archive's index is read, nothing is unpacked.
"""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import ArtifactError

# PEP 427: where `<name>.data/<scheme>/` goes. `data` goes to the prefix itself.
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
_LONGEST_TARGET = 4096  # bytes; PATH_MAX, more is no link


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    kind: int  # S_IFMT bits; 0 where the archive does not say
    mode: int
    target: str | None = None  # of a symbolic link, relative to its directory
    hard: str | None = None  # of a hard link, relative to the top


def refuse_problems(path: Path) -> None:
    """Raise `ArtifactError` that names each bad member of a wheel or sdist."""
    refuse(path, wheel_problems(path) if path.suffix == ".whl" else sdist_problems(path))


def refuse(path: Path, problems: list[str]) -> None:
    """Raise `ArtifactError` that names the problems of an archive, if there are any."""
    if problems:
        raise ArtifactError(
            f"{path.name} holds what no package may hold:\n" + "\n".join(f"  {problem}" for problem in problems),
            hint="do not use it; tell its authors, or the keepers of the index it came from",
        )


def wheel_problems(path: Path) -> list[str]:
    """Return what is wrong with a wheel's members, one line each, in order; empty if nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = list(_zip_members(archive))
            scripts = list(_script_names(archive))
    except (zipfile.BadZipFile, OSError) as error:
        return [f"it is not a readable zip archive: {error}"]
    found = _problems(members)
    for member in members:
        top, _, rest = member.name.partition("/")
        if top.endswith(".data") and rest:
            scheme, _, below = rest.partition("/")
            if scheme not in _SCHEMES:
                found.append(f"{member.name!r} is for an unknown scheme {scheme!r}")
            elif below and _escapes(below):
                found.append(f"{member.name!r} would leave the prefix")
    found += [f"the script {name!r} would not be in bin" for name in scripts if "/" in name or "\0" in name]
    return list(dict.fromkeys(found))


def _script_names(archive: zipfile.ZipFile) -> Iterator[str]:
    """Give the names of the scripts that an installer makes (PyPA "Entry points specification")."""
    for name in archive.namelist():
        if not re.fullmatch(r"[^/]+\.dist-info/entry_points\.txt", name):
            continue
        parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        with contextlib.suppress(configparser.Error):  # an installer will say what is wrong with it
            parser.read_string(archive.read(name).decode("utf-8", "replace"))
        for section in ("console_scripts", "gui_scripts"):
            yield from parser.options(section) if parser.has_section(section) else ()


def sdist_problems(path: Path) -> list[str]:
    """Return what is wrong with the members of a source archive (tar or zip), one line each; empty if nothing is."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                return _problems(list(_zip_members(zipped)))
        with tarfile.open(path) as archive:
            return _problems([_tar_member(entry) for entry in archive])
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        return [f"it is not a readable archive: {error}"]


def interpreter_problems(path: Path) -> list[str]:
    """Return what is wrong with an interpreter's archive (tar), one line each; empty if nothing is.

    What it holds is below one directory, and that one becomes the prefix: no link may leave it.
    """
    try:
        with tarfile.open(path) as archive:
            members = [_tar_member(entry) for entry in archive]
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        return [f"it is not a readable archive: {error}"]
    found, below = [], []
    top = members[0].name.partition("/")[0] if members else ""
    for member in members:
        first, _, rest = member.name.partition("/")
        if first != top or first in ("", ".", ".."):
            found.append(f"{member.name!r} is not below {top!r}, the directory of the interpreter")
        elif rest:
            hard = member.hard
            if hard is not None:
                hard = hard.removeprefix(f"{top}/") if hard.startswith(f"{top}/") else f"../{hard}"
            below.append(dataclasses.replace(member, name=rest, hard=hard))
        elif member.kind != stat.S_IFDIR:
            found.append(f"{member.name!r} is no directory")
    return list(dict.fromkeys([*found, *_problems(below)]))


def _problems(members: list[_Member]) -> list[str]:
    found = [problem for member in members for problem in _member_problems(member)]
    found += _duplicates(members)
    links = {posixpath.normpath(m.name) for m in members if m.target is not None}
    for member in members:
        parents = _parents(posixpath.normpath(member.name))
        found += [f"{member.name!r} goes through the link {parent!r}" for parent in parents if parent in links]
    return list(dict.fromkeys(found))


def _member_problems(member: _Member) -> Iterator[str]:
    name = member.name
    if "\0" in name or not name:
        yield f"{name!r} is no file name"
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        yield f"{name!r} is an absolute path"
    elif _escapes(name):
        yield f"{name!r} would leave the prefix"
    if member.kind in (stat.S_IFCHR, stat.S_IFBLK):
        yield f"{name!r} is a device node"
    elif member.kind in (stat.S_IFIFO, stat.S_IFSOCK):
        yield f"{name!r} is a pipe or socket"
    elif member.kind == stat.S_IFREG and member.mode & (stat.S_ISUID | stat.S_ISGID):
        yield f"{name!r} has the setuid or setgid bit"
    if member.target is not None:
        if member.target.startswith("/"):
            yield f"{name!r} is a link to the absolute path {member.target!r}"
        elif _escapes(posixpath.join(posixpath.dirname(name), member.target)):
            yield f"{name!r} is a link out of the prefix: {member.target!r}"
    if member.hard is not None and (member.hard.startswith("/") or _escapes(member.hard)):
        yield f"{name!r} is a hard link out of the archive: {member.hard!r}"


def _duplicates(members: Iterable[_Member]) -> list[str]:
    # A later member of the same name would replace what RECORD (or a reader) saw first. Directories may repeat.
    files = Counter(posixpath.normpath(m.name) for m in members if m.kind != stat.S_IFDIR and not m.name.endswith("/"))
    return [f"{name!r} is there {count} times" for name, count in files.items() if count > 1]


def _escapes(name: str) -> bool:
    """Whether a path, read from the top of the archive, ever rises above it."""
    depth = 0
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False


def _parents(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name):
        if name == "/":
            return
        yield name


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in archive.infolist():
        mode = entry.external_attr >> 16
        kind = stat.S_IFMT(mode)
        target = None
        if stat.S_ISLNK(mode):
            with archive.open(entry) as file:
                target = file.read(_LONGEST_TARGET).decode("utf-8", "surrogateescape")
        # `orig_filename` is what is written; `filename` was already cut at a NUL.
        yield _Member(entry.orig_filename, stat.S_IFDIR if entry.is_dir() else kind, mode, target)


def _tar_member(entry: tarfile.TarInfo) -> _Member:
    kinds = (
        (entry.isdir(), stat.S_IFDIR),
        (entry.ischr(), stat.S_IFCHR),
        (entry.isblk(), stat.S_IFBLK),
        (entry.isfifo(), stat.S_IFIFO),
        (entry.issym(), stat.S_IFLNK),
        (entry.isreg(), stat.S_IFREG),
    )
    kind = next((kind for yes, kind in kinds if yes), 0)
    return _Member(
        entry.name,
        kind,
        entry.mode,
        target=entry.linkname if entry.issym() else None,
        hard=entry.linkname if entry.islnk() else None,
    )
