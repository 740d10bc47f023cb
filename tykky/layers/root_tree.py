"""What the layers of a registry's image show together: a pure decision over the members of their archives.

The rules are those of the OCI image specification (`layer.md`): a member of an upper layer replaces what lower ones
have at its path, `.wh.NAME` hides NAME of lower layers, `.wh..wh..opq` all that they have in its directory. Paths of a
layer that pass a link of the image lead where it leads inside of the image, as programs would see it.

Nothing is written here, and no path of what is decided leaves the tree or passes a link, whatever an archive says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["directory", "file", "symlink", "hard link"]

_WHITEOUT = ".wh."
_META = ".wh..wh."  # of aufs, where all of this comes from; one of them is a rule for all
_OPAQUE = ".wh..wh..opq"
_LONGEST = 4096  # characters; the kernel takes no longer path
_MOST_LINKS = 40  # as the kernel's own limit


class BadLayer(Exception):
    """An archive that no layer of an image can be; the message says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a layer's archive: its `number` in it, and the target of a link."""

    number: int
    name: str
    kind: Kind
    executable: bool = False
    target: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One path of the whole tree. The content of a file is that of member `number` of layer `layer`."""

    path: str
    kind: Kind
    layer: int = 0
    number: int = 0
    executable: bool = False
    target: str = ""


@dataclass(slots=True)
class _Node:
    kind: Kind = "directory"
    layer: int = 0
    number: int = 0
    executable: bool = False
    target: str = ""
    children: dict[str, _Node] = field(default_factory=dict)


class RootTree:
    """The tree that grows layer by layer, bottom first."""

    def __init__(self) -> None:
        self._root = _Node()
        self._layers = 0

    def add(self, members: Sequence[Member]) -> None:
        """Put a layer on top. Raises `BadLayer`."""
        # First what it hides: of lower layers only, wherever in the archive that stands.
        for member in members:
            *above, name = _parts(member.name) or [""]
            if name.startswith(_WHITEOUT) and (folder := self._folder(above, make=False)) is not None:
                _hide(folder, name)
        for member in members:
            parts = _parts(member.name)
            if parts and not parts[-1].startswith(_WHITEOUT):
                self._place(member, parts)
        self._layers += 1

    def shown(self) -> Iterator[Shown]:
        """Give every path, sorted within its directory, a directory before what is in it."""
        waiting = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            if path:
                yield Shown(path, node.kind, node.layer, node.number, node.executable, node.target)
            below = sorted(node.children.items(), reverse=True)
            waiting += [(f"{path}/{name}" if path else name, child) for name, child in below]

    def _place(self, member: Member, parts: Sequence[str]) -> None:
        *above, name = parts
        folder = self._folder(above, make=True)
        assert folder is not None
        there = folder.children.get(name)
        if member.kind == "directory":
            if there is None or there.kind != "directory":
                folder.children[name] = _Node()
            return
        node = _Node(member.kind, self._layers, member.number, member.executable, member.target)
        if member.kind == "hard link":
            node = self._linked(member)
        folder.children[name] = node

    def _linked(self, member: Member) -> _Node:
        *above, name = _parts(member.target) or [""]
        folder = self._folder(above, make=False)
        found = None if folder is None else folder.children.get(name)
        if found is None or found.kind == "directory":
            raise BadLayer(f"{member.name!r} is a hard link to {member.target!r}, which is no file of it")
        return found

    def _folder(self, parts: Iterable[str], *, make: bool) -> _Node | None:
        """Return the directory at a path, links followed inside of the tree; None, or one that is made, if none is."""
        way, waiting, links = [self._root], list(parts)[::-1], 0
        while waiting:
            name = waiting.pop()
            if name == "..":  # of a link; the root is above itself
                way = way[:-1] or way
                continue
            child = way[-1].children.get(name)
            if child is not None and child.kind == "symlink":
                links += 1
                if links > _MOST_LINKS:
                    raise BadLayer(f"{name!r} is one of too many links that lead to one another")
                if child.target.startswith("/"):
                    way = way[:1]
                waiting += [part for part in child.target.split("/") if part not in ("", ".")][::-1]
                continue
            if child is None or child.kind != "directory":
                if not make:
                    return None
                child = way[-1].children[name] = _Node()
            way.append(child)
        return way[-1]


def _hide(folder: _Node, whiteout: str) -> None:
    if whiteout == _OPAQUE:
        folder.children.clear()
    elif not whiteout.startswith(_META):
        folder.children.pop(whiteout.removeprefix(_WHITEOUT), None)


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name or len(name) > _LONGEST:
        raise BadLayer(f"{name[:_LONGEST]!r} is no path inside of an image")
    return parts
