"""What a staged tree looks like, and making it the same wherever it was staged.

Files may be hard links into the package caches, so nothing is ever written in place: a file that changes is
written anew and renamed over the old one.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import ArtifactError

_SHEBANG_LIMIT = 4096  # bytes read of a script to find its header


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a tree, relative to its root: a file (with its size in bytes), a directory or a symlink."""

    path: str
    kind: str  # "file", "directory", "symlink"
    size: int
    executable: bool


def scan(root: Path) -> list[Entry]:
    """Return every path below `root`, sorted. Raise `ArtifactError` for what no package may hold."""
    found: list[Entry] = []
    stack = [""]
    while stack:
        relative = stack.pop()
        with os.scandir(root / relative) as entries:
            for item in entries:
                path = f"{relative}/{item.name}" if relative else item.name
                info = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    found.append(Entry(path, "directory", 0, False))
                    stack.append(path)
                elif stat.S_ISREG(info.st_mode):
                    found.append(Entry(path, "file", info.st_size, bool(info.st_mode & stat.S_IXUSR)))
                elif stat.S_ISLNK(info.st_mode):
                    found.append(Entry(path, "symlink", 0, False))
                else:
                    raise ArtifactError(
                        f"{path} is neither file, directory nor symlink",
                        hint="no package has a use for devices, sockets or pipes; report it to its authors",
                    )
    return sorted(found, key=lambda entry: entry.path)


def replace_file(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file under its name without touching the inode it had (which may belong to a cache)."""
    kept = mode if mode is not None else (stat.S_IMODE(path.lstat().st_mode) if path.exists() else 0o644)
    temporary = path.with_name(f"{path.name}.tykky")
    temporary.write_bytes(content)
    temporary.chmod(kept)
    temporary.replace(path)


def relocatable_script(content: bytes, interpreters: Iterable[bytes]) -> bytes | None:
    """Return a console script that starts the `python` beside it, or None if it is no such script.

    `interpreters` are the directories whose python the script may name (staging, prefix). sys.executable then
    follows the path the script was called by (invariant 9). No program is started unless the script was called
    through a symlink; uv's own relocatable header starts two each time.
    """
    header, _, body = content[:_SHEBANG_LIMIT].partition(b"\n")
    if not header.startswith(b"#!"):
        return None
    rest = content[len(header) + 1 :]
    words = header[2:].strip().split(None, 1)
    if not words:
        return None
    options = words[1].strip() if len(words) > 1 else b""
    if words[0] == b"/bin/sh" and body.startswith(b"'''exec' "):
        # The header that pip and uv write for long or relocatable paths: two lines, then the program.
        lines = rest.split(b"\n", 2)
        if len(lines) < 3 or lines[1] != b"' '''" or not _names_python(lines[0], interpreters):
            return None
        return _script_header(b"") + lines[2]
    directory, _, name = words[0].rpartition(b"/")
    if name.startswith(b"python") and directory in set(interpreters):
        return _script_header(options) + rest
    return None


def _names_python(line: bytes, interpreters: Iterable[bytes]) -> bool:
    return b"'python" in line or b"/python" in line or any(directory in line for directory in interpreters)


def _script_header(options: bytes) -> bytes:
    """Return lines that are a POSIX sh program for the kernel and one string for Python."""
    call = b'"$d/python" ' + (options + b" " if options else b"")
    return (
        b"#!/bin/sh\n"
        b"''':'\n"
        b'if [ -L "$0" ]; then d=$(readlink -f -- "$0"); else d=$0; fi\n'
        b"case $d in */*) d=${d%/*} ;; *) d=. ;; esac\n"
        b"exec " + call + b'"$0" "$@"\n'
        b"'''\n"
    )


def make_scripts_relocatable(bin_directory: Path, interpreters: Iterable[bytes]) -> dict[str, bytes]:
    """Rewrite the console scripts of one directory; return the names and new content of those that changed."""
    changed: dict[str, bytes] = {}
    if not bin_directory.is_dir():
        return changed
    known = tuple(interpreters)
    for path in sorted(bin_directory.iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(2) != b"#!":
                continue
        content = relocatable_script(path.read_bytes(), known)
        if content is not None:
            replace_file(path, content)
            changed[path.name] = content
    return changed


def true_record(text: str, changed: Mapping[str, bytes], removed: Iterable[str]) -> str:
    """Return a RECORD (PyPA "Recording installed projects") made true again.

    `changed` maps paths as RECORD writes them to their new content; `removed` are paths that are gone.
    """
    gone = set(removed)
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    rows = []
    for row in csv.reader(io.StringIO(text)):
        if not row or row[0] in gone:
            continue
        if row[0] in changed:
            content = changed[row[0]]
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append([row[0], f"sha256={digest}", str(len(content))])
        else:
            rows.append(row)
    for row in sorted(rows):
        writer.writerow(row)
    return output.getvalue()


def matching(paths: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the paths that match one of the patterns: `*`, `?` and `[…]` within a name, `**` for any depth.

    Names are compared, nothing is looked up: no pattern leads through a link or out of the tree.
    """
    wanted = [re.compile(_expression(pattern), re.S) for pattern in patterns]
    return [path for path in paths if any(expression.fullmatch(path) for expression in wanted)]


def _expression(pattern: str) -> str:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    found = ["(?:[^/]+/)*" if part == "**" else f"{_name_expression(part)}/" for part in parts[:-1]]
    found += ["(?:[^/]+/)*[^/]+" if part == "**" else _name_expression(part) for part in parts[-1:]]
    return "".join(found)


def _name_expression(part: str) -> str:
    pieces = re.findall(r"\*+|\[!?\]?[^\]]*\]|.", part, re.S)
    return "".join(_piece_expression(piece) for piece in pieces)


def _piece_expression(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    return _class_expression(piece) if len(piece) > 1 else re.escape(piece)


def _class_expression(text: str) -> str:
    """Return the expression for `[abc]`, `[a-z]` or `[!a-z]`."""
    inner = text[1:-1]
    excluded, inner = inner.startswith("!"), inner.removeprefix("!")
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", inner)
    expression = f"[{'^/' if excluded else ''}{members}]"
    try:
        re.compile(expression)
    except re.error:  # [z-a] has no members
        return "(?!)"
    return expression


def remove_matching(root: Path, patterns: Iterable[str]) -> list[str]:
    """Remove what `[build] exclude` names (see `matching`; a directory goes as a whole); return the paths."""
    removed = []
    for relative in matching((entry.path for entry in scan(root)), patterns):
        path = root / relative
        if path.is_dir() and not path.is_symlink():
            _remove_tree(path)
        elif path.is_symlink() or path.exists():
            path.unlink()
        else:
            continue  # with its directory, which came first
        removed.append(relative)
    return removed


def remove_empty_directories(root: Path) -> None:
    """Remove the directories below `root` that hold nothing, or nothing but such directories."""
    for folder, _, _ in os.walk(root, topdown=False):
        if folder != os.fspath(root) and not os.listdir(folder):  # noqa: PTH208 - walked by name
            Path(folder).rmdir()


def _remove_tree(directory: Path) -> None:
    for path in _bottom_up(directory):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    directory.rmdir()


def _bottom_up(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _bottom_up(path)
        yield path
