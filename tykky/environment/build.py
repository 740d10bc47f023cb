"""The main job: spec and lock to a published environment directory.

`prepare` decides (reads, plans, compares; writes nothing), `carry_out` does. `--dry-run` stops between the two.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tykky import __version__
from tykky.digests import Json, document_key
from tykky.environment.directory import (
    RECORD_FORMAT,
    EnvironmentDirectory,
    GenerationRecord,
    LayerRecord,
)
from tykky.environment.publish import Generation, check_place, opened, publish
from tykky.environment.scratch import is_noexec, scratch, scratch_parent
from tykky.errors import BuildError, LockError, LockStale, Problem, SpecError
from tykky.layers.keys import Base, PlannedLayer
from tykky.layers.squashfs import FULL_PLACE_HINT
from tykky.layers.stack import plan_stack, script_digests
from tykky.layers.workshop import Workshop
from tykky.lock.freshness import stale_reasons
from tykky.lock.model import Lock
from tykky.process import full_disk_hint
from tykky.progress import Reporter
from tykky.runtime.interpreter import Interpreter
from tykky.spec.model import Spec
from tykky.store.images import Manifest


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
    """One layer of the plan. `size` is the image's if it is there, in bytes; `download` what the lock knows of it."""

    layer: PlannedLayer
    cached: bool
    size: int | None
    download: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will do."""

    source: Source
    platform: str
    prefix: Path
    base: Base
    steps: tuple[Step, ...]
    number: int

    @property
    def missing(self) -> tuple[Step, ...]:
        """The layers that have to be built."""
        return tuple(step for step in self.steps if not step.cached)


def host_platform() -> str:
    """Return this host's conda subdir: `linux-64`, `linux-aarch64`."""
    machine = os.uname().machine
    return {"x86_64": "linux-64"}.get(machine, f"linux-{machine}")


def prepare(
    source: Source, prefix: Path, find_interpreter: Callable[[str | None], Interpreter], *, check: bool = True
) -> Plan:
    """Return the plan for this host. Nothing is written.

    Raises `LockStale` if the lock does not answer the spec (and `check`), `LockError` if it is not for this host,
    `EnvironmentDirectoryError` if `prefix` cannot be an environment directory.
    """
    platform = host_platform()
    _check_platform(source, platform)
    _check_image(source)
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
    layers = plan_stack(source.spec, source.lock, platform, base, scripts)
    steps = tuple(_step(layer, directory) for layer in layers)
    return Plan(source, platform, prefix, base, steps, directory.next_number() if directory.exists() else 1)


def _check_platform(source: Source, platform: str) -> None:
    if source.lock.locked_platform(platform) is None:
        known = ", ".join(p.name for p in source.lock.platform) or "no platform"
        raise LockError(
            str(source.spec_path.with_name("tykky.lock")),
            [Problem(f"the lock is for {known}, this host is {platform}", "platform")],
            hint=f"add '{platform}' to environment.platforms and run 'tykky lock'",
        )


def _check_image(source: Source) -> None:
    """Raise `SpecError` for a base image: it must never look as if one were used that is not."""
    image = source.spec.runtime.image
    if image != "host":
        raise SpecError(
            str(source.spec_path),
            [
                Problem(
                    f"{image!r} cannot be used yet: this version runs environments on the host's own root",
                    "runtime.image",
                )
            ],
            hint='leave it out, or write image = "host"',
        )


def _base(
    source: Source,
    platform: str,
    directory: EnvironmentDirectory,
    find_interpreter: Callable[[str | None], Interpreter],
) -> Base:
    entry = source.lock.locked_platform(platform)
    assert entry is not None
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
    if not directory.exists() or (wanted is not None and wanted.startswith("/")):
        return None
    record = directory.record()
    serves = record.interpreter is not None and record.python == minor and os.access(record.interpreter, os.X_OK)
    return record.interpreter if serves else None


def _step(layer: PlannedLayer, directory: EnvironmentDirectory) -> Step:
    cached = directory.store.has(layer.key)
    size = directory.store.image(layer.key).stat().st_size if cached else None
    return Step(layer, cached, size, sum(p.size or 0 for p in layer.packages))


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did. `changed` is false where everything was there already."""

    record: GenerationRecord
    path: Path
    changed: bool


class Publisher(Protocol):
    """Writes what a launch needs: the runtime room's part of a generation."""

    def settings(self, spec: Spec) -> Json:
        """Return all that decides how programs start, besides the layers. Cheap: asked by every build."""
        ...

    def launcher(self) -> bytes:
        """Return the launcher's text."""
        ...

    def launch(self, spec: Spec, record: GenerationRecord, activation: dict[str, str]) -> bytes:
        """Return the text of `launch.sh`."""
        ...

    def mount_points(self, directory: EnvironmentDirectory, record: GenerationRecord, names: tuple[str, ...]) -> None:
        """Write what backends need to show P. `names` are those at the top of the merged tree."""


def identity_of(plan: Plan, publisher: Publisher) -> str:
    """Return the key of all that makes a generation what it is."""
    return document_key(
        {"layers": [step.layer.key for step in plan.steps], "launch": publisher.settings(plan.source.spec)}
    )


