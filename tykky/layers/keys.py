"""Layer keys: the identity of a layer before it is built.

Pure functions: a lock, a platform and a prefix go in, one canonical document with named fields per layer comes
out, and its sha256 is the key (invariant 1). What can change the tree is in the document. The versions of
mksquashfs and of libzstd are not: they can change the image's bytes, never what it holds, so they stand in the
manifest instead (docs/decisions/0003-what-a-key-names.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tykky.digests import document_key
from tykky.layers.squashfs import BLOCK_SIZE
from tykky.lock.model import Package
from tykky.spec.model import Pypi, Spec
from tykky.spec.names import canonical_name

# Raised whenever the same inputs would give another tree: a fix in normalising, another launcher header.
TREE_FORMAT = 5
# The same for roots that are made of a registry's image.
ROOT_FORMAT = 2


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One layer of a stack before it is built. `reason` says why it is there, for `--dry-run`.

    `identities` are the keys of all that makes each package's files what they are, by (kind, name). A package of the
    same identity in two stacks is the same package, however it got there.
    """

    kind: str
    key: str
    document: Mapping[str, Any]
    packages: tuple[Package, ...]
    reason: str
    identities: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holds:
    """What a stack holds: its packages, and their identities by (kind, name)."""

    packages: tuple[Package, ...]
    identities: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, layers: Iterable[PlannedLayer]) -> Holds:
        """Return what layers hold together."""
        layers = tuple(layers)
        identities = {name: key for layer in layers for name, key in layer.identities.items()}
        return cls(tuple(package for layer in layers for package in layer.packages), identities)


@dataclass(frozen=True, slots=True)
class Base:
    """Where a stack's interpreter comes from: the minor version, and the host's path unless a lower layer has it."""

    python: str | None
    host_interpreter: str | None = None


def interpreter_layer(spec: Spec, platform: str, package: Package) -> PlannedLayer:
    """Return the layer of the interpreter that uv manages. Its archive's sha256 says all about what is in it."""
    interpreter = {"name": package.name, "version": package.version, "sha256": package.sha256}
    document = {**_common(spec, "tree", platform), "interpreter": interpreter}
    identities = {("python", package.name): document_key(interpreter)}
    return _planned("tree", document, (package,), f"{package.name} {package.version}", identities)


def conda_layer(spec: Spec, platform: str, packages: Sequence[Package], base: Base) -> PlannedLayer:
    """Return the layer of all conda packages."""
    assert spec.conda is not None
    named = {
        p.name: {"name": p.name, "version": p.version, "build": p.build, "sha256": p.sha256, "url": p.url}
        for p in sorted(packages, key=lambda p: p.name)
    }
    document = {
        **_common(spec, "conda", platform),
        "python": base.python,
        "post-link-scripts": spec.conda.post_link_scripts,
        "packages": list(named.values()),
    }
    identities = {("conda", name): document_key(entry) for name, entry in named.items()}
    return _planned("conda", document, packages, counted(len(packages), "conda package"), identities)


def pypi_layer(
    spec: Spec,
    platform: str,
    packages: Sequence[Package],
    base: Base,
    below: Sequence[str],
    against: Sequence[str],
) -> PlannedLayer:
    """Return the layer of all PyPI packages, and of the venv itself where the interpreter is the host's.

    The layers below count only where something is built against them: a wheel's tree does not depend on them.
    `against` is the whole environment as `name==version`: what a build without isolation sees.
    """
    assert spec.pypi is not None
    built = [p for p in packages if p.source != "wheel"]
    named = {p.name: _pypi_package(spec, p) for p in sorted(packages, key=lambda p: p.name)}
    document = {
        **_common(spec, "pypi", platform),
        "python": base.python,
        "host-interpreter": base.host_interpreter,
        "packages": list(named.values()),
        "built-against": list(below) if built else [],
    }
    identities = {
        ("pypi", name): document_key(
            {**entry, "built-against": list(against)} if entry.get("no-build-isolation") else entry
        )
        for name, entry in named.items()
    }
    return _planned("pypi", document, packages, counted(len(packages), "PyPI package"), identities)


