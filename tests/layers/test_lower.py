"""What images show, read from their listings."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.layers.stacks import PREFIX, Bench
from tykky.errors import BuildError
from tykky.layers.lower import Lower, extract, listing, merge, same_content, shown

LISTING = """\
drwxr-xr-x 0/0                      28 1970-01-01 00:00 squashfs-root
drwxr-xr-x 0/0                      27 1970-01-01 00:00 squashfs-root/tykky
drwxr-xr-x 0/0                     110 1970-01-01 00:00 squashfs-root/tykky/demo
-rwxr-xr-x 0/0                   12345 1970-01-01 00:00 squashfs-root/tykky/demo/a b\\c -> d
c--------- 0/0                  0,   0 1970-01-01 00:00 squashfs-root/tykky/demo/gone
lrwxrwxrwx 0/0                       6 1970-01-01 00:00 squashfs-root/tykky/demo/l -> m -> x -> y
-rw-r--r-- 0/0                       1 1970-01-01 00:00 squashfs-root/tykky/demo/two
lines
drwxr-xr-x 0/0                       3 1970-01-01 00:00 squashfs-root/tykky/demolition
"""


def test_a_listing() -> None:
    assert listing(LISTING, PREFIX, 3) == {
        "a b\\c -> d": Lower("file", 12345, True, "", 3),
        "gone": Lower("whiteout", 0, False, "", 3),
        "l -> m": Lower("symlink", 0, False, "x -> y", 3),
        "two\nlines": Lower("file", 1, False, "", 3),
    }
    assert {"tykky", "tykky/demo", "tykky/demolition"} < set(listing(LISTING, "/"))


def file(image: int) -> Lower:
    return Lower("file", 1, False, "", image)


def directory(image: int) -> Lower:
    return Lower("directory", 0, False, "", image)


def test_whiteouts_and_what_is_no_directory_hide() -> None:
    bottom = {"d": directory(0), "d/x": file(0), "e": directory(0), "e/y": file(0), "f": file(0), "dx": file(0)}
    middle = {"d": Lower("whiteout", 0, False, "", 1), "e": file(1), "f": directory(1), "f/z": file(1)}
    top = {"d": directory(2), "d/new": file(2)}
    assert merge([bottom, middle, top]) == {
        "d": directory(2),
        "d/new": file(2),
        "dx": file(0),
        "e": file(1),
        "f": directory(1),
        "f/z": file(1),
    }


def test_images_show_what_their_listings_say_and_extract_to_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    stack = bench.stack()
    seen = shown(stack, PREFIX, bench.workshop("it"))
    extract(stack, tmp_path / "merged", bench.workshop("copy"))
    tree = tmp_path / "merged" / PREFIX.lstrip("/")
    assert sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*")) == sorted(seen)
    assert seen["share/swap"].kind == "directory" and (tree / "share/swap/in").read_text() == "a directory now\n"
    assert (tree / "share/a/1").read_text() == "one\n", "the symlink that became a directory was not followed"
    for path, entry in seen.items():
        place = tree / path
        kind = "symlink" if place.is_symlink() else "directory" if place.is_dir() else "file"
        assert (kind, entry.target) == (entry.kind, str(place.readlink()) if kind == "symlink" else "")


def test_the_same_content(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    stack = bench.stack()
    workshop = bench.workshop("it")
    seen = shown(stack, PREFIX, workshop)
    tree = tmp_path / "tree"
    asked = {
        "share/a/1": "one\n",
        "share/a/2": "tvo\n",
        "share/b": "changed\n",
        "share/odd [x]*? \\ name ": "odd\n",
        "bin/tool": "#!/bin/sh\necho tooo\n",
    }
    for path, text in asked.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    same = same_content(asked, seen, tree, stack, PREFIX, workshop)
    assert same == {"share/a/1", "share/b", "share/odd [x]*? \\ name "}


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    image = bench.image("it", {"big": random.Random(1).randbytes(150_000).hex(), "share/x": "y"})
    content = bytearray(image.read_bytes())
    content[110:400] = bytes(290)  # the start of the data, which comes after superblock and compressor options
    image.write_bytes(content)
    with pytest.raises(BuildError) as raised:
        extract([image], tmp_path / "root", bench.workshop("it"))
    assert str(raised.value) == f"{image} cannot be unpacked"
