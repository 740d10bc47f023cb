"""A hostile user: whatever she puts where others look is refused, not run, not followed, not waited for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.users.conftest import CHILD, Town
from tests.users.people import project_gid

pytestmark = pytest.mark.hosts


def based(town: Town) -> Path:
    """Have staff's base in the project's directory, which mallory's group can write to: she may change all names."""
    desk = town.shared / "desk"
    desk.mkdir()
    os.chown(desk, town.staff.uid, project_gid())
    desk.chmod(0o2775)
    return town.staff.with_umask(0o002).build(desk, "base", "alpha==1.0")


def image_of(base: Path) -> Path:
    (found,) = (base / ".tykky" / "layers").glob("*.sqfs")
    return found


def distrusted(town: Town, path: Path) -> str:
    return (
        f"error: {path} belongs to {town.mallory.name}, who is not trusted here\n\n"
        f'hint: if you trust them, write owners = ["{town.staff.name}", "{town.mallory.name}"] '
        "under [trust] in site.toml\n"
    )


def put(town: Town, path: Path, content: bytes) -> None:
    """Have mallory replace a file by one of hers, by the same name and size."""
    town.mallory.write(path.with_name(".new"), content)
    town.mallory.run("mv", "-f", path.with_name(".new"), path)
    assert path.stat().st_uid == town.mallory.uid


@pytest.mark.parametrize("which", ["image", "manifest", "environment.json", "tykky.lock"])
def test_her_own_file_by_the_same_name(town: Town, which: str) -> None:
    base = based(town)
    desk = town.asking(base)
    image = image_of(base)
    generation = base / ".tykky" / "generations" / "1"
    path = {"image": image, "manifest": image.with_suffix(".manifest")}.get(which, generation / which)
    put(town, path, path.read_bytes())
    assert town.alice.tykky("lock", cwd=desk, status=11).err == distrusted(town, path)


@pytest.mark.parametrize("which", ["image", "manifest"])
def test_her_own_file_after_the_lock(town: Town, which: str) -> None:
    base = based(town)
    desk = town.asking(base)
    town.alice.tykky("lock", cwd=desk)
    path = image_of(base) if which == "image" else image_of(base).with_suffix(".manifest")
    put(town, path, path.read_bytes())
    assert town.alice.tykky("build", cwd=desk, status=11).err == distrusted(town, path)
    assert not (desk / "mine").exists()


def test_her_own_image_after_the_build(town: Town) -> None:
    base = based(town)
    desk = town.asking(base)
    town.alice.tykky("lock", cwd=desk)
    town.alice.tykky("build", cwd=desk)
    image = image_of(base)
    content = image.read_bytes()
    put(town, image, content)
    assert town.alice.python(desk / "mine", CHILD, status=122).err == (
        f"tykky: {desk}/mine cannot be used: the image {image} belongs to user {town.mallory.uid}, "
        "who was not trusted when this was built\n"
    )
    image.unlink()
    town.staff.write(image, content, 0o664)
    assert "others than its owner can write to the image" in town.alice.python(desk / "mine", CHILD, status=122).err


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    path.chmod(0o666)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("made", [fifo, endless])
def test_what_is_no_file(town: Town, made: Callable[[Path], None]) -> None:
    """Nothing waits for a FIFO or reads a device, neither who extends nor who only looks."""
    base = based(town)
    desk = town.asking(base)
    town.alice.tykky("lock", cwd=desk)
    image, generation = image_of(base), base / ".tykky" / "generations" / "1"
    record = (generation / "environment.json").read_bytes()
    made(generation / "environment.json")
    no_file = f"{generation}/environment.json is no regular file"
    assert town.alice.tykky("lock", "--rebase", cwd=desk, status=11).err == (
        f"error: {no_file}\n\nhint: tell the owner of that environment\n"
    )
    damaged = f"{base}/.tykky/current/environment.json is damaged: it is no regular file"
    assert town.alice.tykky("info", base, status=11).err.startswith(f"error: {damaged}\n")
    assert f"base cannot be read any more: {damaged}" in town.alice.tykky("lock", "--check", cwd=desk).out
    assert "it is no regular file" in town.alice.tykky("list", town.shared / "desk").out
    town.alice.tykky("doctor", base)
    (generation / "environment.json").unlink()
    town.staff.write(generation / "environment.json", record)
    manifest = image.with_suffix(".manifest")
    kept = manifest.read_bytes()
    made(manifest)
    assert town.alice.tykky("build", cwd=desk, status=11).err == (
        f"error: {manifest} is no regular file\n\nhint: tell the owner of that environment\n"
    )
    manifest.unlink()
    town.staff.write(manifest, kept)
    made(image)
    assert town.alice.tykky("build", cwd=desk, status=11).err == (
        f"error: the image {image.stem[:12]} of base is gone: it was {image}\n\n"
        "hint: base moved on, or was moved: 'tykky lock --rebase' takes what is there now\n"
    )


