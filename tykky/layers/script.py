"""The script layer: what `[build] post-install` changes, as a delta over the layers below.

The scripts see the merged tree writable at the prefix: the lower images are extracted into a staged tree, the
scripts run inside with it, and what differs afterwards is the layer. Reading the whole stack back is slow, but it
is the way that works on every host.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tykky.digests import file_fingerprint
from tykky.errors import BuildError, ToolError
from tykky.layers.keys import PlannedLayer
from tykky.layers.squashfs import INSTALL_HINT
from tykky.layers.staged import Staged
from tykky.layers.tree import Entry, scan
from tykky.layers.workshop import Workshop
from tykky.process import CommandFailed, which


def stage(
    planned: PlannedLayer, scripts: Sequence[Path], below: Sequence[Path], workshop: Workshop, environ: dict[str, str]
) -> Staged:
    """Run the scripts over the stack `below`; return what they changed. `environ` is the environment's activation."""
    prefix: str = planned.document["prefix"]
    merged_root = workshop.scratch / "merged"
    merged = merged_root / prefix.lstrip("/")
    extract(below, merged_root, workshop)
    merged.mkdir(parents=True, exist_ok=True)
    before = snapshot(merged)
    run_scripts(scripts, prefix, merged, workshop, environ)
    image_root = workshop.scratch / "script"
    tree = image_root / prefix.lstrip("/")
    tree.mkdir(parents=True)
    gone = keep_difference(merged, tree, before, snapshot(merged))
    python = merged / "bin" / "python"
    interpreter = None
    if python.is_symlink() or python.exists():
        interpreter = tuple(workshop.inside.argv(prefix, (), merged, [f"{prefix}/bin/python"]))
    return Staged(image_root=image_root, tree=tree, packages=(), interpreter=interpreter, whiteouts=gone)


def extract(images: Sequence[Path], root: Path, workshop: Workshop) -> None:
    """Unpack images over one another, bottom first, honouring the whiteouts of each."""
    unsquashfs = which("unsquashfs", hint=INSTALL_HINT)
    root.mkdir(parents=True, exist_ok=True)
    for image in images:
        with workshop.reporter.phase(f"unpack {image.name[:12]} for the scripts"):
            listing = workshop.commands.run([unsquashfs, "-lln", "-no-progress", image], hint=INSTALL_HINT).stdout
            for path in whiteouts_in(listing):
                _remove(root / path)
            # -f: over what is there already; devices cannot be made without privilege and are not wanted
            argv: list[str | Path] = [unsquashfs, "-f", "-no-progress", "-quiet", "-no-xattrs", "-d", root, image]
            result = workshop.commands.run(argv, check=False, hint=INSTALL_HINT)
            if result.status not in (0, 2):
                raise BuildError(f"{image} cannot be unpacked", output=result.stderr)
            for path in whiteouts_in(listing):
                _remove(root / path)


def whiteouts_in(listing: str) -> list[str]:
    """Return the paths of 0:0 character devices in the output of `unsquashfs -lln`."""
    found = []
    for line in listing.splitlines():
        if line.startswith("c") and "squashfs-root/" in line:
            found.append(line.split("squashfs-root/", 1)[1])
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run_scripts(
    scripts: Sequence[Path], prefix: str, merged: Path, workshop: Workshop, environ: dict[str, str]
) -> None:
    """Run every script inside, in order, with a private HOME and TMPDIR and the environment's activation."""
    home = workshop.scratch / "home"
    temporary = workshop.scratch / "tmp"
    home.mkdir(mode=0o700)
    temporary.mkdir(mode=0o700)
    variables = {
        **environ,
        "HOME": os.fspath(home),
        "TMPDIR": os.fspath(temporary),
        "TYKKY_BUILD_PREFIX": prefix,
        "PATH": f"{prefix}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for script in scripts:
        with workshop.reporter.phase(f"run {script.name}"):
            command = [*_interpreter_of(script), os.fspath(script)]
            argv = workshop.inside.argv(prefix, (), merged, command)
            try:
                workshop.commands.stream(argv, lambda line: None, environ=variables, cwd=script.parent)
            except CommandFailed as error:
                raise BuildError(f"{script.name} failed: {error.reason}", output=error.output) from None


def _interpreter_of(script: Path) -> list[str]:
    """Return the argv of the script's own `#!` line, or bash (what the ancestor used), or sh."""
    with script.open("rb") as file:
        first = file.readline(512)
    if first.startswith(b"#!"):
        return os.fsdecode(first[2:].strip()).split(None, 1)
    try:
        return [os.fspath(which("bash", hint=""))]
    except ToolError:
        return ["/bin/sh"]


def snapshot(root: Path) -> dict[str, tuple[str, str, bool]]:
    """Return every path with its kind, its content's fingerprint (or link target) and its executable bit."""
    return {entry.path: (entry.kind, _content(root, entry), entry.executable) for entry in scan(root)}


def _content(root: Path, entry: Entry) -> str:
    path = root / entry.path
    if entry.kind == "symlink":
        return os.fspath(path.readlink())
    return file_fingerprint(path) if entry.kind == "file" else ""


def keep_difference(
    merged: Path,
    target: Path,
    before: dict[str, tuple[str, str, bool]],
    after: dict[str, tuple[str, str, bool]],
) -> tuple[str, ...]:
    """Move what is new or changed from `merged` to `target`; return the topmost paths that are gone."""
    for path, state in sorted(after.items()):
        if before.get(path) == state:
            continue
        destination = target / path
        if state[0] == "directory":
            destination.mkdir(parents=True, exist_ok=True)
            continue
        destination.parent.mkdir(parents=True, exist_ok=True)
        # A copy: the merged tree still serves the interpreter that compiles the layer.
        shutil.copy2(merged / path, destination, follow_symlinks=False)
    gone = sorted(set(before) - set(after))
    return tuple(path for path in gone if path.rpartition("/")[0] not in set(gone))
