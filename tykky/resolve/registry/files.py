"""The files of an image: small ones as values, layers in the cache, each with the sha256 that it is asked for by.

    <cache>/artifacts/<first two digits>/<sha256>/blob

That is where other artifacts are too: a file has that name only if it was checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tykky.digests import file_sha256
from tykky.errors import ArtifactError, ResolveError
from tykky.resolve.pypi.download import filling
from tykky.resolve.registry.manifests import Descriptor, ImageManifest, NotAnImage, read_answer
from tykky.resolve.registry.server import Registry


def manifest_of(registry: Registry, sha256: str) -> ImageManifest:
    """Return the manifest of a digest, from the cache or the registry.

    Raises `FetchError`, `ArtifactError` if it is another one, `ResolveError` if it is of no use here.
    """
    place = registry.access.artifact(sha256, "blob")
    body = place.read_bytes() if place.is_file() else b""
    if hashlib.sha256(body).hexdigest() != sha256:
        answer = registry.manifest(f"sha256:{sha256}")
        body = answer.body
        check_digest(registry, sha256, hashlib.sha256(body).hexdigest())
        with filling(place) as part:
            part.write_bytes(body)
    try:
        # Only the media type in it: it is the same whoever hands it out.
        found = read_answer(body, "application/vnd.oci.image.manifest.v1+json")
    except NotAnImage as why:
        raise of_no_use(registry, str(why)) from None
    if not isinstance(found, ImageManifest):
        raise of_no_use(registry, f"sha256:{sha256} is an index of several")
    return found


def fetch_layer(registry: Registry, layer: Descriptor, on_bytes: Callable[[int], object]) -> Path:
    """Return the file of a layer, from the cache or downloaded into it; its sha256 is right.

    Raises `FetchError`, and `ArtifactError` if the registry gives something else; then no file is kept.
    """
    place = registry.access.artifact(layer.sha256, "blob")
    if place.is_file() and file_sha256(place) == layer.sha256:
        on_bytes(layer.size)
        return place
    with filling(place) as part:
        check_digest(registry, layer.sha256, registry.save(layer.sha256, layer.size, part, on_bytes))
    return place


def of_no_use(registry: Registry, why: str) -> ResolveError:
    """Return the error for what is no image as it is wanted here."""
    return ResolveError(
        f"{registry.reference.written} cannot be used: {why}",
        hint="name an image of a system: 'docker pull' and 'apptainer pull' would have to accept it",
    )


def check_digest(registry: Registry, expected: str, actual: str) -> None:
    if actual != expected:
        raise ArtifactError(
            f"a file of {registry.reference.written} is another one: expected sha256 {expected}, got {actual}",
            hint="the registry, a mirror or something on the way gives a wrong file; try again, or take another one",
        )
