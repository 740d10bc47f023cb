"""`tykky flatten`: make one layer of the layers of an environment."""

from __future__ import annotations

import time
from pathlib import Path

from tykky.cli.build import emit_built, logged
from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.ports import LaunchPublisher, open_access, open_site, open_workshop
from tykky.cli.reporters import human_bytes, reporter_for
from tykky.environment.build import Built, carry_out
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.flatten import plan_flattening
from tykky.environment.sole import sole
from tykky.layers.keys import counted
from tykky.process import Commands


@click.command("flatten")
@click.argument("directory", type=Place())
@click.option("--no-wait", is_flag=True, help="Fail if another process changes this environment directory now.")
@click.option("--keep", is_flag=True, help="Keep the staging directory if this fails.")
@common
def command(directory: Path, no_wait: bool, keep: bool, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Make one layer of the layers of an environment, and publish it as the next generation, which holds the same.

    It is made from the images alone: neither tykky.toml nor the network is needed. A layer of post-install scripts
    stays on top. The old images stay until 'tykky gc' finds that no generation needs them.

    \b
    Examples:
      tykky flatten ./climate
      tykky flatten ./climate && tykky gc ./climate --older-than 30d
    """
    environment = EnvironmentDirectory(directory.absolute())
    before = environment.record()
    reporter = reporter_for(as_json=as_json, quiet=quiet)
    started = time.monotonic()
    site = open_site()
    with sole(environment.path, "flatten", wait=not no_wait, say=reporter.note), logged() as log:
        plan = plan_flattening(environment)
        built = Built(before, environment.path, changed=False)
        if plan is not None:
            workshop = open_workshop(site, open_access(site, offline=True), Commands(log=log), reporter)
            publisher = LaunchPublisher(site)
            built = carry_out(plan, publisher, workshop, reporter, scratch_directory=site.scratch, keep=keep)
    if as_json:
        emit_built(built, time.monotonic() - started)
    elif not quiet:
        print(_said(directory, before.layers, built))


def _said(directory: Path, before: tuple[object, ...], built: Built) -> str:
    if not built.changed:
        return f"{directory} is flat already (generation {built.record.number})"
    count = counted(len(built.record.layers), "layer")
    return (
        f"published generation {built.record.number} of {directory}: {count} in place of {len(before)}, "
        f"{human_bytes(built.size)}"
    )
