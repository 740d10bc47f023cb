"""The host image: the root of mount points that Apptainer demands, and the links that show the tree at P.

It holds no file: directories to bind the host's on, the links of a merged /usr, the prefix, and below
`<top of the prefix>/.identity` one link per name at the top of the tree. It is 4 KiB. Where an image of one's own is
the root, another one like it has the mount points that the image may lack.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tykky.errors import ToolError
from tykky.guard.ownership import private_directory
from tykky.process import Commands
from tykky.runtime import isolated
from tykky.runtime.model import Binds

# Where root directories of other hosts may lie: Apptainer makes what is missing where it can, but not in every mode.
_USUAL = ("dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# `P/.tykky/inside` has one inode per name; with more than this many the launcher takes the links from the host image.
INSIDE_LIMIT = 8
STAGE = ".host-"  # how private names begin here


def make_host_image(
    path: Path,
    prefix: str,
    names: Iterable[str],
    *,
    root: Path = Path("/"),
    binds: Binds | None = None,
    place: Path | None = None,
    program: Path | None = None,
) -> None:
    """Write the host image for this host (`root`) to `path`; `names` are the entries at the top of the merged tree.

    `place` is the environment directory: where `binds` hides what it lies in, it gets a mount point too. `program` is
    the site's mksquashfs, if it is not on PATH. An existing file is replaced by rename. Raises `ToolError` if
    mksquashfs is missing or fails.
    """
    with _packed(path, program) as tree:
        _fill(tree, prefix, names, root, binds or Binds())
        if binds is not None and place is not None and binds.hides(str(place)):
            (tree / str(place).lstrip("/")).mkdir(mode=0o755, parents=True, exist_ok=True)


def make_points_image(
    path: Path,
    prefix: str,
    names: Iterable[str],
    mounts: Iterable[str],
    *,
    place: Path | None = None,
    program: Path | None = None,
) -> None:
    """Write the image of mount points that Apptainer lays over the root to `path`.

    It has the links that show the tree at P as well, and hides what Apptainer's own
    builds leave in an image, which would set variables. `names` are those at the top of the merged tree, `place` is
    the environment directory and `program` the site's mksquashfs. An existing file is replaced by rename. Raises
    `ToolError` if mksquashfs is missing or fails.
    """
    with _packed(path, program, ".singularity.d c 0 0 0 0 0") as tree:
        known = [point for point in mounts if not point.startswith(isolated.HOME)]
        for point in (*isolated.KERNELS, *isolated.TEMPORARY, *known, prefix, *([] if place is None else [str(place)])):
            (tree / point.lstrip("/")).mkdir(mode=0o755, parents=True, exist_ok=True)
        _add_identity(tree, prefix, names)


@contextmanager
def _packed(path: Path, program: Path | None, *pseudo: str) -> Iterator[Path]:
    """Give a directory to fill; then it is the image at `path`, together with mksquashfs's definitions `pseudo`.

    An existing file is replaced by rename. Raises `ToolError` if mksquashfs (`program`, or that on PATH) is missing or
    fails.
    """
    if program is None and shutil.which("mksquashfs") is None:
        raise ToolError(
            "mksquashfs is not on PATH",
            hint="install squashfs-tools (Debian, EL, conda-forge); 'tykky doctor' lists all that is needed",
        )
    with private_directory(path.parent, STAGE) as staging:
        tree, image = staging / "tree", staging / "host.sqfs"
        tree.mkdir(mode=0o755)
        yield tree
        # Its directories have the modes of this process's umask; who enters it may be anybody.
        modes = ["-action", "chmod(u=rwX,go=rX)@true"]
        options = ["-noappend", "-no-progress", "-quiet", "-all-root", "-no-xattrs", "-comp", "gzip"]
        times = ["-all-time", "0", "-mkfs-time", "0"]
        hidden = [word for definition in pseudo for word in ("-p", definition)]
        Commands().run([program or "mksquashfs", tree, image, *options, *modes, *times, *hidden])
        image.chmod(0o644)
        image.rename(path)


def _add_identity(tree: Path, prefix: str, names: Iterable[str]) -> None:
    """Make `<top of the prefix>/.identity` in a tree: a link per name at the top of the merged tree."""
    identity = tree / prefix.split("/")[1] / ".identity"
    identity.mkdir(mode=0o755)
    for name in sorted(set(names)):
        (identity / name).symlink_to(f"{prefix}/{name}")


def make_inside(directory: Path, prefix: str, names: Iterable[str]) -> bool:
    """Make `P/.tykky/inside`: a link per name at the top of the tree. Names that are there already stay.

    Returns whether it was made: not with more than `INSIDE_LIMIT` names, to keep P's inodes few (invariant 10).
    """
    wanted = set(names)
    present = {entry.name for entry in directory.iterdir()} if directory.is_dir() else set()
    if len(wanted | present) > INSIDE_LIMIT:
        if directory.is_dir():
            # In one step: a launch that finds some of the links takes them for all.
            with private_directory(directory.parent, STAGE) as private:
                directory.rename(private / directory.name)
        return False
    directory.mkdir(mode=0o755, exist_ok=True)
    for name in sorted(wanted - present):
        (directory / name).symlink_to(f"{prefix}/{name}")
    return True


def _fill(tree: Path, prefix: str, names: Iterable[str], root: Path, binds: Binds) -> None:
    for name in _USUAL:
        if f"/{name}" not in binds.hidden:
            (tree / name).mkdir(mode=0o755)
    for entry in root.iterdir():
        if f"/{entry.name}" in binds.hidden:
            continue
        if entry.name in _MERGED and entry.is_symlink():
            (tree / entry.name).symlink_to(entry.readlink())
        elif entry.is_dir() and not (tree / entry.name).exists():
            (tree / entry.name).mkdir(mode=0o755)
    for path in binds.shown:
        if not (tree / path.split("/")[1]).is_symlink():
            (tree / path.lstrip("/")).mkdir(mode=0o755, parents=True, exist_ok=True)
    inside = tree / prefix.lstrip("/")
    inside.mkdir(mode=0o755, parents=True, exist_ok=True)
    _add_identity(tree, prefix, names)
