"""Stores from end to end: what the user's or the site's store has is taken from there, after a look, and not built."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Desk, Finished, record, run

Spec = Callable[..., str]

VERSION = "import alpha; print(alpha.VERSION)"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the store of a test is, or will be."""
    return tmp_path / "store"


@pytest.fixture
def locked(desk: Desk, wheels_spec: Spec) -> Desk:
    """A desk with a lock of one package."""
    desk.write(wheels_spec("alpha==1.0"))
    desk.tykky("lock")
    return desk


def site(text: str) -> None:
    """Write the user's site.toml."""
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "tykky" / "site.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o644)  # whatever the umask: one that everybody can write is refused


def user_store(place: Path) -> None:
    site(f"store = {json.dumps(str(place))}\n")


def site_stores(*places: Path) -> None:
    site(f"stores = {json.dumps([str(place) for place in places])}\n")


def build(desk: Desk, name: str, *words: str) -> Finished:
    return desk.tykky("build", "--prefix", name, *words)


def keys(environment: Path) -> list[str]:
    return [layer["key"] for layer in record(environment)["layers"]]  # type: ignore[attr-defined]


def image(environment: Path, key: str) -> Path:
    return environment / ".tykky" / "layers" / f"{key}.sqfs"


def shows_alpha(environment: Path, version: str = "1.0") -> bool:
    return run([environment / "bin" / "python", "-c", VERSION]) == f"{version}\n"


def filled(desk: Desk, place: Path) -> str:
    """Have the store hold the desk's image; return its key."""
    user_store(place)
    build(desk, "first")
    (key,) = keys(desk.directory / "first")
    site("")
    return key


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_second_environment_takes_its_layers_from_the_users_store(locked: Desk, place: Path) -> None:
    user_store(place)
    assert "building pypi layer: 1 PyPI package\n" in build(locked, "first").err
    (key,) = keys(locked.directory / "first")
    assert names(place) == [f"{key}.manifest", f"{key}.sqfs"]
    second = build(locked, "second", "--offline")
    assert second.err == "", "nothing was downloaded, compiled or packed"
    assert keys(locked.directory / "second") == [key]
    assert shows_alpha(locked.directory / "second")
    inodes = {
        path.stat().st_ino
        for path in (place / f"{key}.sqfs", *(image(locked.directory / n, key) for n in ("first", "second")))
    }
    assert len(inodes) == 1, "one file with three names"


def test_an_update_is_shared_too(locked: Desk, place: Path, wheels_spec: Spec) -> None:
    user_store(place)
    for name in ("first", "second"):
        build(locked, name)
    locked.write(wheels_spec("alpha==1.1", "beta"))
    locked.tykky("lock")
    assert "building delta layer: add 1 package, change 1 package\n" in build(locked, "first", "--delta").err
    said = build(locked, "second", "--delta")
    assert said.err == ""
    assert keys(locked.directory / "second") == keys(locked.directory / "first")
    assert len(keys(locked.directory / "second")) == 2
    assert shows_alpha(locked.directory / "second", "1.1")


def test_an_environment_does_not_need_the_store_it_came_from(locked: Desk, place: Path) -> None:
    key = filled(locked, place)
    site_stores(place)
    build(locked, "second")
    shutil.rmtree(locked.directory / "first")
    shutil.rmtree(place)
    assert shows_alpha(locked.directory / "second")
    assert locked.tykky("verify", "second", "--full", "--quiet").status == 0
    assert image(locked.directory / "second", key).is_file()


def test_a_site_store_is_only_read(locked: Desk, place: Path, wheels_spec: Spec) -> None:
    filled(locked, place)
    for path in (*place.iterdir(), place):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path.name: path.stat().st_ctime_ns for path in place.iterdir() if path.suffix == ".manifest"}
    site_stores(place)
    try:
        assert build(locked, "second").err == ""
        assert shows_alpha(locked.directory / "second")
        locked.write(wheels_spec("alpha==1.1"))
        locked.tykky("lock")
        assert "building" in build(locked, "third").err
    finally:
        place.chmod(0o755)
    assert {path.name: path.stat().st_ctime_ns for path in place.iterdir() if path.suffix == ".manifest"} == before
    assert len(names(place)) == 2, "a new image goes to the user's store, and there is none"