def carry_out(
    plan: Plan,
    publisher: Publisher,
    workshop: Callable[[Path], Workshop],
    reporter: Reporter,
    *,
    scratch_directory: Path | None = None,
    keep: bool = False,
) -> Built:
    """Build what is missing and publish the next generation of P, unless the current one is the same.

    `workshop` makes the build's tools for a scratch directory. On any failure P is as it was.
    """
    identity = identity_of(plan, publisher)
    directory = EnvironmentDirectory(plan.prefix)
    if directory.exists() and not plan.missing:
        current = directory.record()
        if current.identity == identity:
            return Built(current, plan.prefix, changed=False)
    parent = scratch_parent(scratch_directory, reporter.warn) if plan.missing else None
    with disk_errors(plan.prefix, parent), opened(plan.prefix) as directory:
        if parent is not None:
            with scratch(parent, keep=keep, say=reporter.warn) as private:
                _build_missing(plan, directory, workshop(private))
        manifests = [directory.store.manifest(step.layer.key) for step in plan.steps]
        record = _record(plan, manifests, identity)
        publisher.mount_points(directory, record, top_names(manifests))
        files = {
            "tykky.toml": plan.source.spec_bytes,
            "tykky.lock": plan.source.lock_bytes,
            "launch.sh": publisher.launch(plan.source.spec, record, merged_activation(manifests)),
        }
        publish(directory, Generation(record, files, publisher.launcher()))
    return Built(record, plan.prefix, changed=True)


@contextlib.contextmanager
def disk_errors(prefix: Path, scratch_directory: Path | None) -> Iterator[None]:
    """Turn what the file system refuses during a build into a `BuildError` that says where and what to do."""
    try:
        yield
    except OSError as error:
        where = Path(error.filename) if isinstance(error.filename, str) else scratch_directory or prefix
        said = error.strerror or str(error)
        hint = full_disk_hint(said)
        if f"{where}/".startswith((f"{prefix}/", f"{prefix.parent}/.{prefix.name}.tykky-")):
            hint = FULL_PLACE_HINT if hint else "the environment directory is made there; choose another --prefix"
        elif hint is None and scratch_directory is not None and where.is_relative_to(scratch_directory):
            hint = f"scratch directories are made in {scratch_directory}; set TMPDIR to choose"
        raise BuildError(f"{where}: {said[:1].lower()}{said[1:]}", hint=hint) from None


def _build_missing(plan: Plan, directory: EnvironmentDirectory, workshop: Workshop) -> None:
    # Imported here: with them come rattler, asyncio and the like, which a build with nothing to do can spare.
    from tykky.layers import conda, managed, pypi, script
    from tykky.layers.staged import finish

    if any(step.layer.kind != "pypi" or plan.base.host_interpreter is None for step in plan.missing):
        workshop.inside.require()  # before anything is downloaded
    below: list[Path] = []
    for step in plan.steps:
        layer = step.layer
        if not step.cached:
            workshop.reporter.note(f"building {layer.kind} layer: {layer.reason}")
            if layer.kind != "pypi" and is_noexec(workshop.scratch):
                raise BuildError(
                    f"{workshop.scratch.parent} is mounted noexec, and a {layer.kind} layer runs programs there",
                    hint="set TMPDIR to a directory on another file system",
                )
            if layer.kind == "conda":
                staged = conda.stage(layer, plan.platform, workshop)
            elif layer.kind == "tree":
                staged = managed.stage(layer, workshop)
            elif layer.kind == "pypi":
                locked = plan.source.lock.packages(plan.platform)
                project = pypi.Project.of(plan.source.spec, locked, plan.source.directory)
                staged = pypi.stage(layer, project, plan.base, below, workshop)
            else:
                activation = merged_activation(
                    [directory.store.manifest(s.layer.key) for s in plan.steps[: len(below)]]
                )
                scripts = [plan.source.directory / name for name in plan.source.spec.build.post_install]
                staged = script.stage(layer, scripts, below, workshop, activation)
            finish(layer, staged, directory.store, workshop)
        below.append(directory.store.image(layer.key))


def _record(plan: Plan, manifests: list[Manifest], identity: str) -> GenerationRecord:
    spec = plan.source.spec
    return GenerationRecord(
        format=RECORD_FORMAT,
        name=spec.environment.name,
        prefix=spec.prefix,
        platform=plan.platform,
        number=plan.number,
        identity=identity,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        made_by=f"tykky {__version__}",
        layers=tuple(
            LayerRecord(m.kind, m.key, m.digest, m.fingerprint, m.size, f".tykky/layers/{m.key}.sqfs")
            for m in manifests
        ),
        programs=merged_programs(manifests),
        python=plan.base.python,
        interpreter=plan.base.host_interpreter,
    )


def merged_programs(manifests: list[Manifest]) -> tuple[str, ...]:
    """Return the names in the merged stack's `bin`, sorted."""
    names: set[str] = set()
    for manifest in manifests:
        names -= {path.removeprefix("bin/") for path in manifest.whiteouts if path.startswith("bin/")}
        if "bin" in manifest.whiteouts:
            names.clear()
        names |= set(manifest.programs)
    return tuple(sorted(names))


def merged_activation(manifests: list[Manifest]) -> dict[str, str]:
    """Return the environment-variable patch of the whole stack: a higher layer's value wins."""
    merged: dict[str, str] = {}
    for manifest in manifests:
        merged.update(manifest.activation or {})
    return merged


def top_names(manifests: list[Manifest]) -> tuple[str, ...]:
    """Return the names at the top of the merged tree, sorted: `bin`, `lib`, `pyvenv.cfg`, …"""
    names: set[str] = set()
    for manifest in manifests:
        for paths in (*(package.paths for package in manifest.packages), manifest.shared):
            names |= {path.partition("/")[0] for path in paths}
    return tuple(sorted(names))
