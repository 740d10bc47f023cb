"""Check the images of a generation against what was recorded when they were made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tykky.digests import file_sha256
from tykky.environment.directory import EnvironmentDirectory, LayerRecord


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one image; `problem` is None if it is as it was made."""

    layer: LayerRecord
    image: Path
    problem: str | None


def verify(directory: EnvironmentDirectory, on_bytes: Callable[[int], None]) -> tuple[Verdict, ...]:
    """Read every image of the current generation and compare its sha256 with the record."""
    verdicts = []
    for layer in directory.record().layers:
        image = directory.image_path(layer)
        verdicts.append(Verdict(layer, image, _problem(layer, image)))
        on_bytes(layer.size)
    return tuple(verdicts)


def _problem(layer: LayerRecord, image: Path) -> str | None:
    if not image.exists():
        return "is missing"
    size = image.stat().st_size
    if size != layer.size:
        return f"has {size} bytes, {layer.size} were written"
    digest = file_sha256(image)
    if digest != layer.digest:
        return f"has changed: expected sha256 {layer.digest}, got {digest}"
    return None
