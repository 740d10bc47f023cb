"""`tykky gc`: remove what nobody needs any more."""

from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.ports import open_site
from tykky.cli.reporters import human_bytes, reporter_for
from tykky.environment.collect import Asked, Collection, carry_out, plan_collection
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.in_use import usage
from tykky.environment.leases import borrowed, read_leases, renew_leases
from tykky.environment.leftovers import clear
from tykky.environment.scratch import scratch_parents
from tykky.environment.sole import sole
from tykky.runtime.kept import let_go

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Age(click.ParamType):  # type: ignore[type-arg]
    """A length of time: `90m`, `12h`, `30d`, `4w`."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the `timedelta`, or fail."""
        match = re.fullmatch(r"(\d{1,5})([mhdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is no length of time; write 90m, 12h, 30d or 4w", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.command("gc")
@click.argument("directory", type=Place())
@click.option("--older-than", type=Age(), metavar="AGE", help="Remove generations older than this too: 12h, 30d, 4w.")
@click.option("--dry-run", "-n", is_flag=True, help="Show what would go and remove nothing.")
@click.option("--no-wait", is_flag=True, help="Fail if another process changes this environment directory now.")
@common
def command(
    directory: Path,
    older_than: timedelta | None,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Remove images that no generation needs, and what builds that were killed on this host have left behind.

    With --older-than, generations made longer ago go first, but never the current one. What a running process of this
    host uses stays, and so do images that another environment extends.

    Processes on other hosts cannot be seen from here: leave generations that their jobs may still run.

    \b
    Examples:
      tykky gc ./climate --dry-run
      tykky gc ./climate --older-than 30d
    """
    environment = EnvironmentDirectory(directory.absolute())
    environment.record()  # a clear error before anything else
    site = open_site()
    asked = Asked(older_than, datetime.now(UTC), timedelta(days=site.policy.gc_grace))
    places = scratch_parents(site.scratch, os.environ.get("TMPDIR"))

    def planned() -> Collection:
        # What is kept for nobody any more would look as if it were used.
        let_go(environment.path, os.environ)
        used = usage(environment.private)
        return plan_collection(environment, used, read_leases(environment), asked, places)

    reporter = reporter_for(as_json=False, quiet=quiet or as_json)
    with contextlib.ExitStack() as stack:
        if not dry_run:
            # What is cleared away counts here, so it is planned too.
            waiting = sole(environment.path, "gc", wait=not no_wait, say=reporter.note, clearing=False)
            stack.enter_context(waiting)
        found = planned()
        if found.removals and not dry_run:
            parents = borrowed(environment)
            with reporter.phase("remove", total=found.size, unit="bytes") as phase:
                carry_out(environment, found, phase.advance)
            renew_leases(environment, parents)
        if not dry_run:
            clear(environment)
    if as_json:
        print(json.dumps(_as_json(found, dry_run=dry_run), indent=2))  # ASCII: a path need not be text
    elif not quiet:
        print("\n".join(_lines(directory, found, dry_run=dry_run, verbose=verbose)))


def _lines(directory: Path, found: Collection, *, dry_run: bool, verbose: bool) -> list[str]:
    verb = "would remove" if dry_run else "removed"
    lines = []
    for removal in found.removals:
        lines.append(f"{verb} {removal.what}, {human_bytes(removal.size)}")
        lines += [f"    {path}" for path in removal.paths if verbose]
    lines += [f"kept {kept.what}: {kept.why}" for kept in found.kept]
    if not found.removals:
        return [*lines, f"nothing to remove in {directory}"]
    return [*lines, f"{human_bytes(found.size)} {'would be' if dry_run else 'are'} free"]


def _as_json(found: Collection, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry-run": dry_run,
        "removed": [
            {"what": x.what, "paths": [str(path) for path in x.paths], "bytes": x.size} for x in found.removals
        ],
        "kept": [{"what": kept.what, "why": kept.why} for kept in found.kept],
        "bytes": found.size,
    }
