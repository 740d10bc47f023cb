"""Which layers an environment gets: a delta on what it has, or those of a fresh build. Pure, over manifests and sizes.

Every way shows the same tree (invariant 3), so the choice is one of cost: bytes to write now, against the depth of the
stack and the dead bytes in it at every launch from now on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, NewerRecord
from tykky.errors import BuildError, EnvironmentDirectoryError
from tykky.layers.change import Moves, difference, moves, runs_post_link, whiteouts
from tykky.layers.keys import Base, PlannedLayer, counted, delta_layer, flat_layer
from tykky.layers.merged import Merged, PackageName, merge
from tykky.spec.model import Spec
from tykky.store.images import Manifest, NewerManifest, Store
from tykky.store.tiers import Tiers

How = Literal["best", "delta", "rebuild"]

ASKED_FOR = "asked for"
# More layers than this are not stacked by choice: a mount costs about 1 ms each, and a path lookup asks them all.
DEEPEST = 8
# A delta that writes more than this part of what fresh layers would is not worth its depth.
_WORTH = 0.6
# Bytes of an archive of which nothing is known, and how much larger a package is when it is installed and compiled.
_TYPICAL = 1_000_000
_PACKED = 4
# With more than this part of all bytes hidden by upper layers, fresh layers are made.
_DEAD = 0.5


@dataclass(frozen=True, slots=True)
class Current:
    """What an environment directory has now: the record of its generation, None if there is none that can be read.

    `trouble` says what is wrong with it, `damaged` are the keys of the images that are not whole.
    """

    record: GenerationRecord | None
    directory: EnvironmentDirectory
    tiers: Tiers
    trouble: str | None = None
    damaged: frozenset[str] = frozenset()

    @classmethod
    def of(cls, directory: EnvironmentDirectory, tiers: Tiers | None = None) -> Current:
        """Return what is there. Reads no manifest yet: a build with nothing to do needs none."""
        asked = tiers or Tiers(directory.store)
        if not directory.exists():
            return cls(None, directory, asked)
        try:
            record = directory.record()
        except NewerRecord:
            raise
        except EnvironmentDirectoryError as error:
            return cls(None, directory, asked, str(error))
        damage = directory.damage(record)
        return cls(record, directory, asked, next(iter(damage.values()), None), frozenset(damage))

    def where(self, key: str) -> Store | None:
        """Return the store that has the image of a key: the environment's own, or one that it can be brought from."""
        own = self.directory.store
        if own.has(key) and key not in self.damaged:
            return own
        found = self.tiers.find(key)
        return None if found is None or found.directory == own.directory else found

    def manifests(self) -> tuple[Manifest, ...]:
        """Return the manifests of the current layers. Raises `EnvironmentDirectoryError`."""
        assert self.record is not None
        return self.directory.manifests(self.record)

    def looked_into(self) -> Current:
        """Return the same with what only reading the manifests tells.

        Raises `NewerManifest`: that is not ours to mend.
        """
        assert self.record is not None
        damage = {}
        for layer in self.record.layers:
            try:
                self.directory.store.manifest(layer.key)
            except NewerManifest:
                raise
            except EnvironmentDirectoryError as error:
                damage[layer.key] = str(error)
        trouble = self.trouble or next(iter(damage.values()), None)
        return replace(self, trouble=trouble, damaged=self.damaged | frozenset(damage))


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
class Choice:
    """The stack to come, bottom first, and why. `passing` are layers that are only needed to make it.

    `moves` and `cost` are those of the delta, where there is one, and `lower` is what is below it.
    """

    stack: tuple[PlannedLayer, ...]
    passing: tuple[PlannedLayer, ...]
    why: str
    moves: Moves | None = None
    cost: Cost | None = None
    lower: Merged | None = None


@dataclass(frozen=True, slots=True)
class _Delta:
    """A delta that would do, with the layers below it and what they show."""

    below: tuple[PlannedLayer, ...]
    lower: Merged
    layer: PlannedLayer
    moves: Moves
    cost: Cost


