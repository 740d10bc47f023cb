"""Words of a command line that need no library to be read: whole names of options, their values, arguments.

Whatever is not plain (`-nq`, `--spec=x`, `--`, an unknown option, a missing value, a kind of value that has to be
checked) is left to click, which reads all words again. So nothing is refused here, and nothing is explained.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

_OPTION_SETTINGS = {"help", "metavar", "show_default", "is_flag", "multiple", "type", "default"}
_ARGUMENT_SETTINGS = {"metavar", "nargs", "required", "type", "default"}


class Option(Struct, frozen=True):
    """`click.option(*names, **settings)`."""

    names: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def target(self) -> str:
        """The parameter of the function: the name without dashes, else the first long one's."""
        own = next((name for name in self.names if name.isidentifier()), None)
        return own or next(name for name in self.names if name.startswith("--"))[2:].replace("-", "_")


class Argument(Struct, frozen=True):
    """`click.argument(*names, **settings)`."""

    names: tuple[str, ...]
    settings: dict[str, Any]


class Place:
    """A path. An empty one is a mistake (a variable that is not set), not the current directory."""

    @staticmethod
    def plain(text: str | Path) -> Path | None:
        """Return the path; None for one that click has something to say about."""
        if text == "" or (os.access(text, os.F_OK) and not os.access(text, os.R_OK)):
            return None
        return Path(text)

    @staticmethod
    def of_click() -> Any:  # noqa: ANN401 - click is not imported before it is needed
        """Return the type as click has it."""
        from tykky.cli.place_type import PlaceType

        return PlaceType()


class _NotPlain(Exception):
    """click has to read these words."""


def read(parameters: Sequence[Option | Argument], words: Sequence[str]) -> dict[str, Any] | None:
    """Return the values of all parameters, as click would give them to the function, or None."""
    options = [parameter for parameter in parameters if isinstance(parameter, Option)]
    arguments = [parameter for parameter in parameters if isinstance(parameter, Argument)]
    try:
        given, rest = _apart(options, words)
        values = {option.target: _option_value(option, given.get(option.target, [])) for option in options}
        return values | _positions(arguments, rest)
    except _NotPlain:
        return None


def _apart(options: Sequence[Option], words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the words that were given to each option (of a flag, its own name), and the other words."""
    named = {name: option for option in options for name in option.names if name.startswith("-")}
    given: dict[str, list[str]] = {}
    rest: list[str] = []
    coming = iter(words)
    for word in coming:
        if not word.startswith("-"):
            rest.append(word)
            continue
        option = named.get(word)
        value = word if option is not None and option.settings.get("is_flag") else next(coming, "-")
        if option is None or (value is not word and value.startswith("-")):
            raise _NotPlain
        given.setdefault(option.target, []).append(value)
    return given, rest


def _option_value(option: Option, given: Sequence[str]) -> Any:  # noqa: ANN401
    settings = option.settings
    if not _OPTION_SETTINGS.issuperset(settings):
        raise _NotPlain
    default = settings.get("default")
    if settings.get("is_flag"):
        return bool(given) or bool(default)
    kind = settings.get("type")
    if settings.get("multiple"):
        if default is not None:
            raise _NotPlain
        return tuple(_typed(kind, text) for text in given)
    if len(given) > 1:
        raise _NotPlain
    if given:
        return _typed(kind, given[0])
    return None if default is None else _typed(kind, default)


def _positions(arguments: Sequence[Argument], words: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    left = list(words)
    for argument in arguments:
        settings = argument.settings
        if not _ARGUMENT_SETTINGS.issuperset(settings) or settings.get("nargs") not in (None, 1, -1):
            raise _NotPlain
        (target,), kind = argument.names, settings.get("type")
        several, default = settings.get("nargs") == -1, settings.get("default")
        if not left and settings.get("required", not several and default is None):
            raise _NotPlain
        if several:
            if default is not None:
                raise _NotPlain
            values[target] = tuple(_typed(kind, text) for text in left)
            left = []
        else:
            text = left.pop(0) if left else default
            values[target] = None if text is None else _typed(kind, text)
    if left:
        raise _NotPlain
    return values


def _typed(kind: object, value: Any) -> Any:  # noqa: ANN401
    if kind is None and isinstance(value, str):
        return value
    place = Place.plain(value) if isinstance(kind, Place) else None
    if place is None:
        raise _NotPlain
    return place
