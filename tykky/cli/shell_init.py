"""`tykky shell-init`: print the functions that activate and complete in a shell."""

from __future__ import annotations

import json

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.shell_text import PARTS, functions_here, print_functions


@click.command("shell-init")
@click.argument("shell", type=click.Choice(list(PARTS)))
@common
def command(shell: str, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Print functions for SHELL: tykky activate and deactivate, and completion of verbs, options, names and packages.

    Put the line into the file that your shell reads at its start; in a batch script, it goes before 'tykky activate'.
    sh is any POSIX shell; it and ksh have no completion.

    \b
    Examples:
      eval "$(tykky shell-init bash)"       ~/.bashrc
      eval "$(tykky shell-init zsh)"        ~/.zshrc
      eval "$(tykky shell-init ksh)"        the file that ENV names
      tykky shell-init fish | source        ~/.config/fish/config.fish
    """
    if as_json:
        print(json.dumps({"shell": shell, "text": functions_here(shell)}, ensure_ascii=False))
    else:
        print_functions(shell)
