"""The store: manifests, and commit by rename."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from tykky.errors import EnvironmentDirectoryError
from tykky.store.images import Manifest, PackagePaths, Store, dump_manifest, load_manifest

KEY = "a" * 64

MANIFEST = Manifest(
    key=KEY,
    kind="pypi",
    prefix="/tykky/demo",
    document={"kind": "pypi"},
    digest="b" * 64,
    fingerprint="c" * 32,
    size=4096,
    files={"bin/cowsay": 300, "lib/python3.11/site-packages/caf\udce9": 9_600, "pyvenv.cfg": 100},
    packages=(
        PackagePaths(
            "cowsay", "6.1", "pypi", ("bin/cowsay", "lib/python3.11/site-packages/caf\udce9", "not/here"), "d" * 64
        ),
    ),
    programs=("cowsay",),
    whiteouts=("bin/old",),
    removed=(("pypi", "old"),),
    tools={"tykky": "0.1.0"},
)


def test_a_manifest_survives_with_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(dump_manifest(MANIFEST))
    assert load_manifest(path) == MANIFEST


def test_a_manifest_has_the_same_bytes_every_time() -> None:
    assert dump_manifest(MANIFEST) == dump_manifest(msgspec.structs.replace(MANIFEST))


def test_commit_gives_image_and_manifest_their_names(tmp_path: Path) -> None:
    store = Store(tmp_path / "layers")
    assert not store.has(KEY)
    with store.stage() as private:
        assert private.stat().st_mode & 0o777 == 0o700
        image = private / f"{KEY}.sqfs"
        image.write_bytes(b"image")
        store.commit(image, MANIFEST)
    assert store.has(KEY)
    assert store.manifest(KEY) == MANIFEST
    assert sorted(p.name for p in store.directory.iterdir()) == [f"{KEY}.manifest", f"{KEY}.sqfs"]


def commit(store: Store, content: bytes) -> None:
    with store.stage() as private:
        image = private / f"{KEY}.sqfs"
        image.write_bytes(content)
        store.commit(image, msgspec.structs.replace(MANIFEST, size=len(content)))


def test_the_first_of_two_equal_images_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for content in (b"first", b"other"):
        commit(store, content)
    assert store.image(KEY).read_bytes() == b"first"


def test_an_image_that_is_not_whole_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, b"first")
    store.image(KEY).write_bytes(b"fir")
    commit(store, b"again")
    assert store.image(KEY).read_bytes() == b"again"
    (tmp_path / f"{KEY}.manifest").unlink()
    commit(store, b"third")
    assert (store.image(KEY).read_bytes(), store.manifest(KEY).size) == (b"third", 5)


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.stage() as private:
        (private / "half").write_bytes(b"x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_with_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "x.manifest"
    with pytest.raises(EnvironmentDirectoryError) as caught:
        load_manifest(path)
    assert str(caught.value) == f"{path} is missing"
    assert caught.value.hint == "remove x.sqfs beside it and run 'tykky build', which makes it again from the lock"

    path.write_bytes(dump_manifest(MANIFEST)[:30])
    with pytest.raises(EnvironmentDirectoryError, match="is damaged"):
        load_manifest(path)

    path.write_bytes(gzip.compress(json.dumps({"format": 99}).encode()))
    with pytest.raises(EnvironmentDirectoryError) as caught:
        load_manifest(path)
    assert str(caught.value) == f"{path} has format 99, this tykky reads 2"
