"""What building a layer needs from the outside: ports and settings, handed in once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from tykky.access import Access
from tykky.layers.squashfs import Version
from tykky.process import Commands
from tykky.progress import Reporter
from tykky.site.model import Striping

# Turns a command line into one that runs where some layers are visible at the prefix.
Enter: TypeAlias = Callable[[Sequence[str]], list[str]]
# Returns the argv that starts the environment's Python, or one like it. Not called where nothing has to be compiled.
Start: TypeAlias = Callable[[], Sequence[str]]


class Inside(Protocol):
    """Runs programs where a stack is mounted at its prefix and the host's root is otherwise as it is."""

    @property
    def script_network(self) -> bool:
        """Whether the site lets `post-install` scripts reach the network."""
        ...

    def argv(self, prefix: str, images: Sequence[Path], tree: Path | None, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` inside.

        `images` are bottom first. Without images, `tree` is mounted writable at the prefix; with images it is the
        topmost, read-only. Raises `RuntimeUnavailable` if this host can mount nothing.
        """
        ...

    def writable(self, prefix: str, images: Sequence[Path], changes: Path, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` over `images`, at least one, which it can write.

        What it writes goes to `changes/upper`, in the form of overlayfs (`tykky.layers.upper` reads it). Raises
        `RuntimeUnavailable` if no backend of this site can do that; one that should and cannot ends with a status
        other than 0, and does not start `command`.
        """
        ...

    def require(self) -> None:
        """Raise `RuntimeUnavailable`, naming what is missing, if this host can mount nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Workshop:
    """The tools of one build. `scratch` is a private directory that is gone when the build ends."""

    access: Access
    commands: Commands
    reporter: Reporter
    inside: Inside
    packer: Version
    uv: Path
    scratch: Path
    striping: Striping = field(default_factory=Striping)
    most_processors: int | None = None

    @property
    def processors(self) -> int:
        """How many processors this process may use: a job's share, not the node's, and no more than the site says."""
        share = len(os.sched_getaffinity(0))
        return share if self.most_processors is None else min(share, self.most_processors)