def choose(
    spec: Spec,
    platform: str,
    base: Base,
    content: tuple[PlannedLayer, ...],
    current: Current,
    *,
    how: How = "best",
    flatten: bool = False,
) -> Choice:
    """Return the stack for `content`, the layers a fresh build would have.

    Raises `BuildError` if a delta is forced and cannot be made.
    """
    choice = _choose(spec, platform, base, content, current, how)
    if not flatten:
        return choice
    scripts = tuple(layer for layer in choice.stack if layer.kind == "script")
    below = tuple(layer for layer in choice.stack if layer.kind != "script")
    if len(below) == 1:
        return choice
    flat = flat_layer(spec, platform, base, _without_scripts(content), len(below))
    return Choice((flat, *scripts), below, choice.why or ASKED_FOR, choice.moves, choice.cost, choice.lower)


def _choose(
    spec: Spec, platform: str, base: Base, content: tuple[PlannedLayer, ...], current: Current, how: How
) -> Choice:
    if current.record is None or current.trouble is not None:
        why = current.trouble or "nothing is there yet"
        _refuse_forced(how, why)
        return Choice(content, (), why if current.trouble else "")
    keys = tuple(layer.key for layer in content)
    if how != "rebuild" and current.record.content == keys:
        return Choice(_as_planned(current.record, content), (), "")
    missing = [layer for layer in content if current.where(layer.key) is None]
    if how == "rebuild" or (how == "best" and not missing):
        return Choice(content, (), ASKED_FOR if how == "rebuild" else "")
    earlier = _earlier(current, keys) if how == "best" else None
    if earlier is not None:
        return Choice(_as_planned(earlier, content), (), f"as in generation {earlier.number}")
    deltas = _Deltas(spec, platform, base, content, tuple(missing))
    delta = deltas.on(current.manifests(), current.record.content)
    if isinstance(delta, str):
        _refuse_forced(how, delta)
        return Choice(content, (), delta)
    why_not = _not_worth(delta.cost) if how == "best" else ""
    if why_not:
        return Choice(content, (), why_not, delta.moves, delta.cost, delta.lower)
    scripts = tuple(layer for layer in content if layer.kind == "script")
    if not delta.moves.install and not delta.moves.gone:
        return Choice((*delta.below, *scripts), (), "")
    return Choice((*delta.below, delta.layer, *scripts), (), "", delta.moves, delta.cost, delta.lower)


def _refuse_forced(how: How, why: str) -> None:
    if how == "delta":
        raise refused_delta(why)


def refused_delta(why: str) -> BuildError:
    """Return the error for a delta that was asked for and cannot be made."""
    return BuildError(f"no delta can be made: {why}", hint="leave --delta out: fresh layers will be built")


def _not_worth(cost: Cost) -> str:
    if cost.delta > cost.fresh * _WORTH:
        if cost.replaces:
            return (
                f"with {DEEPEST} layers one delta has to replace {cost.replaces}, and most has changed since the base"
            )
        return "most of it changes"
    if cost.dead > _DEAD:
        return f"{cost.dead:.0%} of the bytes below would be dead"
    return ""


def _without_scripts(layers: Sequence[PlannedLayer]) -> tuple[PlannedLayer, ...]:
    return tuple(layer for layer in layers if layer.kind != "script")


def _earlier(current: Current, content: Sequence[str]) -> GenerationRecord | None:
    """Return the latest other generation that holds the same and has all its images."""
    for number in reversed(current.directory.numbers()):
        try:
            record = current.directory.record(number)
        except EnvironmentDirectoryError:
            continue
        if record.content == tuple(content) and not current.directory.damage(record):
            return record
    return None


