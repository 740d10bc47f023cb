"""Make the layers of a plan that are missing, bottom first: every kind of layer from its own module, into one store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tykky.environment.plan import Plan, Step
from tykky.environment.scratch import is_noexec
from tykky.errors import BuildError
from tykky.layers import activation, conda, delta, flat, managed, pypi, script
from tykky.layers.delta import DeltaImpossible
from tykky.layers.merged import Merged, merge
from tykky.layers.staged import Staged, commit, finish
from tykky.layers.workshop import Workshop
from tykky.store.tiers import Tiers

__all__ = ["DeltaImpossible", "activation_of", "make_layers"]


def make_layers(plan: Plan, stores: Tiers, workshop: Workshop) -> None:
    """Build every missing layer of the plan into the environment's own store, and offer it to the user's.

    Raises `DeltaImpossible` if a package turns out to have something that only fresh layers can do.
    """
    if any(_runs_programs(plan, step) for step in plan.missing):
        workshop.inside.require()  # before anything is downloaded
    below: list[Step] = []
    for step in plan.steps:
        if not step.cached:
            workshop.reporter.note(f"building {step.layer.kind} layer: {step.layer.reason}")
            _make(_Making(plan, stores, workshop, tuple(s.layer.key for s in below)), step)
            stores.offer(step.layer.key, workshop.reporter)
        if step.layer.kind == "flat":
            below = []
        below.append(step)


def _runs_programs(plan: Plan, step: Step) -> bool:
    """Return whether making a layer runs programs of the environment's own, for which it has to be mounted."""
    if step.layer.kind == "delta":  # only to build what is no wheel
        moved = plan.moves.install if plan.moves is not None else frozenset()
        built = (p for p in step.layer.packages if p.kind == "pypi" and p.source != "wheel")
        return plan.base.host_interpreter is None and any((p.kind, p.name) in moved for p in built)
    if step.layer.kind == "pypi":
        return plan.base.host_interpreter is None
    return step.layer.kind != "flat"


@dataclass(frozen=True, slots=True)
class _Making:
    plan: Plan
    stores: Tiers
    workshop: Workshop
    below: tuple[str, ...]  # keys

    @property
    def images(self) -> list[Path]:
        return [self.stores.image(key) for key in self.below]

    @property
    def project(self) -> pypi.Project | None:
        source = self.plan.source
        if source.spec.pypi is None and source.lock.parent is None:
            return None
        return pypi.Project.of(source.spec, source.lock.held(self.plan.platform), source.directory)


def _make(making: _Making, step: Step) -> None:
    layer, workshop = step.layer, making.workshop
    if layer.kind in ("conda", "tree", "script") and is_noexec(workshop.scratch):
        raise BuildError(
            f"{workshop.scratch.parent} is mounted noexec, and a {layer.kind} layer runs programs there",
            hint="set TMPDIR to a directory on another file system",
        )
    if layer.kind == "delta":
        commit(layer, _delta(making, step), making.stores.own, workshop)
    elif layer.kind == "flat":
        manifests = [making.stores.manifest(key) for key in making.below]
        commit(layer, flat.stage(layer, making.images, manifests, workshop), making.stores.own, workshop)
    else:
        finish(layer, _staged(making, step), making.stores.own, workshop)


def _staged(making: _Making, step: Step) -> Staged:
    plan, workshop, layer = making.plan, making.workshop, step.layer
    if layer.kind == "conda":
        return conda.stage(layer, plan.platform, workshop)
    if layer.kind == "tree":
        return managed.stage(layer, workshop)
    if layer.kind == "pypi":
        assert making.project is not None
        return pypi.stage(layer, making.project, plan.base, making.images, workshop)
    merged = merge([making.stores.manifest(key) for key in making.below])
    variables = activation_of(plan.target.spec.prefix, making.images, merged, workshop)
    scripts = [plan.source.directory / name for name in plan.source.spec.build.post_install]
    return script.stage(layer, scripts, making.images, workshop, variables)


def activation_of(prefix: str, images: Sequence[Path], merged: Merged, workshop: Workshop) -> dict[str, str]:
    """Return the variables that the packages of a whole stack set: what `conda activate` would do."""
    if not any(kind == "conda" for kind, _ in merged.packages):
        return {}

    def enter(command: Sequence[str]) -> list[str]:
        return workshop.inside.argv(prefix, images, None, command)

    return activation.activation(merged.files, prefix, enter, workshop)


def _delta(making: _Making, step: Step) -> Staged:
    plan = making.plan
    assert plan.moves is not None and plan.lower is not None
    below = tuple(making.images)
    work = delta.Making(step.layer, below, plan.lower, making.project, plan.base, plan.platform, making.workshop)
    work = replace(work, fetch_python=plan.source.lock.parent is None)
    return delta.stage(work, plan.moves)
