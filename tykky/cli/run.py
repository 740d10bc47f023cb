"""`tykky run`: run a program of an environment, or any program with the environment around it."""

from __future__ import annotations

from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import Place, common
from tykky.environment.directory import EnvironmentDirectory
from tykky.runtime.enter import enter


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("directory", type=Place())
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="[--] COMMAND [ARG]...")
@common
def command(directory: Path, words: tuple[str, ...], as_json: bool, verbose: bool, quiet: bool) -> None:
    """Run COMMAND inside the environment: what P/bin holds comes first, then everything of the host.

    The program replaces tykky: its signals, exit status and streams are its own.

    \b
    Examples:
      tykky run ./climate -- python -c 'import numpy'
      tykky run ./climate -- make -j4
    """
    environment = EnvironmentDirectory(directory.absolute())
    environment.record()  # a clear error before anything starts
    given = words[1:] if words[0] == "--" else words
    if not given:
        raise click.UsageError("name a command to run, e.g. tykky run ./climate -- python")
    enter(environment.path, given)
