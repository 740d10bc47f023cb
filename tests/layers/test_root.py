"""Layers of a registry's image, as archives: read, put together, written."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.registry.images import archive, directory, hard_link, member, symlink
from tykky.layers.keys import root_layer
from tykky.layers.root import merged_tree, write_tree
from tykky.layers.root_tree import BadLayer
from tykky.layers.squashfs import pack_argv
from tykky.spec.read import parse_spec

SPEC = '[environment]\nname = "one"\n\n[conda.dependencies]\npython = "3.12.*"\n\n[runtime]\nimage = "docker://root"\n'


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[Path]]:
    def make(*layers: bytes) -> list[Path]:
        paths = [tmp_path / f"layer-{number}" for number in range(len(layers))]
        for path, content in zip(paths, layers, strict=True):
            path.write_bytes(content)
        return paths

    return make


def written(layers: list[Path], target: Path) -> Path:
    target.mkdir()
    write_tree(merged_tree(layers, lambda count: None), layers, target, lambda count: None)
    return target


@pytest.mark.parametrize("packed", ["gzip", "zstd", ""])
def test_what_is_written_is_what_the_layers_show(files: Callable[..., list[Path]], tmp_path: Path, packed: str):
    lower = [
        directory("bin"),
        member("bin/tool", b"#!/bin/sh\n", mode=0o4755),
        hard_link("bin/other", "bin/tool"),
        member("etc/gone", b"x"),
        member("etc/secret", b"s", mode=0o600),
        symlink("etc/away", "/etc/passwd"),
        member("naïve \udcff\nname", b"n"),
    ]
    upper = [member("etc/.wh.gone"), member("etc/big", os.urandom(3_000_000))]
    layers = files(archive(lower, packed), archive(upper, packed))
    tree = written(layers, tmp_path / "tree")
    assert sorted(os.listdir(tree)) == ["bin", "etc", "naïve \udcff\nname"]
    assert sorted(os.listdir(tree / "etc")) == ["away", "big", "secret"]
    assert (tree / "etc" / "away").readlink() == Path("/etc/passwd")
    assert (tree / "etc" / "big").read_bytes() == upper[1][1]
    tool = (tree / "bin" / "tool").stat()
    assert (tool.st_ino, tool.st_mode & 0o7777) == ((tree / "bin" / "other").stat().st_ino, 0o700)
    assert (tree / "etc" / "secret").stat().st_mode & 0o7777 == 0o600


def test_what_is_no_file_of_a_root_is_left_out(files: Callable[..., list[Path]], tmp_path: Path):
    kinds = {"null": tarfile.CHRTYPE, "disk": tarfile.BLKTYPE, "pipe": tarfile.FIFOTYPE}
    members = [member(f"dev/{name}", None, type=kind) for name, kind in kinds.items()]
    tree = written(files(archive([directory("dev"), *members, member("a")])), tmp_path / "tree")
    assert (os.listdir(tree / "dev"), (tree / "a").exists()) == ([], True)


def test_nothing_is_written_where_a_link_leads(files: Callable[..., list[Path]], tmp_path: Path):
    host = tmp_path / "host"
    host.mkdir()
    attack = [
        symlink("out", str(host)),
        member("out/by-link", b"!"),
        hard_link("out/by-hard-link", "out/by-link"),
        symlink("deep/up", "../../host"),
        member("deep/up/around", b"!"),
    ]
    tree = written(files(archive(attack), archive([member("out/later", b"!")])), tmp_path / "tree")
    assert list(host.iterdir()) == []
    inside = tree / host.relative_to("/")
    assert sorted(os.listdir(inside)) == ["by-hard-link", "by-link", "later"]
    assert (tree / "host" / "around").read_bytes() == b"!"


def test_how_much_was_read_is_told(files: Callable[..., list[Path]], tmp_path: Path):
    layers = files(archive([member("a", os.urandom(500_000))]), archive([member(".wh.a"), directory("b")], "zstd"))
    size = sum(path.stat().st_size for path in layers)
    counts: list[int] = []
    shown = merged_tree(layers, counts.append)
    assert sum(counts) == size
    counts.clear()
    (tmp_path / "tree").mkdir()
    write_tree(shown, layers, tmp_path / "tree", counts.append)
    assert sum(counts) == size


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "a layer cannot be unpacked: "),
        (archive([member("a", os.urandom(100_000))])[:50_000], "a layer cannot be unpacked: "),
        (archive([member("a", os.urandom(100_000))], "zstd")[:50_000], "a layer cannot be unpacked: "),
        (archive([member("a", os.urandom(100_000))], "")[:50_000], "a layer cannot be unpacked: "),
        (archive([symlink("a", "")]), "'a' is a link to ''"),
    ],
)
def test_what_is_no_layer_is_refused(files: Callable[..., list[Path]], content: bytes, said: str):
    with pytest.raises(BadLayer) as caught:
        merged_tree(files(content), lambda count: None)
    assert str(caught.value).startswith(said)


def test_an_image_of_it_has_the_same_bytes_wherever_it_is_made(files: Callable[..., list[Path]], tmp_path: Path):
    """Another order and other times in the archive of one layer, another umask, another directory."""
    contents = {"etc/a": b"1" * 9000, "etc/b": b"2", "bin/c": b"3"}
    found = set()
    for number, names in enumerate((list(contents), list(contents)[::-1])):
        members = [member(name, contents[name], mtime=number * 1000, uid=number) for name in names]
        layers = files(archive(members))
        before = os.umask(0o077 if number else 0o002)
        try:
            tree = written(layers, tmp_path / f"tree-{number}")
            image = tmp_path / f"image-{number}.sqfs"
            subprocess.run(pack_argv(Path("mksquashfs"), tree, image, level=3), check=True, capture_output=True)
        finally:
            os.umask(before)
        found.add(hashlib.sha256(image.read_bytes()).hexdigest())
    assert len(found) == 1


def test_the_key_names_the_manifest_and_how_it_is_packed_and_no_environment():
    spec = parse_spec(SPEC, "tykky.toml")
    layer = root_layer(spec, "linux-64", "a" * 64, "docker://root")
    other = parse_spec(SPEC.replace('"one"', '"two"') + 'mounts = ["/srv"]\n', "tykky.toml")
    assert root_layer(other, "linux-64", "a" * 64, "docker://root").key == layer.key
    packed = parse_spec(SPEC + "\n[build]\ncompression-level = 4\n", "tykky.toml")
    keys = {
        layer.key,
        root_layer(spec, "linux-64", "b" * 64, "docker://root").key,
        root_layer(packed, "linux-64", "a" * 64, "").key,
    }
    assert len(keys) == 3
