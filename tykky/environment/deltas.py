"""Whether a delta leads from what a stack holds to what is wanted, which one, and its cost. Pure, over manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tykky.layers.change import Moves, difference, moves, runs_post_link, whiteouts
from tykky.layers.keys import Holds, PlannedLayer, counted, delta_layer
from tykky.layers.merged import Merged, PackageName, merge
from tykky.layers.stack import Target
from tykky.store.images import Manifest

# Bytes of an archive of which nothing is known, and how much larger a package is when it is installed and compiled.
_TYPICAL = 1_000_000
_PACKED = 4
# What of a layer's document must be the same in all layers of one stack.
_COMMON = {
    "tree-format": "this tykky makes other trees",
    "platform": "the platform changes",
    "prefix": "the prefix changes",
    "exclude": "[build] exclude changes",
    "bytecode": "this tykky makes other bytecode",
    "squashfs": "the compression changes",
    "python": "Python's minor version changes",
    "host-interpreter": "the host's interpreter changes",
    "post-link-scripts": "[conda] post-link-scripts changes",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a delta costs: bytes of packages for it and for fresh layers, and bytes of the stack, seen and in all.

    `whiteouts` is how many paths it hides at least; paths of replaced packages that come again are not known yet.
    `replaces` is how many deltas it stands in for, because the stack is as deep as it may be.
    """

    delta: int
    fresh: int
    live: int
    total: int
    whiteouts: int
    replaces: int = 0

    @property
    def dead(self) -> float:
        """The part of the bytes below that cannot be seen any more."""
        return 1 - self.live / max(1, self.total)


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta that would do, with the layers below it and what they show."""

    below: tuple[PlannedLayer, ...]
    lower: Merged
    layer: PlannedLayer
    moves: Moves
    cost: Cost


@dataclass(frozen=True, slots=True)
class Deltas:
    """What a delta has to lead to: `target`, of which a fresh build would have to make `missing`.

    `parent` are the manifests of the target's lent layers.
    """

    target: Target
    missing: tuple[PlannedLayer, ...]
    parent: tuple[Manifest, ...] = ()

    def on(self, manifests: Sequence[Manifest], before: Sequence[str], deepest: int) -> Delta | str:
        """Return the delta on top of the current stack, or, where that is deep, on top of its lowest layers alone.

        `before` is the current content. Returns why there is no delta, where there is none.
        """
        lent = self.target.lent
        own = [manifest for manifest in manifests[lent:] if manifest.kind != "script"]
        before = before[: len(before) - (len(manifests) - lent - len(own))]
        replaced = 0
        if lent + len(own) + 1 + len(self.target.scripts) > deepest:
            replaced = sum(manifest.kind == "delta" for manifest in own)
            own = [manifest for manifest in own if manifest.kind != "delta"]
            before = _content_of(own)
        if lent and not own:
            return self.on_parent(replaced)
        lower = [*manifests[:lent], *own]
        return self._over(lower, before, replaced)

    def on_parent(self, replaced: int = 0) -> Delta | str:
        """Return the layer that a fresh build puts on top of the parent's."""
        return self._over(self.parent, None, replaced)

    def _over(self, lower: Sequence[Manifest], before: Sequence[str] | None, replaced: int) -> Delta | str:
        """Return the delta over these layers; the parent's own child layer, if there is no content `before`."""
        target = self.target
        merged, holds = merge(lower), self._holds()
        found = moves(merged, difference(merged.packages, holds.identities))
        why_not = self._why_no_delta(lower) or _why_not_moved(target, merged, found)
        if why_not:
            return why_not
        if before is None:
            layer = replace(target.packaged[-1], identities=holds.identities)
        else:
            layer = delta_layer(target.spec, target.platform, target.base, before, target.packaged_content, holds)
        below = tuple(as_planned(manifest) for manifest in lower)
        return Delta(
            below,
            merged,
            replace(layer, reason=describe(found)),
            found,
            replace(self._cost(lower, merged, found), replaces=replaced),
        )

    def _holds(self) -> Holds:
        holds = Holds.of(self.target.packaged)
        theirs = {name: package.identity for name, package in merge(self.parent).packages.items()}
        return replace(holds, identities={**theirs, **holds.identities})

    def _why_no_delta(self, lower: Sequence[Manifest]) -> str:
        """Return why no delta leads from the lower layers to the wanted ones, as their documents tell.

        A parent's layers are what they are, whatever made them: they count only with what its child takes over.
        """
        lent = self.target.lent
        new = _common(layer.document for layer in self.target.packaged[lent:])
        old = _common(manifest.document for manifest in lower[lent:])
        for name, why in _COMMON.items():
            if name in new and name in old and new[name] != old[name]:
                return f"{why}: {_shown(old[name])} -> {_shown(new[name])}"
        if lent:
            return ""
        had = {kind for manifest in lower for kind in _kinds(manifest)}
        for kind in ("conda", "pypi"):
            if (kind in had) != any(layer.kind == kind for layer in self.target.packaged):
                return f"the {kind} layer {'goes' if kind in had else 'comes new'}"
        return ""

    def _cost(self, lower: Sequence[Manifest], merged: Merged, found: Moves) -> Cost:
        total = sum(manifest.tree_bytes for manifest in lower)
        sizes: dict[PackageName, int] = {
            (p.kind, p.name): p.size or _estimate(lower, merged, (p.kind, p.name))
            for layer in self.target.layers
            for p in layer.packages
        }
        return Cost(
            delta=sum(sizes.get(name, _TYPICAL) for name in found.install),
            fresh=sum(sizes.get(name, _TYPICAL) for layer in self.missing for name in layer.identities),
            live=total - dead_bytes(lower, merged, found),
            total=total,
            whiteouts=len(whiteouts(merged, Moves.of(merged, (), found.gone - found.install), ())),
        )


