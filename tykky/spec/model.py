"""The spec as frozen values. The JSON schema in `schemas/` is generated from these classes.

The smallest spec:

    [environment]
    name = "hello"

    [pypi]
    dependencies = ["cowsay"]
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

# In patterns, `$(?!\n)` is the end of the text: Python's bare `$` would take a line feed after it. `rule` is what
# a message says instead of the pattern.

# A name becomes a directory (`/tykky/<name>`), a host name in prompts and a file name in stores.
EnvironmentName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$(?!\n)",
        max_length=63,
        description="lower case letters, digits and hyphens; becomes the prefix /tykky/<name>",
        examples=["climate", "pytorch-2"],
        extra={"rule": "use lower case letters, digits and hyphens, with a letter or digit first and last"},
    ),
]
# rattler's own subdirs of Linux; other systems have neither squashfs mounts nor overlayfs.
Platform = Literal["linux-64", "linux-aarch64", "linux-ppc64le"]
RelativePath = Annotated[str, Meta(min_length=1, description="a path, relative to tykky.toml")]
Extended = Annotated[
    str,
    Meta(
        min_length=1,
        description="the environment this one adds to: its directory, or its name in the site's list of environments",
        examples=["/appl/envs/pytorch", "pytorch"],
    ),
]
# A TOML date-time or date is accepted too; the parser turns it into the text that both resolvers take.
Cutoff = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})?)?$(?!\n)",
        description="ignore artifacts that were published later",
        examples=["2026-11-01"],
        extra={"rule": "write a date, 2026-11-01, or a date with a time, 2026-11-01T12:00:00Z"},
    ),
]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A table of the spec: frozen, and strict about its keys."""


class Environment(_Table, frozen=True):
    """What the environment is called and where it can run."""

    name: EnvironmentName
    platforms: Annotated[
        tuple[Platform, ...], Meta(min_length=1, description="what the lock is made for, as conda subdirs")
    ] = ("linux-64",)
    exclude_newer: Cutoff | None = None
    extends: Extended | None = None
    extends_policy: Annotated[
        Literal["pinned", "upgrade"],
        Meta(
            description="pinned: packages of the extended environment stay as they are; upgrade: they may be replaced"
        ),
    ] = "pinned"


class CondaRequirement(_Table, frozen=True):
    """One conda requirement in full: `gdal = { version = ">=3.9", channel = "conda-forge", build = "*mpi*" }`."""

    version: Annotated[str, Meta(description="a conda version spec")] = "*"
    build: Annotated[str | None, Meta(description="a build string; `*` stands for any text")] = None
    channel: Annotated[str | None, Meta(description="the only channel this package may come from")] = None


class Conda(_Table, frozen=True):
    """Packages from conda channels. With this table the interpreter comes from conda."""

    channels: Annotated[
        tuple[str, ...], Meta(min_length=1, description="names on anaconda.org or URLs, the most important first")
    ] = ("conda-forge",)
    channel_priority: Annotated[
        Literal["strict", "disabled"],
        Meta(description="strict: a package comes from the first channel that has one of its name"),
    ] = "strict"
    resolver: Annotated[
        Literal["rattler", "conda-lock"],
        Meta(description="rattler solves by itself; conda-lock drives the host's own conda or mamba"),
    ] = "rattler"
    dependencies: Annotated[
        dict[str, str | CondaRequirement], Meta(description="what is wanted: name -> version spec")
    ] = {}
    constraints: Annotated[
        dict[str, str | CondaRequirement], Meta(description="limits for packages that come in only if needed")
    ] = {}
    virtual_packages: Annotated[
        dict[str, str],
        Meta(
            description="what the oldest node offers that shall run this, in place of the platform's defaults",
            examples=[{"__glibc": "2.28", "__cuda": "12.4"}],
        ),
    ] = {}
    post_link_scripts: Annotated[bool, Meta(description="run the post-link scripts of packages that have one")] = True


