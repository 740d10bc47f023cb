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
# A directory of the host's root that programs can do without. The others hold the host's programs, their settings and
# devices, or are Tykky's own.
RootDirectory = Annotated[
    str,
    Meta(
        pattern=r"^/(?!(?:bin|dev|etc|lib|lib32|lib64|libx32|proc|sbin|sys|tmp|tykky|usr|\.{1,2})$)[^/\0]+$(?!\n)",
        description="a directory of the root, such as /boot",
        extra={"rule": "write a directory of the root that programs can do without, such as /boot"},
    ),
]
# Below the root. No dots: what such a path names changes with what it passes.
HostDirectory = Annotated[
    str,
    Meta(
        pattern=r"^(?:/(?!\.{1,2}(?:/|$))[^/\0]+)+$(?!\n)",
        description="an absolute path",
        extra={"rule": "write an absolute path without . and .."},
    ),
]
# Bytes, as lfs setstripe takes them: its stripes are multiples of 64 KiB (lfs-setstripe(1)).
Size = Annotated[
    str,
    Meta(
        pattern=r"^(?:0|[1-9][0-9]*[kMG])$(?!\n)",
        examples=["4M"],
        extra={"rule": "write a number with k, M or G, such as 4M"},
    ),
]
Pool = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,31}$(?!\n)", extra={"rule": "write the name of a pool of the file system"})
]
Message = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$",  # line feeds and tabs are text; an escape is not
        extra={"rule": "it holds a control character"},
    ),
]
Owner = Annotated[str, Meta(min_length=1)] | Annotated[int, Meta(ge=0, le=2**32 - 2)]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A table of site.toml: frozen, and strict about its keys."""


class Runtime(_Table, frozen=True):
    """Which backends may start programs here, and what of the host they show."""

    backends: Annotated[
        tuple[Backend, ...], Meta(min_length=1, description="the backends that may be used, in the order of trial")
    ] = ("namespace", "apptainer")
    no_bind: Annotated[
        tuple[RootDirectory, ...],
        Meta(description="directories of the host's root that programs do not see; they see all others"),
    ] = ()
    bind: Annotated[
        tuple[HostDirectory, ...],
        Meta(description="directories that programs see although no-bind has what they lie in"),
    ] = ()


class Programs(_Table, frozen=True):
    """Programs that are not on everybody's PATH."""

    apptainer: AbsolutePath | None = None
    squashfuse: AbsolutePath | None = None
    mksquashfs: AbsolutePath | None = None


class Build(_Table, frozen=True):
    """Where and how images are made, and what `[build] post-install` scripts may do."""

    scratch: Annotated[
        AbsolutePath | None, Meta(description="fast, local to the node, and can hold a tree of many files")
    ] = None
    script_network: Annotated[bool, Meta(description="whether post-install scripts may reach the network")] = True
    processors: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="how many processors a build uses at most, of those it may")
    ] = None
    message: Annotated[Message | None, Meta(description="what 'tykky build' tells its user first")] = None


class Striping(_Table, frozen=True):
    """How images are spread over the targets (OSTs) of a Lustre file system, where `lfs` is on PATH."""

    count: Annotated[
        Annotated[int, Meta(ge=-1, le=2000)] | None, Meta(description="targets for a large image; -1: all there are")
    ] = None
    size: Annotated[Size | None, Meta(description="bytes on one target before the next; a multiple of 64k")] = None
    pool: Annotated[Pool | None, Meta(description="the pool that the targets are taken from")] = None
    above: Annotated[
        Size, Meta(description="what of an image is on one target in any case, so that small ones are; 0: nothing")
    ] = "64M"


class Python(_Table, frozen=True):
    """Where interpreters that uv manages come from."""

    downloads: Annotated[
        str | None,
        Meta(description="URL or absolute path of a list to use instead of uv's own, in the format of uv's"),
    ] = None


class Init(_Table, frozen=True):
    """What `tykky init` writes into a new tykky.toml. What a spec does not say means the same at every site."""

    channels: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1, description="[conda] channels")
    ] = ("conda-forge",)
    index_url: Annotated[str | None, Meta(description="[pypi] index-url")] = None
    extra_index_url: Annotated[tuple[str, ...], Meta(description="[pypi] extra-index-url")] = ()
    compression_level: Annotated[
        Annotated[int, Meta(ge=1, le=22)] | None, Meta(description="[build] compression-level")
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
    gc_grace: Annotated[
        int,
        Meta(
            ge=0,
            le=3650,
            description="days that gc keeps a generation after another one took its place, whatever it "
            "is asked for: environments that extend it may not be able to say so",
        ),
    ] = 0


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
        dict[str, str], Meta(description="URL prefix of a channel, index or registry -> URL prefix to ask in its place")
    ] = {}
    trust: Trust = msgspec.field(default_factory=Trust)
    policy: Policy = msgspec.field(default_factory=Policy)
    runtime: Runtime = msgspec.field(default_factory=Runtime)
    programs: Programs = msgspec.field(default_factory=Programs)
    build: Build = msgspec.field(default_factory=Build)
    striping: Striping = msgspec.field(default_factory=Striping)
    python: Python = msgspec.field(default_factory=Python)
    init: Init = msgspec.field(default_factory=Init)
