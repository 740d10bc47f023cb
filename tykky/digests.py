"""Identities: canonical JSON, layer keys (sha256) and fingerprints (xxh3-128).

A key is the sha256 of *one* canonical document with named fields, never of bare values strung together: two
inputs that mean different things can then never collide by standing next to one another.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import xxhash

Json: TypeAlias = "None | bool | int | str | list[Json] | Mapping[str, Json]"

_CHUNK = 1 << 20


def canonical_json(document: Json) -> bytes:
    """Return the one byte string that stands for `document`: sorted keys, no spaces, UTF-8, no floats.

    Floats have no single spelling, so a `TypeError` is raised for them.
    """
    _refuse_floats(document)
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8", "surrogateescape")


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


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_fingerprint(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes: 32 hexadecimal digits. For speed, not for trust."""
    state = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def tree_fingerprint(root: Path) -> str:
    """Return the xxh3-128 of a file tree: every path in byte order with its type, mode, target and content.

    Times, owners, inode numbers and hard links do not count: two trees that a program cannot tell apart
    have the same fingerprint.
    """
    state = xxhash.xxh3_128()
    for path, entry in sorted(_walk(os.fsencode(root), b"")):
        info = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        if stat.S_ISLNK(info.st_mode):
            content = os.readlink(entry.path)
            mode = 0
        elif stat.S_ISREG(info.st_mode):
            content = file_fingerprint(Path(os.fsdecode(entry.path))).encode()
            mode = stat.S_IMODE(info.st_mode)
        else:
            content = b"" if stat.S_ISDIR(info.st_mode) else str(info.st_rdev).encode()
            mode = stat.S_IMODE(info.st_mode)
        for field in (path, b"%o %o" % (kind, mode), content):
            state.update(b"%d:" % len(field))
            state.update(field)
    return state.hexdigest()


def _walk(root: bytes, relative: bytes) -> list[tuple[bytes, os.DirEntry[bytes]]]:
    found: list[tuple[bytes, os.DirEntry[bytes]]] = []
    with os.scandir(os.path.join(root, relative) if relative else root) as entries:  # noqa: PTH118 - bytes
        for entry in entries:
            path = relative + b"/" + entry.name if relative else entry.name
            found.append((path, entry))
            if entry.is_dir(follow_symlinks=False):
                found.extend(_walk(root, path))
    return found
