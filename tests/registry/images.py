"""Images as registries have them, made in memory: layers of files, a config, a manifest, an index.

image = make_image([layer(etc/mark="a root")])
index = make_index({"amd64": image, "arm64": other})
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
_GO = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le"}
HERE = _GO[os.uname().machine]  # this machine's architecture, in Go's terms
PLATFORM = {"amd64": "linux-64", "arm64": "linux-aarch64", "ppc64le": "linux-ppc64le"}[HERE]  # the same in conda's
OTHER = "arm64" if HERE == "amd64" else "amd64"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Stored:
    """A manifest or index as it is pushed: its bytes, its media type, and all files below it by digest."""

    body: bytes
    media_type: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    manifests: tuple[Stored, ...] = ()

    @property
    def digest(self) -> str:
        return digest(self.body)

    @property
    def size(self) -> int:
        """The bytes of the layers, packed."""
        return sum(one["size"] for one in json.loads(self.body)["layers"])


def member(name: str, content: bytes | None = b"", **more: object) -> tuple[tarfile.TarInfo, bytes | None]:
    """Return a member of an archive: a file, or with other fields (`type`, `linkname`, `mode`) something else."""
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    for key, value in more.items():
        setattr(info, key, value)
    info.size = len(content or b"") if info.isreg() else 0
    return info, content


def directory(name: str) -> tuple[tarfile.TarInfo, bytes | None]:
    return member(name, None, type=tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes | None]:
    return member(name, None, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes | None]:
    return member(name, None, type=tarfile.LNKTYPE, linkname=target)


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes | None]], packed: str = "gzip") -> bytes:
    """Return a layer: `packed` is gzip, zstd or nothing."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return _packed(buffer.getvalue(), packed)


def archive_of(tree: Path, packed: str = "gzip") -> bytes:
    """Return a directory as a layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(tree.iterdir()):
            tar.add(path, path.name)
    return _packed(buffer.getvalue(), packed)


def _packed(content: bytes, packed: str) -> bytes:
    if packed == "gzip":
        return gzip.compress(content, compresslevel=1, mtime=0)
    return zstandard.compress(content) if packed == "zstd" else content


def make_image(
    layers: Sequence[bytes],
    *,
    architecture: str = HERE,
    layer_type: str = f"{LAYER}+gzip",
    media_type: str = OCI_MANIFEST,
) -> Stored:
    """Return an image of layers, bottom first."""
    config = json.dumps(
        {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": layer_type, "digest": digest(x), "size": len(x)} for x in layers],
    }
    files = {digest(content): content for content in (config, *layers)}
    return Stored(json.dumps(manifest).encode(), media_type, files)


def make_index(images: Mapping[str, Stored], media_type: str = OCI_INDEX) -> Stored:
    """Return an index: architecture, or `architecture/variant`, -> image; with an attestation, as builders add them."""
    listed = []
    for name, image in images.items():
        architecture, _, variant = name.partition("/")
        platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
        listed.append(
            {"mediaType": image.media_type, "digest": image.digest, "size": len(image.body), "platform": platform}
        )
    unknown = {"architecture": "unknown", "os": "unknown"}
    first = next(iter(images.values()))
    listed.append({**listed[0], "digest": first.digest, "platform": unknown})
    body = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": listed}).encode()
    return Stored(body, media_type, manifests=tuple(images.values()))
