"""click, with rich's pages only where a help page is going to be shown.

Importing rich takes longer than all of a rollback, and only help is drawn with it here; progress imports it itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click import Command, Group
    from rich_click import rich_config
elif len(sys.argv) < 2 or {"-h", "--help"}.intersection(sys.argv):
    import rich_click as click
    from rich_click import RichCommand as Command
    from rich_click import RichGroup as Group
    from rich_click import rich_config
else:
    import click
    from click import Command, Group

    def rich_config(**settings: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - as rich_click's own
        """Leave the command as it is: no page of it will be drawn."""
        return lambda command: command


__all__ = ["Command", "Group", "click", "rich_config"]
