"""`tykky deactivate`, as far as a program can do it."""

from __future__ import annotations

from tykky.cli.activate import needs_functions
from tykky.cli.clicks import click
from tykky.cli.options import common


@click.command()
@common
def command(as_json: bool, verbose: bool, quiet: bool) -> None:
    """Leave the environment that 'tykky activate' put in front of PATH.

    PATH, TYKKY_PREFIX and the prompt are as they were; what was added to PATH meanwhile stays. This verb is one of the
    shell functions that 'tykky shell-init' prints.

    \b
    Example:
      tykky deactivate
    """
    raise needs_functions("deactivate")
