"""The flat layer: what a stack of layers shows, as one. Nothing is installed: the images themselves are the source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tykky.layers.keys import PlannedLayer
from tykky.layers.lower import extract
from tykky.layers.merged import merge
from tykky.layers.staged import Staged
from tykky.layers.workshop import Workshop
from tykky.store.images import Manifest


def stage(planned: PlannedLayer, images: Sequence[Path], manifests: Sequence[Manifest], workshop: Workshop) -> Staged:
    """Unpack the images over one another, bottom first; return what to pack. `manifests` are theirs."""
    prefix: str = planned.document["prefix"]
    image_root = workshop.scratch / "flat"
    extract(images, image_root, workshop)
    merged = merge(manifests)
    return Staged(
        image_root=image_root,
        tree=image_root / prefix.lstrip("/"),
        packages=tuple(package for _, package in sorted(merged.packages.items())),
        interpreter=None,
    )
