"""Environment directories with manifests and records as builds write them, and images that are a few bytes of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tykky.digests import file_fingerprint, file_sha256
from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, LayerRecord, RootRecord
from tykky.environment.publish import Generation, opened, publish
from tykky.store.images import Manifest, PackagePaths

LAUNCHER = b"#!/bin/sh\n# The launcher of these tests\n"


def key(name: str) -> str:
    """Return a layer key that starts with `name`, which is made of hexadecimal digits."""
    return name + "0" * (64 - len(name))


def layer(
    name: str,
    files: Mapping[str, int] = {},
    packages: Iterable[PackagePaths] = (),
    removed: tuple[tuple[str, str], ...] = (),
    whiteouts: tuple[str, ...] = (),
    kind: str = "pypi",
) -> Manifest:
    """Return a manifest; digest, fingerprint and size are those of the image that `store` writes."""
    programs = tuple(sorted(path.removeprefix("bin/") for path in files if path.startswith("bin/")))
    return Manifest(
        key=key(name),
        kind=kind,
        prefix="/tykky/demo",
        document={},
        digest="",
        fingerprint="",
        size=0,
        files=dict(files),
        packages=tuple(packages),
        programs=programs,
        whiteouts=whiteouts,
        removed=removed,
    )


def package(name: str, version: str, *paths: str, kind: str = "pypi", identity: str | None = None) -> PackagePaths:
    """Return a package; its identity is that of its version, unless another one is given."""
    return PackagePaths(name, version, kind, paths, identity or f"{name}-{version}")


def store(directory: EnvironmentDirectory, manifest: Manifest) -> Manifest:
    """Write an image of a few bytes with its manifest; return the manifest as it was written."""
    with directory.store.stage() as private:
        image = private / f"{manifest.key}.sqfs"
        image.write_bytes(manifest.key.encode() * 4)
        known = {"digest": file_sha256(image), "fingerprint": file_fingerprint(image), "size": image.stat().st_size}
        whole = replace(manifest, **known)  # type: ignore[arg-type]
        directory.store.commit(image, whole)
    return whole


def record_of(number: int, **more: Any) -> GenerationRecord:
    """Return the record of a generation, with no layers unless more is said."""
    given = {"created": "2026-11-22T00:00:00+00:00", "layers": (), "programs": (), **more}
    return GenerationRecord(
        format=1,
        name="demo",
        prefix="/tykky/demo",
        platform="linux-64",
        number=number,
        identity=str(number),
        made_by="tykky test",
        **given,
    )


def make(
    path: Path, *manifests: Manifest, created: str = "2026-11-22T00:00:00+00:00", root: Manifest | None = None
) -> EnvironmentDirectory:
    """Publish the next generation of an environment directory with these layers, on a root that was made for it."""
    with opened(path) as directory:
        layers = tuple(
            LayerRecord(m.kind, m.key, m.digest, m.fingerprint, m.size, f".tykky/layers/{m.key}.sqfs")
            for m in (store(directory, manifest) for manifest in manifests)
        )
        rooted = None
        if root is not None:
            made = store(directory, root)
            rooted = RootRecord("docker://root", LayerRecord.own_image(made.key), made.digest, made.size, 0)
        number = directory.next_number() if directory.exists() else 1
        record = record_of(
            number,
            created=created,
            layers=layers,
            root=rooted,
            programs=tuple(sorted({name for m in manifests for name in m.programs})),
            top=tuple(sorted({path.partition("/")[0] for m in manifests for path in m.files})),
        )
        publish(directory, Generation(record, {"tykky.lock": b"", "launch.sh": b""}, LAUNCHER))
    return EnvironmentDirectory(path)
