"""What a launch needs to know, as frozen values: the stack to show, and how its programs start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tykky.runtime.isolated import Root

FORMAT = 1  # of launch.sh; the launcher refuses one that is newer than it knows

# What the launcher itself answers, before a program of the environment runs. Everything else is the program's
# own exit status. 126 and 127 keep their usual meaning (cannot be executed, not found).
EXIT_CANNOT_NEST = 121  # inside another environment, and this host cannot mount again there
EXIT_DAMAGED = 122  # the environment directory lacks an image or its launch.sh
EXIT_MOUNT_FAILED = 123  # a backend was chosen and then could not mount
EXIT_NO_BACKEND = 125  # no backend works on this host

BACKENDS = ("namespace", "apptainer")

TICK = 2  # seconds between a keeper's looks at whether its mounts are still wanted

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MINOR = re.compile(r"[0-9]+\.[0-9]+")
_PREFIX = re.compile(r"(/[A-Za-z0-9._+-]+)+")


@dataclass(frozen=True, slots=True)
class Stack:
    """What is shown at `prefix`.

    `images` are paths of images, bottom first: absolute, or relative to the environment directory. In each, the
    tree lies below the prefix (docs/decisions/0002-image-layout.md). `tree` is a host directory that is shown at
    the prefix itself, for builds: read-only on top of the images, or read-write if there are none. `changes` makes
    the images writable, for builds: what programs write goes to the directory `upper` in it, in the form of overlayfs;
    beside it, `work` is the kernel's. `sizes` are the images' bytes, where a launch shall find out about damaged ones.
    With `trusted`, images with an absolute path are used only if they belong to one of these uids, to root or to who
    launches, and if nobody else can write to them; and, if it is known of them in `files` (inode, seconds since 1970),
    if they have not been written to since.
    """

    prefix: str
    images: tuple[str, ...] = ()
    tree: Path | None = None
    changes: Path | None = None
    sizes: tuple[int, ...] = ()
    trusted: tuple[int, ...] | None = None
    files: tuple[tuple[int, int] | None, ...] = ()

    @property
    def lent(self) -> tuple[int, ...]:
        """The numbers of the images that are in other environment directories."""
        return tuple(number for number, image in enumerate(self.images) if image.startswith("/"))

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix) or self.prefix.count("/") < 2:
            raise ValueError(f"not a prefix: {self.prefix!r}")
        if any("\0" in image or not image for image in self.images):
            raise ValueError("an image needs a path")
        if self.sizes and len(self.sizes) != len(self.images):
            raise ValueError("sizes are those of the images")
        if self.changes is not None and (not self.images or self.tree is not None):
            raise ValueError("changes lie on top of images, and of nothing else")


@dataclass(frozen=True, slots=True)
class Binds:
    """Which directories of the host programs see: those of its root, but for `hidden`, and `shown` in any case.

    `hidden` are directories of the root, `shown` absolute paths of any depth. Neither is looked at before a launch, and
    one that is hidden not even then: it may be a mount whose server is gone.
    """

    hidden: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for path in (*self.hidden, *self.shown):
            if not path.startswith("/") or path == "/" or "\0" in path or {".", "..", ""} & set(path.split("/")[1:]):
                raise ValueError(f"no directory below the root: {path!r}")

    def hides(self, path: str) -> bool:
        """Say whether a path lies in what programs do not see."""
        if any(path == place or path.startswith(f"{place}/") for place in self.shown):
            return False
        return "/" + path.split("/")[1] in self.hidden


@dataclass(frozen=True, slots=True)
class Launch:
    """All that `launch.sh` of one generation holds.

    `activation` is the patch that the packages' activate scripts make: a value, or None to unset the variable.
    `environ` is the spec's own and is applied last. PATH gets `P/bin` and then `path_prepend` in front; a PATH in
    `activation` does not count (it would replace the user's), one in `environ` stands in for the user's.
    `backends` are tried in this order; `programs` maps `apptainer`, `squashfuse_ll` or `unshare` to the site's
    path of it. With `user_site` false, `~/.local`, PYTHONPATH and PYTHONHOME do not count. `idle` is for how many
    seconds shared mounts are kept that no program uses. With `root`, programs see that image and what it names of the
    host; `binds` do not count then. `python` is the minor version of the environment's Python, if it has one, and
    `brings_python` says that its interpreter is in the images: what each start reads of it is read ahead.
    """

    stack: Stack
    name: str
    activation: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    path_prepend: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    backends: tuple[str, ...] = BACKENDS
    programs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    user_site: bool = False
    idle: int = 20
    binds: Binds = field(default_factory=Binds)
    root: Root | None = None
    python: str | None = None
    brings_python: bool = False

    def __post_init__(self) -> None:
        if not self.stack.images or self.stack.tree is not None or self.stack.changes is not None:
            raise ValueError("a published environment consists of images")
        if self.python is not None and not _MINOR.fullmatch(self.python):
            raise ValueError(f"no minor version of Python: {self.python!r}")
        for name in (*self.activation, *self.environ):
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"a shell cannot set the variable {name!r}")
        for text in (*self.activation.values(), *self.environ.values(), *self.path_prepend):
            if text is not None and "\0" in text:
                raise ValueError("a value cannot hold a null byte")
        if not self.backends or not set(self.backends) <= set(BACKENDS):
            raise ValueError(f"backends are {', '.join(BACKENDS)}: {self.backends!r}")


@dataclass(frozen=True, slots=True)
class Beside:
    """Another environment that a launch shows beside its own, at its prefix and at its place.

    `path` is its directory as it was named, `real` without links; both are absolute. Its programs come into PATH;
    nothing else of how they start by themselves counts.
    """

    path: str
    real: str
    stack: Stack
    path_prepend: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for path in (self.path, self.real):
            if not path.startswith("/") or "\0" in path:
                raise ValueError(f"no absolute path: {path!r}")
        if not self.stack.images or self.stack.tree is not None or self.stack.changes is not None:
            raise ValueError("a published environment consists of images")

    @property
    def images(self) -> tuple[str, ...]:
        """The absolute paths of its images, bottom first."""
        return tuple(image if image.startswith("/") else f"{self.real}/{image}" for image in self.stack.images)