@pytest.mark.parametrize("how", ["symlink", "link"])
def test_a_farm_of_links_to_staffs_files(town: Town, how: str) -> None:
    """What she links to is staff's, but she may let the names lead elsewhere at any moment."""
    base = town.staff.build(town.staff.directory("base"), "base", "alpha==1.0")
    farm = town.mallory.home / "farm"
    shutil.copytree(base, farm, symlinks=True, copy_function=getattr(os, how))
    for path in (farm, *farm.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            town.mallory.own(path)
    desk = town.asking(farm)
    assert town.alice.tykky("lock", cwd=desk, status=11).err == distrusted(town, farm / ".tykky" / "layers")


def forged(desk: Path, old: str, new: str) -> None:
    lock = desk / "tykky.lock"
    text = lock.read_text()
    assert old in text
    lock.write_text(text.replace(old, new))


def test_a_lock_that_names_her_images(town: Town) -> None:
    base = town.staff.build(town.staff.directory("base"), "base", "alpha==1.0")
    desk = town.asking(base)
    town.alice.tykky("lock", cwd=desk)
    image = image_of(base)
    hers = town.mallory.directory("images") / image.name
    for path in (image, image.with_suffix(".manifest")):
        town.mallory.write(hers.with_suffix(path.suffix), path.read_bytes())
    before = (desk / "tykky.lock").read_text()
    forged(desk, str(image), str(hers))
    assert town.alice.tykky("build", cwd=desk, status=11).err == distrusted(town, hers)
    (desk / "tykky.lock").write_text(before)
    for old, new, said in (
        (f'image = "{image}"', 'image = "../x.sqfs"', "parent.layer[0].image: '../x.sqfs' is not an absolute path"),
        ('prefix = "/tykky/base"', 'prefix = "/etc"', "parent.prefix: '/etc' is not a prefix such as '/tykky/base'"),
        ('name = "base"', 'name = "\\u001b[2J"', "parent.name: '\\x1b[2J' is not a name"),
        (f'key = "{image.stem}"', 'key = "../../x"', "parent.layer[0].key: "),
    ):
        forged(desk, old, new)
        failed = town.alice.tykky("build", cwd=desk, status=4).err
        assert said in failed
        assert "\x1b" not in failed
        (desk / "tykky.lock").write_text(before)


def test_a_memory_of_checks_that_she_has_made(town: Town) -> None:
    """A cache that several users share is no proof that an image was read."""
    base = town.staff.build(town.staff.directory("base"), "base", "alpha==1.0")
    desk = town.asking(base)
    town.alice.tykky("lock", cwd=desk)
    image = image_of(base)
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)
    status = image.stat()
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    digest = json.loads((base / ".tykky" / "current" / "environment.json").read_text())["layers"][0]["digest"]
    cache = town.alice.home / ".cache"
    checked = cache / "tykky" / "images-checked"
    checked.mkdir(parents=True, exist_ok=True)
    for path in (cache, cache / "tykky"):
        town.alice.own(path, 0o755)
    town.mallory.own(checked, 0o777)
    town.mallory.write(checked / "-".join((*(f"{number:x}" for number in numbers), digest[:32])), "")
    failed = town.alice.tykky("build", cwd=desk, status=11).err
    assert f"error: {image} is not what the lock says: expected sha256 {digest}, got " in failed
    town.alice.own(checked, 0o700)  # what is ours is believed: the name above is the right one
    town.alice.tykky("build", cwd=desk)


def test_an_image_that_she_slips_into_a_groups_store(town: Town) -> None:
    """By the right key, with a manifest that fits: her name is on it."""
    store = town.shared / "store"
    store.mkdir()
    os.chown(store, town.staff.uid, project_gid())
    store.chmod(0o2775)
    town.staff.site(f'store = "{store}"\n')
    town.staff.build(town.staff.directory("base"), "env", "alpha==1.0")
    (image,) = store.glob("*.sqfs")
    town.alice.site(f'stores = ["{store}"]\n')
    desk = town.alice.directory("work")
    town.alice.spec(desk, "env", "alpha==1.0")
    town.alice.tykky("lock", cwd=desk)
    assert f"in {store}" in town.alice.tykky("build", "--dry-run", cwd=desk).out
    for path in (image, image.with_suffix(".manifest")):
        put(town, path, path.read_bytes())
        said = town.alice.tykky("build", "--prefix", desk / path.suffix[1:], cwd=desk)
        assert f"warning: {image} is passed over: " in said.err
        assert "building pypi layer" in said.err, "her file was believed"
    town.alice.site(f'stores = ["{store}"]\n[trust]\nowners = ["{town.mallory.name}"]\n')
    assert f"in {store}" in town.alice.tykky("build", "--dry-run", "--prefix", desk / "third", cwd=desk).out
