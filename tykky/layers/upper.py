"""The upper directory of an overlay: whether this host can keep one, and what one says.

What it holds is described in Linux, Documentation/filesystems/overlayfs.rst: a character device 0:0 hides a path, an
attribute on a directory hides what lower layers have in it, and a file is there as a whole once it was opened for
writing or its mode was set, changed or not.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import TykkyError
from tykky.layers.difference import DIRECTORY, State, Tree
from tykky.layers.lower import Lower, same_content, without
from tykky.layers.squashfs import pack, pack_argv
from tykky.layers.tree import scan
from tykky.layers.workshop import Workshop

_OPAQUE = "user.overlay.opaque"  # with the mount option userxattr
_PROBE = ".tykky-probe"
# $1 is a directory of an image. Every kind of change that a layer is made of, where a file system may refuse.
_CHANGES = (
    'cd "$1" && rm gone && rm -r again && mkdir again && echo new >again/new && echo more >>written && chmod 600 mode'
)


def why_not(prefix: str, images: Sequence[Path], workshop: Workshop) -> str | None:
    """Return why the images cannot be written over here, or None if a try with them did what it should."""
    if not images:
        return "there is nothing below"
    folder = workshop.scratch / "probe"
    try:
        image = _probe_image(folder, prefix, workshop)
        command = ["/bin/sh", "-c", _CHANGES, "tykky", f"{prefix}/{_PROBE}"]
        argv = workshop.inside.writable(prefix, [*images, image], folder, command)
        done = workshop.commands.run(argv, check=False)
        if done.status != 0:
            lines = done.stderr.strip().splitlines()
            return lines[0] if lines else f"a try ended with status {done.status}"
        return (
            None if _as_expected(folder / "upper" / _PROBE) else "this file system does not keep what an overlay needs"
        )
    except TykkyError as error:
        return error.reason
    finally:
        open_up(folder)
        shutil.rmtree(folder)


def _probe_image(folder: Path, prefix: str, workshop: Workshop) -> Path:
    root = folder / "root"
    probe = root / prefix.lstrip("/") / _PROBE
    (probe / "again").mkdir(parents=True)
    for name in ("gone", "again/old", "written", "mode"):
        (probe / name).write_text("old\n")
    image = folder / "probe.sqfs"
    pack(pack_argv(workshop.packer.program, root, image, level=1), workshop.commands, image, lambda _: None)
    return image


def _as_expected(upper: Path) -> bool:
    return (
        _is_whiteout((upper / "gone").lstat())
        and _is_opaque(upper / "again")
        and (upper / "again" / "new").read_text() == "new\n"
        and (upper / "written").read_text() == "old\nmore\n"
    )


@dataclass(frozen=True, slots=True)
class Marks:
    """What an upper directory hides: `whiteouts` are paths that are gone, `opaque` directories that began anew."""

    whiteouts: frozenset[str]
    opaque: frozenset[str]


def take_marks(upper: Path) -> Marks:
    """Return the marks of an upper directory, and remove the whiteouts from it: what stays is a plain tree."""
    whiteouts, opaque = set(), set()
    stack = [""]
    while stack:
        relative = stack.pop()
        with os.scandir(upper / relative) as entries:
            for item in entries:
                path = f"{relative}/{item.name}" if relative else item.name
                if item.is_dir(follow_symlinks=False):
                    stack.append(path)
                    if _is_opaque(item.path):
                        opaque.add(path)
                elif _is_whiteout(item.stat(follow_symlinks=False)):
                    whiteouts.add(path)
    for path in whiteouts:
        (upper / path).unlink()
    return Marks(frozenset(whiteouts), frozenset(opaque))


def _is_whiteout(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def _is_opaque(directory: str | Path) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def open_up(root: Path) -> None:
    """Let the owner read all below `root`: in an image everybody may, whatever a script left."""
    stack = [root]
    while stack:
        directory = stack.pop()
        _let(directory, stat.S_IRWXU)
        with os.scandir(directory) as entries:
            for item in entries:
                if item.is_dir(follow_symlinks=False):
                    stack.append(Path(item.path))
                elif item.is_file(follow_symlinks=False):
                    _let(Path(item.path), stat.S_IRUSR | stat.S_IWUSR)


def _let(path: Path, wanted: int) -> None:
    mode = stat.S_IMODE(path.lstat().st_mode)
    if mode & wanted != wanted:
        path.chmod(mode | wanted)


def before(seen: Mapping[str, Lower]) -> dict[str, State]:
    """Return what lower images show as a tree to compare with. The content of their files is not looked at."""
    return {path: State(entry.kind, entry.target, entry.executable) for path, entry in seen.items()}


def after(
    seen: Mapping[str, Lower],
    upper: Path,
    marks: Marks,
    images: Sequence[Path],
    prefix: str,
    workshop: Workshop,
) -> Tree:
    """Return what programs see over the images: the tree `upper`, and what neither it nor `marks` hides.

    Raises `ArtifactError` for devices, sockets and pipes.
    """
    entries = scan(upper)
    replaced = {entry.path for entry in entries if entry.kind != "directory"}
    tree = before(without(seen, marks.whiteouts | replaced, marks.opaque))
    maybe = [e.path for e in entries if e.kind == "file" and _alike(seen.get(e.path), e.size)]
    same = same_content(maybe, seen, upper, images, prefix, workshop)
    for entry in entries:
        if entry.kind == "directory":
            tree[entry.path] = DIRECTORY
        elif entry.kind == "symlink":
            tree[entry.path] = State("symlink", os.fspath((upper / entry.path).readlink()), False)
        else:
            tree[entry.path] = State("file", "" if entry.path in same else "changed", entry.executable)
    return tree


def _alike(entry: Lower | None, size: int) -> bool:
    return entry is not None and entry.kind == "file" and entry.size == size
