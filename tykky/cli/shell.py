"""`tykky shell`: open a shell inside an environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.environment.directory import EnvironmentDirectory
from tykky.runtime.enter import enter


@click.command()
@click.argument("directory", type=Place())
@common
def command(directory: Path, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Open your shell ($SHELL) inside the environment; leave it with exit.

    \b
    Example:
      tykky shell ./climate
    """
    environment = EnvironmentDirectory(directory.absolute())
    record = environment.record()
    shell = os.environ.get("SHELL") or "/bin/sh"
    if not quiet and sys.stderr.isatty():
        print(f"inside {record.name} (generation {record.number}); leave with 'exit'", file=sys.stderr)
    enter(environment.path, [shell])
