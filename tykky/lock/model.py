"""The lockfile as frozen values.

Goals: byte-stable (same input, same bytes), diffs well (one table per artifact and platform, sorted, one line
per field), holds all that a build needs without asking an index. The smallest example:

    lock-version = "1.0"

    [resolvers]
    pypi = "uv 0.13.9"

    [requirements]
    pypi = ["cowsay"]

    [[platform]]
    name = "linux-64"
    python = "3.11"
    virtual-packages = ["__glibc=2.28"]

    [[package]]
    name = "cowsay"
    version = "6.1"
    kind = "pypi"
    platform = "linux-64"
    url = "https://files.pythonhosted.org/…/cowsay-6.1-py3-none-any.whl"
    sha256 = "274b1e6f…"
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

LOCK_VERSION = "1.0"

# `python` is an interpreter that uv manages: at most one per platform, the archive it is unpacked from.
Kind = Literal["conda", "pypi", "python"]
# `$(?!\n)`: see tykky.spec.model.
Sha256 = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", extra={"rule": "a sha256 is 64 lower case hexadecimal digits"})
]


class _Table(Struct, frozen=True, rename="kebab", omit_defaults=True):
    """A table of the lockfile: keys of a newer minor version are passed over."""


class Resolvers(_Table, frozen=True):
    """Which program chose, and its version: `rattler 0.28.0`, `uv 0.13.9`."""

    conda: str | None = None
    pypi: str | None = None


class Requirements(_Table, frozen=True):
    """What was asked for: the part of the spec that this lock answers, normalised and sorted."""

    conda: tuple[str, ...] = ()
    conda_constraints: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()  # in order of priority
    channel_priority: str | None = None
    virtual_packages: tuple[str, ...] = ()  # the spec's overrides, `name=version`
    pypi: tuple[str, ...] = ()
    pypi_constraints: tuple[str, ...] = ()
    pypi_overrides: tuple[str, ...] = ()
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    prerelease: str | None = None
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    python: str | None = None
    managed_python: bool = False
    exclude_newer: str | None = None
    extends: str | None = None  # as written
    extends_policy: str | None = None
    image: str | None = None  # as written; None for the host's root


class LockedPlatform(_Table, frozen=True):
    """One platform of the lock: its virtual packages and the minor version of its Python (`3.12`), if any."""

    name: str
    python: str | None = None
    virtual_packages: tuple[str, ...] = ()


class Package(_Table, frozen=True):
    """One artifact for one platform.

    Exactly one of `url` (an archive or `git+https://…`) and `path` (relative to the lockfile) is set. `sha256`
    is of the archive; of a local directory or a git checkout `tree` is the fingerprint or `commit` the commit.
    """

    name: str
    version: str
    kind: Kind
    platform: str
    url: str | None = None
    path: str | None = None
    sha256: Sha256 | None = None
    size: int | None = None  # bytes
    depends: tuple[str, ...] = ()
    # pypi: what the artifact is. A wheel is installed as it is, all else is built to a wheel first.
    source: Literal["wheel", "sdist", "git", "directory"] | None = None
    commit: str | None = None
    subdirectory: str | None = None
    tree: str | None = None
    editable: bool = False
    # conda: the rest of the repodata record that linking needs.
    build: str | None = None
    build_number: int = 0
    channel: str | None = None
    subdir: str | None = None
    noarch: Literal["python", "generic"] | None = None
    md5: str | None = None
    constrains: tuple[str, ...] = ()
    track_features: tuple[str, ...] = ()
    license: str | None = None
    timestamp: int | None = None  # milliseconds since 1970
    python_site_packages_path: str | None = None
    # conda: PyPI distributions inside the package, `name==version`.
    provides: tuple[str, ...] = ()


class ParentLayer(_Table, frozen=True):
    """One image of the parent environment, and where it was when the lock was made. `digest` is a sha256."""

    kind: str
    key: Sha256
    digest: Sha256
    fingerprint: str
    size: int  # bytes
    image: str


class Parent(_Table, frozen=True):
    """The generation of another environment that this one adds to: all of it that a build needs.

    `path` is its directory, `prefix` where it is mounted, which is where this one will be too. `content` says what it
    holds, as its own record does (`GenerationRecord.content`); `layer` are its images, bottom first, those of its own
    parents among them; `package` all packages that are seen in it.
    """

    name: str
    path: str
    generation: int
    prefix: str
    platform: str
    python: str | None = None
    interpreter: str | None = None  # the host's, for a venv-type environment
    virtual_packages: tuple[str, ...] = ()
    content: tuple[Sha256, ...] = ()
    layer: tuple[ParentLayer, ...] = ()
    package: tuple[Package, ...] = ()


class LockedImage(_Table, frozen=True):
    """The image that programs see as their root: the sha256 of the file and its bytes."""

    digest: Sha256
    size: int


class LockedManifest(_Table, frozen=True):
    """The image of a registry that programs see as their root, for one platform.

    `digest` is the sha256 of its manifest, which names all that is in it, `size` the bytes of its layers, packed.
    """

    platform: str
    digest: Sha256
    size: int


class Lock(_Table, frozen=True):
    """A whole `tykky.lock`. `package` are the environment's own; with a parent, those that it adds or replaces."""

    lock_version: str
    requirements: Requirements
    resolvers: Resolvers = msgspec.field(default_factory=Resolvers)
    platform: tuple[LockedPlatform, ...] = ()
    parent: Parent | None = None
    image: LockedImage | None = None
    image_manifest: tuple[LockedManifest, ...] = ()
    package: tuple[Package, ...] = ()

    def packages(self, platform: str, kind: Kind | None = None) -> tuple[Package, ...]:
        """Return the environment's own packages of one platform (and kind), in the order of the file."""
        return tuple(p for p in self.package if p.platform == platform and kind in (None, p.kind))

    def held(self, platform: str, kind: Kind | None = None) -> tuple[Package, ...]:
        """Return all packages that are seen on a platform: the parent's, with our own added or in their place."""
        own = self.packages(platform, kind)
        if self.parent is None:
            return own
        ours = {(p.kind, p.name) for p in own}
        theirs = [p for p in self.parent.package if kind in (None, p.kind) and (p.kind, p.name) not in ours]
        return tuple(sorted((*theirs, *own), key=lambda p: (p.kind, p.name)))

    def manifest(self, platform: str) -> LockedManifest | None:
        """Return what is locked of a registry's image for one platform, or None."""
        return next((m for m in self.image_manifest if m.platform == platform), None)

    def locked_platform(self, name: str) -> LockedPlatform | None:
        """Return the entry of one platform, or None if the lock was not made for it."""
        return next((p for p in self.platform if p.name == name), None)
