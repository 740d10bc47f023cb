"""`tykky list`: list environments."""

from __future__ import annotations

import json
import os
from pathlib import Path

import rich_click as click

from tykky.cli.options import Place, common
from tykky.cli.reporters import human_bytes
from tykky.environment.description import find_environments
from tykky.environment.directory import EnvironmentDirectory
from tykky.errors import TykkyError


@click.command("list")
@click.argument("directories", nargs=-1, type=Place())
@common
def command(directories: tuple[Path, ...], as_json: bool, verbose: bool, quiet: bool) -> None:
    """List the environment directories in DIRECTORIES, by default those in TYKKY_PATH and here.

    \b
    Examples:
      tykky list
      tykky list /appl/envs ~/envs
    """
    roots = directories or (*_search_path(), Path.cwd())
    rows = [_row(environment) for environment in find_environments(root.absolute() for root in roots)]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows and not quiet:
        print("no environments in " + ", ".join(str(root) for root in roots))
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        if row["problem"]:
            print(f"{row['name']:<{width}}  {row['directory']}  damaged: {row['problem']}")
        else:
            size = human_bytes(int(str(row["size"])))
            print(f"{row['name']:<{width}}  {row['directory']}  generation {row['generation']}, {size}")


def _search_path() -> list[Path]:
    return [Path(item) for item in os.environ.get("TYKKY_PATH", "").split(os.pathsep) if item]


def _row(environment: EnvironmentDirectory) -> dict[str, object]:
    """Return one line of the list; an environment that cannot be read is listed with what is wrong."""
    row: dict[str, object] = {"name": environment.path.name, "directory": str(environment.path), "problem": None}
    try:
        record = environment.record()
    except TykkyError as error:
        return {**row, "problem": error.reason}
    size = sum(layer.size for layer in record.layers)
    return {**row, "name": record.name, "generation": record.number, "size": size}
