"""The delta layer: what leads from one content of a stack to another, made without reading a file of the stack.

Only what is new or other is linked and installed, into empty trees, one per kind as a fresh build does it; then the
trees become one, without what the stack shows anyway, and with whiteouts for what has to go. What the merged stack
shows afterwards is what a fresh build would show (invariant 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tykky.layers import bytecode, conda, pypi
from tykky.layers.change import Moves, contested, entangled, runs_post_link, whiteouts
from tykky.layers.keys import Base, PlannedLayer
from tykky.layers.merged import Merged, PackageName, directories
from tykky.layers.staged import Ground, Staged, content, settle
from tykky.layers.tree import scan
from tykky.layers.workshop import Workshop
from tykky.lock.model import Package


class DeltaImpossible(Exception):
    """Only fresh layers can give what is wanted; the message says why. For the builder, not for the user."""


@dataclass(frozen=True, slots=True)
class Making:
    """What making a delta needs: the layer, the stack it comes on top of, the packages' sources, the build's tools.

    `below` are the images of that stack, bottom first, and `merged` is what they show. `fetch_python` says whether an
    interpreter like the stack's is got where it is not at hand, or else the stack is mounted. To extend what others
    keep, tens of MB and thousands of files are more than it is worth.
    """

    planned: PlannedLayer
    below: tuple[Path, ...]
    merged: Merged
    project: pypi.Project | None
    base: Base
    platform: str
    workshop: Workshop
    fetch_python: bool = True

    @property
    def prefix(self) -> str:
        """Where the stack is mounted."""
        prefix: str = self.planned.document["prefix"]
        return prefix

    def ground(self, name: str, hidden: Sequence[str] = ()) -> Ground:
        """Return a place for a tree over the lower images."""
        return Ground(
            image_root=self.workshop.scratch / name,
            prefix=self.prefix,
            below=self.below,
            hidden=tuple(hidden),
            has_python="bin/python" in self.merged.files,
            packages=self.planned.packages,
            platform=self.platform,
            fetch=self.fetch_python,
        )


def stage(making: Making, moves: Moves) -> Staged:
    """Stage the delta; return what to pack."""
    trees, moves = _staged_trees(making, moves)
    merged = making.merged
    target = making.ground("delta")
    target.tree.mkdir(parents=True)
    skeleton = {path for staged in trees for path in staged.skeleton}
    for staged in trees:  # conda first: where both have a path it is the PyPI package's
        _move_all(staged.tree, target.tree)
    _drop(target.tree, _not_ours(target.tree, trees, merged, moves) | skeleton)
    entries = scan(target.tree)
    return Staged(
        image_root=target.image_root,
        tree=target.tree,
        packages=tuple(package for staged in trees for package in staged.packages),
        interpreter=None,
        whiteouts=whiteouts(merged, moves, content(entries)),
        removed=tuple(sorted(moves.gone - moves.install)),
        entries=entries,
    )


def _staged_trees(making: Making, moves: Moves) -> tuple[list[Staged], Moves]:
    """Stage what is to be installed, kind by kind, until no kept package shares a path with a staged one.

    Which paths a package has is known for certain only when it is staged.
    """
    merged = making.merged
    attempt = 0
    while True:
        trees = _stage_kinds(making, moves, attempt)
        claimed = {kind: [p for p, k in _paths(trees) if k == kind] for kind in ("conda", "pypi")}
        if making.planned.document.get("post-link-scripts") and runs_post_link(claimed["conda"]):
            raise DeltaImpossible("a package has a post-link script, which may write anything")
        more = contested(merged, moves, claimed)
        if any(kind == "python" for kind, _ in more):
            raise DeltaImpossible("a package overwrites files of the interpreter")
        if not more:
            trees = [settle(making.planned, staged, making.workshop) for staged in trees]
            where = entangled(merged, moves, [package for staged in trees for package in staged.packages])
            if where is not None:
                raise DeltaImpossible(f"packages are entangled at {where}")
            return trees, moves
        moves = Moves.of(merged, moves.install | more, moves.gone - moves.install)
        attempt += 1


def _paths(trees: Sequence[Staged]) -> list[tuple[str, str]]:
    return [(path, package.kind) for staged in trees for package in staged.packages for path in package.paths]


def _stage_kinds(making: Making, moves: Moves, attempt: int) -> list[Staged]:
    wanted: dict[PackageName, Package] = {(package.kind, package.name): package for package in making.planned.packages}
    chosen: dict[str, list[Package]] = {"conda": [], "pypi": []}
    for name in sorted(moves.install):
        chosen[name[0]].append(wanted[name])
    trees = []
    if chosen["conda"]:
        kept = [package for name, package in sorted(wanted.items()) if name[0] == "conda" and name in moves.kept]
        ground = making.ground(f"conda-{attempt}")
        trees.append(conda.stage_some(chosen["conda"], kept, ground, making.platform, making.workshop))
    links = _bares_headers(making, moves)
    if chosen["pypi"] or links:
        assert making.project is not None
        ground = making.ground(f"pypi-{attempt}", whiteouts(making.merged, moves, ()))
        trees.append(pypi.stage_some(chosen["pypi"], making.project, making.base, ground, making.workshop, links=links))
    return trees


def _bares_headers(making: Making, moves: Moves) -> bool:
    """Return whether the last package goes that has headers where a venv without any has a link."""
    headers, packages = f"include/python{making.base.python}/", making.merged.packages

    def has(names: frozenset[PackageName]) -> bool:
        return any(path.startswith(headers) for name in names for path in packages[name].paths)

    return making.base.host_interpreter is not None and has(moves.gone) and not has(moves.kept)


def _move_all(source: Path, target: Path) -> None:
    """Move what is in one tree into another one, over what is there."""
    for entry in scan(source):
        destination = target / entry.path
        if entry.kind == "directory":
            if destination.is_symlink() or destination.is_file():
                destination.unlink()
            destination.mkdir(exist_ok=True)
        else:
            (source / entry.path).replace(destination)


def _not_ours(tree: Path, trees: Sequence[Staged], merged: Merged, moves: Moves) -> set[str]:
    """Return the paths of a staged tree that the stack below shows in their final form already.

    A conda package's file that a kept PyPI package hides, with its bytecode; and what belongs to no package.
    """
    staged_pypi = {path for path, kind in _paths(trees) if kind == "pypi"}
    kept_pypi = {p for name in moves.kept if name[0] == "pypi" for p in merged.packages[name].paths}
    claimed = {path for path, _ in _paths(trees)}
    shared = merged.shared()
    found = set()
    for path in content(scan(tree)):
        if path in staged_pypi:
            continue
        source = bytecode.source_of(path) if "/__pycache__/" in path else path
        if path in kept_pypi or source in kept_pypi or (path not in claimed and path in shared):
            found.add(path)
    return found


def _drop(tree: Path, paths: set[str]) -> None:
    for path in paths:
        (tree / path).unlink(missing_ok=True)
    for directory in sorted(directories(paths), reverse=True):
        place = tree / directory
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
