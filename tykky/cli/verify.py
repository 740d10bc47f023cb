"""`tykky verify`: check the images of an environment against what was recorded of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.reporters import reporter_for
from tykky.environment.directory import EnvironmentDirectory, RootRecord
from tykky.environment.rollback import check_there
from tykky.environment.verify import Verdict, verify, verify_root
from tykky.errors import EnvironmentDirectoryError


@click.command()
@click.argument("directory", type=Place())
@click.argument("number", type=click.IntRange(min=1), required=False)
@click.option("--full", is_flag=True, help="Compare sha256 digests too, and walk what each image holds.")
@common
def command(directory: Path, number: int | None, full: bool, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Read every image of generation NUMBER, by default the current one, and compare it with the record of its making.

    Fingerprints (xxh3) find what disks and copies break; --full also finds what somebody changed on purpose, and an
    image that does not hold what its manifest says.

    \b
    Examples:
      tykky verify ./climate
      tykky verify ./climate --full
    """
    environment = EnvironmentDirectory(directory.absolute())
    if number is not None and environment.exists():
        check_there(environment, number)
    record = environment.record(number)
    root = record.root
    total = sum(layer.size for layer in record.layers) + (0 if root is None else root.size)
    reporter = reporter_for(as_json=False, quiet=quiet or as_json)
    with reporter.phase("verify images", total=total, unit="bytes") as phase:
        verdicts = verify(environment, phase.advance, number=number, full=full)
        changed = None if root is None else verify_root(environment, root, phase.advance)
    bad = [verdict for verdict in verdicts if verdict.problem is not None]
    if bad:
        raise EnvironmentDirectoryError("\n".join(str(verdict.problem) for verdict in bad), hint=_hint(bad))
    if root is not None and changed is not None:
        raise EnvironmentDirectoryError(changed, hint=_root_hint(environment, root))
    if as_json:
        print(json.dumps({"directory": str(directory), "full": full, "layers": [_as_json(v) for v in verdicts]}))
    elif not quiet:
        count = len(verdicts) + (root is not None)
        print(f"{directory}: {count} image{'s' if count != 1 else ''} as they were made")


def _hint(bad: Sequence[Verdict]) -> str:
    own = [verdict.image for verdict in bad if not verdict.layer.lent]
    lenders = sorted({str(verdict.image.parents[2]) for verdict in bad if verdict.layer.lent})
    hints = []
    if own:
        names = " ".join(image.name for image in own)
        hints.append(f"remove {names} from {own[0].parent} and run 'tykky build', which makes it again from the lock")
    if lenders:
        hints.append(
            f"who keeps {' and '.join(lenders)} has to repair it, or 'tykky lock --rebase' takes what is there"
        )
    return "; ".join(hints)


def _root_hint(environment: EnvironmentDirectory, root: RootRecord) -> str:
    if root.key is None:
        return "it is the image of [runtime]: 'tykky lock' and 'tykky build' take what is there now"
    return f"remove {environment.root_path(root)} and run 'tykky build', which makes it again from the lock"


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {"kind": verdict.layer.kind, "key": verdict.layer.key, "image": str(verdict.image), "ok": True}
