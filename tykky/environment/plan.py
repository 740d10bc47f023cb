"""What a build has to do: spec, lock and the environment directory as it is go in, a plan comes out. Writes nothing.

Which layers a fresh build would have is `layers/stack.py`'s; whether the environment gets those, or a delta on top of
what it has, is `choice.py`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tykky.environment.choice import Choice, Current, How, choose, fresh_choice
from tykky.environment.deltas import Cost
from tykky.environment.directory import EnvironmentDirectory, RootRecord
from tykky.environment.publish import check_place
from tykky.environment.registry_root import RegistryRoot
from tykky.errors import LockError, LockStale, Problem, SpecError
from tykky.layers.change import Moves
from tykky.layers.keys import Base, PlannedLayer
from tykky.layers.merged import Merged
from tykky.layers.stack import Target, plan_target, script_digests
from tykky.lock.freshness import stale_reasons
from tykky.lock.model import Lock
from tykky.runtime.interpreter import Interpreter
from tykky.site.model import Policy
from tykky.spec.model import Spec
from tykky.store.images import Store
from tykky.store.tiers import Tiers


@dataclass(frozen=True, slots=True)
class Source:
    """What is built: the spec and lock as values and as the bytes that become part of the generation."""

    spec: Spec
    lock: Lock
    spec_path: Path
    spec_bytes: bytes
    lock_bytes: bytes

    @property
    def directory(self) -> Path:
        """Where relative paths of the spec start."""
        return self.spec_path.absolute().parent


@dataclass(frozen=True, slots=True)
class Step:
    """One layer on the way. `size` is the image's if it is there, in bytes; `download` what the lock knows of it.

    `cached` says that the environment has it, or that its parent lends it from the directory `place`; `elsewhere` is
    that of another store that has it. `lasting` is false for a layer that is only read to make a later one.
    """

    layer: PlannedLayer
    cached: bool
    size: int | None
    download: int
    lasting: bool = True
    elsewhere: Path | None = None
    place: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will do. `root` is what programs will see in place of the host's root: what is there, or is made.

    `target` says what the environment shall hold, and which layers a fresh build would have. `steps` are those it will
    have, with `why`; where one is a delta, `moves` says which packages, and `lower` what the layers below it show.
    """

    source: Source
    prefix: Path
    target: Target
    steps: tuple[Step, ...]
    number: int
    why: str = ""
    moves: Moves | None = None
    cost: Cost | None = None
    lower: Merged | None = None
    how: How = "best"
    root: RootRecord | RegistryRoot | None = None

    @property
    def platform(self) -> str:
        """The conda subdir that is built for."""
        return self.target.platform

    @property
    def base(self) -> Base:
        """Where the interpreter comes from."""
        return self.target.base

    @property
    def missing(self) -> tuple[Step, ...]:
        """The layers that have to be built, or brought from another store."""
        return tuple(step for step in self.steps if not step.cached)

    @property
    def lasting(self) -> tuple[Step, ...]:
        """The steps whose layers are those of the generation to come, bottom first."""
        return tuple(step for step in self.steps if step.lasting)

    @property
    def stack(self) -> tuple[PlannedLayer, ...]:
        """The layers of the generation to come, bottom first."""
        return tuple(step.layer for step in self.lasting)


def host_platform() -> str:
    """Return this host's conda subdir: `linux-64`, `linux-aarch64`."""
    machine = os.uname().machine
    return {"x86_64": "linux-64"}.get(machine, f"linux-{machine}")


def prepare(
    source: Source,
    prefix: Path,
    find_interpreter: Callable[[str | None], Interpreter],
    *,
    check: bool = True,
    how: How = "best",
    flatten: bool = False,
    tiers: Callable[[Store], Tiers] = Tiers,
    policy: Policy | None = None,
) -> Plan:
    """Return the plan for this host. Nothing is written.

    `tiers` gives the other stores to ask, and the images that a parent lends. `how` forces a delta or fresh layers,
    `flatten` makes one layer of the result, and `policy` is the site's about deep stacks. Raises `LockStale` if the
    lock does not answer the spec (and `check`), `LockError` if it is not for this host, `EnvironmentDirectoryError` if
    `prefix` cannot be an environment directory, `BuildError` if there is no way to do what is forced.
    """
    platform = host_platform()
    _check_platform(source, platform)
    _check_interpreter(source)
    if check:
        reasons = stale_reasons(source.spec, source.lock)
        if reasons:
            lines = "\n".join(f"  {reason}" for reason in reasons)
            raise LockStale(
                f"tykky.lock does not answer {source.spec_path.name} any more:\n{lines}",
                hint="run 'tykky lock' (or build what is locked with --no-check)",
            )
    check_place(prefix)
    directory = EnvironmentDirectory(prefix)
    base = _base(source, platform, directory, find_interpreter)
    scripts = script_digests(source.spec, source.directory)
    target = plan_target(source.spec, source.lock, platform, base, scripts)
    current = Current.of(directory, tiers(directory.store))
    if current.record is not None and current.record.content != target.content:
        current = current.looked_into()
    choice = choose(target, current, how=how, flatten=flatten, policy=policy)
    return replace(_plan(source, target, current, choice), how=how)


