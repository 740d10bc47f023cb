"""The main job: carry out a plan (`plan.py`), from missing layers to a published generation."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from tykky import __version__
from tykky.digests import Json, document_key
from tykky.environment.choice import not_on_parent, refused_delta
from tykky.environment.directory import RECORD_FORMAT, EnvironmentDirectory, GenerationRecord, LayerRecord
from tykky.environment.leases import renew_leases
from tykky.environment.leftovers import clear_scratch
from tykky.environment.plan import Plan, fresh
from tykky.environment.publish import Generation, opened, publish, shown_names
from tykky.environment.registry_root import RegistryRoot, bring_root
from tykky.environment.scratch import scratch, scratch_parent, scratch_parents
from tykky.errors import BuildError
from tykky.guard.holder import current_user
from tykky.layers.activation import fixed, has_scripts
from tykky.layers.merged import Merged, merge, merged_programs, top_names
from tykky.layers.squashfs import FULL_PLACE_HINT
from tykky.layers.workshop import Workshop
from tykky.process import full_disk_hint
from tykky.progress import Reporter
from tykky.spec.model import Spec
from tykky.store.images import Manifest, Store
from tykky.store.tiers import Tiers


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did. `changed` is false where everything was there already."""

    record: GenerationRecord
    path: Path
    changed: bool

    @property
    def size(self) -> int:
        """The bytes of the generation's own images."""
        return sum(layer.size for layer in self.record.layers if not layer.lent)


class Publisher(Protocol):
    """Writes what a launch needs: the runtime room's part of a generation."""

    def settings(self, spec: Spec) -> Json:
        """Return all that decides how programs start, besides the layers. Cheap: asked by every build."""
        ...

    def launcher(self) -> bytes:
        """Return the launcher's text."""
        ...

    def launch(self, spec: Spec, record: GenerationRecord) -> bytes:
        """Return the text of `launch.sh`."""
        ...

    def mount_points(self, directory: EnvironmentDirectory, record: GenerationRecord, names: tuple[str, ...]) -> None:
        """Write what backends need to show P. `names` are those at the top of the merged tree."""


def identity_of(plan: Plan, publisher: Publisher) -> str:
    """Return the key of all that makes a generation what it is."""
    parts: dict[str, Json] = {"layers": list(plan.target.content), "launch": publisher.settings(plan.source.spec)}
    if isinstance(plan.root, RegistryRoot):
        parts["root"] = [plan.root.layer.key]
    elif plan.root is not None:
        parts["root"] = [plan.root.digest, plan.root.image] if plan.root.key is None else [plan.root.key]
    return document_key(parts)


def unchanged(plan: Plan, publisher: Publisher) -> Built | None:
    """Return the current generation if it is what the plan leads to. Only reads, but for leases that were not possible
    before: a child of an environment that lets children register now is one too."""
    directory = EnvironmentDirectory(plan.prefix)
    current = directory.readable_record()
    if plan.missing or current is None or isinstance(plan.root, RegistryRoot):
        return None
    same = current.identity == identity_of(plan, publisher) and not any(layer.another for layer in current.layers)
    images = [(x.key, directory.image_path(x).parent) for x in current.layers]
    if same and images == [(step.layer.key, step.place or directory.store.directory) for step in plan.lasting]:
        if current.parent:
            renew_leases(directory)
        return Built(current, plan.prefix, changed=False)
    return None


