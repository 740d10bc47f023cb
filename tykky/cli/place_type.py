"""A path as a type of click's parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class PlaceType(click.Path):
    """A path. An empty one is a mistake (a variable that is not set), not the current directory."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the `Path`, or fail."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)
