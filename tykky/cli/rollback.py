"""`tykky rollback`: make an earlier generation the current one."""

from __future__ import annotations

import json
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.environment.directory import EnvironmentDirectory, GenerationRecord
from tykky.environment.rollback import roll_back


@click.command()
@click.argument("directory", type=Place())
@click.argument("number", type=click.IntRange(min=1), required=False)
@click.option("--no-wait", is_flag=True, help="Fail if another process changes this environment directory now.")
@common
def command(directory: Path, number: int | None, no_wait: bool, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Make generation NUMBER of an environment the current one, by default the one before.

    What runs goes on with its own files. No generation is lost, so a rollback can be rolled back; a later build makes
    a new one.

    \b
    Examples:
      tykky rollback ./climate
      tykky rollback ./climate 3
    """
    from tykky.cli.reporters import human_moment, reporter_for
    from tykky.environment.sole import sole

    environment = EnvironmentDirectory(directory.absolute())
    environment.record()  # a clear error before anything else

    def mount_points(record: GenerationRecord, names: tuple[str, ...]) -> None:
        # Imported where it is needed: most rollbacks do without, and it takes as long as all the rest.
        from tykky.cli.ports import LaunchPublisher, open_site

        LaunchPublisher(open_site()).mount_points(environment, record, names)

    reporter = reporter_for(as_json=False, quiet=quiet or as_json)
    with sole(environment.path, "rollback", wait=not no_wait, say=reporter.note):
        done = roll_back(environment, number, mount_points)
    if as_json:
        answer = {"directory": str(environment.path), "generation": done.record.number, "before": done.before}
        print(json.dumps({**answer, "changed": done.changed}, ensure_ascii=False))
    elif not done.changed and not quiet:
        print(f"{directory} runs generation {done.record.number} already")
    elif not quiet:
        print(f"{directory} runs generation {done.record.number} again, made {human_moment(done.record.created)}")
        if verbose:
            print(f"it ran generation {done.before} before; its images stay where they are")
