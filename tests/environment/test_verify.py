"""What verify finds: quickly, and by walking a real image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.environment.stacks import LAUNCHER, key, layer, make
from tykky.digests import file_fingerprint, file_sha256
from tykky.environment.directory import EnvironmentDirectory, LayerRecord, RootRecord
from tykky.environment.publish import Generation, publish
from tykky.environment.verify import verify, verify_root
from tykky.layers.squashfs import pack_argv
from tykky.process import which
from tykky.store.images import Manifest, dump_manifest

ODD = "caf\udce9 \\ [x]"


def real(tmp_path: Path, change: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> EnvironmentDirectory:
    """Return an environment of one real image; `change` is done to its manifest."""
    tree = tmp_path / "root" / "tykky" / "demo"
    (tree / "lib").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "lib" / "x").write_text("12345")
    Path(os.fsdecode(os.fsencode(f"{tree}/{ODD}"))).write_text("1")
    (tree / "link").symlink_to("lib/x")
    image = tmp_path / "image"
    argv = pack_argv(which("mksquashfs", hint=""), tmp_path / "root", image, level=1, whiteouts=["tykky/demo/lib/old"])
    subprocess.run(argv, check=True, capture_output=True)
    files = {"lib/x": 5, "link": 0, "empty": 0, ODD: 1}
    manifest = replace(
        layer("a", files, whiteouts=("lib/old",)),
        digest=file_sha256(image),
        fingerprint=file_fingerprint(image),
        size=image.stat().st_size,
    )
    directory = make(tmp_path / "env", layer("b"))
    target = directory.store.image(manifest.key)
    image.rename(target)
    target.with_suffix(".manifest").write_bytes(dump_manifest(change(manifest)))
    sums = (manifest.digest, manifest.fingerprint, manifest.size)
    record = LayerRecord("pypi", key("a"), *sums, f".tykky/layers/{target.name}")
    changed = msgspec.structs.replace(directory.record(), number=2, layers=(record,))
    publish(directory, Generation(changed, {"tykky.lock": b"", "launch.sh": b""}, LAUNCHER))
    return directory


def problem(directory: EnvironmentDirectory, *, full: bool) -> str | None:
    read: list[int] = []
    (verdict,) = verify(directory, read.append, full=full)
    assert verdict.problem is not None or sum(read) == verdict.layer.size
    return verdict.problem


def test_an_image_as_it_was_made(tmp_path: Path) -> None:
    directory = real(tmp_path)
    assert problem(directory, full=False) is None
    assert problem(directory, full=True) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {"lib/x": 5, "link": 0, "empty": 0}}, "caf� \\ [x]"),
        ({"files": {"lib/x": 6, "link": 0, "empty": 0, ODD: 1}}, "lib/x"),
        ({"files": {"lib/x": 5, "link": 0, ODD: 1}}, "empty"),
        ({"files": {"lib/x": 5, "link": 0, "empty": 0, ODD: 1, "more": 0}}, "more"),
        ({"whiteouts": ()}, "lib/old"),
        ({"whiteouts": ("lib/old", "lib/other")}, "lib/other"),
        ({"files": {f"n{i}": 1 for i in range(4)}}, "caf� \\ [x], empty, lib/x, link, n0 and 3 more"),
    ],
)
def test_an_image_that_does_not_hold_what_its_manifest_says(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    directory = real(tmp_path, lambda manifest: replace(manifest, **change))  # type: ignore[arg-type]
    image = directory.store.image(key("a"))
    assert problem(directory, full=False) is None
    assert problem(directory, full=True) == f"{image} does not hold what its manifest says: {said}"


def test_a_manifest_of_another_image(tmp_path: Path) -> None:
    directory = real(tmp_path, lambda manifest: replace(manifest, digest="0" * 64))
    manifest = directory.store.image(key("a")).with_suffix(".manifest")
    assert problem(directory, full=False) == f"{manifest} is that of another image"


def test_a_change_that_keeps_the_fingerprint_is_found_in_full(tmp_path: Path) -> None:
    """As somebody can make it who wants to: xxh3 is for speed, not for trust."""
    directory = real(tmp_path)
    image = directory.store.image(key("a"))
    data = bytearray(image.read_bytes())
    data[-1] ^= 1
    image.write_bytes(data)
    found = file_fingerprint(image)
    said = problem(directory, full=False)
    assert said is not None
    assert said.endswith(f", got {found}")
    record = directory.current / "environment.json"
    was = directory.record().layers[0]
    record.write_text(record.read_text().replace(was.fingerprint, found))
    assert problem(directory, full=False) is None
    assert (
        problem(directory, full=True) == f"{image} has changed: expected sha256 {was.digest}, got {file_sha256(image)}"
    )


def test_an_earlier_generation(tmp_path: Path) -> None:
    directory = real(tmp_path)
    (verdict,) = verify(directory, lambda size: None, number=1)
    assert (verdict.layer.key, verdict.problem) == (key("b"), None)


def test_a_root_is_looked_at_by_its_size_and_read_for_its_content(tmp_path: Path) -> None:
    image = tmp_path / "root.sif"
    image.write_bytes(b"12345")
    root = RootRecord("./root.sif", str(image), file_sha256(image), image.stat().st_size, 0)

    environment = EnvironmentDirectory(tmp_path / "P")

    def problems() -> tuple[str | None, str | None]:
        return environment.root_damage(root), verify_root(environment, root, lambda _: None)

    assert problems() == (None, None)
    image.write_bytes(b"54321")
    changed = f"{image} has changed: expected sha256 {root.digest}, got {file_sha256(image)}"
    assert problems() == (None, changed)
    image.write_bytes(b"1234")
    assert problems() == (f"{image} has 4 bytes, 5 were locked",) * 2
    image.unlink()
    assert problems() == (f"{image} cannot be read: no such file or directory",) * 2


def test_a_root_that_the_environment_made_is_below_it(tmp_path: Path) -> None:
    environment = EnvironmentDirectory(tmp_path / "P")
    image = environment.path / ".tykky" / "layers" / f"{key('r')}.sqfs"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"12345")
    root = RootRecord("docker://root", LayerRecord.own_image(key("r")), file_sha256(image), 5, 0)
    assert (root.key, environment.root_path(root), environment.root_damage(root)) == (key("r"), image, None)
    assert verify_root(environment, root, lambda _: None) is None
    image.write_bytes(b"1234")
    assert environment.root_damage(root) == f"{image} has 4 bytes, 5 were written"
