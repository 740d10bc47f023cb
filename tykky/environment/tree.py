"""Which layer gives which package, and how many of its bytes are seen. Pure, over manifests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tykky.environment.directory import LayerRecord
from tykky.layers.merged import merge
from tykky.store.images import Manifest, PackagePaths


@dataclass(frozen=True, slots=True)
class Branch:
    """One layer: its packages that are still the installed ones, those it takes from below, and its bytes.

    `live` and `dead` are bytes of files before they were packed: seen in the merged tree, and hidden by upper layers.
    `hides` is the number of paths that it hides by whiteouts.
    """

    layer: LayerRecord
    packages: tuple[PackagePaths, ...]
    removed: tuple[tuple[str, str], ...]
    files: int
    live: int
    dead: int
    hides: int


def branches(layers: Sequence[LayerRecord], manifests: Sequence[Manifest]) -> tuple[Branch, ...]:
    """Return the layers of a stack, bottom first."""
    merged = merge(manifests)
    live = [0] * len(manifests)
    files = [0] * len(manifests)
    for path, number in merged.files.items():
        live[number] += manifests[number].files[path]
        files[number] += 1
    found = []
    for number, (layer, manifest) in enumerate(zip(layers, manifests, strict=True)):
        packages = [package for name, package in merged.packages.items() if merged.origin[name] == number]
        found.append(
            Branch(
                layer=layer,
                packages=tuple(sorted(packages, key=lambda package: (package.name, package.kind))),
                removed=tuple(sorted(manifest.removed, key=lambda name: (name[1], name[0]))),
                files=files[number],
                live=live[number],
                dead=manifest.tree_bytes - live[number],
                hides=len(manifest.whiteouts),
            )
        )
    return tuple(found)