class Pypi(_Table, frozen=True):
    """Packages from a Python package index. Without `[conda]`, `python` chooses the interpreter."""

    python: Annotated[
        str | None, Meta(description="minor version ('3.11') or absolute path of the host's interpreter")
    ] = None
    managed_python: Annotated[bool, Meta(description="put an interpreter that uv manages into the image")] = False
    resolver: Annotated[
        Literal["uv", "pip-tools"], Meta(description="uv resolves for any platform; pip-tools for the one it runs on")
    ] = "uv"
    dependencies: Annotated[
        tuple[str, ...],
        Meta(
            description="what is wanted: PEP 508 requirements, and paths of projects, wheels and sdists",
            examples=[["numpy>=2", "mylib @ git+https://example.org/mylib.git@v1", "./local-package"]],
        ),
    ] = ()
    constraints: Annotated[tuple[str, ...], Meta(description="limits for packages that come in only if needed")] = ()
    overrides: Annotated[
        tuple[str, ...], Meta(description="requirements that replace what packages say they need")
    ] = ()
    index_url: Annotated[str | None, Meta(description="the index to ask instead of https://pypi.org/simple")] = None
    extra_index_url: Annotated[tuple[str, ...], Meta(description="indexes that are asked before index-url")] = ()
    find_links: Annotated[
        tuple[str, ...], Meta(description="directories and pages that hold or link to artifacts")
    ] = ()
    prerelease: Annotated[
        Literal["disallow", "allow", "if-necessary", "explicit", "if-necessary-or-explicit"],
        Meta(description="which pre-releases may be chosen, in uv's terms"),
    ] = "if-necessary-or-explicit"
    no_binary: Annotated[tuple[str, ...], Meta(description="packages built from source, never from a wheel")] = ()
    only_binary: Annotated[tuple[str, ...], Meta(description="packages taken as wheels, never built")] = ()
    no_build_isolation: Annotated[
        tuple[str, ...], Meta(description="packages built with what the environment holds instead of their own tools")
    ] = ()
    config_settings: Annotated[
        dict[str, dict[str, str | tuple[str, ...]]],
        Meta(description="settings for build backends: package -> setting -> value or values"),
    ] = {}


class Build(_Table, frozen=True):
    """How the images are made."""

    post_install: Annotated[
        tuple[RelativePath, ...],
        Meta(description="scripts run inside, in this order; what they change is a layer, their content is in its key"),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="files left out of the images: patterns, `**` crosses directories")
    ] = ()
    compression_level: Annotated[int, Meta(ge=1, le=22, description="zstd level")] = 3


class Runtime(_Table, frozen=True):
    """How programs of the environment run."""

    image: Annotated[
        str,
        Meta(
            description="the root programs see; host: this machine's own; else the path of a SIF or squashfs, or docker://…",
            examples=["host", "./root.sif", "/appl/images/el9.sqfs", "docker://rockylinux:9"],
        ),
    ] = "host"
    mounts: Annotated[
        tuple[str, ...],
        Meta(
            description="with an image: directories of the host that are seen in it; ~ is the home directory",
            examples=[["/scratch", "~"]],
        ),
    ] = ()
    environ: Annotated[dict[str, str], Meta(description="variables set for every program, taken as they are")] = {}
    user_site: Annotated[
        bool, Meta(description="let PYTHONPATH, PYTHONHOME and, in conda-type environments, ~/.local count")
    ] = False


class Spec(_Table, frozen=True):
    """A whole `tykky.toml`."""

    environment: Environment
    conda: Conda | None = None
    pypi: Pypi | None = None
    build: Build = msgspec.field(default_factory=Build)
    runtime: Runtime = msgspec.field(default_factory=Runtime)

    @property
    def prefix(self) -> str:
        """The absolute path at which the software believes it lives."""
        return f"/tykky/{self.environment.name}"
