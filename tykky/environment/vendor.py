"""Make an environment stand alone: the images that its parent lends come into its own store, checked on the way."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec

from tykky import __version__
from tykky.environment.build import Publisher
from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, LayerRecord
from tykky.environment.parent import Relatives, check_open, check_trust
from tykky.environment.publish import Generation, publish
from tykky.errors import EnvironmentDirectoryError
from tykky.guard.holder import current_user
from tykky.progress import Reporter
from tykky.spec.read import parse_spec
from tykky.store.images import Store
from tykky.store.tiers import Tiers


def vendor(directory: EnvironmentDirectory, publisher: Publisher, reporter: Reporter) -> GenerationRecord | None:
    """Bring every lent image of the current generation and publish one that needs none; None if it lends none.

    A file of our own on the same file system becomes a hard link, another one a copy. Raises
    `EnvironmentDirectoryError` if an image is gone or is not what was recorded.
    """
    record = directory.record()
    lent = [layer for layer in record.layers if layer.lent]
    if not lent:
        return None
    for layer in lent:
        _check(directory, layer)
    missing = [layer for layer in lent if not directory.store.has(layer.key)]
    try:
        with reporter.phase("bring images", total=sum(layer.size for layer in lent), unit="bytes") as phase:
            for layer in lent:
                _bring(directory, layer, reporter)
                phase.advance(layer.size)
    except BaseException:
        # Half of them would stay for good: later builds keep using what is there.
        for layer in missing:
            image = directory.store.image(layer.key)
            for path in (image, image.with_suffix(".manifest")):
                path.unlink(missing_ok=True)
        raise
    folder = directory.generations / str(record.number)
    alone = msgspec.structs.replace(
        record,
        number=directory.next_number(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        made_by=f"tykky {__version__}",
        user=current_user(),
        why=f"stands alone, from generation {record.number}",
        layers=tuple(
            msgspec.structs.replace(layer, image=LayerRecord.own_image(layer.key), inode=None, modified=None)
            for layer in record.layers
        ),
    )
    spec = parse_spec(record.spec, f"the spec in {folder / 'environment.json'}")
    files = {"tykky.lock": (folder / "tykky.lock").read_bytes(), "launch.sh": publisher.launch(spec, alone)}
    publish(directory, Generation(alone, files, publisher.launcher()))
    return alone


def _check(directory: EnvironmentDirectory, layer: LayerRecord) -> None:
    """Raise `EnvironmentDirectoryError` for an image that cannot be brought, as far as a look at it tells."""
    image = Path(layer.image)
    check_open(image)
    try:
        size = image.stat().st_size
    except OSError:
        raise EnvironmentDirectoryError(
            f"{image} cannot be brought: it is gone",
            hint="nothing was changed; 'tykky lock --rebase' and 'tykky build' take what the parent has now",
        ) from None
    if size != layer.size:
        raise _altered(layer)
    check_trust(image, Relatives(directory.path, {}, frozenset({image.lstat().st_uid})))


def _altered(layer: LayerRecord) -> EnvironmentDirectoryError:
    return EnvironmentDirectoryError(
        f"{layer.image} cannot be brought: it is not the image that was recorded",
        hint="nothing was changed; do not use it, and tell its owner",
    )


def _bring(directory: EnvironmentDirectory, layer: LayerRecord, reporter: Reporter) -> None:
    image = Path(layer.image)
    owner = image.lstat().st_uid  # trusted by who built this
    source = Store(image.parent)
    manifest = Tiers(directory.store, site=(source,), owners=frozenset({owner})).bring(layer.key, reporter)
    if manifest is None or manifest.digest != layer.digest:
        raise _altered(layer)
