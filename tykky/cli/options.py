"""The options that every verb has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tykky.cli.clicks import click
from tykky.cli.plain_words import Place

F = TypeVar("F", bound=Callable[..., Any])


def common(function: F) -> F:
    """Add `--json`, `-v` and `-q`."""
    function = click.option("--json", "as_json", is_flag=True, help="Print the result (or the error) as JSON.")(
        function
    )
    function = click.option("-v", "--verbose", is_flag=True, help="Say more; show a traceback for errors.")(function)
    return click.option("-q", "--quiet", is_flag=True, help="Say only what was asked for, and errors.")(function)


def spec_file(function: F) -> F:
    """Add `--spec FILE`, by default `tykky.toml` in the current directory."""
    return click.option(
        "-f",
        "--spec",
        "spec_path",
        type=Place(),
        default=Path("tykky.toml"),
        show_default=True,
        help="The spec; its tykky.lock stands beside it.",
    )(function)
