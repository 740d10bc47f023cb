"""What registries say of an image: an index of manifests for several platforms, and the manifest of one of them.

The formats are those of the OCI image specification (`image-index.md`, `manifest.md`, `config.md`) and of Docker's
image manifest version 2, schema 2, which differ in their media types only.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPTED = ", ".join((*_INDEXES, *_MANIFESTS))
# Each with or without a suffix for its compression, which the file itself tells as well.
_LAYERS = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")

_ARCHITECTURES = {"linux-64": "amd64", "linux-aarch64": "arm64", "linux-ppc64le": "ppc64le"}
# The variant that every machine of the architecture runs.
_COMMON_VARIANTS = ("", "v8")

_Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
_Size = Annotated[int, Meta(ge=0)]
_T = TypeVar("_T")


class NotAnImage(Exception):
    """An answer that is no image as it is wanted here; the message says why."""


class _Document(Struct, frozen=True, rename="camel"):
    """A part of a registry's answer: keys that nobody here needs are passed over."""


class RegistryPlatform(_Document, frozen=True):
    """For which machines a manifest is, in Go's terms."""

    architecture: str = ""
    os: str = ""
    variant: str = ""

    @property
    def shown(self) -> str:
        """The platform as locks name it, or in Go's terms."""
        known = {(arch, "linux"): name for name, arch in _ARCHITECTURES.items()}
        return known.get((self.architecture, self.os), f"{self.os}/{self.architecture}")


class Descriptor(_Document, frozen=True):
    """One file of a registry: its sha256 and its bytes."""

    digest: _Digest
    size: _Size
    media_type: str = ""
    platform: RegistryPlatform = RegistryPlatform()

    @property
    def sha256(self) -> str:
        """The digest without its algorithm."""
        return self.digest.removeprefix("sha256:")


class _Typed(_Document, frozen=True):
    media_type: str = ""


class ImageManifest(_Document, frozen=True):
    """One image for one platform: its layers, bottom first, and the file that says for which machine it is."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """The bytes of the layers, packed as they are."""
        return sum(layer.size for layer in self.layers)


class Index(_Document, frozen=True):
    """Manifests for several platforms."""

    manifests: tuple[Descriptor, ...]

    def of(self, platform: str) -> Descriptor | None:
        """Return the manifest for a platform that every machine of it runs, if there is one."""
        wanted = ("linux", _ARCHITECTURES[platform])
        fitting = [x for x in self._images() if (x.platform.os, x.platform.architecture) == wanted]
        return next((x for x in fitting if x.platform.variant in _COMMON_VARIANTS), None)

    @property
    def shown(self) -> str:
        """The platforms that there are, for a sentence."""
        return ", ".join(sorted({x.platform.shown for x in self._images()})) or "no platform"

    def _images(self) -> list[Descriptor]:
        # Attestations stand among the manifests, for a platform that is unknown.
        return [x for x in self.manifests if x.media_type in ("", *_MANIFESTS) and x.platform.os not in ("", "unknown")]


def read_answer(body: bytes, media_type: str) -> Index | ImageManifest:
    """Return what an answer of a media type holds. Raises `NotAnImage`."""
    typed = _decode(body, _Typed)
    kind = typed.media_type or media_type.partition(";")[0].strip()
    if kind in _INDEXES:
        return _decode(body, Index)
    if kind in _MANIFESTS:
        return _checked(_decode(body, ImageManifest))
    raise NotAnImage(f"its manifest is of the type {kind!r}, which is of no use here")


def platform_of(config: bytes) -> RegistryPlatform:
    """Return for which machines an image is, from its config. Raises `NotAnImage`."""
    return _decode(config, RegistryPlatform)


def _checked(manifest: ImageManifest) -> ImageManifest:
    if manifest.config.media_type not in _CONFIGS:
        raise NotAnImage(f"it is no image of a system but something else: {manifest.config.media_type!r}")
    if not manifest.layers:
        raise NotAnImage("it has no layers")
    for layer in manifest.layers:
        if layer.media_type.partition("+")[0].removesuffix(".gzip").removesuffix(".zstd") not in _LAYERS:
            raise NotAnImage(f"it has a layer of the type {layer.media_type!r}, which is of no use here")
    return manifest


def _decode(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        said = str(error)
        said = said if said[:2].isupper() else f"{said[:1].lower()}{said[1:]}"
        raise NotAnImage(f"its manifest cannot be read: {said}") from None
