"""Byte-compile a staged tree, reproducibly, with the environment's own interpreter (see `compile_worker`)."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import BuildError
from tykky.layers.bytecode_cache import BytecodeCache
from tykky.layers.tree import Entry
from tykky.layers.workshop import Start, Workshop
from tykky.process import CommandFailed, full_disk_hint
from tykky.progress import Phase

_WORKER = Path(__file__).with_name("compile_worker.py")
_COMPILED = re.compile(r"^lib(64)?/python\d+\.\d+/.*\.py$")
_BYTECODE = re.compile(r"/__pycache__/[^/]+\.pyc$")


@dataclass(frozen=True, slots=True)
class Compiled:
    """The sources to compile, in batches: one per package and directory, the largest first.

    A batch never mixes packages: what one package's bytecode looks like must not depend on which others are
    installed with it (invariant 3). `owner` maps a path to its package; what belongs to none is one more.
    """

    batches: tuple[tuple[str, ...], ...]
    owner: Mapping[str, str]

    def package(self, batch: Sequence[str]) -> str:
        """Return whose sources a batch holds."""
        return self.owner.get(batch[0], "")

    def by_package(self) -> dict[str, list[str]]:
        """Return every package's sources, sorted."""
        found: dict[str, list[str]] = defaultdict(list)
        for batch in self.batches:
            found[self.package(batch)].extend(batch)
        return {name: sorted(paths) for name, paths in sorted(found.items())}


def sources(entries: Sequence[Entry], owner: Mapping[str, str]) -> Compiled:
    """Return what of a tree has to be compiled."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    weight: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        if entry.kind == "file" and _COMPILED.match(entry.path):
            batch = (owner.get(entry.path, ""), entry.path.rpartition("/")[0])
            found[batch].append(entry.path)
            weight[batch] += entry.size
    order = sorted(found, key=lambda batch: (-weight[batch], batch))
    return Compiled(tuple(tuple(sorted(found[batch])) for batch in order), owner)


def stale_bytecode(entries: Sequence[Entry]) -> list[str]:
    """Return the .pyc files that packages brought: valid by a time stamp that the image does not keep."""
    return [
        e.path for e in entries if e.kind == "file" and _BYTECODE.search(e.path) and _COMPILED.match(source_of(e.path))
    ]


def source_of(bytecode: str) -> str:
    """Return the source's path for a path in `__pycache__`: `a/__pycache__/b.cpython-311.pyc` -> `a/b.py`."""
    directory, _, name = bytecode.rpartition("/__pycache__/")
    return f"{directory}/{name.split('.')[0]}.py"


def compile_tree(root: Path, prefix: str, compiled: Compiled, start: Start, workshop: Workshop) -> None:
    """Give every source of `compiled` below `root` its bytecode, from the cache or compiled now.

    `prefix` is where the tree will live.
    """
    if not compiled.batches:
        return
    interpreter = start()
    cache = BytecodeCache(workshop.access.cache / "bytecode", _compiler(interpreter, workshop), prefix)
    keys = {name: cache.key(root, sources) for name, sources in compiled.by_package().items()}
    total = sum(len(batch) for batch in compiled.batches)
    with workshop.reporter.phase("byte-compile", total=total, unit="files") as phase:
        missing = {name for name, key in keys.items() if not cache.restore(key, root)}
        work = [batch for batch in compiled.batches if compiled.package(batch) in missing]
        phase.advance(total - sum(len(batch) for batch in work))
        if work:
            _compile(root, prefix, work, interpreter, workshop, phase)
        made = compiled.by_package()
        for name in missing:
            cache.keep(keys[name], root, _bytecode_beside(root, made[name]))


def _compiler(interpreter: Sequence[str], workshop: Workshop) -> str:
    """Return what the environment's Python says of itself: version, build, and the bytecode's magic number."""
    question = "import sys, importlib.util as u; print(sys.version, sys.implementation.cache_tag, u.MAGIC_NUMBER.hex())"
    return workshop.commands.run([*interpreter, "-I", "-S", "-c", question]).stdout.strip()


def _bytecode_beside(root: Path, sources: Iterable[str]) -> list[str]:
    """Return the paths of the bytecode that these sources have now."""
    wanted = set(sources)
    found = []
    for directory in {path.rpartition("/")[0] for path in wanted}:
        cache = root / directory / "__pycache__"
        if cache.is_dir():
            names = (f"{directory}/__pycache__/{name}" for name in os.listdir(cache))  # noqa: PTH208 - names only
            found += [path for path in names if source_of(path) in wanted]
    return found


def _compile(
    root: Path,
    prefix: str,
    work: Sequence[Sequence[str]],
    interpreter: Sequence[str],
    workshop: Workshop,
    phase: Phase,
) -> None:
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
