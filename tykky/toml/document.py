"""A TOML text, its values, and where they stand."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import tomli

from tykky.errors import LockError, Problem, SiteError, SpecError

if TYPE_CHECKING:
    from tykky.toml.positions import KeyPath

FileError: TypeAlias = SpecError | LockError | SiteError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"


def dotted(path: KeyPath) -> str:
    """Return the path as TOML writes keys: `pypi.dependencies[2]`, `conda.dependencies."a b"`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
            text += f".{key}" if text else key
    return text


def _quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Document:
    """A TOML text that a parser has accepted. `file` is its name in messages."""

    def __init__(self, file: str, text: str, values: dict[str, Any]) -> None:
        self.file, self.text, self.values = file, text, values
        self._lines: dict[KeyPath, int] | None = None

    @property
    def lines(self) -> dict[KeyPath, int]:
        """The line of every table, key and array element; worked out when the first problem needs it."""
        if self._lines is None:
            from tykky.toml.positions import locate

            self._lines = locate(self.text)
        return self._lines

    def line(self, path: KeyPath) -> int | None:
        """Return the line of a path or, if it is not there, of the nearest table or array around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def problem(self, path: KeyPath, message: str, suggestion: str | None = None) -> Problem:
        """Return a problem that stands at `path`."""
        return Problem(message, where=dotted(path) or None, line=self.line(path), suggestion=suggestion)


def read_text(path: Path, error: type[FileError], *, missing: str | None = None) -> str:
    """Return the file's text, line endings as they are; `missing` is the hint when there is no such file.

    Raises `error` when it cannot be read, is no regular file, or is not UTF-8 text (TOML 1.0, "Spec").
    """

    def refuse(message: str, hint: str | None = None, line: int | None = None) -> FileError:
        return error(str(path), [Problem(message, line=line)], hint=hint)

    try:
        if stat.S_ISDIR(mode := path.stat().st_mode):
            raise refuse("is a directory, not a file")
        if not stat.S_ISREG(mode):  # reading a FIFO would wait for ever
            raise refuse("is not a regular file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise refuse("no such file", hint=missing) from None
    except OSError as failure:
        raise refuse(f"cannot be read: {(failure.strerror or str(failure)).lower()}") from None
    if content.startswith(_UTF16_MARKS):
        raise refuse("is UTF-16 text, not UTF-8", hint="save it with UTF-8 encoding")
    if content.startswith(_UTF8_MARK):
        raise refuse("begins with a byte order mark", hint="save it as UTF-8 without a byte order mark (BOM)")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        message = f"is not UTF-8 text: byte 0x{content[failure.start]:02x}"
        raise refuse(message, hint="save it with UTF-8 encoding", line=line) from None


def parse(
    text: str,
    file: str,
    error: type[FileError],
    *,
    hint: str | None = None,
) -> Document:
    """Return the document of a TOML text; raise `error` with the line of the first syntax error."""
    try:
        return Document(file, text, tomli.loads(text))
    except RecursionError:
        raise error(file, [Problem("is nested too deeply")], hint=hint) from None
    except ValueError as failure:
        if type(failure) is ValueError:  # Python itself converts no number of more than 4300 digits
            problem = Problem("not valid TOML: a number has too many digits")
        else:
            problem = _syntax_problem(str(failure), text)
        raise error(file, [problem], hint=hint) from None


def _syntax_problem(message: str, text: str) -> Problem:
    """Return the parser's message with its place turned into a line: `not valid TOML: …, column 5`."""
    place = _PLACE.search(message)
    said = message[: place.start()] if place else message
    said = said[:1].lower() + said[1:]
    if place is None:
        return Problem(f"not valid TOML: {said}")
    if place.group(1) is None:
        return Problem(f"not valid TOML: {said} at the end of the file", line=max(1, len(text.splitlines())))
    return Problem(f"not valid TOML: {said} at column {place.group(2)}", line=int(place.group(1)))
