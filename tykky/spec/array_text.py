"""Edit the text of a TOML array of strings: what is not edited keeps its bytes.

tomlkit keeps an array it does not touch, but writes commas and comments anew around one it does. So the text
between the brackets is cut here, at the offsets the TOML scanner gives. Putting an element in and taking it out
again gives the same text back.
"""

from __future__ import annotations

import re

import tomlkit

from tykky.toml.positions import spans

_INDENT = "    "
_LONG = 100  # columns: a one-line array that grows beyond gets one line per element
# Possessive, so that no comma inside a comment is found by going back.
_COMMA = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+,")
# What may stand between an element's comma and the end of its line.
_REST_OF_LINE = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?=\r?\n)")


def quoted(text: str, like: str = '"') -> str:
    """Return a TOML string: in single quotes if `like`, another string of the array, has them and they can be."""
    if like.startswith("'") and not like.startswith("'''") and text.isprintable() and "'" not in text:
        return f"'{text}'"
    return tomlkit.string(text).as_string()


def elements(array: str) -> list[tuple[int, int]]:
    """Return the offsets of the elements in the text of an array."""
    found = spans(f"a={array}")
    count = sum(1 for path in found if len(path) == 2)
    return [(found[("a", index)][0] - 2, found[("a", index)][1] - 2) for index in range(count)]


def replaced(array: str, index: int, text: str) -> str:
    """Return the array with one element replaced, in its place and with its kind of quotes."""
    begin, end = elements(array)[index]
    return array[:begin] + quoted(text, array[begin:end]) + array[end:]


def appended(array: str, text: str, *, newline: str = "\n", column: int = 0) -> str:
    """Return the array with one more element at its end, laid out like those before it.

    `newline` is the file's line end; `column` is where the array begins, for the length of the line.
    """
    found = elements(array)
    if not found:
        return _first(array, quoted(text), newline)
    begin, end = found[-1]
    element = quoted(text, array[begin:end])
    indent = _own_line(array, begin)
    if indent is None:
        return _on_the_line(array, found, element, newline, column)
    comma = _COMMA.match(array, end)
    line = _REST_OF_LINE.match(array, comma.end() if comma else end)
    after = line.end() if line else comma.end() if comma else end
    if comma:
        return f"{array[:after]}{newline}{indent}{element},{array[after:]}"
    return f"{array[:end]},{array[end:after]}{newline}{indent}{element}{array[after:]}"


def removed(array: str, index: int) -> str:
    """Return the array without one element; its line and the comment on it go too."""
    found = elements(array)
    begin, end = found[index]
    comma = _COMMA.match(array, end)
    is_last = index == len(found) - 1
    own_line = _own_line(array, begin)
    if own_line is not None and (is_last or _own_line(array, found[index + 1][0]) is not None):
        return _without_line(array, found, index, begin - len(own_line))
    if not is_last and "\n" not in array[end : found[index + 1][0]]:
        return array[:begin] + array[found[index + 1][0] :]
    if index > 0:
        return array[: found[index - 1][1]] + array[end:]
    if not is_last:
        return array[:begin] + array[found[1][0] :]
    rest = array[comma.end() if comma else end :]
    before = array[:begin]
    return before + (rest.lstrip(" \t") if before.endswith((" ", "\t")) else rest)


def _first(array: str, element: str, newline: str) -> str:
    """Return an array without elements (it may hold comments) with its first."""
    body = array[1:-1]
    if "\n" not in body:
        return f"[{body}{element}{body}]"
    comment = re.search(r"\n([ \t]*)#", body)
    head, _, closing = body.rpartition("\n")
    head = head.removesuffix("\r")
    return f"[{head}{newline}{comment.group(1) if comment else _INDENT}{element},{newline}{closing}]"


def _on_the_line(array: str, found: list[tuple[int, int]], element: str, newline: str, column: int) -> str:
    end = found[-1][1]
    separator = array[found[-2][1] : found[-1][0]] if len(found) > 1 else ", "
    if "\n" in separator:
        separator = ", "
    grown = f"{array[:end]}{separator}{element}{array[end:]}"
    if "\n" in array or column + len(grown) <= _LONG:
        return grown
    texts = [*(array[begin:stop] for begin, stop in found), element]
    lines = "".join(f"{newline}{_INDENT}{text}," for text in texts)
    return f"[{lines}{newline}]"


def _without_line(array: str, found: list[tuple[int, int]], index: int, line_begin: int) -> str:
    """Return the array without an element that begins its line: from the line end before it to its own."""
    end = found[index][1]
    comma = _COMMA.match(array, end)
    line = _REST_OF_LINE.match(array, comma.end() if comma else end)
    after = line.end() if line else comma.end() if comma else end
    previous = found[index - 1][1] if index > 0 else 1
    before = array[:line_begin]
    # What follows on this line moves up one line, but never into a comment.
    if line or "#" not in before[previous:].splitlines()[-1]:
        before = before.removesuffix("\n").removesuffix("\r")
    if comma is None and index > 0:  # the one before becomes the last, and the last has no comma here
        before = before[:previous] + _COMMA.sub(lambda match: match.group()[:-1], before[previous:], count=1)
    return before + array[after:]


def _own_line(array: str, begin: int) -> str | None:
    """Return the blanks before an element that is the first of its line, or None."""
    blanks = re.search(r"(?<=\n)[ \t]*\Z", array[:begin])
    return None if blanks is None else blanks.group()
