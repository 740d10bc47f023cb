"""`tykky tree`: show which layer gives which package."""

from __future__ import annotations

import json
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.reporters import human_bytes
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.tree import Branch, branches
from tykky.layers.keys import counted

_MANY = 8  # packages of a layer that are listed without -v


@click.command("tree")
@click.argument("directory", type=Place())
@common
def command(directory: Path, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Show the layers of an environment, the topmost first, and which of them gives which package.

    A layer's bytes are live where its files are seen, dead where upper layers hide them. Dead bytes cost disk space and
    nothing else; 'tykky flatten' makes one layer without any.

    \b
    Examples:
      tykky tree ./climate
      tykky tree ./climate -v           all packages
      tykky tree ./climate --json
    """
    environment = EnvironmentDirectory(directory.absolute())
    record = environment.record()
    found = branches(record.layers, environment.manifests(record))
    live, dead = sum(branch.live for branch in found), sum(branch.dead for branch in found)
    if as_json:
        document = {"directory": str(environment.path), "generation": record.number, "live": live, "dead": dead}
        print(json.dumps({**document, "layers": [_as_json(branch) for branch in found]}, indent=2, ensure_ascii=False))
        return
    print(f"{record.name}: {directory}, generation {record.number}")
    for branch in reversed(found):
        print("\n".join(_lines(branch, verbose=verbose)))
    size = human_bytes(sum(branch.layer.size for branch in found))
    print(f"{counted(len(found), 'layer')}, {size}; unpacked {human_bytes(live)} live, {human_bytes(dead)} dead")


def _lines(branch: Branch, *, verbose: bool) -> list[str]:
    layer = branch.layer
    count = counted(len(branch.packages), "package")
    dead = f", {human_bytes(branch.dead)} dead" if branch.dead else ""
    lines = [
        f"  {layer.kind} {layer.key[:12]}: {human_bytes(layer.size)}, {count}, {human_bytes(branch.live)} live{dead}"
    ]
    shown = branch.packages if verbose else branch.packages[:_MANY]
    lines += [f"    {package.name} {package.version} ({package.kind})" for package in shown]
    if len(shown) < len(branch.packages):
        lines.append(f"    and {len(branch.packages) - len(shown)} more (-v)")
    lines += [f"    without {name} ({kind})" for kind, name in branch.removed]
    return lines


def _as_json(branch: Branch) -> dict[str, object]:
    return {
        "kind": branch.layer.kind,
        "key": branch.layer.key,
        "size": branch.layer.size,
        "live": branch.live,
        "dead": branch.dead,
        "files": branch.files,
        "whiteouts": branch.hides,
        "packages": [{"name": p.name, "version": p.version, "kind": p.kind} for p in branch.packages],
        "removed": [{"name": name, "kind": kind} for kind, name in branch.removed],
    }
