"""`tykky verify`: check the images of an environment against their digests."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from tykky.cli.options import Place, common
from tykky.cli.reporters import reporter_for
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.verify import Verdict, verify
from tykky.errors import EnvironmentDirectoryError


@click.command()
@click.argument("directory", type=Place())
@common
def command(directory: Path, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Read every image of the environment and compare it with the sha256 of its making.

    \b
    Example:
      tykky verify ./climate
    """
    environment = EnvironmentDirectory(directory.absolute())
    total = sum(layer.size for layer in environment.record().layers)
    reporter = reporter_for(as_json=False, quiet=quiet or as_json)
    with reporter.phase("verify images", total=total, unit="bytes") as phase:
        verdicts = verify(environment, phase.advance)
    bad = [verdict for verdict in verdicts if verdict.problem is not None]
    if as_json and not bad:
        print(json.dumps({"directory": str(directory), "layers": [_as_json(v) for v in verdicts]}))
    if bad:
        raise EnvironmentDirectoryError(
            "\n".join(f"{verdict.image} {verdict.problem}" for verdict in bad),
            hint="remove the image and run 'tykky build': it is made again from the lock",
        )
    if not quiet and not as_json:
        count = len(verdicts)
        print(f"{directory}: {count} image{'s' if count != 1 else ''} as they were made")


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {"kind": verdict.layer.kind, "key": verdict.layer.key, "image": str(verdict.image), "ok": True}
