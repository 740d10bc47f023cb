"""Templates as Python's bytecode, compiled once for many runs: that takes fifty times as long as rendering them.

    <place>/cpython-311      zlib: marshal: (key, {name of a template: code})

The key names all that the code is made from. Code is run: what lies where others can write is neither read nor written.
"""

from __future__ import annotations

import marshal
import sys
import zlib
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType
from typing import Any

import jinja2
from jinja2.bccache import bc_magic

from tykky.digests import document_key
from tykky.guard.ownership import private_name, sweep
from tykky.guard.regular import read_regular
from tykky.site.cache import is_private

_NEW = ".new-"
_LARGEST = 1 << 24  # bytes; all templates are some 200 kB


class Templates(jinja2.BaseLoader):
    """Gives the templates of which `sources` returns the texts, by their names.

    `options` is whatever else decides how a text is compiled. Once `place` is a directory, code is kept there.
    """

    def __init__(self, sources: Callable[[], Mapping[str, str]], options: bytes) -> None:
        self.place: Path | None = None
        self._sources = sources
        self._options = options
        self._code: Mapping[str, CodeType] | None = None

    def load(
        self, environment: jinja2.Environment, name: str, globals: MutableMapping[str, Any] | None = None
    ) -> jinja2.Template:
        """Return a template. Raises `KeyError` if there is none of that name."""
        if self._code is None:
            self._code = self._compiled(environment)
        return environment.template_class.from_code(environment, self._code[name], globals or {})

    def _compiled(self, environment: jinja2.Environment) -> Mapping[str, CodeType]:
        sources = self._sources()
        makers = [made.hex() for made in (self._options, bc_magic, MAGIC_NUMBER)]
        key = document_key({"sources": dict(sources), "makers": list(makers)})
        place = self.place if self.place is not None and is_private(self.place) else None
        found = None if place is None else _read(place, key)
        if found is None or found.keys() != sources.keys():
            found = {name: environment.compile(text, name) for name, text in sources.items()}
            if place is not None:
                _write(place, key, found)
        return found


def _file(place: Path) -> Path:
    return place / (sys.implementation.cache_tag or sys.implementation.name)


def _read(place: Path, key: str) -> Mapping[str, CodeType] | None:
    """Return the code that is kept under a key, None if there is none."""
    with suppress(OSError, zlib.error, EOFError, ValueError, TypeError):
        kept, found = marshal.loads(_unpacked(_file(place)))  # noqa: S302 - nobody else's: see above
        if kept == key and isinstance(found, dict):
            return found
    return None


def _unpacked(file: Path) -> bytes:
    """Return what a file of ours holds. Raises `OSError` or `ValueError` if it is none, or too large, or cut off."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(read_regular(file, _LARGEST, follow=False), _LARGEST)
    if not unpacker.eof:
        raise ValueError
    return text


def _write(place: Path, key: str, code: Mapping[str, CodeType]) -> None:
    """Keep code. A place that cannot be written is no error."""
    with suppress(OSError):
        sweep(place, _NEW)
        private = place / private_name(_NEW)
        try:
            private.touch(mode=0o600)
            private.write_bytes(zlib.compress(marshal.dumps((key, dict(code))), 1))
            private.replace(_file(place))
        except OSError:
            private.unlink(missing_ok=True)
