"""An image of one's own as the root: what of the host programs see in it, and the mount points that it may lack.

With `image = "host"` in the spec the root is the host's and nothing here counts. Decision 0016 has the reasons.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import ToolError
from tykky.guard.ownership import private_directory
from tykky.process import Commands

# What no program does without: the kernel's own file systems, and where files go that two programs share for a while.
KERNELS = ("/proc", "/sys", "/dev")
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - bound as they are
# Who is who, and where: the image cannot know. Apptainer shows some of these of its own accord.
FILES = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/localtime")
# Where programs of any image are; the caller's PATH may know other places of the host's only.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "~"
STAGE = ".host-"  # how private names begin here


@dataclass(frozen=True, slots=True)
class Root:
    """The image whose content programs see in place of the host's.

    `image` is its path, absolute or relative to the environment directory, `size` its bytes, `offset` those before
    the squashfs in it (a SIF has other things too). `mounts` are directories of the host that are seen all the same:
    absolute, or `~` and `~/…` for the home directory of who launches.
    """

    image: str
    size: int
    offset: int = 0
    mounts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.image or "\0" in self.image:
            raise ValueError("an image needs a path")
        for path in self.mounts:
            if "\0" in path or not (path == HOME or path.startswith(("/", f"{HOME}/"))) or path == "/":
                raise ValueError(f"no directory below the root: {path!r}")

    @property
    def ordered(self) -> tuple[str, ...]:
        """The mounts, those above others first: what is mounted later covers what was there."""
        return tuple(sorted(dict.fromkeys(self.mounts), key=lambda path: (path.count("/"), path)))


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

    It has the links that show the tree at P as well (`tykky.runtime.host_image`), and hides what Apptainer's own
    builds leave in an image, which would set variables. `names` are those at the top of the merged tree, `place` is
    the environment directory and `program` the site's mksquashfs. An existing file is replaced by rename. Raises
    `ToolError` if mksquashfs is missing or fails.
    """
    if program is None and shutil.which("mksquashfs") is None:
        raise ToolError(
            "mksquashfs is not on PATH",
            hint="install squashfs-tools (Debian, EL, conda-forge); 'tykky doctor' lists all that is needed",
        )
    with private_directory(path.parent, STAGE) as staging:
        tree = staging / "tree"
        known = [point for point in mounts if not point.startswith(HOME)]
        for point in (*KERNELS, *TEMPORARY, *known, prefix, *([] if place is None else [str(place)])):
            (tree / point.lstrip("/")).mkdir(mode=0o755, parents=True, exist_ok=True)
        identity = tree / prefix.split("/")[1] / ".identity"
        identity.mkdir(mode=0o755)
        for name in sorted(set(names)):
            (identity / name).symlink_to(f"{prefix}/{name}")
        image = staging / "host.sqfs"
        hidden = ["-p", ".singularity.d c 0 0 0 0 0"]
        modes = ["-action", "chmod(u=rwX,go=rX)@true"]
        options = ["-noappend", "-no-progress", "-quiet", "-all-root", "-no-xattrs", "-comp", "gzip"]
        times = ["-all-time", "0", "-mkfs-time", "0"]
        Commands().run([program or "mksquashfs", tree, image, *options, *modes, *times, *hidden])
        image.chmod(0o644)
        image.rename(path)
