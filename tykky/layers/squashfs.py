"""One file tree to one squashfs image, byte for byte the same wherever it is made (invariant 2).

What is normalised here costs nothing, because mksquashfs does it while it writes: owner, modes, times, extended
attributes, hard links. The tree on disk is left alone: its files may be hard links into the package caches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import BuildError, ToolError
from tykky.process import CommandFailed, Commands, full_disk_hint, which

BLOCK_SIZE = 128 * 1024  # bytes; 1 MiB blocks save 4 % and cost imports 10 % (docs/explanation/measurements.md)
INSTALL_HINT = "install squashfs-tools (Debian and EL: squashfs-tools, conda: squashfs-tools); see 'tykky doctor'"
FULL_PLACE_HINT = "free some space (or files) where the environment directory is, or choose another --prefix"

_OLDEST = (4, 4)  # the first with reproducible output
_PERCENT = re.compile(r"(\d+)%")


@dataclass(frozen=True, slots=True)
class Version:
    """A mksquashfs version and the program it is of."""

    program: Path
    text: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers: `4.6.1` -> (4, 6, 1)."""
        return tuple(int(n) for n in self.text.split("."))


def mksquashfs(commands: Commands, program: Path | None = None) -> Version:
    """Return the mksquashfs to use, or raise `ToolError` if there is none or it is known to write bad images."""
    path = program or which("mksquashfs", hint=INSTALL_HINT)
    finished = commands.run([path, "-version"], check=False, hint=INSTALL_HINT)
    text = finished.stdout or finished.stderr
    match = re.search(r"mksquashfs version (\d+(?:\.\d+)*)", text)
    if match is None:
        raise ToolError(f"{path} does not say its version", hint=INSTALL_HINT, output=text.strip() or None)
    version = Version(path, match.group(1))
    problem = known_problem(version.numbers)
    if problem is not None:
        raise ToolError(f"{path} is version {version.text}, which {problem}", hint=INSTALL_HINT)
    return version


def known_problem(version: tuple[int, ...]) -> str | None:
    """Return what is wrong with a mksquashfs version, or None.

    Sources: squashfs-tools release notes of 4.4 (reproducible output) and 4.7.5 (sparse files).
    """
    if version < _OLDEST:
        return "cannot write reproducible images (4.4 and later can)"
    if (4, 7) <= version < (4, 7, 5):
        return "may write corrupt images when sparse files are present (fixed in 4.7.5)"
    return None


def pack_argv(
    program: Path,
    tree: Path,
    image: Path,
    *,
    level: int,
    whiteouts: Sequence[str] = (),
    processors: int | None = None,
) -> list[str]:
    """Return the mksquashfs command line. `whiteouts` are paths below the image's root."""
    argv = [os.fspath(program), os.fspath(tree), os.fspath(image)]
    argv += ["-noappend"]  # a leftover of the same name is not extended
    argv += ["-comp", "zstd", "-Xcompression-level", str(level), "-b", str(BLOCK_SIZE)]
    argv += ["-all-root"]  # nobody's uid in the image
    argv += ["-all-time", "0", "-mkfs-time", "0"]  # no clock in the image
    argv += ["-no-xattrs"]  # lustre.lov, selinux labels: of this host, not of the software
    argv += ["-no-hardlinks"]  # whether the caches could hard-link must not show
    # World-readable, executable where the owner can execute; also clears setuid, setgid and sticky bits.
    argv += ["-action", "chmod(u=rwX,go=rX)@true"]
    # An interpreter is read at each start, here and there, by one server after another: as it is, a third faster.
    argv += ["-action", "uncompressed@type(f)&&filesize(+1M)&&name(python3.*)"]
    argv += ["-no-recovery"]  # it would be written to the user's home directory
    argv += ["-progress"] if processors is None else ["-progress", "-processors", str(processors)]
    for path in whiteouts:
        argv += [
            "-p",
            f"{_quoted(path)} c 0 0 0 0 0",
        ]  # a 0:0 character device hides the path below (overlayfs)
    return argv


def make_parents(tree: Path, whiteouts: Iterable[str]) -> None:
    """Make the directories that paths below `tree` stand in: mksquashfs makes none for its pseudo files."""
    for path in whiteouts:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)


def _quoted(path: str) -> str:
    """Quote a path for a pseudo file definition: double quotes, with backslash escapes."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def pack(argv: Sequence[str], commands: Commands, image: Path, on_percent: Callable[[int], None]) -> int:
    """Run mksquashfs and check what it wrote. Return the image's size in bytes.

    `on_percent` is told 0..100. Raises `BuildError` if mksquashfs fails or the image's superblock is not whole.
    """

    def watch(line: str) -> None:
        for percent in _PERCENT.findall(line):
            on_percent(int(percent))

    try:
        commands.stream(argv, watch, hint=INSTALL_HINT)
    except CommandFailed as error:
        if full_disk_hint(error.finished.stdout) is not None:
            raise BuildError(f"{image} could not be written: no space left there", hint=FULL_PLACE_HINT) from None
        raise BuildError(f"{image.name} could not be written: {error.reason}", output=error.output) from None
    return check_superblock(image)


def check_superblock(image: Path) -> int:
    """Return the image's size in bytes; raise `BuildError` if it is truncated or no squashfs.

    The superblock's first field is the magic, the one at offset 40 the bytes used (Linux, squashfs_fs.h).
    """
    size = image.stat().st_size
    with image.open("rb") as file:
        head = file.read(96)
    if len(head) < 96 or head[:4] != b"hsqs":
        raise BuildError(f"{image} is no squashfs image", hint="remove it and build again")
    used = int.from_bytes(head[40:48], "little")
    if used > size:
        raise BuildError(f"{image} is truncated: {size} of {used} bytes are there", hint="remove it and build again")
    return size
