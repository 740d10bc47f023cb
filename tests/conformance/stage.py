"""Small real environments: trees of each kind in three images, laid out as `tykky build` does it.

The suite tests launchers, so it makes its environments by hand: an image that hides a file of the one below, a
console script with a relocatable shebang, a program in the topmost image only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.channel.package import File, Link
from tests.channel.python import interpreter, python_package
from tests.standalone import archive, standalone_files
from tykky.layers.managed import settle, unpack
from tykky.layers.pypi import make_venv
from tykky.layers.tree import relocatable_script
from tykky.layers.venv_base import make_base
from tykky.lock.model import Package
from tykky.process import Commands
from tykky.runtime.host_image import make_host_image, make_inside, make_points_image
from tykky.runtime.isolated import Root
from tykky.runtime.model import Binds, Launch, Stack
from tykky.runtime.render import render_launch, render_launcher

PREFIX = "/tykky/demo"
CONSOLE_SCRIPT = b"#!/tykky/demo/bin/python\nimport sys\nprint(sys.executable)\nprint(sys.argv)\n"
_NAMES = ("python", "python3", f"python{sys.version_info[0]}.{sys.version_info[1]}", "tool", "extra", "absent")


@dataclass(frozen=True, slots=True)
class Images:
    """The images of one kind of environment, bottom first, and the names at the top of their merged tree."""

    kind: str
    files: tuple[Path, ...]
    names: tuple[str, ...]
    python: str  # the minor version
    prefix: str = PREFIX


def make_images(kind: str, folder: Path, prefix: str = PREFIX) -> Images:
    """Build the three images of `kind` (`venv`, `conda`, or `managed`: an interpreter from uv) in `folder`."""
    trees = [folder / str(number) / prefix.lstrip("/") for number in range(3)]
    for tree in trees:
        tree.mkdir(parents=True)
    minor = {"venv": _fill_venv, "conda": _fill_conda, "managed": _fill_managed}[kind](trees[0], prefix)
    packages = [tree / "lib" / f"python{minor}" / "site-packages" for tree in trees]
    (trees[0] / "include").mkdir(exist_ok=True)
    _write(packages[0] / "thing.py", "where = 'bottom'\n")
    _write(packages[0] / "gone.py", "")
    _write(packages[1] / "thing.py", "where = 'middle'\n")
    console_script = CONSOLE_SCRIPT.replace(PREFIX.encode(), prefix.encode())
    script = relocatable_script(console_script, [f"{prefix}/bin".encode()])
    assert script is not None
    _write(trees[1] / "bin" / "tool", script.decode(), 0o755)
    _write(trees[2] / "bin" / "extra", '#!/bin/sh\necho extra "$0"\n', 0o755)
    files = []
    for number in range(len(trees)):
        image = folder / f"{kind}-{number}.sqfs"
        whiteout = packages[1].relative_to(folder / "1") / "gone.py"
        extra = ["-p", f"{whiteout} c 0 0 0 0 0"] if number == 1 else []
        root = folder / str(number)
        subprocess.run(["chmod", "-R", "a+rX", root], check=True)
        options = ["-noappend", "-no-progress", "-quiet", "-all-root", "-comp", "zstd", "-Xcompression-level", "1"]
        subprocess.run(["mksquashfs", root, image, *options, *extra], check=True, stdout=subprocess.DEVNULL)
        image.chmod(0o644)
        subprocess.run(["rm", "-r", root], check=True)
        files.append(image)
    names = {"bin", "include", "lib"}
    names |= {"venv": {"lib64", "pyvenv.cfg"}, "managed": {"share"}}.get(kind, set())
    return Images(kind, tuple(files), tuple(sorted(names)), minor, prefix)


def lay_out(place: Path, images: Images, count: int = 3, *, parent: Path | None = None, **launch: object) -> Path:
    """Make an environment directory at `place` with the first `count` images, as its first generation.

    With a `parent`, all but the last image are that directory's; root is trusted.
    """
    private = place / ".tykky"
    (private / "layers").mkdir(parents=True)
    layers = []
    for number, image in enumerate(images.files[:count]):
        if parent is not None and number < count - 1:
            layers.append(os.fspath(parent / ".tykky" / "layers" / image.name))
            continue
        os.link(image, private / "layers" / image.name)
        layers.append(f".tykky/layers/{image.name}")
    binds = launch.get("binds")
    assert binds is None or isinstance(binds, Binds)
    root = launch.get("root")
    assert root is None or isinstance(root, Root)
    if root is None:
        make_host_image(private / "host.sqfs", images.prefix, images.names, binds=binds, place=place)
    else:
        make_points_image(private / "points.sqfs", images.prefix, images.names, root.mounts, place=place)
    make_inside(private / "inside", images.prefix, images.names)
    stack = Stack(images.prefix, tuple(layers), trusted=None if parent is None else (0,))
    launch = {"python": images.python, "brings_python": images.kind != "venv", **launch}
    publish(place, 1, Launch(stack, name="demo", **launch))
    (place / "bin").mkdir()
    first = place / "bin" / "python"
    first.write_text(render_launcher())
    first.chmod(0o755)
    for name in _NAMES[1:]:
        os.link(first, place / "bin" / name)
    return place


def publish(place: Path, number: int, launch: Launch) -> None:
    """Write a generation and switch to it by rename."""
    generation = place / ".tykky" / "generations" / str(number)
    generation.mkdir(parents=True)
    (generation / "launch.sh").write_bytes(render_launch(launch).encode("utf-8", "surrogateescape"))
    fresh = place / ".tykky" / "current.new"
    fresh.symlink_to(f"generations/{number}")
    fresh.rename(place / ".tykky" / "current")


def host_python() -> Path:
    """Return an interpreter that other users can run too: the host's, or else the one that runs the tests."""
    system = Path("/usr/bin/python3")
    return system.resolve() if system.exists() else Path(sys.executable).resolve()


def _fill_venv(tree: Path, _: str) -> str:
    """Write the skeleton that `tykky build` writes; return the minor version of the host's Python."""
    python = host_python()
    question = "import platform; print(platform.python_version())"
    version = subprocess.check_output([python, "-I", "-c", question], text=True)
    minor = ".".join(version.split(".")[:2])
    make_venv(tree, python, minor)
    make_base(tree, python, minor, Commands())
    return minor


def _fill_conda(tree: Path, _: str) -> str:
    """Write a conda package of the Python that runs the tests; return its minor version."""
    for name, item in python_package(interpreter()).files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item, Link):
            path.symlink_to(item.target)
        elif isinstance(item, File):
            path.write_bytes(item.data)
            path.chmod(item.mode)
    return interpreter().minor


def _fill_managed(tree: Path, prefix: str) -> str:
    """Unpack an archive like those of uv as `tykky build` does; return the minor version."""
    version = interpreter().version
    file = tree.parent / "cpython.tar.gz"
    file.write_bytes(archive(standalone_files(interpreter(), version)))
    unpack(file, tree)
    settle(tree, prefix, Package("cpython", version, "python", "linux-64"))
    file.unlink()
    return interpreter().minor


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
