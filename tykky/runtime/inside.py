"""Run programs with a stack shown at its prefix, while an environment is being built.

The same shell text as a launch, without an environment directory: no path identity, no activation, one way only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tykky.errors import RuntimeUnavailable
from tykky.process import Commands
from tykky.runtime.host_image import make_host_image
from tykky.runtime.model import BACKENDS, EXIT_NO_BACKEND, Binds, Stack
from tykky.runtime.render import render_inside


@dataclass(frozen=True, slots=True)
class Inside:
    """Makes command lines that run inside.

    `scratch` is a private directory on this node; it must live as long as the commands. `backends` are tried in
    order and `programs` maps `apptainer`, `squashfuse_ll` and `unshare` to a site's own paths.
    """

    scratch: Path
    backends: tuple[str, ...] = BACKENDS
    programs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    mksquashfs: Path | None = None
    binds: Binds = field(default_factory=Binds)

    def argv(self, stack: Stack, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` with `stack` shown at its prefix and the host all around.

        Without images, `stack.tree` is shown read-write. With images, it is on top of them, and nothing can be
        written. With `stack.changes` the images can be written; only the backend `namespace` does that, by a kernel
        overlay, and `RuntimeUnavailable` is raised if it is none of the backends. A relative program path is looked
        up in the working directory, which stays what it is. The exit status is the program's; see
        `tykky.runtime.model` for the launch's own.
        """
        if not argv:
            raise ValueError("no program to run")
        if any(not image.startswith("/") for image in stack.images):
            raise ValueError("while building, images have absolute paths")
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        backends = self.backends
        if stack.changes is not None:
            backends = _keeping(backends)
            for name in ("upper", "work"):
                (stack.changes / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        host = self.scratch / f"host-{stack.prefix.replace('/', '-')}.sqfs"
        if "apptainer" in backends and not host.exists():
            make_host_image(host, stack.prefix, (), binds=self.binds, program=self.mksquashfs)
        text = render_inside(stack, str(host), backends, self.programs, self.binds)
        script = text.encode("utf-8", "surrogateescape")
        # A file, so that logs of command lines stay readable. Its name is its content: safe for several at once.
        file = self.scratch / f"inside-{hashlib.sha256(script).hexdigest()[:16]}.sh"
        file.write_bytes(script)
        return ["/bin/sh", str(file), *argv]

    def require(self, stack: Stack | None = None) -> None:
        """Try it with `stack`, by default an empty tree.

        Raises `RuntimeUnavailable`, naming what is missing, if no backend works here.
        """
        if stack is None:
            tree = self.scratch / "empty"
            tree.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack = Stack("/tykky/probe", tree=tree)
        argv = self.argv(stack, ["/bin/sh", "-c", f"test -d {stack.prefix}"])
        done = Commands().run(argv, check=False)
        if done.status == 0:
            return
        reason = "no backend works on this host"
        if done.status != EXIT_NO_BACKEND:
            reason = "the backend that was found cannot show a directory"
        raise RuntimeUnavailable(
            reason,
            hint="run 'tykky doctor': it says what is missing and how to get it",
            output=done.stderr.strip() or None,
        )


def _keeping(backends: tuple[str, ...]) -> tuple[str, ...]:
    """Return the backends that can keep what is written over images."""
    if "namespace" not in backends:
        raise RuntimeUnavailable(
            "what is written can be kept by the backend namespace only, and this site does not use it",
            hint="add it to [runtime] backends in site.toml",
        )
    return ("namespace",)
