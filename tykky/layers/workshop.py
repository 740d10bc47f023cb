"""What building a layer needs from the outside: ports and settings, handed in once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tykky.access import Access
from tykky.layers.squashfs import Version
from tykky.process import Commands
from tykky.progress import Reporter


class Inside(Protocol):
    """Runs programs where a stack is mounted at its prefix and the host's root is otherwise as it is."""

    def argv(self, prefix: str, images: Sequence[Path], tree: Path | None, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` inside.

        `images` are bottom first. Without images, `tree` is mounted writable at the prefix; with images it is the
        topmost, read-only. Raises `RuntimeUnavailable` if this host can mount nothing.
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

    @property
    def processors(self) -> int:
        """How many processors this process may use: a job's share, not the node's."""
        return len(os.sched_getaffinity(0))
