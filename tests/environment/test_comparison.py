"""Which packages and files two generations have and do not have in common."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.environment.stacks import layer, package
from tykky.environment.comparison import PackageChange, compare_packages, installed
from tykky.environment.file_comparison import Contents, Shown, compare_files, read_contents
from tykky.errors import EnvironmentDirectoryError
from tykky.layers.squashfs import pack_argv
from tykky.process import Commands, which
from tykky.store.images import Manifest


def test_packages_of_a_stack_are_those_of_merge() -> None:
    stack = [
        layer("a", packages=[package("x", "1"), package("y", "1"), package("x", "1", kind="conda")]),
        layer("b", packages=[package("x", "2")], removed=(("pypi", "y"),)),
    ]
    assert installed(stack) == Shown.of(stack).merged.packages
    assert {name: p.version for name, p in installed(stack).items()} == {("pypi", "x"): "2", ("conda", "x"): "1"}


def test_package_changes() -> None:
    old = installed([layer("a", packages=[package("moved", "1", kind="conda"), package("same", "1")])])
    old |= installed([layer("b", packages=[package("gone", "1"), package("up", "1"), package("again", "1")])])
    new = installed([layer("c", packages=[package("moved", "1"), package("same", "1"), package("come", "3")])])
    new |= installed([layer("d", packages=[package("up", "2"), package("again", "1", identity="other")])])
    found = compare_packages(old, new)
    assert found.added == (PackageChange("pypi", "come", None, "3"), PackageChange("pypi", "moved", None, "1"))
    assert found.removed == (PackageChange("pypi", "gone", "1", None), PackageChange("conda", "moved", "1", None))
    assert found.changed == (PackageChange("pypi", "again", "1", "1"), PackageChange("pypi", "up", "1", "2"))
    assert not compare_packages(old, old)


def no_reading(manifest: Manifest, paths: list[str]) -> Contents:
    raise AssertionError(f"{manifest.key[:3]}: {paths}")


def test_files_of_one_layer_are_not_read() -> None:
    base = layer("a", {"lib/x": 1, "lib/y": 2, "bin/z": 0})
    upper = layer("b", {"lib/y": 3, "new": 0}, whiteouts=("bin/z",))
    found = compare_files(Shown.of([base]), Shown.of([base, upper]), no_reading)
    assert (found.added, found.removed, found.changed) == (("new",), ("bin/z",), ("lib/y",))


def test_files_of_the_same_packages_are_not_read() -> None:
    """As after a flatten: every path is in another layer, and none has changed."""
    x, y = package("x", "1", "lib/x", "lib/both"), package("y", "1", "lib/both")
    old = Shown.of([layer("a", {"lib/x": 1, "lib/both": 2}, [x, y])])
    new = Shown.of([layer("b", {"lib/x": 1, "lib/both": 2}, [x, y])])
    assert not any(vars_of(compare_files(old, new, no_reading)))
    # Who else claims a path can decide what is in it.
    alone = Shown.of([layer("c", {"lib/x": 1, "lib/both": 2}, [x])])
    asked: list[str] = []

    def read(manifest: Manifest, paths: list[str]) -> Contents:
        asked.extend(paths)
        return dict.fromkeys(paths, manifest.key)

    assert compare_files(old, alone, read).changed == ("lib/both",)
    assert asked == ["lib/both", "lib/both"]


def test_what_cannot_be_read_counts_as_changed() -> None:
    old, new = Shown.of([layer("a", {"x": 1})]), Shown.of([layer("b", {"x": 1})])
    assert compare_files(old, new, lambda manifest, paths: {}).changed == ("x",)
    assert compare_files(old, new, lambda manifest, paths: {"x": "file"}).changed == ()


def vars_of(changes: object) -> list[object]:
    return [getattr(changes, name) for name in ("added", "removed", "changed")]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A real image of files with odd names."""
    tree = tmp_path / "root" / "tykky" / "demo"
    tree.mkdir(parents=True)
    (tree / "plain").write_text("x")
    (tree / "tool").write_text("x")
    (tree / "tool").chmod(0o755)
    (tree / "[a]*?\\b").write_text("star")
    (tree / "a b").write_text("other")
    Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9")).write_text("latin")
    (tree / "link").symlink_to("plain")
    (tree / "empty").mkdir()
    made = tmp_path / "x.sqfs"
    argv = pack_argv(which("mksquashfs", hint=""), tmp_path / "root", made, level=1)
    subprocess.run(argv, check=True, capture_output=True)
    return made


def test_contents_of_an_image(image: Path) -> None:
    paths = ["plain", "tool", "[a]*?\\b", "a b", "caf\udce9", "link", "empty", "not there"]
    found = read_contents(image, "/tykky/demo", paths, Commands())
    assert set(paths) - set(found) == {"not there"}
    assert found["tool"] == f"executable {found['plain']}"
    assert found["[a]*?\\b"] != found["a b"]
    assert (found["link"], found["empty"]) == ("symlink to plain", "directory")


def test_an_image_that_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "x.sqfs"
    broken.write_text("no image")
    with pytest.raises(EnvironmentDirectoryError) as caught:
        read_contents(broken, "/tykky/demo", ["x"], Commands())
    assert str(caught.value) == f"{broken} cannot be read"
    assert caught.value.hint == "see 'tykky verify'"
