"""`image = "docker://…"`: from a registry to programs that see its files, and what is said where that cannot be."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.roots import MARK, make_tree
from tests.end_to_end.conftest import Desk, record, run
from tests.end_to_end.test_root_image import WHO, spec
from tests.registry.images import HERE, PLATFORM, Stored, archive, archive_of, make_image, make_index, member
from tests.registry.servers import RealRegistry, Registry, real_registry, serve
from tykky.resolve.registry.server import CREDENTIALS_HINT


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A small root in three layers, packed in three ways: the topmost takes a file away and changes another one."""
    tree = make_tree(tmp_path_factory.mktemp("root") / "tree")
    (tree / "etc" / "gone").write_text("of the first layer")
    first = archive_of(tree)
    second = archive([member("opt/more", b"of the second layer"), member("etc/mark", b"not yet")], "zstd")
    third = archive([member("etc/.wh.gone"), member("etc/mark", MARK.encode())], "")
    return [first, second, third]


@pytest.fixture(scope="module")
def image(layers: list[bytes]) -> Stored:
    return make_image(layers)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def answering() -> Iterator[Registry]:
    with serve() as running:
        yield running


def test_from_a_registry_to_another_root(
    desk: Desk, conda_channel: Path, registry: RealRegistry, layers: list[bytes], image: Stored
) -> None:
    """The lock has the manifest's digest; the build makes an image of it, and keeps to it whatever the tag names."""
    name = f"docker://{registry.address}/group/root:9"
    registry.push("group/root", "9", make_index({HERE: image}))
    env = desk.write(spec(conda_channel, name)).environment()
    digest = image.digest.removeprefix("sha256:")
    locked = f'[[image-manifest]]\nplatform = "{PLATFORM}"\ndigest = "{digest}"\nsize = {image.size}\n'
    text = (desk.directory / "tykky.lock").read_text()
    assert locked in text
    assert f'image = "{name}"' in text
    assert json.loads(run([env / "bin" / "python", "-c", WHO])) == [str(env / "bin" / "python"), MARK, False]
    look = "import os; print(os.listdir('/etc'), open('/opt/more').read())"
    said = run([env / "bin" / "python", "-c", look])
    assert "gone" not in said
    assert said.endswith("of the second layer\n")

    root = record(env)["root"]
    assert isinstance(root, dict)
    made = env / root["image"]
    assert made.parent == env / ".tykky" / "layers"
    assert root["manifest"] == f"sha256:{digest}"
    assert root["digest"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert f"  root        {name} (sha256:{digest[:12]})  " in desk.tykky("info", env).out
    finding = json.loads(desk.tykky("doctor", env, "--json", status=None).out)["findings"]
    assert f"{made}: {root['size']} bytes, as written" in [one["detail"] for one in finding]
    count = len(record(env)["layers"]) + 1  # type: ignore[arg-type]
    assert desk.tykky("verify", env).out == f"{env}: {count} images as they were made\n"
    # Nothing is made again, and gc leaves it alone.
    before = made.stat()
    assert desk.tykky("build", "--prefix", env, "--offline").out == f"{env} is up to date (generation 1)\n"
    desk.tykky("gc", env)
    assert made.stat() == before


@pytest.mark.thorough
def test_a_tag_that_moves_on_is_followed_by_an_upgrade_alone(
    desk: Desk, conda_channel: Path, registry: RealRegistry, layers: list[bytes], image: Stored
) -> None:
    name = f"docker://{registry.address}/group/moving:9"
    registry.push("group/moving", "9", make_index({HERE: image}))
    env = desk.write(spec(conda_channel, name)).environment()
    newer = make_image([*layers, archive([member("etc/mark", b"newer")])])
    registry.push("group/moving", "9", make_index({HERE: newer}))
    assert desk.tykky("lock", "--check").out.endswith("answers the spec\n")
    assert desk.tykky("lock").out.endswith("is up to date\n")
    said = desk.tykky("lock", "--upgrade").out
    assert f"  image {name} {image.digest[:19]} -> {newer.digest[:19]}  ({PLATFORM})\n" in said
    plan = json.loads(desk.tykky("build", "--prefix", env, "--dry-run", "--json").out)
    assert plan["root"] == {"image": name, "manifest": newer.digest, "cached": False, "download": newer.size}
    desk.tykky("build", "--prefix", env)
    assert mark(env) == "newer"
    desk.tykky("rollback", env)
    assert mark(env) == MARK
    # A generation keeps the image of its root, and that goes with it.
    desk.tykky("gc", env)
    assert len(roots(env)) == 2
    desk.tykky("rollback", env, "2")
    desk.tykky("gc", env, "--older-than", "0d")
    assert roots(env) == {record(env)["root"]["image"]}  # type: ignore[index]
    assert mark(env) == "newer"


@pytest.mark.thorough
def test_a_damaged_root_is_found_and_made_again(
    desk: Desk, conda_channel: Path, answering: Registry, image: Stored
) -> None:
    """From what is in the cache; the bytes are the same."""
    answering.put("root", "1", image)
    env = desk.write(spec(conda_channel, f"docker://{answering.address}/root:1")).environment()
    made = env / next(iter(roots(env)))
    content = made.read_bytes()
    asked = len(answering.requests)
    again = f"remove {made} and run 'tykky build', which makes it again from the lock"
    made.chmod(0o644)
    made.write_bytes(content[:5000] + bytes(byte ^ 255 for byte in content[5000:5100]) + content[5100:])
    actual = hashlib.sha256(made.read_bytes()).hexdigest()
    assert desk.tykky("verify", env, "--quiet", status=11).err == (
        f"error: {made} has changed: expected sha256 {hashlib.sha256(content).hexdigest()}, got {actual}\n\n"
        f"hint: {again}\n"
    )
    made.write_bytes(content[:-4096])
    assert desk.tykky("verify", env, "--quiet", status=11).err == (
        f"error: {made} has {len(content) - 4096} bytes, {len(content)} were written\n\nhint: {again}\n"
    )
    found = json.loads(desk.tykky("doctor", env, "--json", status=None).out)["findings"]
    assert [one["advice"] for one in found if one["name"] == "image"] == [
        "'tykky build' with its spec and lock makes it again"
    ]
    desk.tykky("build", "--prefix", env, "--offline")
    assert made.read_bytes() == content
    assert mark(env) == MARK
    assert len(answering.requests) == asked


@pytest.mark.thorough
def test_two_environments_share_an_image_by_way_of_a_store(
    desk: Desk, conda_channel: Path, answering: Registry, image: Stored, home: Path
) -> None:
    answering.put("root", "1", image)
    settings = home / ".config" / "tykky" / "site.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'store = "{home / "store"}"\n')
    text = spec(conda_channel, f"docker://{answering.address}/root:1")
    first = desk.write(text).environment("first")
    asked = len(answering.requests)
    shutil.rmtree(home / ".cache")
    desk.write(text.replace('"rooted"', '"other"')).tykky("lock")
    desk.tykky("build", "--prefix", desk.directory / "second")
    second = desk.directory / "second"
    assert roots(first) == roots(second)
    (name,) = roots(first)
    assert (first / name).stat().st_ino == (second / name).stat().st_ino
    assert len(answering.requests) == asked


@pytest.mark.thorough
def test_a_build_that_is_killed_leaves_nothing_that_counts(
    desk: Desk, conda_channel: Path, answering: Registry, layers: list[bytes]
) -> None:
    """While it downloads; the next build takes what was whole and clears the rest away."""
    image = make_image([*layers, archive([member("etc/last", os.urandom(3 << 20))])])
    answering.put("root", "1", image)
    desk.write(spec(conda_channel, f"docker://{answering.address}/root:1")).tykky("lock")
    last = json.loads(image.body)["layers"][-1]["digest"]
    answering.held.add(last)
    env = desk.directory / "env"
    argv = [sys.executable, "-m", "tykky", "build", "--prefix", env]
    with subprocess.Popen(argv, cwd=desk.directory, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as build:
        assert answering.holding.wait(60)
        build.kill()
    answering.held.clear()
    answering.release.set()
    assert not env.exists()
    before = len(answering.requests)
    desk.tykky("build", "--prefix", env)
    assert mark(env) == MARK
    assert [path for path in answering.requests[before:] if "blobs" in path] == [f"/v2/root/blobs/{last}"]
    assert not [path for path in desk.directory.iterdir() if ".tykky-" in path.name]


def test_what_cannot_be_had_is_said_by_the_lock(
    desk: Desk, conda_channel: Path, answering: Registry, image: Stored
) -> None:
    answering.put("group/root", "9", make_index({HERE: image}))
    place = f"docker://{answering.address}"
    cases = {
        "nobodys:1": (7, f"cannot be had: {answering.address} has no image nobodys", CREDENTIALS_HINT),
        "group/root:8": (7, f"cannot be had: {answering.address}/group/root has no tag 8", "there are 9"),
    }
    for name, (status, said, hint) in cases.items():
        desk.write(spec(conda_channel, f"{place}/{name}"))
        assert problem(desk.tykky("lock", status=status).err) == f"error: {place}/{name} {said}\n\nhint: {hint}\n"
    text = spec(conda_channel, f"{place}/group/root:9")
    assert problem(desk.write(text).tykky("lock", "--offline", status=7).err) == (
        f"error: {place}/group/root:9 is not in the cache, and --offline allows no network\n\n"
        "hint: run the same command once without --offline; after that the cache answers\n"
    )
    other = next(one for one in ("linux-aarch64", "linux-64") if one != PLATFORM)
    both = text.replace("[conda]\n", f'platforms = ["{PLATFORM}", "{other}"]\n\n[conda]\n', 1).replace(
        '"\n\nplat', '"\nplat'
    )
    assert problem(desk.write(both).tykky("lock", status=6).err) == (
        f"error: {place}/group/root:9 is not there for {other}: it is for {PLATFORM}\n\n"
        f"hint: name an image that is, or leave {other} out of environment.platforms\n"
    )
    assert not (desk.directory / "tykky.lock").exists()


def test_what_cannot_be_a_root_is_said_by_the_build(desk: Desk, conda_channel: Path, answering: Registry) -> None:
    """Nothing of it is unpacked, and no environment is made."""
    musl = make_image([archive([member("bin/sh"), member("lib/ld-musl-x86_64.so.1")])])
    answering.put("musl", "1", musl)
    answering.put("hostile", "1", make_image([archive([member("../../etc/passwd")])]))
    place = f"docker://{answering.address}"
    loader = {"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}[HERE]
    cases = {
        "musl:1": (
            3,
            f"tykky.toml: runtime.image: {place}/musl:1 has no /{loader}",
            "packages need the GNU C library: take an image of Debian, EL or SUSE",
        ),
        "hostile:1": (
            8,
            f"{place}/hostile:1 holds what no image may hold: '../../etc/passwd' is no path inside of an image",
            "do not use it; tell its authors, or the keepers of the registry it came from",
        ),
    }
    for name, (status, said, hint) in cases.items():
        desk.write(spec(conda_channel, f"{place}/{name}")).tykky("lock")
        err = desk.tykky("build", "--prefix", "env", "--quiet", status=status).err
        assert err.startswith(f"error: {said}\n\nhint: {hint}")
        assert not (desk.directory / "env").exists()


def test_a_lock_without_the_image_is_out_of_date(
    desk: Desk, conda_channel: Path, answering: Registry, image: Stored
) -> None:
    answering.put("root", "1", image)
    name = f"docker://{answering.address}/root:1"
    desk.write(spec(conda_channel, name)).tykky("lock")
    lock = desk.directory / "tykky.lock"
    lock.write_text(re.sub(r"(?s)\[\[image-manifest\]\].*?\n\n", "", lock.read_text()))
    said = f"the image {name} is not locked for {PLATFORM}"
    asked = len(answering.requests)
    assert desk.tykky("lock", "--check", status=5).err == (
        f"error: tykky.lock is out of date:\n  {said}\n\nhint: run 'tykky lock'\n"
    )
    assert desk.tykky("build", "--quiet", status=5).err == (
        f"error: tykky.lock does not answer tykky.toml any more:\n  {said}\n\n"
        "hint: run 'tykky lock' (or build what is locked with --no-check)\n"
    )
    assert desk.tykky("build", "--no-check", "--quiet", status=4).err == (
        f"error: tykky.lock: image-manifest: {said}\n\nhint: run 'tykky lock'\n"
    )
    assert len(answering.requests) == asked


def problem(text: str) -> str:
    """Return the error of what a command printed, without what it said of its progress."""
    return text[text.index("error: ") :]


def mark(environment: Path) -> str:
    """Return the mark of the root that programs see."""
    return str(json.loads(run([environment / "bin" / "python", "-c", WHO]))[1])


def roots(environment: Path) -> set[str]:
    """Return the images of roots that an environment has."""
    found = set()
    for path in (environment / ".tykky" / "layers").glob("*.manifest"):
        if json.loads(gzip.decompress(path.read_bytes()))["kind"] == "root":
            found.add(f".tykky/layers/{path.stem}.sqfs")
    return found