def fresh(plan: Plan, tiers: Tiers, why: str) -> Plan:
    """Return the plan that builds the layers of a fresh build instead. Raises `BuildError` if there is none."""
    current = Current.of(EnvironmentDirectory(plan.prefix), tiers)
    anew = _plan(plan.source, plan.target, current, fresh_choice(plan.target, current, why))
    return replace(anew, root=plan.root)


def _plan(source: Source, target: Target, current: Current, choice: Choice) -> Plan:
    lasting = tuple(_step(layer, current, lasting=True) for layer in choice.stack)
    passing: tuple[Step, ...] = ()
    if not all(step.cached for step in lasting):
        passing = tuple(_step(layer, current, lasting=False) for layer in choice.passing)
    directory = current.directory
    return Plan(
        source=source,
        prefix=directory.path,
        target=target,
        steps=(*passing, *lasting),
        number=directory.next_number() if directory.exists() else 1,
        why=choice.why,
        moves=choice.moves,
        cost=choice.cost,
        lower=choice.lower,
    )


def _check_platform(source: Source, platform: str) -> None:
    if source.lock.locked_platform(platform) is None:
        known = ", ".join(p.name for p in source.lock.platform) or "no platform"
        raise LockError(
            str(source.spec_path.with_name("tykky.lock")),
            [Problem(f"the lock is for {known}, this host is {platform}", "platform")],
            hint=f"add '{platform}' to environment.platforms and run 'tykky lock'",
        )


def _check_interpreter(source: Source) -> None:
    """Raise `SpecError` for an image as the root where Python is the host's, by way of an extended environment."""
    parent = source.lock.parent
    if source.spec.runtime.image != "host" and parent is not None and parent.interpreter is not None:
        message = (
            f"Python of {parent.name} ({parent.path}) comes from the host ({parent.interpreter}), and nothing of the "
            "host's is seen in an image"
        )
        hint = "extend an environment that has Python in its images, or leave the image out"
        raise SpecError(str(source.spec_path), [Problem(message, "runtime.image")], hint=hint)


def _base(
    source: Source,
    platform: str,
    directory: EnvironmentDirectory,
    find_interpreter: Callable[[str | None], Interpreter],
) -> Base:
    entry = source.lock.locked_platform(platform)
    assert entry is not None
    parent = source.lock.parent
    if parent is not None:
        return Base(parent.python, parent.interpreter)
    if source.spec.conda is not None or source.spec.pypi is None or source.spec.pypi.managed_python:
        return Base(entry.python)
    wanted = source.spec.pypi.python
    kept = _kept_interpreter(directory, wanted, entry.python)
    if kept is not None:
        return Base(entry.python, kept)
    found = find_interpreter(wanted if wanted is not None and wanted.startswith("/") else entry.python)
    if entry.python is not None and found.minor != entry.python:
        raise LockError(
            str(source.spec_path.with_name("tykky.lock")),
            [Problem(f"locked for Python {entry.python}, but {found.path} is {found.version}", "platform")],
            hint="run 'tykky lock' to choose packages for this interpreter",
        )
    return Base(found.minor, os.fspath(found.path))


def _kept_interpreter(directory: EnvironmentDirectory, wanted: str | None, minor: str | None) -> str | None:
    """Return the host interpreter that P was built with, if it still serves.

    An environment that exists keeps its interpreter: what another PATH or module finds first must not rebuild it.
    """
    record = directory.readable_record()
    if record is None or (wanted is not None and wanted.startswith("/")):
        return None
    serves = record.interpreter is not None and record.python == minor and os.access(record.interpreter, os.X_OK)
    return record.interpreter if serves else None


def _step(layer: PlannedLayer, current: Current, *, lasting: bool) -> Step:
    store = current.where(layer.key)
    own = current.directory.store
    lent = layer.key in current.tiers.lent
    cached = store is not None and (lent or store.directory == own.directory)
    return Step(
        layer=layer,
        cached=cached,
        size=store.image(layer.key).stat().st_size if store is not None else None,
        download=sum(p.size or 0 for p in layer.packages),
        lasting=lasting,
        elsewhere=store.directory if store is not None and not cached else None,
        place=store.directory if store is not None and lent and store.directory != own.directory else None,
    )
