"""`tykky activate`, as far as a program can do it: only a shell's own function can change that shell."""

from __future__ import annotations

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.errors import UsageError


@click.command()
@click.argument("name", metavar="NAME|DIRECTORY")
@common
def command(name: str, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Put the programs of an environment in front of PATH, in this shell.

    This verb is one of the shell functions that 'tykky shell-init' prints. A NAME is looked for in the directories of
    TYKKY_PATH, then among the site's environments, then here; what holds a slash is a DIRECTORY. An environment that is
    active already is left first. TYKKY_PREFIX is set to the directory, and the prompt shows the name unless
    TYKKY_CHANGE_PS1 is 0.

    \b
    Examples:
      eval "$(tykky shell-init bash)"
      tykky activate climate
      tykky activate ./climate
      tykky deactivate
    """
    raise needs_functions("activate")


def needs_functions(verb: str) -> UsageError:
    """Return the error for a verb that a program cannot do."""
    return UsageError(
        f"tykky {verb} changes the shell it is typed in, which only the shell's own function can",
        hint='run eval "$(command tykky shell-init bash)" first (or zsh, ksh, sh); '
        "in fish: tykky shell-init fish | source",
    )
