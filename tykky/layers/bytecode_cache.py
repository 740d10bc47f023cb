"""Bytecode of one package, kept between builds: compiling is most of a build, and most packages stay the same.

    <cache>/bytecode/<key>      zlib: a line of JSON ({path: size}), then the .pyc files one after another
    <cache>/bytecode/.new/      what is being written

The key names everything the bytes depend on: the sources by path and content, the prefix that is recorded in them, and
what the compiler says of itself. One file per package: the cache may be on a file system that hates small ones.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tykky.digests import document_key, file_fingerprint
from tykky.guard.ownership import private_name, sweep

_FORMAT = 1
_START = "b-"


@dataclass(frozen=True, slots=True)
class BytecodeCache:
    """The kept bytecode for one compiler and one prefix."""

    directory: Path
    compiler: str
    prefix: str

    def key(self, root: Path, sources: Iterable[str]) -> str:
        """Return the key of a package's sources, paths below `root`."""
        return document_key(
            {
                "format": _FORMAT,
                "compiler": self.compiler,
                "prefix": self.prefix,
                "sources": {path: file_fingerprint(root / path) for path in sources},
            }
        )

    def restore(self, key: str, root: Path) -> bool:
        """Write the kept bytecode of a key below `root`; return False if there is none that can be used."""
        try:
            content = zlib.decompress((self.directory / key).read_bytes())
            head, _, body = content.partition(b"\n")
            sizes: dict[str, int] = json.loads(head)
        except (OSError, zlib.error, ValueError):
            return False
        if sum(sizes.values()) != len(body):
            return False
        offset = 0
        for path, size in sizes.items():
            target = root / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(body[offset : offset + size])
            offset += size
        return True

    def keep(self, key: str, root: Path, paths: Iterable[str]) -> None:
        """Keep the bytecode files `paths` below `root` under a key. A cache that cannot be written is no error."""
        present = [path for path in sorted(paths) if (root / path).is_file()]
        contents = [(root / path).read_bytes() for path in present]
        head = json.dumps(dict(zip(present, map(len, contents), strict=True))).encode("ascii") + b"\n"
        with contextlib.suppress(OSError):
            unfinished = self.directory / ".new"  # of its own: to sweep it, names are read, and of keys there are many
            unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep(unfinished, _START)
            private = unfinished / private_name(_START)
            try:
                private.write_bytes(zlib.compress(head + b"".join(contents), 1))
                private.replace(self.directory / key)
            except OSError:
                private.unlink(missing_ok=True)
