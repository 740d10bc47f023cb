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
    platforms: Annotated[tuple[Platform, ...], Meta(min_length=1)] = ("linux-64",)
    exclude_newer: Cutoff | None = None


class CondaRequirement(_Table, frozen=True):
    """One conda requirement in full: `gdal = { version = ">=3.9", channel = "conda-forge", build = "*mpi*" }`."""

    version: str = "*"
    build: str | None = None
    channel: str | None = None


class Conda(_Table, frozen=True):
    """Packages from conda channels. With this table the interpreter comes from conda."""

    channels: Annotated[tuple[str, ...], Meta(min_length=1)] = ("conda-forge",)
    channel_priority: Literal["strict", "disabled"] = "strict"
    resolver: Literal["rattler", "conda-lock"] = "rattler"
    dependencies: dict[str, str | CondaRequirement] = {}
    constraints: dict[str, str | CondaRequirement] = {}
    # Overrides of what the oldest supported node offers, e.g. { "__glibc" = "2.28", "__cuda" = "12.4" }.
    virtual_packages: dict[str, str] = {}
    post_link_scripts: bool = True


class Pypi(_Table, frozen=True):
    """Packages from a Python package index. Without `[conda]`, `python` chooses the interpreter."""

    python: Annotated[
        str | None, Meta(description="minor version ('3.11') or absolute path of the host's interpreter")
    ] = None
    managed_python: Annotated[bool, Meta(description="put an interpreter that uv manages into the image")] = False
    resolver: Literal["uv", "pip-tools"] = "uv"
    dependencies: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    prerelease: Literal["disallow", "allow", "if-necessary", "explicit", "if-necessary-or-explicit"] = (
        "if-necessary-or-explicit"
    )
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    no_build_isolation: tuple[str, ...] = ()
    # { package = { setting = value or [values] } }
    config_settings: dict[str, dict[str, str | tuple[str, ...]]] = {}


class Build(_Table, frozen=True):
    """How the images are made."""

    post_install: tuple[RelativePath, ...] = ()
    exclude: tuple[str, ...] = ()
    compression_level: Annotated[int, Meta(ge=1, le=22, description="zstd level")] = 3


class Runtime(_Table, frozen=True):
    """How programs of the environment run."""

    image: str = "host"
    environ: dict[str, str] = {}


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