def _estimate(lower: Sequence[Manifest], merged: Merged, name: PackageName) -> int:
    """Return about how many bytes a package's archive has, for an index that does not tell."""
    package = merged.packages.get(name)
    if package is None:
        return _TYPICAL
    return sum(lower[merged.files[path]].files[path] for path in package.paths if path in merged.files) // _PACKED


def _content_of(lower: Sequence[Manifest]) -> list[str]:
    """Return the keys that a fresh build of these layers, none of them a delta, would have."""
    keys: list[str] = []
    for manifest in lower:
        keys += manifest.document["content"] if manifest.kind == "flat" else [manifest.key]
    return keys


def as_planned(manifest: Manifest) -> PlannedLayer:
    """Return a layer that is there as a plan has it."""
    count = counted(len(manifest.packages), "package")
    return PlannedLayer(manifest.kind, manifest.key, manifest.document, (), count)


def _kinds(manifest: Manifest) -> set[str]:
    return {manifest.kind} | {package.kind for package in manifest.packages}


def _common(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for document in documents:
        found |= {name: document[name] for name in _COMMON if name in document}
    return found


def _shown(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _why_not_moved(target: Target, merged: Merged, found: Moves) -> str:
    """Return why these moves cannot be made by a delta."""
    changed = found.install | found.gone
    for kind, name in sorted(changed):
        if kind == "python":
            return f"the interpreter itself changes ({name})"
        if (kind, name) == ("conda", "python"):
            return "python itself changes, and with it all bytecode"
    if target.lent:  # what a parent's scripts did is the parent's: it is there, and stays
        return ""
    conda = [package for (kind, _), package in merged.packages.items() if kind == "conda"]
    settings = target.spec.conda
    if settings is not None and settings.post_link_scripts and any(kind == "conda" for kind, _ in changed):
        for package in conda:
            if runs_post_link(package.paths):
                return f"the post-link script of {package.name} may have written anything"
    return ""


def dead_bytes(manifests: Sequence[Manifest], merged: Merged, found: Moves | None = None) -> int:
    """Return the bytes of files that cannot be seen, with `found` those that will not be seen any more."""
    total = sum(manifest.tree_bytes for manifest in manifests)
    going: set[str] = set()
    if found is not None:
        going = {path for name in found.gone for path in merged.packages[name].paths}
    live = sum(manifests[number].files[path] for path, number in merged.files.items() if path not in going)
    return total - live


def describe(found: Moves) -> str:
    """Return what a delta does, in a few words."""
    removed = found.gone - found.install
    replaced = found.gone & found.install
    added = found.install - found.gone
    parts: Mapping[str, int] = {"add": len(added), "change": len(replaced), "remove": len(removed)}
    return ", ".join(f"{verb} {counted(number, 'package')}" for verb, number in parts.items() if number) or "no change"
