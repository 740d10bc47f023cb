"""`tykky diff`: compare two generations of an environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tykky.cli.changes import as_json as changes_as_json
from tykky.cli.changes import change_lines
from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.reporters import reporter_for
from tykky.environment.comparison import compare_packages
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.file_comparison import Contents, FileChanges, Shown, compare_files, read_contents
from tykky.environment.rollback import check_there
from tykky.errors import EnvironmentDirectoryError
from tykky.process import Commands
from tykky.progress import Reporter
from tykky.store.images import Manifest


@click.command("diff")
@click.argument("directory", type=Place())
@click.argument("old", metavar="[A]", type=click.IntRange(min=1), required=False)
@click.argument("new", metavar="[B]", type=click.IntRange(min=1), required=False)
@click.option("--files", is_flag=True, help="Compare the files too: what is at the prefix, not which layer it is in.")
@common
def command(
    directory: Path, old: int | None, new: int | None, files: bool, as_json: bool, verbose: bool, quiet: bool
) -> None:
    """Show what leads from generation A to generation B: packages added (+), changed (~) and removed (-).

    B is the current generation unless it is given, A the one before B. A package is changed if its version is another
    one, or its build or source. A file is changed if its size, content, execute permission or target is another one;
    files are read from the images only where packages and sizes do not tell.

    \b
    Examples:
      tykky diff ./climate              what the current generation changed
      tykky diff ./climate 3            from generation 3 to the current one
      tykky diff ./climate 3 5 --files
    """
    environment = EnvironmentDirectory(directory.absolute())
    after = environment.current_number() if new is None else new
    before = _before(environment, after) if old is None else old
    for number in (before, after):
        check_there(environment, number)
    a, b = (Shown.of(environment.manifests(environment.record(number))) for number in (before, after))
    packages = compare_packages(a.merged.packages, b.merged.packages)
    reporter = reporter_for(as_json=False, quiet=quiet or as_json)
    changes = compare_files(a, b, _reader(environment, reporter, before, after)) if files else None
    if as_json:
        document: dict[str, object] = {"from": before, "to": after, "packages": changes_as_json(packages)}
        if changes is not None:
            document["files"] = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
        print(json.dumps(document, indent=2))  # ASCII: a path need not be text
        return
    lines = [*change_lines(packages), *(_file_lines(changes) if changes is not None else ())]
    for line in lines:
        print(line)
    if not lines and not quiet:
        print(f"generations {before} and {after} have the same {'files' if files else 'packages'}")


def _before(environment: EnvironmentDirectory, number: int) -> int:
    earlier = [n for n in environment.numbers() if n < number]
    if not earlier:
        raise EnvironmentDirectoryError(
            f"{environment.path} has no generation before {number} to compare it with",
            hint="name two generations; 'tykky history' lists them",
        )
    return earlier[-1]


def _reader(
    environment: EnvironmentDirectory, reporter: Reporter, *numbers: int
) -> Callable[[Manifest, list[str]], Contents]:
    """Return what reads paths from the images of these generations."""
    records = [environment.record(number) for number in numbers]
    images = {layer.key: environment.image_path(layer) for record in records for layer in record.layers}
    commands = Commands()

    def read(manifest: Manifest, paths: list[str]) -> Contents:
        title = f"read files of {manifest.kind} layer {manifest.key[:12]}"
        with reporter.phase(title, total=len(paths), unit="files") as phase:
            found = read_contents(images[manifest.key], manifest.prefix, paths, commands)
            phase.advance(len(paths))
        return found

    return read


def _file_lines(changes: FileChanges) -> list[str]:
    marked = {"+": changes.added, "~": changes.changed, "-": changes.removed}
    return [f"{mark} {path}" for mark, paths in marked.items() for path in paths]
