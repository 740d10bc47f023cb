"""`tykky list`: list environments."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.ports import open_site
from tykky.cli.reporters import human_bytes
from tykky.environment.known import Known, known_environments, search_path
from tykky.layers.keys import counted


@click.command("list")
@click.argument("directories", nargs=-1, type=Place())
@common
def command(directories: tuple[Path, ...], as_json: bool, verbose: bool, quiet: bool) -> None:
    """List environments: those in the directories of TYKKY_PATH, the site's, and those here; or those in DIRECTORIES.

    The names are those that 'tykky activate' takes. What is damaged is listed with what is wrong. The packages of one
    environment: 'tykky info --packages DIRECTORY'.

    \b
    Examples:
      tykky list
      tykky list /appl/envs ~/envs
      tykky list --json
    """
    if directories:
        found = known_environments(directories, {})
    else:
        found = known_environments(search_path(os.environ), open_site().environments, [Path.cwd()])
    if as_json:
        print(json.dumps([_as_json(known) for known in found], indent=2, ensure_ascii=False))
    elif found:
        print("\n".join(_lines(found)))
    elif not quiet:
        places = directories or (*search_path(os.environ), Path.cwd())
        print("no environments in " + ", ".join(str(place) for place in places))


def _lines(found: tuple[Known, ...]) -> list[str]:
    """Return the table: what is known of each, in columns, then where it is."""
    cells = [_cells(known) for known in found]
    widths = [max(map(len, column)) for column in zip(*filter(None, cells), strict=True)]
    name = max(len(known.name) for known in found)
    lines = []
    for known, row in zip(found, cells, strict=True):
        text = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))
        place = f"{known.path}  (the site's)" if known.origin == "site" else str(known.path)
        lines.append(f"{known.name:<{name}}  " + (f"{text}  {place}" if known.record else f"{place}: {known.problem}"))
    return lines


def _cells(known: Known) -> list[str]:
    record = known.record
    if record is None:
        return []
    return [
        f"generation {record.number}",
        record.created[:10],
        f"Python {record.python}" if record.python else "no Python",
        "" if record.packages is None else counted(record.packages, "package"),
        human_bytes(known.size or 0),
    ]


def _as_json(known: Known) -> dict[str, object]:
    record = known.record
    return {
        "name": known.name,
        "directory": str(known.path),
        "from": known.origin,
        "problem": known.problem,
        "generation": record and record.number,
        "created": record and record.created,
        "python": record and record.python,
        "packages": record and record.packages,
        "size": known.size,
    }
