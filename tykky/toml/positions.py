"""Where each key and array element of a TOML text stands.

The text has been accepted by a TOML parser before, so this scanner checks nothing: it only walks over keys,
strings, arrays and inline tables, and counts lines. Grammar: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re

import tomli

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# In the order of trial: the long forms first. Up to two quotes may stand right before the closing three.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")  # numbers, booleans, dates: may hold a blank


def locate(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every table, key and array element of a valid TOML text."""
    return _Scanner(text).scan()


def spans(text: str) -> dict[KeyPath, tuple[int, int]]:
    """Return the offsets at which the value of every key and array element begins and ends."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.spans


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = 0  # lines are counted up to here
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}  # of arrays of tables
        self.spans: dict[KeyPath, tuple[int, int]] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()
        return self._lines

    def _header(self) -> KeyPath:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        self._skip_blank()
        line = self._line_here()
        keys = self._key()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for key in keys:
            path = self._last_element((*path, key), line)
        if not is_array:
            return path
        array = path[:-1] if isinstance(path[-1], int) else path
        index = self._elements.get(array, 0)
        self._elements[array] = index + 1
        self._lines[(*array, index)] = line
        return (*array, index)

    def _last_element(self, path: KeyPath, line: int) -> KeyPath:
        """Return the path a header means: of an array of tables, its last element so far."""
        self._lines.setdefault(path, line)
        count = self._elements.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: KeyPath) -> None:
        line = self._line_here()
        path = table
        for key in self._key():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _key(self) -> list[str]:
        """Return the parts of a dotted key and stand at the character after it and its blanks."""
        parts: list[str] = []
        while True:
            self._skip_blank()
            if bare := _BARE_KEY.match(self._text, self._at):
                parts.append(bare.group())
                self._at = bare.end()
            else:
                quoted = self._match(_STRING)
                parts.append(tomli.loads(f"key = {quoted}")["key"])
            self._skip_blank()
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        begin = self._at
        first = self._text[begin]
        if first in "\"'":
            self._match(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._match(_SCALAR)
        self.spans[path] = (begin, self._at)

    def _array(self, path: KeyPath) -> None:
        index = 0
        self._at += 1
        self._skip_blank()
        while self._text[self._at] != "]":
            element = (*path, index)
            self._lines[element] = self._line_here()
            self._value(element)
            self._skip_separator()
            index += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        self._skip_blank()
        while self._text[self._at] != "}":
            self._pair(path)
            self._skip_separator()
        self._at += 1

    def _skip_separator(self) -> None:
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip_blank()

    def _skip_blank(self) -> None:
        self._match(_BLANK)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:  # the text was not checked by a TOML parser
            raise ValueError(f"no valid TOML at offset {self._at}")
        self._at = found.end()
        return found.group()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