def test_stores_are_asked_in_their_order_and_the_users_first(locked: Desk, place: Path, tmp_path: Path) -> None:
    key = filled(locked, place)
    other, mine = tmp_path / "other", tmp_path / "mine"
    shutil.copytree(place, other)
    site_stores(tmp_path / "nothing there", other, place)
    assert _elsewhere(locked) == [str(other)]
    site(f"store = {json.dumps(str(mine))}\nstores = {json.dumps([str(other)])}\n")
    assert _elsewhere(locked) == [str(other)]
    shutil.copytree(place, mine)
    assert _elsewhere(locked) == [str(mine)]
    assert names(mine) == [f"{key}.manifest", f"{key}.sqfs"]


def _elsewhere(desk: Desk) -> list[str | None]:
    plan = json.loads(build(desk, "new", "--dry-run", "--json").out)
    return [layer["elsewhere"] for layer in plan["layers"]]


def test_a_dry_run_says_where_a_layer_is(locked: Desk, place: Path) -> None:
    key = filled(locked, place)
    assert _elsewhere(locked) == [None]
    site_stores(place)
    shown = build(locked, "new", "--dry-run").out.splitlines()
    assert shown[0] == f"{locked.directory}/new for linux-64: generation 1"
    size = f"{(place / f'{key}.sqfs').stat().st_size / 1000:.1f} kB"
    assert shown[1:] == [f"  pypi   {key[:12]}  1 PyPI package: in {place}, {size}"]
    assert not (locked.directory / "new").exists()
    build(locked, "new")
    shown = build(locked, "new", "--dry-run").out.splitlines()
    assert shown[1:] == [f"  pypi   {key[:12]}  1 PyPI package: there already, {size}", "nothing to build"]


def _flipped(stored: Path) -> None:
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 0xFF
    stored.unlink()  # other environments have a name for this file
    stored.write_bytes(content)


def test_a_damaged_image_in_a_store_is_passed_over(locked: Desk, place: Path) -> None:
    key = filled(locked, place)
    stored = place / f"{key}.sqfs"
    _flipped(stored)
    site_stores(place)
    said = build(locked, "second").err
    assert said.startswith(
        f"warning: {stored} is passed over: its fingerprint is not that of its manifest\n"
        "building pypi layer: 1 PyPI package\n"
    )
    assert shows_alpha(locked.directory / "second")
    assert locked.tykky("verify", "second", "--full", "--quiet").status == 0
    assert image(locked.directory / "second", key).read_bytes() == image(locked.directory / "first", key).read_bytes()


def test_a_damaged_image_is_passed_over_for_a_whole_one(locked: Desk, place: Path, tmp_path: Path) -> None:
    key = filled(locked, place)
    other = tmp_path / "other"
    shutil.copytree(place, other)
    _flipped(place / f"{key}.sqfs")
    site_stores(place, other)
    said = build(locked, "second").err
    assert said == f"warning: {place / key}.sqfs is passed over: its fingerprint is not that of its manifest\n"
    assert shows_alpha(locked.directory / "second")


def test_what_everybody_can_write_is_not_believed(locked: Desk, place: Path) -> None:
    key = filled(locked, place)
    place.chmod(0o777)
    site_stores(place)
    said = build(locked, "second").err
    assert f"warning: {place / key}.sqfs is passed over: everybody can write to {place}\n" in said
    assert "building pypi layer: 1 PyPI package\n" in said
    assert shows_alpha(locked.directory / "second")


def test_a_users_store_that_cannot_be_written_is_a_warning(locked: Desk, place: Path) -> None:
    place.write_text("a file in its place\n")
    user_store(place)
    said = build(locked, "first").err
    (key,) = keys(locked.directory / "first")
    (warning,) = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert warning == f"warning: {place} does not get the new image {key[:12]}: file exists"
    assert shows_alpha(locked.directory / "first")
    assert place.read_text() == "a file in its place\n"


def test_a_new_store_is_not_for_everybody_to_write(locked: Desk, place: Path) -> None:
    before = os.umask(0)
    try:
        filled(locked, place / "deeper")
    finally:
        os.umask(before)
    for path in (place, place / "deeper", *(place / "deeper").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0, path


def test_a_store_must_be_an_absolute_path(locked: Desk) -> None:
    site('store = "store"\n')
    failed = locked.tykky("build", status=13)
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "tykky" / "site.toml"
    assert failed.err == (f"error: {file}:1: store: 'store' is not allowed: write an absolute path, or one below ~/\n")
    assert not (locked.directory / "store").exists()
