"""What one site, and one user, has set: `site.toml`.

Three files are read, and the later wins key by key: of a list the whole, of a table (`mirrors`, `environments`) each
entry by itself.

    /etc/tykky/site.toml                          the host's administrators
    $TYKKY_SITE                                   a site's own place, e.g. set by its module file
    ${XDG_CONFIG_HOME:-~/.config}/tykky/site.toml  the user

An example:

    store = "~/tykky/store"
    stores = ["/appl/tykky/store"]

    [mirrors]
    "https://conda.anaconda.org/conda-forge" = "https://mirror.example.org/conda-forge"
    "https://pypi.org/simple" = "file:///appl/pypi/simple"

    [environments]
    pytorch = "/appl/envs/pytorch"

    [trust]
    owners = ["appl"]

    [runtime]
    backends = ["apptainer"]

    [programs]
    squashfuse = "/usr/libexec/apptainer/bin/squashfuse_ll"

    [build]
    scratch = "/local_scratch"
    script-network = false

    [python]
    downloads = "/appl/python/downloads.json"
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Backend = Literal["namespace", "apptainer"]
AbsolutePath = Annotated[
    str,
    Meta(pattern=r"^/[^\0]*$(?!\n)", description="an absolute path", extra={"rule": "write an absolute path"}),
]
HomePath = Annotated[
    str,
    Meta(
        pattern=r"^(?:~/|/)[^\0]*$(?!\n)",
        description="an absolute path, or one below ~/",
        extra={"rule": "write an absolute path, or one below ~/"},
    ),
]
# What a spec may name in `extends`. No slash and no tilde: those make it a path.
SharedName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$(?!\n)",
        extra={"rule": "a name has letters, digits and . _ + - and begins with a letter or digit"},
    ),
]
Owner = Annotated[str, Meta(min_length=1)] | Annotated[int, Meta(ge=0, le=2**32 - 2)]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A table of site.toml: frozen, and strict about its keys."""


class Runtime(_Table, frozen=True):
    """Which backends may start programs here, in the order of trial."""

    backends: Annotated[tuple[Backend, ...], Meta(min_length=1)] = ("namespace", "apptainer")


class Programs(_Table, frozen=True):
    """Programs that are not on everybody's PATH."""

    apptainer: AbsolutePath | None = None
    squashfuse: AbsolutePath | None = None
    mksquashfs: AbsolutePath | None = None


class Build(_Table, frozen=True):
    """Where images are made, and what `[build] post-install` scripts may do."""

    scratch: Annotated[
        AbsolutePath | None, Meta(description="fast, local to the node, and can hold a tree of many files")
    ] = None
    script_network: Annotated[bool, Meta(description="whether post-install scripts may reach the network")] = True


class Python(_Table, frozen=True):
    """Where interpreters that uv manages come from."""

    downloads: Annotated[
        str | None,
        Meta(description="URL or absolute path of a list to use instead of uv's own, in the format of uv's"),
    ] = None


class Trust(_Table, frozen=True):
    """Whose images are used, beside one's own and root's."""

    owners: Annotated[
        tuple[Owner, ...], Meta(description="names or numbers of users; a later file replaces the whole list")
    ] = ()


class Policy(_Table, frozen=True):
    """How deep a stack of layers may grow, and what is done about it."""

    depth: Annotated[
        int, Meta(ge=2, le=32, description="layers that a build stacks at most; then one delta replaces the others")
    ] = 8
    flatten_from: Annotated[
        int, Meta(ge=2, le=32, description="layers from which on a flatten is proposed or done")
    ] = 6
    flatten: Annotated[
        Literal["propose", "do"], Meta(description="propose: a build says so; do: it makes one layer of them")
    ] = "propose"


class Settings(_Table, frozen=True):
    """A whole `site.toml`, or several of them merged."""

    store: Annotated[HomePath | None, Meta(description="the user's directory of images, which gets every new one")] = (
        None
    )
    stores: Annotated[
        tuple[AbsolutePath, ...],
        Meta(description="directories of images that are only read, in the order of asking"),
    ] = ()
    environments: Annotated[
        dict[SharedName, HomePath],
        Meta(description="environments that a spec may extend by their name: name -> environment directory"),
    ] = {}
    mirrors: Annotated[
        dict[str, str], Meta(description="URL prefix of a channel or index -> URL prefix to ask in its place")
    ] = {}
    trust: Trust = msgspec.field(default_factory=Trust)
    policy: Policy = msgspec.field(default_factory=Policy)
    runtime: Runtime = msgspec.field(default_factory=Runtime)
    programs: Programs = msgspec.field(default_factory=Programs)
    build: Build = msgspec.field(default_factory=Build)
    python: Python = msgspec.field(default_factory=Python)
