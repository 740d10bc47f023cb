"""Byte-compile a staged tree, reproducibly, with the environment's own interpreter (see `compile_worker`)."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tykky.errors import BuildError
from tykky.layers.tree import Entry
from tykky.layers.workshop import Workshop
from tykky.process import CommandFailed, full_disk_hint

_WORKER = Path(__file__).with_name("compile_worker.py")
_COMPILED = re.compile(r"^lib(64)?/python\d+\.\d+/.*\.py$")
_BYTECODE = re.compile(r"/__pycache__/[^/]+\.pyc$")


def batches(entries: Sequence[Entry], owner: Mapping[str, str]) -> list[list[str]]:
    """Return the sources to compile: one batch per package and directory, the largest first.

    `owner` maps a path to its package. A batch never mixes packages: what one package's bytecode looks like must
    not depend on which others are installed with it (invariant 3).
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    weight: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        if entry.kind == "file" and _COMPILED.match(entry.path):
            batch = (owner.get(entry.path, ""), entry.path.rpartition("/")[0])
            found[batch].append(entry.path)
            weight[batch] += entry.size
    order = sorted(found, key=lambda batch: (-weight[batch], batch))
    return [sorted(found[batch]) for batch in order]


def stale_bytecode(entries: Sequence[Entry]) -> list[str]:
    """Return the .pyc files that packages brought: valid by a time stamp that the image does not keep."""
    return [
        e.path for e in entries if e.kind == "file" and _BYTECODE.search(e.path) and _COMPILED.match(source_of(e.path))
    ]


def source_of(bytecode: str) -> str:
    """Return the source's path for a path in `__pycache__`: `a/__pycache__/b.cpython-311.pyc` -> `a/b.py`."""
    directory, _, name = bytecode.rpartition("/__pycache__/")
    return f"{directory}/{name.split('.')[0]}.py"


def compile_tree(
    root: Path, prefix: str, work: Sequence[Sequence[str]], interpreter: Sequence[str], workshop: Workshop
) -> None:
    """Compile the batches `work` below `root` as files of `prefix`. `interpreter` is the argv that starts Python."""
    if not work:
        return
    request = workshop.scratch / "compile.json"
    document = {
        "root": os.fspath(root),
        "prefix": prefix,
        "jobs": workshop.processors,
        "batches": [list(batch) for batch in work],
    }
    request.write_text(json.dumps(document))
    worker = workshop.scratch / _WORKER.name
    worker.write_bytes(_WORKER.read_bytes())  # Tykky's own files may be where the inside cannot see them
    total = sum(len(batch) for batch in work)
    with workshop.reporter.phase("byte-compile", total=total, unit="files") as phase:
        try:
            workshop.commands.stream(
                # No -I: it would also ignore PYTHONHASHSEED, which orders the constants of older Pythons.
                [*interpreter, "-s", "-S", "-B", "-X", "utf8", worker],
                lambda line: phase.advance(int(line) if line.isdigit() else 0),
                environ={"PYTHONHASHSEED": "0"},
                stdin=request,
            )
        except CommandFailed as error:
            hint = full_disk_hint(error.finished.stdout)
            raise BuildError(f"byte-compiling failed: {error.reason}", hint=hint, output=error.output) from None
