"""Roots for programs to see in place of the host's: the C library and what the tests' interpreter needs, a shell, some
programs and a file that says which root it is. As small as a root can be, and made in a second."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.channel.python import interpreter

MARK = "a root of its own\n"
_PROGRAMS = ("sh", "cat", "ls", "env", "true", "uname")


def make_tree(folder: Path) -> Path:
    """Fill `folder` with a root: a merged /usr, as most systems have, and no /tmp, /proc or mount point of any kind."""
    for name in ("bin", "lib", "lib64"):
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")
    (folder / "etc").mkdir()
    (folder / "etc" / "mark").write_text(MARK)
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nimage-only:x:999:999::/:/bin/sh\n")
    (folder / "srv").mkdir()
    (folder / "srv" / "of-the-image").write_text("")
    wanted: list[Path] = []
    for name in _PROGRAMS:
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found is not None, name
        shutil.copy2(found, folder / "usr" / "bin" / name)
        wanted.append(Path(found))
    python = interpreter()
    wanted += [python.executable, *(python.stdlib / "lib-dynload").glob("*.so")]
    for library in sorted(_libraries(wanted, python.prefix)):
        target = folder / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy2(library, target)
    subprocess.run(["chmod", "-R", "a+rX,go-w", folder], check=True)
    return folder


def pack(tree: Path, image: Path) -> Path:
    """Make a squashfs of a root."""
    options = ["-noappend", "-no-progress", "-quiet", "-all-root", "-comp", "zstd", "-Xcompression-level", "1"]
    subprocess.run(["mksquashfs", tree, image, *options], check=True, stdout=subprocess.DEVNULL)
    image.chmod(0o644)
    return image


def pack_sif(tree: Path, image: Path, apptainer: str) -> Path:
    """Make a SIF of a root, with a real Apptainer."""
    scratch = image.parent / f"{image.name}.scratch"
    scratch.mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
        "APPTAINER_CACHEDIR": str(scratch),
        "TMPDIR": str(scratch),
    }
    subprocess.run([apptainer, "-s", "build", image, tree], check=True, env=environ, timeout=300, capture_output=True)
    shutil.rmtree(scratch)
    image.chmod(0o644)
    return image


def _libraries(programs: list[Path], prefix: Path) -> set[Path]:
    """Return the libraries of programs, by the paths that the dynamic loader finds them at, but for those in `prefix`.

    A system's interpreter has the prefix /usr, and its libraries are wanted.
    """
    said = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    words = {word for line in said.splitlines() if line.startswith("\t") for word in line.split() if word[0] == "/"}
    private = prefix != Path("/usr")
    return {Path(word) for word in words if not (private and Path(word).is_relative_to(prefix))}
