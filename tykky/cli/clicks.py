"""click, imported only when it is needed: for help, for a mistake, for words that are not plain.

A verb declares its options with `click.command`, `click.option` and `click.argument`, as with click itself. Here they
are only written down. Words that are plain (`--dry-run`, `-f FILE`, `NAME`) are read by what is written down; for all
others the same declarations become click's own command, whose word is the last one in everything. It takes longer to
import click than to do what most verbs do, and rich, which draws its help pages, twice that time again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tykky.cli.main import VERBS
from tykky.cli.plain_words import Argument, Option, read

if TYPE_CHECKING:
    import click

__all__ = ["Declared", "click", "declared", "real_click"]


def real_click() -> Any:  # noqa: ANN401 - rich_click has all names of click
    """Return click, with rich's pages if one of them is going to be drawn."""
    if len(sys.argv) < 2 or {"-h", "--help"}.intersection(sys.argv):
        import rich_click

        return rich_click
    import click

    return click


class Declared:
    """A verb as it is declared: its function, its parameters in the order of their lines, what click is told of it."""

    def __init__(self, function: Callable[..., Any], name: str | None, settings: dict[str, Any]) -> None:
        self.function, self.name, self.settings = function, name, settings
        self.parameters: list[Option | Argument] = function.__dict__.pop("declared", [])[::-1]

    def values(self, words: Sequence[str]) -> dict[str, Any] | None:
        """Return the function's arguments for plain words, None for words that click has to read."""
        return None if self.settings else read(self.parameters, words)

    def command(self) -> click.Command:
        """Return the verb as a command of click."""
        library = real_click()
        function = self.function
        for parameter in reversed(self.parameters):
            make = library.option if isinstance(parameter, Option) else library.argument
            function = make(*parameter.names, **_for_click(parameter.settings))(function)
        command: click.Command = library.command(self.name, **self.settings)(function)
        return command


def _for_click(settings: dict[str, Any]) -> dict[str, Any]:
    of_click = getattr(settings.get("type"), "of_click", None)
    return settings if of_click is None else settings | {"type": of_click()}


def declared(verb: str) -> Declared:
    """Return a verb as its module declares it, which is imported for that."""
    found: Declared = importlib.import_module(f"tykky.cli.{VERBS[verb][0]}").command
    return found


class _Later(Struct, frozen=True):
    """A type of click's that is made when click is there."""

    name: str
    settings: dict[str, Any]

    def of_click(self) -> Any:  # noqa: ANN401
        """Return it."""
        return getattr(real_click(), self.name)(**self.settings)


class _Recorder:
    """What of click a verb's module uses. What is not a declaration is click's own."""

    @staticmethod
    def command(name: str | None = None, **settings: object) -> Callable[[Callable[..., Any]], Declared]:
        return lambda function: Declared(function, name, settings)

    @staticmethod
    def option(*names: str, **settings: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return _written_down(Option(names, settings))

    @staticmethod
    def argument(*names: str, **settings: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return _written_down(Argument(names, settings))

    @staticmethod
    def IntRange(**limits: int) -> _Later:
        return _Later("IntRange", limits)

    @staticmethod
    def Choice(choices: Sequence[str]) -> _Later:
        return _Later("Choice", {"choices": choices})

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(real_click(), name)


def _written_down(parameter: Option | Argument) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__dict__.setdefault("declared", []).append(parameter)
        return function

    return decorate


if not TYPE_CHECKING:
    click = _Recorder()
