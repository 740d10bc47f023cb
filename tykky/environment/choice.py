"""Which layers an environment gets: a delta on what it has, or those of a fresh build. Pure, over manifests and sizes.

Every way shows the same tree (invariant 3), so the choice is one of cost: bytes to write now, against the depth of the
stack and the dead bytes in it at every launch from now on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tykky.environment.deltas import Cost, Delta, Deltas
from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, NewerRecord
from tykky.errors import BuildError, EnvironmentDirectoryError
from tykky.layers.change import Moves
from tykky.layers.keys import Holds, PlannedLayer, flat_layer
from tykky.layers.merged import Merged
from tykky.layers.stack import Target
from tykky.site.model import Policy
from tykky.store.images import Manifest, NewerManifest, Store, load_manifest
from tykky.store.tiers import Tiers

How = Literal["best", "delta", "rebuild"]

ASKED_FOR = "asked for"
SITE_FLATTENS = "this site makes one layer of deep stacks"
# A delta that writes more than this part of what fresh layers would is not worth its depth.
_WORTH = 0.6
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
        if key in self.tiers.lent:
            return Store(self.tiers.lent[key].parent)
        found = self.tiers.find(key)
        return None if found is None or found.directory == own.directory else found

    def manifests(self) -> tuple[Manifest, ...]:
        """Return the manifests of the current layers. Raises `EnvironmentDirectoryError`."""
        assert self.record is not None
        return self.directory.manifests(self.record)

    def lent(self, target: Target) -> tuple[Manifest, ...]:
        """Return the manifests of a target's lent layers. Raises `EnvironmentDirectoryError`."""
        return tuple(self.tiers.manifest(layer.key) for layer in target.layers[: target.lent])

    def looked_into(self) -> Current:
        """Return the same with what only reading the manifests tells.

        Raises `NewerManifest`: that is not ours to mend.
        """
        assert self.record is not None
        damage = {}
        for layer in self.record.layers:
            try:
                load_manifest(self.directory.image_path(layer).with_suffix(".manifest"))
            except NewerManifest:
                raise
            except EnvironmentDirectoryError as error:
                damage[layer.key] = str(error)
        trouble = self.trouble or next(iter(damage.values()), None)
        return replace(self, trouble=trouble, damaged=self.damaged | frozenset(damage))


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


def choose(
    target: Target, current: Current, *, how: How = "best", flatten: bool = False, policy: Policy | None = None
) -> Choice:
    """Return the stack for a target. `policy` is the site's about deep stacks.

    Raises `BuildError` if a delta is forced and cannot be made, or if the target cannot be put on top of its parent.
    """
    policy = policy or Policy()
    choice = _choose(target, current, how, policy.depth)
    below = tuple(layer for layer in choice.stack[target.lent :] if layer.kind != "script")
    too_deep = how == "best" and policy.flatten == "do" and len(below) >= policy.flatten_from
    if len(below) <= 1 or not (flatten or too_deep):
        return choice
    why = ASKED_FOR if flatten else SITE_FLATTENS
    if target.lent:
        # A parent's layers stay where they are. One layer of the environment's own is what a fresh build makes of them.
        return fresh_choice(target, current, choice.why or why)
    scripts = tuple(layer for layer in choice.stack if layer.kind == "script")
    holds = Holds.of(target.packaged)
    flat = flat_layer(target.spec, target.platform, target.base, target.packaged_content, holds, len(below))
    return Choice((flat, *scripts), below, choice.why or why, choice.moves, choice.cost, choice.lower)


def _choose(target: Target, current: Current, how: How, deepest: int) -> Choice:
    if current.record is None or current.trouble is not None:
        why = current.trouble or "nothing is there yet"
        _refuse_forced(how, why)
        return fresh_choice(target, current, why if current.trouble else "")
    if how != "rebuild" and current.record.content == target.content:
        return Choice(_as_planned(current.record, target.layers), (), "")
    missing = tuple(layer for layer in target.layers if current.where(layer.key) is None)
    if how == "rebuild" or (how == "best" and not missing):
        return fresh_choice(target, current, ASKED_FOR if how == "rebuild" else "")
    earlier = _earlier(current, target.content) if how == "best" else None
    if earlier is not None:
        return Choice(_as_planned(earlier, target.layers), (), f"as in generation {earlier.number}")
    delta = _delta(target, current, missing, deepest)
    if isinstance(delta, str):
        _refuse_forced(how, delta)
        return fresh_choice(target, current, delta)
    why_not = _not_worth(delta.cost, deepest) if how == "best" else ""
    if why_not and target.lent:
        return fresh_choice(target, current, why_not)
    return _with_delta(target, delta, why_not)


def _with_delta(target: Target, delta: Delta, why_not: str) -> Choice:
    """Return the stack with a delta on top, or fresh layers if there is a reason against it."""
    if why_not:
        return Choice(target.layers, (), why_not, delta.moves, delta.cost, delta.lower)
    if not delta.moves.install and not delta.moves.gone:
        return Choice((*delta.below, *target.scripts), (), "")
    return Choice((*delta.below, delta.layer, *target.scripts), (), "", delta.moves, delta.cost, delta.lower)


def _delta(target: Target, current: Current, missing: tuple[PlannedLayer, ...], deepest: int) -> Delta | str:
    """Return the delta on top of what the environment has, or why there is none."""
    assert current.record is not None
    has = [layer.key for layer in current.record.layers[: target.lent]]
    if has != [layer.key for layer in target.layers[: target.lent]]:
        return "it stands on another parent"
    if current.record.prefix != target.spec.prefix:
        return f"the prefix changes: {current.record.prefix} -> {target.spec.prefix}"
    deltas = Deltas(target, missing, current.lent(target))
    return deltas.on(current.manifests(), current.record.content, deepest)


def fresh_choice(target: Target, current: Current, why: str) -> Choice:
    """Return the layers of a fresh build. On top of a parent that is a delta too.

    Raises `BuildError` if that cannot be made.
    """
    missing = [layer for layer in target.packaged[target.lent :] if current.where(layer.key) is None]
    if not target.lent or not missing:
        return Choice(target.layers, (), why)
    delta = Deltas(target, tuple(missing), current.lent(target)).on_parent()
    if isinstance(delta, str):
        raise not_on_parent(delta)
    return replace(_with_delta(target, delta, ""), why=why)


def not_on_parent(why: str) -> BuildError:
    """Return the error for packages that cannot be put on top of a parent."""
    return BuildError(
        f"this cannot be added to the extended environment: {why}",
        hint="leave out what the message names, or build without extends",
    )


def _refuse_forced(how: How, why: str) -> None:
    if how == "delta":
        raise refused_delta(why)


def refused_delta(why: str) -> BuildError:
    """Return the error for a delta that was asked for and cannot be made."""
    return BuildError(f"no delta can be made: {why}", hint="leave --delta out: fresh layers will be built")


def _not_worth(cost: Cost, deepest: int) -> str:
    if cost.delta > cost.fresh * _WORTH:
        if cost.replaces:
            return (
                f"with {deepest} layers one delta has to replace {cost.replaces}, and most has changed since the base"
            )
        return "most of it changes"
    if cost.dead > _DEAD:
        return f"{cost.dead:.0%} of the bytes below would be dead"
    return ""


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
