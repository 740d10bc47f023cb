"""The host image and the links that show a tree at P."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tykky.errors import ToolError
from tykky.runtime.host_image import INSIDE_LIMIT, make_host_image, make_inside
from tykky.runtime.model import Binds


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with a merged /usr, a scratch file system and a link at its root."""
    made = tmp_path / "root"
    for name in ("usr/bin", "scratch disk", "etc", ".snapshots"):
        (made / name).mkdir(parents=True)
    (made / "bin").symlink_to("usr/bin")
    (made / "work").symlink_to("scratch disk")
    (made / "swapfile").touch()
    return made


def listing(image: Path) -> list[str]:
    lines = subprocess.check_output(["unsquashfs", "-lln", image], text=True).splitlines()
    return [line.split("squashfs-root", 1)[1] for line in lines if "squashfs-root/" in line]


def test_it_holds_mount_points_and_links(tmp_path: Path, root: Path):
    image = tmp_path / "host.sqfs"
    make_host_image(image, "/tykky/demo", ["bin", "lib"], root=root)
    found = listing(image)
    assert {"/scratch disk", "/work", "/.snapshots", "/tykky/demo", "/proc", "/sys", "/dev", "/tmp"} <= set(found)
    assert "/bin -> usr/bin" in found
    assert "/tykky/.identity/bin -> /tykky/demo/bin" in found
    assert "/tykky/.identity/lib -> /tykky/demo/lib" in found
    assert "/swapfile" not in found
    assert image.stat().st_size <= 4096
    assert sorted(os.listdir(tmp_path)) == ["host.sqfs", "root"]


def test_hidden_directories_are_not_in_it_and_what_is_shown_in_them_is(tmp_path: Path, root: Path):
    (root / "dead").symlink_to("/proc/1/no-such-thing")
    image = tmp_path / "host.sqfs"
    binds = Binds(("/scratch disk", "/srv", "/dead"), ("/scratch disk/a b/c", "/etc/x", "/bin/y"))
    make_host_image(image, "/tykky/demo", ["bin"], root=root, binds=binds, place=Path("/srv/my/P"))
    found = set(listing(image))
    assert {"/scratch disk/a b/c", "/etc/x", "/srv/my/P", "/.snapshots", "/bin -> usr/bin"} <= found
    assert not found & {"/scratch disk/other", "/dead", "/bin/y"}
    make_host_image(image, "/tykky/demo", ["bin"], root=root, binds=binds, place=Path("/scratch disk/a b/c/P"))
    found = set(listing(image))
    assert "/scratch disk/a b/c/P" not in found, "it is there where the directory is bound"
    assert "/srv" not in found


def test_the_same_host_gives_the_same_bytes(tmp_path: Path, root: Path):
    first, second = tmp_path / "a.sqfs", tmp_path / "b.sqfs"
    make_host_image(first, "/tykky/demo", ["lib", "bin"], root=root)
    make_host_image(second, "/tykky/demo", ["bin", "lib"], root=root)
    assert first.read_bytes() == second.read_bytes()


def test_without_mksquashfs(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ToolError) as raised:
        make_host_image(tmp_path / "host.sqfs", "/tykky/demo", [], root=root)
    assert str(raised.value) == "mksquashfs is not on PATH"
    assert raised.value.hint == (
        "install squashfs-tools (Debian, EL, conda-forge); 'tykky doctor' lists all that is needed"
    )


def test_links_gather_over_generations(tmp_path: Path):
    inside = tmp_path / "inside"
    assert make_inside(inside, "/tykky/demo", ["bin", "lib"])
    assert make_inside(inside, "/tykky/demo", ["bin", "share"])
    assert {name: os.readlink(inside / name) for name in os.listdir(inside)} == {
        name: f"/tykky/demo/{name}" for name in ("bin", "lib", "share")
    }


def test_too_many_names_leave_it_to_the_image(tmp_path: Path):
    inside = tmp_path / "inside"
    assert make_inside(inside, "/tykky/demo", [f"n{number}" for number in range(INSIDE_LIMIT)])
    assert not make_inside(inside, "/tykky/demo", ["one more"])
    assert not inside.exists()
