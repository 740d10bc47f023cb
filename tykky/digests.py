"""Identities: canonical JSON, layer keys (sha256) and fingerprints (xxh3-128).

A key is the sha256 of *one* canonical document with named fields, never of bare values strung together: two
inputs that mean different things can then never collide by standing next to one another.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import xxhash

Json: TypeAlias = "bool | int | str | list[Json] | Mapping[str, Json] | None"

_CHUNK = 1 << 20


def canonical_json(document: Json) -> bytes:
    """Return the one byte string that stands for `document`: sorted keys, no spaces, UTF-8, no floats.

    Floats have no single spelling, so a `TypeError` is raised for them.
    """
    _refuse_floats(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "surrogateescape"
    )


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise TypeError(f"a float has no canonical form: {value!r}")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def document_key(document: Json) -> str:
    """Return the sha256 of the canonical form of `document`: 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(document)).hexdigest()


def file_sha256(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file's bytes: 64 hexadecimal digits. `on_bytes` is told how much has been read."""
    with path.open("rb", buffering=0) as file:
        if on_bytes is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        state = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            state.update(chunk)
            on_bytes(len(chunk))
    return state.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes: 32 hexadecimal digits. For speed, not for trust."""
    state = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


# What tools leave in a source tree and what is no source: version control, environments, caches, build results.
_NO_SOURCE = frozenset(
    {
        b".git", b".hg", b".svn", b".venv", b"venv", b".tox", b".nox", b".eggs", b"__pycache__", b".mypy_cache",
        b".pytest_cache", b".ruff_cache", b".hypothesis", b".ipynb_checkpoints", b"node_modules", b".DS_Store",
    }
)  # fmt: skip
# Only at the top, where build tools and Tykky put them: a package may well have a module `build`.
_NO_SOURCE_AT_TOP = frozenset({b"build", b"dist", b"tykky.lock"})
_NO_SOURCE_ENDINGS = (b".egg-info", b".pyc", b".pyo")


def tree_fingerprint(root: Path) -> str:
    """Return the xxh3-128 of a file tree: every path in byte order with its type, mode, target and content.

    Times, owners, inode numbers and hard links do not count: two trees that a program cannot tell apart
    have the same fingerprint.
    """
    return _fingerprint(sorted(_walk(os.fsencode(root), b"")), permissions=0o7777)


def source_fingerprint(root: Path) -> str:
    """Return the xxh3-128 of the source files of a Python project, the same in every checkout of it.

    Left out are `.git` and the like, environments, caches, `*.egg-info`, bytecode, and at the top `build`, `dist` and
    `tykky.lock`; also environment directories of Tykky (any directory that holds `.tykky`). Of the modes only the
    owner's execute permission counts, because the others follow the umask of whoever checked it out.
    """
    entries = sorted(_walk(os.fsencode(root), b"", is_no_source))
    files = [(path, entry) for path, entry in entries if not entry.is_dir(follow_symlinks=False)]
    return _fingerprint(files, permissions=0o100)


def is_no_source(path: bytes, entry: os.DirEntry[bytes]) -> bool:
    """Say whether a file or directory of a project, at `path` below its top, is left out of `source_fingerprint`."""
    name = path.rpartition(b"/")[2]
    if name in _NO_SOURCE or path in _NO_SOURCE_AT_TOP or name.endswith(_NO_SOURCE_ENDINGS):
        return True
    return entry.is_dir(follow_symlinks=False) and os.path.lexists(os.path.join(entry.path, b".tykky"))  # noqa: PTH118


def _fingerprint(entries: list[tuple[bytes, os.DirEntry[bytes]]], permissions: int) -> str:
    state = xxhash.xxh3_128()
    for path, entry in entries:
        info = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        mode = stat.S_IMODE(info.st_mode) & permissions
        if stat.S_ISLNK(info.st_mode):
            content = os.readlink(entry.path)  # noqa: PTH115 - bytes
            mode = 0
        elif stat.S_ISREG(info.st_mode):
            content = file_fingerprint(Path(os.fsdecode(entry.path))).encode()
        else:
            content = b"" if stat.S_ISDIR(info.st_mode) else str(info.st_rdev).encode()
        for field in (path, b"%o %o" % (kind, mode), content):
            state.update(b"%d:" % len(field))
            state.update(field)
    return state.hexdigest()


def _walk(
    root: bytes, relative: bytes, skip: Callable[[bytes, os.DirEntry[bytes]], bool] | None = None
) -> list[tuple[bytes, os.DirEntry[bytes]]]:
    found: list[tuple[bytes, os.DirEntry[bytes]]] = []
    with os.scandir(os.path.join(root, relative) if relative else root) as entries:  # noqa: PTH118 - bytes
        for entry in entries:
            path = relative + b"/" + entry.name if relative else entry.name
            if skip is not None and skip(path, entry):
                continue
            found.append((path, entry))
            if entry.is_dir(follow_symlinks=False):
                found.extend(_walk(root, path, skip))
    return found
