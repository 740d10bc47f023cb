"""What a conda package may hold: files, directories and links that stay inside the prefix, and nothing with power.

rattler's own extraction passes over some of what is refused here without a word (paths with `..`, devices), and
linking trusts `info/paths.json`. So the archive is read before it is extracted, and refused by name.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

from tykky.errors import ArtifactError

_HINT = "no honest package holds this: tell the channel's owners, and use another channel or version"
_KINDS = {
    tarfile.CHRTYPE: "is a device",
    tarfile.BLKTYPE: "is a device",
    tarfile.FIFOTYPE: "is a named pipe",
}
_READ = ("info/index.json", "info/paths.json", "info/link.json")
_MAX_HOPS = 40  # as the kernel follows symbolic links


@dataclass(slots=True)
class Contents:
    """What an archive says it holds. `documents` are those of info/ that linking obeys."""

    members: list[tarfile.TarInfo] = field(default_factory=list)
    documents: dict[str, Any] = field(default_factory=dict)


def check_archive(path: Path) -> None:
    """Raise `ArtifactError` if the package at `path` holds what no package may hold, or cannot be read."""
    try:
        contents = read_contents(path)
    except (OSError, ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile, zstandard.ZstdError) as error:
        raise ArtifactError(
            f"{path.name} is no conda package that can be read",
            hint="tell the channel's owners, and use another channel or version",
            output=str(error),
        ) from None
    for complaint in complaints(contents):
        raise ArtifactError(f"{path.name}: {complaint}", hint=_HINT)


def read_contents(path: Path) -> Contents:
    """Return what the archive holds, both sections of a .conda file."""
    contents = Contents()
    for tar in _sections(path):
        for member in tar:
            contents.members.append(member)
            name = posixpath.normpath(member.name)
            if name in _READ and member.isreg():
                file = tar.extractfile(member)
                assert file is not None
                contents.documents[name] = json.loads(file.read())
    return contents


def complaints(contents: Contents) -> Iterator[str]:
    """Yield what is wrong, worst known first; nothing for an honest package."""
    for member in contents.members:
        yield from _about_member(member)
    yield from _about_paths(contents.documents)
    yield from _about_links(contents)


def _about_member(member: tarfile.TarInfo) -> Iterator[str]:
    if leaves(member.name):
        yield f"{member.name!r} would leave the prefix"
    if member.islnk() and leaves(member.linkname):
        yield f"{member.name!r} is a hard link to {member.linkname!r}, which is outside the prefix"
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        yield f"{member.name!r} {_KINDS.get(member.type, 'is of no kind a package may hold')}"
    if member.mode & 0o4000 and not member.issym():
        yield f"{member.name!r} has the setuid bit"
    # On a directory the bit only says which group new files get; images have one owner for all.
    if member.mode & 0o2000 and member.isreg():
        yield f"{member.name!r} has the setgid bit"


def _about_paths(documents: dict[str, Any]) -> Iterator[str]:
    for entry in documents.get("info/paths.json", {}).get("paths", []):
        if leaves(str(entry.get("_path", ""))):
            yield f"{entry.get('_path')!r} in info/paths.json would leave the prefix"
    noarch = documents.get("info/link.json", {}).get("noarch", {})
    for point in noarch.get("entry_points") or []:
        command = str(point).partition("=")[0].strip()
        if "/" in command or command in ("", ".", ".."):
            yield f"{command!r} in info/link.json would leave the prefix"


def _about_links(contents: Contents) -> Iterator[str]:
    noarch = contents.documents.get("info/index.json", {}).get("noarch") == "python"
    links = {_linked(m.name, noarch): m.linkname for m in contents.members if m.issym()}
    for member in contents.members:
        if member.issym() and not _stays(_linked(member.name, noarch), links):
            yield f"{member.name!r} is a link to {member.linkname!r}, which is outside the prefix"


def leaves(path: str) -> bool:
    """Return whether a path of a package is empty, absolute, or goes above where it starts."""
    return path in ("", ".") or path.startswith("/") or "\0" in path or ".." in path.split("/")


def _linked(path: str, noarch: bool) -> str:
    """Return where linking puts a member, as deep as it will be: links of noarch packages count from there."""
    path = posixpath.normpath(path)
    if noarch and path.startswith("site-packages/"):
        return f"lib/pythonX.Y/{path}"
    return path.replace("python-scripts/", "bin/", 1) if noarch and path.startswith("python-scripts/") else path


def _stays(path: str, links: dict[str, str]) -> bool:
    """Return whether following the link at `path` step by step, through other links too, stays inside."""
    place: list[str] = []
    steps = path.split("/")
    hops = 0
    while steps:
        step = steps.pop(0)
        if step in ("", "."):
            continue
        if step == "..":
            if not place:
                return False
            place.pop()
            continue
        target = links.get("/".join([*place, step]))
        if target is None:
            place.append(step)
            continue
        hops += 1
        if target.startswith("/") or hops > _MAX_HOPS:
            return False
        steps[:0] = target.split("/")
    return True


def _sections(path: Path) -> Iterator[tarfile.TarFile]:
    if path.name.endswith(".tar.bz2"):
        with tarfile.open(path, "r|bz2") as tar:
            yield tar
        return
    with zipfile.ZipFile(path) as archive:
        # Exactly one of each: a second one could be what is extracted while the first is what was looked at.
        for section in ("info-", "pkg-"):
            names = [n for n in archive.namelist() if n.startswith(section)]
            if len(names) != 1 or not names[0].endswith(".tar.zst"):
                raise ValueError(f"the archive has {len(names)} parts that begin with {section!r}")
            with _unpacked(archive, names) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                yield tar


@contextmanager
def _unpacked(archive: zipfile.ZipFile, names: Iterable[str]) -> Iterator[IO[bytes]]:
    (name,) = names
    with archive.open(name) as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        yield stream
