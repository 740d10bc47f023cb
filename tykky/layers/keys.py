"""Layer keys: the identity of a layer before it is built.

Pure functions: a lock, a platform and a prefix go in, one canonical document with named fields per layer comes
out, and its sha256 is the key (invariant 1). What can change the tree is in the document. The versions of
mksquashfs and of libzstd are not: they can change the image's bytes, never what it holds, so they stand in the
manifest instead (docs/decisions/0003-what-a-key-names.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from tykky.digests import document_key
from tykky.layers.squashfs import BLOCK_SIZE
from tykky.lock.model import Package
from tykky.spec.model import Pypi, Spec

# Raised whenever the same inputs would give another tree: a fix in normalising, another launcher header.
TREE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One layer of a stack before it is built. `reason` says why it is there, for `--dry-run`."""

    kind: str
    key: str
    document: Mapping[str, Any]
    packages: tuple[Package, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Base:
    """Where a stack's interpreter comes from: the minor version, and the host's path unless a lower layer has it."""

    python: str | None
    host_interpreter: str | None = None


def interpreter_layer(spec: Spec, platform: str, package: Package) -> PlannedLayer:
    """Return the layer of the interpreter that uv manages. Its archive's sha256 says all about what is in it."""
    document = {
        **_common(spec, "tree", platform),
        "interpreter": {"name": package.name, "version": package.version, "sha256": package.sha256},
    }
    return _planned("tree", document, (package,), f"{package.name} {package.version}")


def conda_layer(spec: Spec, platform: str, packages: Sequence[Package], base: Base) -> PlannedLayer:
    """Return the layer of all conda packages."""
    assert spec.conda is not None
    document = {
        **_common(spec, "conda", platform),
        "python": base.python,
        "post-link-scripts": spec.conda.post_link_scripts,
        "packages": [
            {"name": p.name, "version": p.version, "build": p.build, "sha256": p.sha256, "url": p.url}
            for p in sorted(packages, key=lambda p: p.name)
        ],
    }
    return _planned("conda", document, packages, f"{len(packages)} conda packages")


def pypi_layer(
    spec: Spec, platform: str, packages: Sequence[Package], base: Base, below: Sequence[str]
) -> PlannedLayer:
    """Return the layer of all PyPI packages, and of the venv itself where the interpreter is the host's.

    The layers below count only where something is built against them: a wheel's tree does not depend on them.
    """
    assert spec.pypi is not None
    built = [p for p in packages if p.source != "wheel"]
    document = {
        **_common(spec, "pypi", platform),
        "python": base.python,
        "host-interpreter": base.host_interpreter,
        "packages": [_pypi_package(spec, p) for p in sorted(packages, key=lambda p: p.name)],
        "built-against": list(below) if built else [],
    }
    return _planned("pypi", document, packages, f"{len(packages)} PyPI packages")


def script_layer(spec: Spec, platform: str, scripts: Sequence[tuple[str, str]], below: Sequence[str]) -> PlannedLayer:
    """Return the layer of the `post-install` scripts. `scripts` are their names and sha256."""
    document = {
        **_common(spec, "script", platform),
        "scripts": [{"name": name, "sha256": sha256} for name, sha256 in scripts],
        "built-against": list(below),
    }
    return _planned("script", document, (), ", ".join(name for name, _ in scripts))


def _planned(kind: str, document: Mapping[str, Any], packages: Sequence[Package], reason: str) -> PlannedLayer:
    return PlannedLayer(kind, document_key(document), document, tuple(packages), reason)


def _common(spec: Spec, kind: str, platform: str) -> dict[str, Any]:
    return {
        "tree-format": TREE_FORMAT,
        "kind": kind,
        "platform": platform,
        "prefix": spec.prefix,
        "exclude": sorted(spec.build.exclude),
        "bytecode": "unchecked-hash",
        "squashfs": {"compression": "zstd", "level": spec.build.compression_level, "block-size": BLOCK_SIZE},
    }


def _pypi_package(spec: Spec, package: Package) -> dict[str, Any]:
    assert spec.pypi is not None
    document: dict[str, Any] = {"name": package.name, "version": package.version}
    if package.source == "wheel":
        document["sha256"] = package.sha256
        return document
    document["source"] = package.source
    # A git URL is recorded in the installed package (PEP 610), an archive's or a directory's is not.
    identity = {"sha256": package.sha256, "commit": package.commit, "tree": package.tree}
    document.update({name: value for name, value in identity.items() if value is not None})
    if package.source == "git":
        document["url"] = package.url
    if package.subdirectory:
        document["subdirectory"] = package.subdirectory
    settings = _settings(spec.pypi, package.name)
    if settings:
        document["config-settings"] = {
            name: value if isinstance(value, str) else list(value) for name, value in settings.items()
        }
    if canonicalize_name(package.name) in {canonicalize_name(name) for name in spec.pypi.no_build_isolation}:
        document["no-build-isolation"] = True
    return document


def _settings(pypi: Pypi, name: str) -> Mapping[str, str | tuple[str, ...]]:
    """Return the build settings of a package, whichever spelling of its name the spec uses (PEP 503)."""
    found: dict[str, str | tuple[str, ...]] = {}
    for package, settings in pypi.config_settings.items():
        if canonicalize_name(package) == canonicalize_name(name):
            found.update(settings)
    return found
