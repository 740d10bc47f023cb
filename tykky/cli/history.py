"""`tykky history`: list the generations of an environment."""

from __future__ import annotations

import json
from pathlib import Path

from tykky.cli.changes import as_json as changes_as_json
from tykky.cli.changes import change_lines, counts
from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.reporters import human_bytes, human_moment
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.history import Entry, history
from tykky.layers.keys import counted


@click.command("history")
@click.argument("directory", type=Place())
@common
def command(directory: Path, as_json: bool, verbose: bool, quiet: bool) -> None:
    """List the generations of an environment, the newest first; a star marks the one that runs.

    Each line says when it was made, by whom, how many packages it added (+), changed (~) and removed (-) against the
    one before, how large its layers are, how much of that was new, and why it is not what a plain update makes.

    \b
    Examples:
      tykky history ./climate
      tykky history ./climate -v        each package and each layer too
      tykky history ./climate --json
    """
    entries = history(EnvironmentDirectory(directory.absolute()))
    if as_json:
        print(json.dumps([_as_json(entry) for entry in entries], indent=2, ensure_ascii=False))
        return
    width = len(str(entries[0].number)) if entries else 0
    for entry in entries:
        print(f"{'*' if entry.current else ' '} {entry.number:>{width}}  {_line(entry)}")
        for line in _details(entry) if verbose else ():
            print(f"  {'':{width}}  {line}")


def _line(entry: Entry) -> str:
    if entry.record is None:
        return entry.problem or ""
    record = entry.record
    size = human_bytes(sum(layer.size for layer in record.layers))
    changed = "packages unknown" if entry.changes is None else counts(entry.changes)
    cost = f"{counted(len(record.layers), 'layer')}, {size} ({human_bytes(entry.new_bytes)} new)"
    parts = [human_moment(record.created), record.user, changed, cost, record.why]
    line = "  ".join(part for part in parts if part)
    return f"{line}  damaged: {entry.problem}" if entry.problem else line


def _details(entry: Entry) -> list[str]:
    layers = entry.record.layers if entry.record is not None else ()
    lines = list(change_lines(entry.changes)) if entry.changes is not None else []
    return [*lines, *(f"  {x.kind:<6} {x.key[:12]}  {human_bytes(x.size)}" for x in layers)]


def _as_json(entry: Entry) -> dict[str, object]:
    base: dict[str, object] = {"generation": entry.number, "current": entry.current, "problem": entry.problem}
    if entry.record is None:
        return base
    record = entry.record
    return {
        **base,
        "created": record.created,
        "user": record.user,
        "made-by": record.made_by,
        "why": record.why,
        "packages": None if entry.changes is None else changes_as_json(entry.changes),
        "layers": [{"kind": x.kind, "key": x.key, "size": x.size} for x in record.layers],
        "size": sum(layer.size for layer in record.layers),
        "new": entry.new_bytes,
    }
