"""An image of one's own as the root: what of the host programs see in it.

With `image = "host"` in the spec the root is the host's and nothing here counts. Decision 0016 has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass

# What no program does without: the kernel's own file systems, and where files go that two programs share for a while.
KERNELS = ("/proc", "/sys", "/dev")
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - bound as they are
# Who is who, and where: the image cannot know. Apptainer shows some of these of its own accord.
FILES = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/localtime")
# Where programs of any image are; the caller's PATH may know other places of the host's only.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "~"


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
