"""An image of a registry as the root of programs: what a lock holds of it, and what a build makes of that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tykky.access import Access
from tykky.environment.directory import LayerRecord, RootRecord
from tykky.errors import ArtifactError, LockError, Problem, SpecError
from tykky.layers.keys import PlannedLayer, root_layer
from tykky.layers.workshop import Workshop
from tykky.lock.model import Lock, LockedManifest
from tykky.process import clean_environ
from tykky.progress import Reporter
from tykky.spec.image_reference import is_reference, parse_reference
from tykky.spec.model import Spec
from tykky.store.images import Manifest, Store
from tykky.store.tiers import Tiers


@dataclass(frozen=True, slots=True)
class RegistryRoot:
    """A locked image of a registry as the root to be. `layer` is the image that is made of it, by its key."""

    spec_path: Path
    written: str
    locked: LockedManifest
    layer: PlannedLayer
    mounts: tuple[str, ...]

    @classmethod
    def of(cls, spec: Spec, lock: Lock, spec_path: Path, platform: str) -> RegistryRoot | None:
        """Return what a spec names, as it is locked; None if that is no image of a registry. Raises `LockError`."""
        written = spec.runtime.image
        if not is_reference(written):
            return None
        locked = lock.manifest(platform)
        if locked is None:
            raise LockError(
                str(spec_path.with_name("tykky.lock")),
                [Problem(f"the image {written} is not locked for {platform}", "image-manifest")],
                hint="run 'tykky lock'",
            )
        layer = root_layer(spec, platform, locked.digest, written)
        return cls(spec_path, written, locked, layer, spec.runtime.mounts)

    def record(self, manifest: Manifest) -> RootRecord:
        """Return what a generation records of the image that was made."""
        image = LayerRecord.own_image(self.layer.key)
        return RootRecord(
            self.written, image, manifest.digest, manifest.size, 0, self.mounts, f"sha256:{self.locked.digest}"
        )

    def there(self, store: Store) -> RootRecord | None:
        """Return the record if the environment has the image already."""
        manifest = store.whole_manifest(self.layer.key)
        return None if manifest is None else self.record(manifest)


def lock_manifests(
    spec: Spec, previous: Lock | None, access: Access, reporter: Reporter, *, again: bool
) -> tuple[LockedManifest, ...]:
    """Return what the lock holds of a registry's image: what it has held, unless another one is named, or `again`.

    Raises `FetchError`, `ArtifactError` and `ResolveError`.
    """
    from tykky.resolve.registry.choose import choose
    from tykky.resolve.registry.server import Registry

    written = spec.runtime.image
    if not is_reference(written):
        return ()
    same = previous is not None and previous.requirements.image == written and not again
    kept = {} if previous is None or not same else {one.platform: one for one in previous.image_manifest}
    registry = Registry(parse_reference(written), access, clean_environ())
    with reporter.phase(f"choose {written}"):
        return choose(registry, spec.environment.platforms, kept)


def bring_root(
    root: RegistryRoot, stores: Tiers, workshop: Callable[[], AbstractContextManager[Workshop]], reporter: Reporter
) -> RootRecord:
    """Have the image in the environment's own store: from another one, or made now. Return what to record.

    Raises `FetchError`, `ArtifactError`, `ResolveError`, `BuildError`, and `SpecError` for an image that cannot be the
    root of programs.
    """
    manifest = stores.bring(root.layer.key, reporter)
    if manifest is None:
        reporter.note(f"building root: {root.written}")
        with workshop() as tools:
            manifest = _made(root, stores.own, tools)
        stores.offer(root.layer.key, reporter)
    return root.record(manifest)


def _made(root: RegistryRoot, store: Store, workshop: Workshop) -> Manifest:
    from tykky.layers.root import make_root, merged_tree
    from tykky.layers.root_tree import BadLayer
    from tykky.resolve.registry.files import fetch_layer, manifest_of
    from tykky.resolve.registry.server import Registry
    from tykky.runtime.image_file import UnfitImage, check_names

    registry = Registry(parse_reference(root.written), workshop.access, workshop.commands.environ)
    image = manifest_of(registry, root.locked.digest)
    with workshop.reporter.phase(f"download {root.written}", total=image.size, unit="bytes") as phase:
        layers = [fetch_layer(registry, layer, phase.advance) for layer in image.layers]
    try:
        with workshop.reporter.phase(f"look into {root.written}", total=image.size, unit="bytes") as phase:
            shown = merged_tree(layers, phase.advance)
        check_names(root.written, {one.path for one in shown})
        return make_root(root.layer, shown, layers, store, workshop)
    except BadLayer as why:
        raise ArtifactError(
            f"{root.written} holds what no image may hold: {why}",
            hint="do not use it; tell its authors, or the keepers of the registry it came from",
        ) from None
    except UnfitImage as unfit:
        problem = Problem(unfit.reason, "runtime.image")
        raise SpecError(str(root.spec_path), [problem], hint=unfit.hint) from None
