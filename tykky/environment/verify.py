"""Check a generation's images against what was recorded when they were made.

Quickly: sizes, manifests, and the xxh3 fingerprint of every image. In full: the sha256 as well, and what the image
lists is compared with what its manifest says it holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xxhash

from tykky.digests import file_sha256
from tykky.environment.directory import EnvironmentDirectory, LayerRecord, RootRecord
from tykky.errors import EnvironmentDirectoryError, ToolError
from tykky.layers.lower import list_image, listing
from tykky.layers.merged import directories
from tykky.process import Commands
from tykky.store.images import Manifest, load_manifest

_CHUNK = 1 << 20
_SHOWN = 5  # paths that a message names


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one image; `problem` is None if it is as it was made."""

    layer: LayerRecord
    image: Path
    problem: str | None


def verify(
    directory: EnvironmentDirectory,
    on_bytes: Callable[[int], None],
    *,
    number: int | None = None,
    full: bool = False,
    commands: Commands | None = None,
) -> tuple[Verdict, ...]:
    """Read every image of a generation, by default the current one. `on_bytes` is told how much has been read."""
    verdicts = []
    for layer in directory.record(number).layers:
        image = directory.image_path(layer)
        problem = _problem(layer, image, on_bytes, commands or Commands(), full=full)
        verdicts.append(Verdict(layer, image, problem))
    return tuple(verdicts)


def verify_root(directory: EnvironmentDirectory, root: RootRecord, on_bytes: Callable[[int], None]) -> str | None:
    """Return what is wrong with the image that programs see as their root; None if it is the one that was recorded."""
    if (problem := directory.root_damage(root)) is not None:
        return problem
    image = directory.root_path(root)
    try:
        found = file_sha256(image, on_bytes)
    except OSError as error:
        return _unreadable(image, error)
    return None if found == root.digest else f"{image} has changed: expected sha256 {root.digest}, got {found}"


def _unreadable(image: object, error: OSError) -> str:
    return f"{image} cannot be read: {(error.strerror or str(error)).lower()}"


def _problem(
    layer: LayerRecord, image: Path, on_bytes: Callable[[int], None], commands: Commands, *, full: bool
) -> str | None:
    try:
        size = image.stat().st_size
    except OSError:
        return f"{image} is missing"
    if size != layer.size:
        return f"{image} has {size} bytes, {layer.size} were written"
    try:
        manifest = load_manifest(image.with_suffix(".manifest"))
    except EnvironmentDirectoryError as error:
        return error.reason
    if (manifest.key, manifest.digest) != (layer.key, layer.digest):
        return f"{image.with_suffix('.manifest')} is that of another image"
    try:
        changed = _changed(layer, image, on_bytes, full=full)
    except OSError as error:
        return _unreadable(image, error)
    if changed is None and full:
        return _listed(image, manifest, commands)
    return changed


def _changed(layer: LayerRecord, image: Path, on_bytes: Callable[[int], None], *, full: bool) -> str | None:
    fingerprint, digest = xxhash.xxh3_128(), hashlib.sha256()
    with image.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            fingerprint.update(chunk)
            if full:
                digest.update(chunk)
            on_bytes(len(chunk))
    if fingerprint.hexdigest() != layer.fingerprint:
        return f"{image} has changed: expected fingerprint {layer.fingerprint}, got {fingerprint.hexdigest()}"
    if full and digest.hexdigest() != layer.digest:
        return f"{image} has changed: expected sha256 {layer.digest}, got {digest.hexdigest()}"
    return None


def _listed(image: Path, manifest: Manifest, commands: Commands) -> str | None:
    """Compare what the image lists below the prefix with its manifest."""
    try:
        found = listing(list_image(image, commands), manifest.prefix)
    except ToolError as error:
        return f"{image} cannot be listed: {error.reason}"
    full = directories(found)
    shown = {path: entry.size for path, entry in found.items() if entry.kind in ("file", "symlink") or path not in full}
    hidden = {path for path, entry in found.items() if entry.kind == "whiteout"}
    files = {_as_listed(path): size for path, size in manifest.files.items()}
    wanted = {_as_listed(path) for path in manifest.whiteouts}
    shown = {path: size for path, size in shown.items() if path not in hidden}
    return _difference(image, files, shown) or _difference(image, dict.fromkeys(wanted, 0), dict.fromkeys(hidden, 0))


def _difference(image: Path, wanted: dict[str, int], found: dict[str, int]) -> str | None:
    wrong = sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
    if not wrong:
        return None
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return f"{image} does not hold what its manifest says: {', '.join(wrong[:_SHOWN])}{more}"


def _as_listed(path: str) -> str:
    """Return a path as the output of a program has it: what is no text is replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
