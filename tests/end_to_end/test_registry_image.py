"""`image = "docker://…"`: from a registry to programs that see its files, and what is said where that cannot be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.roots import MARK, make_tree
from tests.end_to_end.conftest import Desk, record, run
from tests.end_to_end.test_root_image import WHO, spec
from tests.registry.images import HERE, Stored, archive, archive_of, make_image, make_index, member
from tests.registry.servers import RealRegistry, Registry, real_registry, serve

PLATFORM = {"amd64": "linux-64", "arm64": "linux-aarch64", "ppc64le": "linux-ppc64le"}[HERE]


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

    # The tag moves on: only --upgrade follows it.
    newer = make_image([*layers, archive([member("etc/mark", b"newer")])])
    registry.push("group/root", "9", make_index({HERE: newer}))
    assert desk.tykky("lock", "--check").out.endswith("answers the spec\n")
    assert desk.tykky("lock").out.endswith("is up to date\n")
    assert f"image {name} {image.digest[:19]} -> {newer.digest[:19]}" in desk.tykky("lock", "--upgrade").out
    plan = json.loads(desk.tykky("build", "--prefix", env, "--dry-run", "--json").out)
    assert plan["root"] == {"image": name, "manifest": newer.digest, "cached": False, "download": newer.size}
    desk.tykky("build", "--prefix", env)
    assert json.loads(run([env / "bin" / "python", "-c", WHO]))[1] == "newer"
    desk.tykky("rollback", env)
    assert json.loads(run([env / "bin" / "python", "-c", WHO]))[1] == MARK
    desk.tykky("rollback", env, "2")
    desk.tykky("gc", env, "--older-than", "0d")
    left = {path.name for path in made.parent.glob("*.sqfs")}
    current = record(env)
    assert left == {Path(one["image"]).name for one in (*current["layers"], current["root"])}  # type: ignore[misc]
