"""Images: the command line by its exact argv, then the real image."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tykky.digests import file_sha256
from tykky.errors import BuildError, ToolError
from tykky.layers import squashfs
from tykky.process import Commands


def pack(tree: Path, image: Path, processors: int = 2, whiteouts: tuple[str, ...] = ()) -> str:
    version = squashfs.mksquashfs(Commands())
    argv = squashfs.pack_argv(version.program, tree, image, level=3, processors=processors, whiteouts=whiteouts)
    squashfs.pack(argv, Commands(), image, lambda percent: None)
    return file_sha256(image)


def test_argv() -> None:
    argv = squashfs.pack_argv(Path("/usr/bin/mksquashfs"), Path("/s/tree"), Path("/s/x.sqfs"), level=3, processors=4)
    assert argv == [
        "/usr/bin/mksquashfs",
        "/s/tree",
        "/s/x.sqfs",
        "-noappend",
        "-comp",
        "zstd",
        "-Xcompression-level",
        "3",
        "-b",
        "131072",
        "-all-root",
        "-all-time",
        "0",
        "-mkfs-time",
        "0",
        "-no-xattrs",
        "-no-hardlinks",
        "-action",
        "chmod(u=rwX,go=rX)@true",
        "-action",
        "uncompressed@type(f)&&filesize(+1M)&&name(python3.*)",
        "-no-recovery",
        "-progress",
        "-processors",
        "4",
    ]


def make_tree(root: Path, mask: int, *, linked: bool) -> None:
    old = os.umask(mask)
    try:
        (root / "lib" / "deep").mkdir(parents=True)
        (root / "lib" / "data").write_bytes(os.urandom(0) + b"x" * 300_000)
        program = root / "lib" / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o4755 if mask == 0 else 0o700)
        if linked:
            os.link(program, root / "lib" / "twin")
        else:
            shutil.copy2(program, root / "lib" / "twin")
        (root / "lib" / "link").symlink_to("data")
    finally:
        os.umask(old)


def test_the_same_bytes_whatever_the_umask_links_directory_and_processors(tmp_path: Path) -> None:
    """Invariant 2: nothing of the host shows."""
    make_tree(tmp_path / "one", 0, linked=True)
    make_tree(tmp_path / "two words", 0o077, linked=False)
    os.utime(tmp_path / "two words" / "lib" / "data", (1, 1))
    assert pack(tmp_path / "one", tmp_path / "1.sqfs", 1) == pack(tmp_path / "two words", tmp_path / "2.sqfs", 4)


def test_modes_owner_and_times_in_the_image(tmp_path: Path) -> None:
    make_tree(tmp_path / "t", 0o077, linked=False)
    pack(tmp_path / "t", tmp_path / "i.sqfs")
    listing = subprocess.run(
        ["unsquashfs", "-lln", tmp_path / "i.sqfs"], capture_output=True, text=True, check=True
    ).stdout
    rows = {line.split("squashfs-root")[1]: line.split()[:2] for line in listing.splitlines()}
    assert rows["/lib/program"] == ["-rwxr-xr-x", "0/0"]
    assert rows["/lib/data"] == ["-rw-r--r--", "0/0"]
    assert rows["/lib/deep"] == ["drwxr-xr-x", "0/0"]
    assert all("1970-01-01" in line for line in listing.splitlines())


@pytest.mark.parametrize(("name", "stored"), [("python3.12", True), ("python3.13t", True), ("pythonic", False)])
def test_an_interpreter_is_stored_as_it_is(tmp_path: Path, name: str, stored: bool) -> None:
    (tmp_path / "t" / "bin").mkdir(parents=True)
    (tmp_path / "t" / "bin" / name).write_bytes(b"machine code " * 200_000)
    pack(tmp_path / "t", tmp_path / "i.sqfs")
    assert ((tmp_path / "i.sqfs").stat().st_size > 2_000_000) == stored


def test_whiteouts_are_character_devices(tmp_path: Path) -> None:
    make_tree(tmp_path / "t", 0o022, linked=False)
    name = 'lib/gone "quoted" name'
    pack(tmp_path / "t", tmp_path / "i.sqfs", whiteouts=(name,))
    listing = subprocess.run(
        ["unsquashfs", "-lln", tmp_path / "i.sqfs"], capture_output=True, text=True, check=True
    ).stdout
    (row,) = [line for line in listing.splitlines() if line.endswith(name)]
    assert row.startswith("c")
    assert "0,  0" in row or "0, 0" in row


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    make_tree(tmp_path / "t", 0o022, linked=False)
    image = tmp_path / "i.sqfs"
    pack(tmp_path / "t", image)
    whole = image.stat().st_size
    data = image.read_bytes()
    image.write_bytes(data[:200])
    with pytest.raises(BuildError) as caught:
        squashfs.check_superblock(image)
    assert str(caught.value).startswith(f"{image} is truncated: 200 of ")
    assert whole > 200
    image.write_bytes(b"no image")
    with pytest.raises(BuildError, match="is no squashfs image"):
        squashfs.check_superblock(image)


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ((4, 3), "cannot write reproducible images (4.4 and later can)"),
        ((4, 4), None),
        ((4, 5, 1), None),
        ((4, 7), "may write corrupt images when sparse files are present (fixed in 4.7.5)"),
        ((4, 7, 4), "may write corrupt images when sparse files are present (fixed in 4.7.5)"),
        ((4, 7, 5), None),
    ],
)
def test_known_problems(version: tuple[int, ...], problem: str | None) -> None:
    assert squashfs.known_problem(version) == problem


def test_a_bad_version_is_refused_with_its_reason(tmp_path: Path) -> None:
    fake = tmp_path / "mksquashfs"
    fake.write_text("#!/bin/sh\necho 'mksquashfs version 4.7.2 (2025/07/01)'\n")
    fake.chmod(0o755)
    with pytest.raises(ToolError) as caught:
        squashfs.mksquashfs(Commands(), fake)
    assert str(caught.value) == (
        f"{fake} is version 4.7.2, which may write corrupt images when sparse files are present (fixed in 4.7.5)"
    )
    assert caught.value.hint == squashfs.INSTALL_HINT


def test_a_missing_mksquashfs_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        squashfs.mksquashfs(Commands())
    assert str(caught.value) == "mksquashfs is not on PATH"
    assert caught.value.hint == (
        "install squashfs-tools (Debian and EL: squashfs-tools, conda: squashfs-tools); see 'tykky doctor'"
    )


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    tree = tmp_path / "t"
    make_tree(tree, 0o022, linked=False)
    argv = ["sh", "-c", "echo 'Write failed because No space left on device'; exit 1"]
    with pytest.raises(BuildError) as caught:
        squashfs.pack(argv, Commands(), tmp_path / "x.sqfs", lambda percent: None)
    assert str(caught.value) == f"{tmp_path}/x.sqfs could not be written: no space left there"
    assert caught.value.hint == (
        "free some space (or files) where the environment directory is, or choose another --prefix"
    )