def carry_out(
    plan: Plan,
    publisher: Publisher,
    workshop: Callable[[Path], Workshop],
    reporter: Reporter,
    *,
    scratch_directory: Path | None = None,
    keep: bool = False,
    tiers: Callable[[Store], Tiers] = Tiers,
) -> Built:
    """Build what is missing and publish the next generation of P, unless the current one is the same.

    `workshop` makes the build's tools for a scratch directory; `tiers` gives the stores to bring images from, and to
    offer new ones to. On any failure P is as it was.
    """
    found = unchanged(plan, publisher)
    if found is not None:
        return found
    clear_scratch(scratch_parents(scratch_directory, os.environ.get("TMPDIR")))
    place = _Scratch(scratch_parent(scratch_directory, reporter.warn), keep, workshop, reporter)
    with disk_errors(plan.prefix, place.parent), opened(plan.prefix) as directory:
        stores = tiers(directory.store)
        plan = _with_root(plan, stores, place)
        plan = _build_missing(_brought(plan, stores, reporter), stores, place)
        manifests = [stores.manifest(layer.key) for layer in plan.stack]
        merged = merge(manifests)
        record = _record(plan, stores, manifests, merged, identity_of(plan, publisher))
        record = msgspec.structs.replace(record, activation=_activation(record, directory, merged, place))
        directory.private.mkdir(exist_ok=True)  # where all layers are lent, nothing was made there yet
        publisher.mount_points(directory, record, shown_names(directory, record))
        files = {"tykky.lock": plan.source.lock_bytes, "launch.sh": publisher.launch(plan.source.spec, record)}
        publish(directory, Generation(record, files, publisher.launcher()))
    renew_leases(EnvironmentDirectory(plan.prefix))
    return Built(record, plan.prefix, changed=True)


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Where layers are made."""

    parent: Path
    keep: bool
    workshop: Callable[[Path], Workshop]
    reporter: Reporter

    @contextlib.contextmanager
    def opened(self) -> Iterator[Workshop]:
        with scratch(self.parent, keep=self.keep, say=self.reporter.warn) as private:
            yield self.workshop(private)


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
            hint = f"scratch directories are made in {scratch_directory}: [build] scratch of site.toml, or else TMPDIR"
        raise BuildError(f"{where}: {said[:1].lower()}{said[1:]}", hint=hint) from None


def _with_root(plan: Plan, stores: Tiers, place: _Scratch) -> Plan:
    """Have the root of a registry's image; return the plan with what is there then.

    Before the layers: an image that cannot be used is to be known early.
    """
    if not isinstance(plan.root, RegistryRoot):
        return plan
    return replace(plan, root=bring_root(plan.root, stores, place.opened, place.reporter))


def _brought(plan: Plan, stores: Tiers, reporter: Reporter) -> Plan:
    """Bring what other stores have; return the plan with what is left to build."""
    steps = []
    for step in plan.steps:
        # Asked also where the plan found nothing: what is passed over is said.
        cached = step.cached or stores.bring(step.layer.key, reporter) is not None
        steps.append(replace(step, cached=cached))
    return replace(plan, steps=tuple(steps))


def _build_missing(plan: Plan, stores: Tiers, place: _Scratch) -> Plan:
    """Build what is missing; return the plan that was carried out in the end."""
    if not plan.missing:
        return plan
    from tykky.environment.making import DeltaImpossible, make_layers

    def make(plan: Plan) -> Plan:
        with place.opened() as workshop:
            make_layers(plan, stores, workshop)
        return plan

    try:
        return make(plan)
    except DeltaImpossible as impossible:
        reason = str(impossible)
    if plan.how == "delta":
        raise refused_delta(reason)
    place.reporter.note(f"no delta: {reason}")
    if plan.target.lent and [layer.key for layer in plan.stack] == [x.key for x in plan.target.layers]:
        raise not_on_parent(reason)
    try:
        return make(fresh(plan, stores, reason))
    except DeltaImpossible as impossible:  # on a parent, fresh layers are one too
        raise not_on_parent(str(impossible)) from None


def _activation(
    record: GenerationRecord, directory: EnvironmentDirectory, merged: Merged, place: _Scratch
) -> dict[str, str]:
    """Return the variables that a generation's packages set, from the current one if that holds the same."""
    current = directory.readable_record()
    if current is not None and (current.content, current.prefix) == (record.content, record.prefix):
        return current.activation
    if not any(kind == "conda" for kind, _ in merged.packages):
        return {}
    if not has_scripts(merged.files):
        return fixed(record.prefix)
    from tykky.environment.making import activation_of

    images = [directory.image_path(layer) for layer in record.layers]
    with place.opened() as workshop:
        return activation_of(record.prefix, images, merged, workshop)


def _record(plan: Plan, stores: Tiers, manifests: list[Manifest], merged: Merged, identity: str) -> GenerationRecord:
    spec = plan.source.spec
    assert not isinstance(plan.root, RegistryRoot)  # it is there by now

    def layer(m: Manifest) -> LayerRecord:
        image = stores.image(m.key)
        if image == stores.own.image(m.key):
            return LayerRecord(m.kind, m.key, m.digest, m.fingerprint, m.size, LayerRecord.own_image(m.key))
        file = image.stat()
        known = {"inode": file.st_ino, "modified": int(file.st_mtime)}
        return LayerRecord(m.kind, m.key, m.digest, m.fingerprint, m.size, str(image), **known)

    return GenerationRecord(
        format=RECORD_FORMAT,
        name=spec.environment.name,
        prefix=plan.target.spec.prefix,
        platform=plan.platform,
        number=plan.number,
        identity=identity,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        made_by=f"tykky {__version__}",
        layers=tuple(layer(manifest) for manifest in manifests),
        programs=merged_programs(manifests, merged.files),
        content=plan.target.content,
        user=current_user(),
        why=plan.why,
        parent="" if plan.source.lock.parent is None else plan.source.lock.parent.path,
        spec=plan.source.spec_bytes.decode("utf-8"),
        top=top_names(merged.files),
        python=plan.base.python,
        interpreter=plan.base.host_interpreter,
        root=plan.root,
        packages=len(merged.packages),
    )
