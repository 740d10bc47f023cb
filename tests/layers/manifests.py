"""Manifests made by hand, of what a test needs to say and no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tykky.store.images import Manifest, PackagePaths


def package(name: str, *paths: str, kind: str = "conda", version: str = "1", identity: str = "") -> PackagePaths:
    """Return an installed package; its identity is its name and version if nothing else is said."""
    return PackagePaths(name, version, kind, paths, identity or f"{name}-{version}")


def manifest(
    files: Iterable[str] | Mapping[str, int] = (),
    *,
    key: str = "0" * 64,
    kind: str = "conda",
    packages: Iterable[PackagePaths] = (),
    whiteouts: Iterable[str] = (),
    removed: Iterable[tuple[str, str]] = (),
    programs: Iterable[str] = (),
    document: dict[str, Any] | None = None,
) -> Manifest:
    """Return a manifest; a file without a size has one byte."""
    sizes = dict(files) if isinstance(files, Mapping) else dict.fromkeys(files, 1)
    return Manifest(
        key=key,
        kind=kind,
        prefix="/tykky/demo",
        document=document or {},
        digest="",
        fingerprint="",
        size=4096,
        files=sizes,
        packages=tuple(packages),
        programs=tuple(programs),
        whiteouts=tuple(whiteouts),
        removed=tuple(removed),
    )
