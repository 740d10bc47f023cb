"""`tykky run`: run a program of an environment, or any program with the environment around it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.environment.directory import EnvironmentDirectory
from tykky.errors import UsageError
from tykky.runtime.enter import become, enter, is_shown

_WITH = "--with"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("directory", type=Place())
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="[--] COMMAND [ARG]...")
@click.option(
    _WITH,
    "others",
    type=Place(),
    multiple=True,
    metavar="DIRECTORY",
    help="Show another environment too, its programs behind those of DIRECTORY; may be repeated.",
)
@common
def command(
    directory: Path, words: tuple[str, ...], others: tuple[Path, ...], as_json: bool, verbose: bool, quiet: bool
) -> None:
    """Run COMMAND inside the environment: what P/bin holds comes first, then everything of the host.

    The program replaces tykky: its signals, exit status and streams are its own.

    \b
    Examples:
      tykky run ./climate -- python -c 'import numpy'
      tykky run ./climate -- make -j4
      tykky run ./climate --with ./tools -- make plots
    """
    more, given = _split(words)
    if not given:
        raise click.UsageError("name a command to run, e.g. tykky run ./climate -- python")
    environment = EnvironmentDirectory(directory.absolute())
    if not environment.exists() and is_shown(environment.path):
        _run_inside(environment.path, given, alone=not (others or more))
    environment.record()  # a clear error before anything starts
    if others or more:
        enter(environment.path, given, _together(directory, [*others, *more]))
    enter(environment.path, given)


def _split(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the directories that `--with` names between the environment and the command, and the command."""
    left, found = list(words), []
    while left and left[0].partition("=")[0] == _WITH:
        option, equals, value = left.pop(0).partition("=")
        if not equals:
            if not left:
                raise click.UsageError(f"Option '{option}' requires an argument.")
            value = left.pop(0)
        found.append(Place.of_click().convert(value, None, click.get_current_context()))
    return found, left[1:] if left[:1] == ["--"] else left


def _run_inside(path: Path, given: Sequence[str], *, alone: bool) -> NoReturn:
    """Become the command where this process runs inside the environment already."""
    if not alone:
        raise UsageError(
            f"{path} is mounted here already, and others cannot be added to that",
            hint="leave it, and name all of them in one 'tykky run'",
        )
    inside = Path(os.environ.get("TYKKY_ENVIRONMENT") or "/")
    if not inside.exists() or not path.samefile(inside):
        raise UsageError(
            f"{path} is mounted here already, and its variables are not set here",
            hint=f"call its programs by their paths: they are in {path}/bin",
        )
    become(given, {**os.environ, "PATH": f"{path}/bin{os.pathsep}{os.environ.get('PATH', '/usr/bin:/bin')}"})


def _together(directory: Path, others: Sequence[Path]) -> str:
    """Return the launch of an environment that shows others beside it."""
    # Imported here: an environment alone runs by what its build wrote, and needs none of this.
    from tykky.cli.ports import LaunchPublisher, keep_templates, open_site, site_binds
    from tykky.environment.together import check_together, read_member
    from tykky.runtime.model import Beside
    from tykky.runtime.render import render_launch

    site = open_site()
    members = [read_member(path) for path in (directory, *others)]
    check_together(members, site_binds(site))
    publisher = LaunchPublisher(site)
    launches = [publisher.value(m.spec, m.record, tuple({m.owner, *site.trusted_owners})) for m in members]
    beside = [
        Beside(str(member.path), str(member.real), launch.stack, launch.path_prepend)
        for member, launch in zip(members[1:], launches[1:], strict=True)
    ]
    keep_templates()
    return render_launch(launches[0], beside)
