"""Stacks of real images with a Python, and script layers on top of them, made in either way."""

from __future__ import annotations

import compileall
import os
import py_compile
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tykky.access import Access
from tykky.cli.ports import open_inside
from tykky.digests import file_sha256
from tykky.errors import RuntimeUnavailable
from tykky.layers import script
from tykky.layers.keys import PlannedLayer
from tykky.layers.lower import Lower, list_image, listing
from tykky.layers.squashfs import mksquashfs, pack, pack_argv
from tykky.layers.staged import finish
from tykky.layers.workshop import Inside, Workshop
from tykky.process import Commands
from tykky.progress import Silent
from tykky.site.model import Build as SiteBuild
from tykky.site.model import Settings
from tykky.site.offer import Site
from tykky.store.images import Store

PREFIX = "/tykky/demo"
MINOR = ".".join(map(str, sys.version_info[:2]))
SITE = f"lib/python{MINOR}/site-packages"
TAG = sys.implementation.cache_tag


class Notes(Silent):
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@dataclass(frozen=True)
class NoOverlay:
    """An inside whose site has nothing that keeps what is written over images."""

    inner: Inside

    @property
    def script_network(self) -> bool:
        return self.inner.script_network

    def argv(self, prefix: str, images: Sequence[Path], tree: Path | None, command: Sequence[str]) -> list[str]:
        return self.inner.argv(prefix, images, tree, command)

    def writable(self, prefix: str, images: Sequence[Path], changes: Path, command: Sequence[str]) -> list[str]:
        raise RuntimeUnavailable("not on this host")

    def require(self) -> None:
        self.inner.require()


@dataclass(frozen=True)
class Built:
    """A script layer. `shown` are its paths below the prefix, whiteouts too."""

    digest: str
    whiteouts: tuple[str, ...]
    shown: dict[str, Lower]
    image: Path
    notes: list[str]


@dataclass(frozen=True)
class Bench:
    """Where images and layers are made."""

    folder: Path
    site: Site = field(default_factory=Site)

    def workshop(self, name: str, *, overlay: bool = True) -> Workshop:
        scratch = self.folder / name
        scratch.mkdir(mode=0o700)
        commands = Commands()
        inside = open_inside(self.site, scratch)
        return Workshop(
            access=Access(cache=self.folder / "cache", offline=True, mirrors={}),
            commands=commands,
            reporter=Notes(),
            inside=inside if overlay else NoOverlay(inside),
            packer=mksquashfs(commands),
            uv=Path("uv"),
            scratch=scratch,
        )

    def image(self, name: str, files: dict[str, str], whiteouts: Sequence[str] = ()) -> Path:
        """Make an image of text files, symlinks (`-> target`) and directories (paths that end with a slash)."""
        root = self.folder / f"{name}-root"
        tree = root / PREFIX.lstrip("/")
        tree.mkdir(parents=True)
        for path, text in files.items():
            place = tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                place.mkdir(exist_ok=True)
            elif text.startswith("-> "):
                place.symlink_to(text.removeprefix("-> "))
            else:
                place.write_text(text)
                place.chmod(0o755 if text.startswith("#!") else 0o644)
        if (tree / SITE).is_dir():
            compileall.compile_dir(
                tree / SITE,
                quiet=2,
                ddir=f"{PREFIX}/{SITE}",
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        image = self.folder / f"{name}.sqfs"
        argv = pack_argv(
            mksquashfs(Commands()).program,
            root,
            image,
            level=1,
            whiteouts=[f"{PREFIX.lstrip('/')}/{path}" for path in whiteouts],
        )
        pack(argv, Commands(), image, lambda _: None)
        return image

    def stack(self) -> list[Path]:
        """Make a bottom layer with a Python, and one on top that hides and replaces some of it."""
        python = Path(sys.executable).resolve()
        bottom = self.image(
            "bottom",
            {
                "bin/python": f"-> {python}",
                "bin/tool": "#!/bin/sh\necho tool\n",
                "pyvenv.cfg": f"home = {python.parent}\nversion = {MINOR}\n",
                "lib64": "-> lib",
                f"{SITE}/pkg/__init__.py": "WHO = 'bottom'\n",
                f"{SITE}/pkg/mod.py": "WHO = 'mod'\n",
                f"{SITE}/pkg/left.py": "WHO = 'left'\n",
                f"{SITE}/other.py": "WHO = 'other'\n",
                f"{SITE}/alone/only.py": "WHO = 'only'\n",
                "share/a/1": "one\n",
                "share/a/2": "two\n",
                "share/a/deep/3": "three\n",
                "share/b": "text\n",
                "share/hidden/below": "seen by nobody\n",
                "share/swap": "-> a",
                "share/odd [x]*? \\ name ": "odd\n",
                "share/l -> m": "-> a -> b",
                "share/empty/": "",
            },
        )
        top = self.image(
            "top", {"share/b": "changed\n", "share/swap/in": "a directory now\n"}, whiteouts=["share/hidden"]
        )
        return [bottom, top]

    def script(self, text: str, name: str = "post.sh") -> Path:
        path = self.folder / "scripts" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def layer(self, name: str, images: Sequence[Path], *scripts: Path, overlay: bool, **environ: str) -> Built:
        """Make the layer of some scripts over some images."""
        workshop = self.workshop(name, overlay=overlay)
        document = {"prefix": PREFIX, "exclude": [], "squashfs": {"level": 3}}
        planned = PlannedLayer("script", "0" * 64, document, (), "post.sh")
        staged = script.stage(planned, scripts, images, workshop, environ)
        store = Store(self.folder / f"{name}-store")
        manifest = finish(planned, staged, store, workshop)
        image = store.image(planned.key)
        assert isinstance(workshop.reporter, Notes)
        shown = listing(list_image(image, workshop.commands), PREFIX)
        return Built(file_sha256(image), manifest.whiteouts, shown, image, workshop.reporter.notes)

    def ask(self, name: str, images: Sequence[Path], code: str) -> str:
        """Return what the environment's Python prints."""
        argv = self.workshop(name).inside.argv(PREFIX, images, None, [f"{PREFIX}/bin/python", "-s", "-c", code])
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/"})
        assert done.returncode == 0, done.stderr
        return done.stdout


def without_network() -> Site:
    """Return a site whose scripts must not reach the network."""
    return Site(Settings(build=SiteBuild(script_network=False)))