def _as_planned(record: GenerationRecord, content: Sequence[PlannedLayer]) -> tuple[PlannedLayer, ...]:
    """Return the layers of a generation, as a plan has them."""
    known = {layer.key: layer for layer in content}
    return tuple(known.get(x.key) or PlannedLayer(x.kind, x.key, {}, (), "as before") for x in record.layers)


@dataclass(frozen=True, slots=True)
class _Deltas:
    """What a delta has to lead to: `content`, of which a fresh build would have to make `missing`."""

    spec: Spec
    platform: str
    base: Base
    content: tuple[PlannedLayer, ...]
    missing: tuple[PlannedLayer, ...]

    def on(self, manifests: Sequence[Manifest], before: Sequence[str]) -> _Delta | str:
        """Return the delta on top of the current stack, or, where that is deep, on top of its lowest layers alone.

        `before` is the current content. Returns why there is no delta, where there is none.
        """
        wanted = _without_scripts(self.content)
        lower = [manifest for manifest in manifests if manifest.kind != "script"]
        before = before[: len(before) - (len(manifests) - len(lower))]
        replaced = 0
        if len(lower) + 1 + len(self.content) - len(wanted) > DEEPEST:
            replaced = sum(manifest.kind == "delta" for manifest in lower)
            lower = [manifest for manifest in lower if manifest.kind != "delta"]
            before = _content_of(lower)
        merged = merge(lower)
        identities = {name: key for layer in wanted for name, key in layer.identities.items()}
        found = moves(merged, difference(merged.packages, identities))
        why_not = _why_no_delta(wanted, lower) or _why_not_moved(self.spec, merged, found)
        if why_not:
            return why_not
        layer = delta_layer(self.spec, self.platform, self.base, before, wanted, describe(found))
        below = tuple(as_planned(manifest) for manifest in lower)
        return _Delta(below, merged, layer, found, replace(self._cost(lower, merged, found), replaces=replaced))

    def _cost(self, lower: Sequence[Manifest], merged: Merged, found: Moves) -> Cost:
        total = sum(manifest.tree_bytes for manifest in lower)
        sizes: dict[PackageName, int] = {
            (p.kind, p.name): p.size or _estimate(lower, merged, (p.kind, p.name))
            for layer in self.content
            for p in layer.packages
        }
        return Cost(
            delta=sum(sizes.get(name, _TYPICAL) for name in found.install),
            fresh=sum(sizes[p.kind, p.name] for layer in self.missing for p in layer.packages),
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


def _why_no_delta(wanted: Sequence[PlannedLayer], lower: Sequence[Manifest]) -> str:
    """Return why no delta leads from the lower layers to the wanted ones, as their documents tell."""
    new = _common(layer.document for layer in wanted)
    old = _common(manifest.document for manifest in lower)
    for name, why in _COMMON.items():
        if name in new and name in old and new[name] != old[name]:
            return f"{why}: {_shown(old[name])} -> {_shown(new[name])}"
    had = {kind for manifest in lower for kind in _kinds(manifest)}
    for kind in ("conda", "pypi"):
        if (kind in had) != any(layer.kind == kind for layer in wanted):
            return f"the {kind} layer {'goes' if kind in had else 'comes new'}"
    return ""


def _kinds(manifest: Manifest) -> set[str]:
    return {manifest.kind} | {package.kind for package in manifest.packages}


def _common(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for document in documents:
        found |= {name: document[name] for name in _COMMON if name in document}
    return found


def _shown(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _why_not_moved(spec: Spec, merged: Merged, found: Moves) -> str:
    """Return why these moves cannot be made by a delta."""
    changed = found.install | found.gone
    for kind, name in sorted(changed):
        if kind == "python":
            return f"the interpreter itself changes ({name})"
        if (kind, name) == ("conda", "python"):
            return "python itself changes, and with it all bytecode"
    conda = [package for (kind, _), package in merged.packages.items() if kind == "conda"]
    if spec.conda is not None and spec.conda.post_link_scripts and any(kind == "conda" for kind, _ in changed):
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