def delta_layer(
    spec: Spec, platform: str, base: Base, before: Sequence[str], after: Sequence[str], holds: Holds
) -> PlannedLayer:
    """Return the layer that leads from one content of a stack to another, which is what it `holds` then.

    What has to change follows from the two contents alone, whatever layers the lower stack really consists of.
    """
    document = {**_stack(spec, "delta", platform, base), "from": list(before), "to": list(after)}
    return _planned("delta", document, holds.packages, "", holds.identities)


def child_layer(
    spec: Spec,
    platform: str,
    base: Base,
    parent: Sequence[str],
    own: Sequence[PlannedLayer],
    packages: Sequence[Package],
) -> PlannedLayer:
    """Return the layer that an environment adds to its parent's stack: `own` would be its layers without a parent.

    `parent` is the parent's content, `packages` are all that are seen then. The identities of those that are the
    parent's are in its manifests.
    """
    document = {**_stack(spec, "delta", platform, base), "parent": list(parent), "own": [layer.key for layer in own]}
    identities = {name: key for layer in own for name, key in layer.identities.items()}
    return _planned("delta", document, packages, " and ".join(layer.reason for layer in own), identities)


def root_layer(spec: Spec, platform: str, manifest: str, image: str) -> PlannedLayer:
    """Return the image that programs see as their root, from a registry's `manifest` (a sha256) of an `image`.

    It is no part of a stack, and the same for every environment that names it.
    """
    document = {
        "root-format": ROOT_FORMAT,
        "kind": "root",
        "platform": platform,
        "prefix": "/",
        "manifest": manifest,
        "squashfs": _squashfs(spec),
    }
    return _planned("root", document, (), image)


def flat_layer(spec: Spec, platform: str, base: Base, content: Sequence[str], holds: Holds, count: int) -> PlannedLayer:
    """Return the one layer that holds what a stack of `count` layers shows, whose content is `content`."""
    document = {**_stack(spec, "flat", platform, base), "content": list(content)}
    return _planned("flat", document, holds.packages, f"{counted(count, 'layer')} in one", holds.identities)


def counted(count: int, what: str) -> str:
    """Return `1 package`, `2 packages`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def script_layer(spec: Spec, platform: str, scripts: Sequence[tuple[str, str]], below: Sequence[str]) -> PlannedLayer:
    """Return the layer of the `post-install` scripts. `scripts` are their names and sha256."""
    document = {
        **_common(spec, "script", platform),
        "scripts": [{"name": name, "sha256": sha256} for name, sha256 in scripts],
        "built-against": list(below),
    }
    return _planned("script", document, (), ", ".join(name for name, _ in scripts))


def _planned(
    kind: str,
    document: Mapping[str, Any],
    packages: Sequence[Package],
    reason: str,
    identities: Mapping[tuple[str, str], str] | None = None,
) -> PlannedLayer:
    return PlannedLayer(kind, document_key(document), document, tuple(packages), reason, identities or {})


def _common(spec: Spec, kind: str, platform: str) -> dict[str, Any]:
    return {
        "tree-format": TREE_FORMAT,
        "kind": kind,
        "platform": platform,
        "prefix": spec.prefix,
        "exclude": sorted(spec.build.exclude),
        "bytecode": "unchecked-hash",
        "squashfs": _squashfs(spec),
    }


def _squashfs(spec: Spec) -> dict[str, Any]:
    return {"compression": "zstd", "level": spec.build.compression_level, "block-size": BLOCK_SIZE}


def _stack(spec: Spec, kind: str, platform: str, base: Base) -> dict[str, Any]:
    """Return what holds for a stack as a whole."""
    document = {**_common(spec, kind, platform), "python": base.python, "host-interpreter": base.host_interpreter}
    if spec.conda is not None:
        document["post-link-scripts"] = spec.conda.post_link_scripts
    return document


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
    if canonical_name(package.name) in {canonical_name(name) for name in spec.pypi.no_build_isolation}:
        document["no-build-isolation"] = True
    return document


def _settings(pypi: Pypi, name: str) -> Mapping[str, str | tuple[str, ...]]:
    """Return the build settings of a package, whichever spelling of its name the spec uses (PEP 503)."""
    found: dict[str, str | tuple[str, ...]] = {}
    for package, settings in pypi.config_settings.items():
        if canonical_name(package) == canonical_name(name):
            found.update(settings)
    return found
