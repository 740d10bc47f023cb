"""Make one layer of an environment's layers, from the images alone: no spec directory, no package is asked for.

What the environment holds stays the same, and so does its `content`: a later build finds it as a fresh build would
have made it (invariant 3). A script layer stays on top, because what scripts did is not to be done again.
"""

from __future__ import annotations

from tykky.environment.choice import Current
from tykky.environment.deltas import as_planned
from tykky.environment.directory import EnvironmentDirectory, GenerationRecord
from tykky.environment.plan import Plan, Source, Step
from tykky.errors import EnvironmentDirectoryError
from tykky.layers.keys import Base, Holds, flat_layer
from tykky.layers.stack import Target, at_home
from tykky.lock.read import read_lock
from tykky.spec.read import parse_spec
from tykky.store.images import Manifest


def plan_flattening(directory: EnvironmentDirectory) -> Plan | None:
    """Return the plan that makes one layer of the current generation's, None if it has no more than one.

    Raises `EnvironmentDirectoryError` if an image or what is recorded of it is damaged.
    """
    current = Current.of(directory)
    record = directory.record()
    if current.trouble is not None:
        raise EnvironmentDirectoryError(
            f"{directory.path} cannot be flattened: {current.trouble}",
            hint="run 'tykky build' with the spec and lock it was made from; it makes the image again",
        )
    if any(layer.lent for layer in record.layers):
        raise EnvironmentDirectoryError(
            f"{directory.path} extends another environment, whose images stay where they are",
            hint="'tykky build --rebuild' makes one layer of its own; 'tykky vendor' makes it stand alone",
        )
    manifests = directory.manifests(record)
    below = [manifest for manifest in manifests if manifest.kind != "script"]
    if len(below) <= 1:
        return None
    scripts = manifests[len(below) :]
    source = _source(directory, record)
    base = Base(record.python, record.interpreter)
    spec = at_home(source.spec, source.lock.parent)
    held = record.content[: len(record.content) - len(scripts)]
    flat = flat_layer(spec, record.platform, base, held, Holds((), {}), len(below))
    there = directory.store.has(flat.key)
    passing = () if there else tuple(_step(manifest, lasting=False) for manifest in below)
    size = directory.store.image(flat.key).stat().st_size if there else None
    kept = tuple(_step(manifest, lasting=True) for manifest in scripts)
    return Plan(
        source=source,
        prefix=directory.path,
        target=Target(spec, record.platform, base, (), record.content),
        steps=(*passing, Step(flat, there, size, 0), *kept),
        number=directory.next_number(),
        why=f"flattened from generation {record.number}",
        root=record.root,
    )


def _source(directory: EnvironmentDirectory, record: GenerationRecord) -> Source:
    """Return what the generation was built from, as it was recorded."""
    folder = directory.generations / str(record.number)
    lock = folder / "tykky.lock"
    spec = parse_spec(record.spec, f"the spec in {folder / 'environment.json'}")
    return Source(spec, read_lock(lock), folder / "tykky.toml", record.spec.encode("utf-8"), lock.read_bytes())


def _step(manifest: Manifest, *, lasting: bool) -> Step:
    return Step(as_planned(manifest), True, manifest.size, 0, lasting)
