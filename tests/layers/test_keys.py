"""Layer keys: pure, named, and complete (invariant 1)."""

from __future__ import annotations

import msgspec
import pytest

from tykky.layers.keys import Base, conda_layer, interpreter_layer, pypi_layer, script_layer
from tykky.layers.stack import plan_stack
from tykky.lock.model import LOCK_VERSION, Lock, LockedPlatform, Package, Requirements
from tykky.spec.model import Spec
from tykky.spec.read import parse_spec

WHEEL = Package("cowsay", "6.1", "pypi", "linux-64", url="https://a/c.whl", sha256="a" * 64, source="wheel")
SDIST = Package("old", "1", "pypi", "linux-64", url="https://a/o.tar.gz", sha256="b" * 64, source="sdist")
CONDA = Package("zlib", "1.3", "conda", "linux-64", url="https://c/z.conda", sha256="c" * 64, build="h1_0")
BASE = Base("3.11", "/usr/bin/python3.11")


def spec(more: str = "", name: str = "demo") -> Spec:
    return parse_spec(f'[environment]\nname = "{name}"\n[conda]\n[pypi]\n{more}', "tykky.toml")


def key(
    one: Spec, *packages: Package, base: Base = BASE, below: tuple[str, ...] = (), platform: str = "linux-64"
) -> str:
    return pypi_layer(one, platform, packages, base, below, ()).key


def test_a_key_is_a_sha256_and_does_not_depend_on_order() -> None:
    assert len(key(spec(), WHEEL)) == 64
    assert key(spec(), WHEEL, SDIST) == key(spec(), SDIST, WHEEL)


@pytest.mark.parametrize(
    "other",
    [
        key(spec(name="other"), WHEEL),
        key(spec(), WHEEL, platform="linux-aarch64"),
        key(spec(), WHEEL, base=Base("3.12", "/usr/bin/python3.11")),
        key(spec(), WHEEL, base=Base("3.11", "/opt/python")),
        key(spec(), msgspec.structs.replace(WHEEL, sha256="d" * 64)),
        key(spec(), WHEEL, SDIST),
        key(spec('[build]\nexclude = ["x"]\n'), WHEEL),
        key(spec("[build]\ncompression-level = 5\n"), WHEEL),
    ],
)
def test_what_changes_the_tree_changes_the_key(other: str) -> None:
    assert other != key(spec(), WHEEL)


@pytest.mark.parametrize(
    "other",
    [
        key(spec("[runtime]\nenviron = { A = '1' }\n"), WHEEL),
        key(spec(), msgspec.structs.replace(WHEEL, url="https://mirror/c.whl", size=12, depends=("x",))),
        key(spec(), WHEEL, below=("anything",)),
        key(spec('config-settings = { other = { a = "b" } }\n'), WHEEL),
    ],
)
def test_what_does_not_change_the_tree_does_not(other: str) -> None:
    assert other == key(spec(), WHEEL)


def test_what_is_built_depends_on_settings_and_on_what_it_is_built_against() -> None:
    plain = key(spec(), SDIST)
    assert key(spec('config-settings = { OLD = { a = "b" } }\n'), SDIST) != plain
    assert key(spec('no-build-isolation = ["Old"]\n'), SDIST) != plain
    assert key(spec(), SDIST, below=("x",)) != plain


def test_conda_and_script_layers() -> None:
    plain = conda_layer(spec(), "linux-64", [CONDA], BASE)
    assert plain.key != conda_layer(spec(), "linux-64", [msgspec.structs.replace(CONDA, build="h2_0")], BASE).key
    one = script_layer(spec(), "linux-64", [("a.sh", "1" * 64)], ["below"])
    assert one.key != script_layer(spec(), "linux-64", [("a.sh", "2" * 64)], ["below"]).key
    assert one.key != script_layer(spec(), "linux-64", [("a.sh", "1" * 64)], ["other"]).key


PYTHON = Package("cpython", "3.12.4", "python", "linux-64", url="https://g/p.tar.gz", sha256="e" * 64)


def test_the_managed_interpreter_is_known_by_its_archive() -> None:
    def key_of(package: Package, name: str = "demo") -> str:
        return interpreter_layer(spec(name=name), "linux-64", package).key

    plain = key_of(PYTHON)
    assert key_of(msgspec.structs.replace(PYTHON, sha256="f" * 64)) != plain
    assert key_of(PYTHON, "other") != plain
    assert key_of(msgspec.structs.replace(PYTHON, url="https://mirror/p.tar.gz", size=3)) == plain


def test_the_managed_interpreter_is_the_bottom_layer() -> None:
    own = parse_spec('[environment]\nname = "demo"\n[pypi]\nmanaged-python = true\n', "tykky.toml")
    entries = (LockedPlatform("linux-64", "3.12"),)

    def kinds(*packages: Package) -> list[str]:
        lock = Lock(LOCK_VERSION, Requirements(), platform=entries, package=packages)
        return [layer.kind for layer in plan_stack(own, lock, "linux-64", Base("3.12"), [("a.sh", "1" * 64)])]

    assert kinds(WHEEL, PYTHON) == ["tree", "pypi", "script"]
    assert kinds(PYTHON) == ["tree", "script"]


def test_a_key_that_was_published_stays_what_it_was() -> None:
    """Stores are full of these. Changing one means raising TREE_FORMAT, on purpose."""
    assert key(spec(), WHEEL) == GOLDEN


def test_the_stack_is_bottom_first() -> None:
    lock = Lock(LOCK_VERSION, Requirements(), platform=(LockedPlatform("linux-64", "3.11"),), package=(WHEEL, CONDA))
    stack = plan_stack(spec(), lock, "linux-64", Base("3.11"), [("a.sh", "1" * 64)])
    assert [layer.kind for layer in stack] == ["conda", "pypi", "script"]
    assert stack[2].document["built-against"] == [stack[0].key, stack[1].key]
    assert [p.name for p in stack[1].packages] == ["cowsay"]


GOLDEN = "ff816fdd43320ac636cc45ca01511d9f9e954d29c66ff7c9e3e1afafca626184"
