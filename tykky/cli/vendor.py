"""`tykky vendor`: make an environment that extends another one stand alone."""

from __future__ import annotations

import json
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.ports import LaunchPublisher, open_site
from tykky.cli.reporters import human_bytes, reporter_for
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.sole import sole
from tykky.environment.vendor import vendor
from tykky.layers.keys import counted


@click.command("vendor")
@click.argument("directory", type=Place())
@click.option("--no-wait", is_flag=True, help="Fail if another process changes this environment directory now.")
@common
def command(directory: Path, no_wait: bool, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Bring the images of the extended environment into this one, and publish a generation that needs no other.

    Images become hard links where they are yours and on the same file system, copies otherwise. What the environment
    holds stays the same, and later builds keep using the images that it has now.

    \b
    Examples:
      tykky vendor ./mine
    """
    environment = EnvironmentDirectory(directory.absolute())
    before = environment.record()
    reporter = reporter_for(as_json=as_json, quiet=quiet)
    with sole(environment.path, "vendor", wait=not no_wait, say=reporter.note):
        record = vendor(environment, LaunchPublisher(open_site()), reporter)
    brought = [layer for layer in before.layers if layer.lent] if record is not None else []
    number = before.number if record is None else record.number
    if as_json:
        answer = {"directory": str(environment.path), "generation": number, "changed": record is not None}
        print(json.dumps({**answer, "brought": [layer.key for layer in brought]}, ensure_ascii=False))
    elif record is None and not quiet:
        print(f"{directory} stands alone already (generation {number})")
    elif not quiet:
        size = human_bytes(sum(layer.size for layer in brought))
        print(f"published generation {number} of {directory}: it holds {counted(len(brought), 'image')} more, {size}")
