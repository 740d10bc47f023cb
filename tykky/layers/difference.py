"""What of a changed tree becomes a layer, and what that layer hides. Pure: trees are values here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from tykky.layers.bytecode import source_of


class State(NamedTuple):
    """One path of a tree. `content` is a fingerprint or a symlink's target; only whether two are equal counts."""

    kind: str  # "file", "directory", "symlink"
    content: str
    executable: bool


Tree: TypeAlias = Mapping[str, State]

DIRECTORY = State("directory", "", False)


def changed(before: Tree, after: Tree) -> list[str]:
    """Return the paths that are new or other than before, sorted."""
    return sorted(path for path, state in after.items() if before.get(path) != state)


def stale_bytecode(before: Tree, after: Tree) -> list[str]:
    """Return the bytecode of `before` whose source is another one now, or gone; sorted.

    Bytecode in an image is never checked against its source (PEP 552, unchecked-hash): it must not outlive it.
    """
    found = []
    for path, state in before.items():
        if path.endswith(".pyc") and "/__pycache__/" in path and state.kind == "file":
            source = source_of(path)
            if before.get(source) != after.get(source):
                found.append(path)
    return sorted(found)


def whiteouts(before: Tree, after: Tree, layer: Collection[str]) -> tuple[str, ...]:
    """Return the paths that a layer has to hide, sorted; of a directory that goes as a whole, only its own.

    `layer` are all paths that the layer itself has. What it has instead, it hides by having it.
    """
    there = set(layer)
    hidden = ({*before} - {*after} | {*stale_bytecode(before, after)}) - there
    hidden |= _emptied_caches(before, after, hidden, there)
    return tuple(sorted(path for path in hidden if not _hidden_above(path, hidden, after)))


def _hidden_above(path: str, hidden: set[str], after: Tree) -> bool:
    """Say whether a directory above is hidden too, or is no directory any more."""
    return any(parent in hidden or after.get(parent, DIRECTORY).kind != "directory" for parent in _parents(path))


def _parents(path: str) -> Iterable[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _emptied_caches(before: Tree, after: Tree, hidden: set[str], there: set[str]) -> set[str]:
    """Return the `__pycache__` that hold nothing once `hidden` is hidden: nobody left them empty on purpose."""
    emptied = {path.rpartition("/")[0] for path in hidden if path in after}
    full = {path.rpartition("/")[0] for path in (*after, *there) if path not in hidden}
    return {path for path in emptied if path.endswith("/__pycache__") and path not in full | there}
