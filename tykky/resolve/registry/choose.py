"""From a reference to what a lock holds: one manifest per platform, by its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from tykky.errors import ResolveError
from tykky.lock.model import LockedManifest
from tykky.resolve.registry.files import check_digest, manifest_of, of_no_use
from tykky.resolve.registry.manifests import ImageManifest, Index, NotAnImage, platform_of, read_answer
from tykky.resolve.registry.server import Registry


def choose(
    registry: Registry, platforms: Sequence[str], locked: Mapping[str, LockedManifest]
) -> tuple[LockedManifest, ...]:
    """Return the manifest of every platform, sorted; those that are `locked` stay what they are.

    Nothing is asked if all are. Raises `FetchError`, `ArtifactError`, and `ResolveError` if the image is of no use or
    is not there for a platform.
    """
    missing = [platform for platform in platforms if platform not in locked]
    found = {platform: locked[platform] for platform in platforms if platform in locked}
    if missing:
        found |= _asked(registry, missing)
    return tuple(found[platform] for platform in sorted(found))


def _asked(registry: Registry, platforms: Sequence[str]) -> dict[str, LockedManifest]:
    reference = registry.reference
    answer = registry.manifest(f"sha256:{reference.digest}" if reference.digest else reference.tag)
    digest = hashlib.sha256(answer.body).hexdigest()
    if reference.digest is not None:
        check_digest(registry, reference.digest, digest)
    try:
        top = read_answer(answer.body, answer.media_type)
        if isinstance(top, Index):
            return {platform: _of_index(registry, top, platform) for platform in platforms}
        config = registry.document(top.config.sha256)
        check_digest(registry, top.config.sha256, hashlib.sha256(config).hexdigest())
        there = platform_of(config).shown
    except NotAnImage as why:
        raise of_no_use(registry, str(why)) from None
    for platform in platforms:
        if platform != there:
            raise _not_for(registry, platform, there)
    return {platform: _locked(platform, digest, top) for platform in platforms}


def _of_index(registry: Registry, index: Index, platform: str) -> LockedManifest:
    chosen = index.of(platform)
    if chosen is None:
        raise _not_for(registry, platform, index.shown)
    return _locked(platform, chosen.sha256, manifest_of(registry, chosen.sha256))


def _locked(platform: str, digest: str, manifest: ImageManifest) -> LockedManifest:
    return LockedManifest(platform, digest, manifest.size)


def _not_for(registry: Registry, platform: str, there: str) -> ResolveError:
    return ResolveError(
        f"{registry.reference.written} is not there for {platform}: it is for {there}",
        hint=f"name an image that is, or leave {platform} out of environment.platforms",
    )
