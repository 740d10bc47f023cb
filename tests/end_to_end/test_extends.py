"""An environment that extends another one: what people do with it, what they do wrong, what becomes of the parent."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk, record, run
from tests.wheelmaker import make_wheel
from tykky.environment.directory import LENT, EnvironmentDirectory
from tykky.environment.leases import read_leases
from tykky.lock.read import read_lock

CHILD = "import alpha, gamma; print(alpha.VERSION, gamma.X)"


@dataclass(frozen=True)
class Family:
    """A parent's desk with an environment `base`, and a child's desk beside it."""

    parent: Desk
    child: Desk
    house: Path
    home: Path

    @property
    def base(self) -> Path:
        return self.parent.directory / "base"

    def ask(self, *dependencies: str, extends: str = "../parent/base", more: str = "") -> Desk:
        """Write the child's spec."""
        listed = ", ".join(json.dumps(dependency) for dependency in dependencies)
        return self.child.write(
            f'[environment]\nname = "mine"\nextends = "{extends}"\n{more}\n[pypi]\ndependencies = [{listed}]\n'
            f'find-links = ["{self.house}"]\nindex-url = "file://{self.house}"\n'
        )

    def built(self, *dependencies: str, extends: str = "../parent/base", more: str = "") -> Path:
        """Have the child's environment."""
        self.ask(*dependencies, extends=extends, more=more).tykky("lock")
        self.child.tykky("build")
        return self.child.directory / "mine"

    def site(self, text: str) -> None:
        """Write the user's site.toml."""
        path = self.home / ".config" / "tykky" / "site.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def parent_becomes(self, spec: str) -> None:
        """Build the parent's next generation."""
        for wheelhouse in self.house.parent.parent.glob("wheelhouse*"):
            spec = spec.replace(str(wheelhouse), str(self.house))
        self.parent.write(spec).tykky("lock")
        self.parent.tykky("build", "--prefix", "base")


@pytest.fixture(scope="session")
def house(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheelhouse, with what a child may add."""
    made = tmp_path_factory.mktemp("houses") / "house"
    shutil.copytree(wheelhouse, made)
    make_wheel(made, "gamma", "1.0", files={"gamma.py": "X = 1\n"}, requires=["alpha"])
    make_wheel(made, "delta", "1.0", files={"delta.py": ""}, requires=["beta[more]"])
    make_wheel(made, "epsilon", "1.0", files={"epsilon.py": ""})
    return made


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all of these tests: what they make is the same again and again."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture
def family(
    tmp_path: Path,
    house: Path,
    home: Path,
    caches: Path,
    wheels_spec: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Family:
    """A parent with alpha 1.0 and beta, and a child that has nothing yet."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("TYKKY_CACHE", str(caches))
    made = []
    for name in ("parent", "child"):
        (tmp_path / name).mkdir()
        made.append(Desk(tmp_path / name))
    result = Family(made[0], made[1], house, home)
    result.parent_becomes(wheels_spec("alpha==1.0", "beta", name="base"))
    return result


def images(env: Path) -> list[str]:
    return sorted(path.name for path in (env / ".tykky" / "layers").glob("*.sqfs"))


def error(finished: object) -> str:
    return str(finished.err).partition("error: ")[2].replace("\n\nhint: ", "\nhint: ")  # type: ignore[attr-defined]


def test_it_sees_the_parent_and_stores_only_its_own(family: Family) -> None:
    locked = family.ask("gamma").tykky("lock").out
    assert locked.splitlines()[:2] == [
        f"  on base ({family.base}), generation 1",
        "  + gamma 1.0  (pypi, linux-64)",
    ]
    said = family.child.tykky("build").out
    mine = family.child.directory / "mine"
    assert f"1 layer on top of 1 of {family.base}, " in said
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    assert json.loads(run([mine / "bin" / "alpha"]))["executable"] == str(mine / "bin" / "python")
    assert len(images(mine)) == 1
    assert sum(1 for _ in mine.rglob("*")) <= 24
    layers = record(mine)["layers"]
    assert [Path(layer["image"]).is_absolute() for layer in layers] == [True, False]  # type: ignore[attr-defined]
    assert family.child.tykky("build").out == f"{mine} is up to date (generation 1)\n"


def test_it_is_pinned_to_what_the_parent_has(family: Family) -> None:
    failed = family.ask("alpha==1.1").tykky("lock", status=6)
    assert "hint: alpha 1.0 is the extended environment's: relax what needs another version, or write " in failed.err
    assert 'extends-policy = "upgrade" into [environment]' in failed.err


def test_with_upgrade_it_may_replace(family: Family) -> None:
    said = family.ask("alpha==1.1", "gamma", more='extends-policy = "upgrade"').tykky("lock").out
    assert said.splitlines()[1:3] == [
        "  ~ alpha 1.0 -> 1.1  (pypi, linux-64)",
        "  + gamma 1.0  (pypi, linux-64)",
    ]
    mine = family.built("alpha==1.1", "gamma", more='extends-policy = "upgrade"')
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.1 1\n"
    assert run([family.base / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]) == "1.0\n"
    assert "shadowed" not in run([mine / "bin" / "python", "-m", "alpha.tool"])


def test_an_extra_of_a_parents_package(family: Family) -> None:
    mine = family.built("beta[none]", "gamma")
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    assert [p["name"] for p in json.loads(family.child.tykky("info", mine, "--json").out)["packages"]] == [
        "alpha",
        "beta",
        "gamma",
    ]


def test_it_grows_step_by_step(family: Family) -> None:
    mine = family.built("gamma")
    family.built("gamma", "epsilon")
    family.built("epsilon")
    code = "import alpha, epsilon, importlib.util; print(importlib.util.find_spec('gamma'))"
    assert run([mine / "bin" / "python", "-c", code]) == "None\n"
    family.child.tykky("rollback", "mine", "1")
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"


def test_what_verify_says_of_an_image_that_another_one_lends(family: Family) -> None:
    mine = family.built("gamma")
    image = Path(record(mine)["layers"][0]["image"])  # type: ignore[index]
    image.unlink()
    assert family.child.tykky("verify", "mine", "-q", status=11).err == (
        f"error: {image} is missing\n\n"
        f"hint: who keeps {family.base} has to repair it, or 'tykky lock --rebase' takes what is there\n"
    )


def test_it_cannot_extend_itself(family: Family) -> None:
    mine = family.built("gamma")
    family.ask("gamma", "epsilon", extends="./mine").tykky("lock")
    assert family.child.tykky("build", status=2).err == (
        f"error: {mine} is what it extends itself\n\nhint: name another directory with --prefix, or correct 'extends'\n"
    )


def test_two_children_of_one_parent_are_not_shown_together(family: Family, tmp_path: Path) -> None:
    mine = family.built("gamma")
    sibling = Desk(tmp_path / "sibling")
    sibling.directory.mkdir()
    other = Family(family.parent, sibling, family.house, family.home).built("epsilon", extends=str(family.base))
    assert family.child.tykky("run", mine, "--with", other, "--", "python", status=2).err == (
        f"error: {mine} and {other} both have the prefix /tykky/base: one mount shows one of them\n\n"
        "hint: both extend another one, whose prefix they have: ask for what both add in one tykky.toml\n"
    )


def test_there_is_no_way_back_to_what_the_parent_removed(family: Family, wheels_spec: Callable[..., str]) -> None:
    mine = family.built("gamma")
    image = Path(record(mine)["layers"][0]["image"])  # type: ignore[index]
    family.parent_becomes(wheels_spec("alpha==1.1", "beta", name="base"))
    family.child.tykky("lock", "--rebase")
    family.child.tykky("build")
    image.unlink()
    assert family.child.tykky("rollback", "mine", status=11).err == (
        f"error: generation 1 of {mine} cannot be used:\n  image {image} is missing\n\n"
        "hint: nothing was changed; only the environment that lent it can bring it back; "
        "'tykky lock --rebase' and 'tykky build' make a generation of what that one has now\n"
    )
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.1 1\n"


def test_a_child_of_a_child_by_the_sites_names(family: Family, tmp_path: Path) -> None:
    mine = family.built("gamma")
    family.site(f'[environments]\n"first" = "{mine}"\n')
    grandchild = Desk(tmp_path / "grandchild")
    grandchild.directory.mkdir()
    third = Family(family.parent, grandchild, family.house, family.home).built("epsilon", extends="first")
    assert run([third / "bin" / "python", "-c", f"import epsilon; {CHILD}"]) == "1.0 1\n"
    for lender in (family.base, mine):
        leases = read_leases(EnvironmentDirectory(lender))
        assert str(third) in [lease.environment for lease in leases]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            "gone",
            "it is gone\n"
            "hint: nothing was changed; 'tykky lock --rebase' and 'tykky build' take what the parent has now",
        ),
        (
            "altered",
            "it is not the image that was recorded\nhint: nothing was changed; do not use it, and tell its owner",
        ),
    ],
)
def test_vendor_brings_all_or_nothing(family: Family, tmp_path: Path, how: str, said: str) -> None:
    mine = family.built("gamma")
    grandchild = Desk(tmp_path / "grandchild")
    grandchild.directory.mkdir()
    third = Family(family.parent, grandchild, family.house, family.home).built("epsilon", extends=str(mine))
    before = images(third)
    (last,) = (mine / ".tykky" / "layers").glob("*.sqfs")
    if how == "gone":
        last.unlink()
    else:
        last.write_bytes(bytes(last.stat().st_size))
    assert error(grandchild.tykky("vendor", third, status=11)) == f"{last} cannot be brought: {said}\n"
    assert images(third) == before


def test_the_parent_moves_on_and_the_child_follows_when_asked(family: Family, wheels_spec: Callable[..., str]) -> None:
    mine = family.built("gamma")
    family.parent_becomes(wheels_spec("alpha==1.1", "beta", name="base"))
    moved = f"base ({family.base}) moved on: generation 1 is locked, it has 2"
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    assert family.child.tykky("build").out == f"{mine} is up to date (generation 1)\n"
    checked = family.child.tykky("lock", "--check").out
    assert checked.splitlines()[1] == f"{moved}; 'tykky lock --rebase' takes what is there now"
    assert json.loads(family.child.tykky("lock", "--check", "--json").out) == {"fresh": True, "parent": moved}
    assert moved in family.child.tykky("info", "mine").out
    for place in ("mine", "."):
        assert f"look extends {moved}\n" in re.sub(" +", " ", family.child.tykky("doctor", place).out)
    family.built("gamma", "epsilon")  # on what is locked
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    rebased = family.child.tykky("lock", "--rebase").out
    assert rebased.splitlines() == [
        f"  on base ({family.base}), generation 1 -> 2",
        "  ~ alpha 1.0 -> 1.1  (pypi, linux-64)",
        "wrote tykky.lock",
    ]
    assert "it stands on another parent" in family.child.tykky("build", "--dry-run").out
    family.child.tykky("build")
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.1 1\n"
    assert family.child.tykky("lock", "--rebase").out == "tykky.lock is up to date\n"


def test_the_parents_gc_knows_of_its_children(
    family: Family, wheels_spec: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TYKKY_MOUNT", "private")  # so that what ran does not use its images a while longer
    mine = family.built("gamma")
    family.parent_becomes(wheels_spec("epsilon", name="base"))
    said = family.parent.tykky("gc", "base", "--older-than", "0m").out
    assert f"kept image {images_of(mine)[0][:12]}: {mine} uses it" in said
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    family.child.tykky("lock", "--rebase")
    family.child.tykky("build")
    family.child.tykky("gc", "mine", "--older-than", "0m")
    assert read_leases(EnvironmentDirectory(family.base))[0].keys == tuple(sorted(images_of(mine)[:-1]))
    family.parent.tykky("gc", "base", "--older-than", "0m")
    assert len(images(family.base)) == len(images_of(family.base))
    assert run([mine / "bin" / "python", "-c", "import epsilon, gamma"]) == ""


def images_of(env: Path) -> list[str]:
    return [layer["key"] for layer in record(env)["layers"]]  # type: ignore[attr-defined]


def test_a_site_keeps_generations_for_children_it_cannot_know_of(
    family: Family, wheels_spec: Callable[..., str]
) -> None:
    family.parent_becomes(wheels_spec("epsilon", name="base"))
    family.site("[policy]\ngc-grace = 30\n")
    said = family.parent.tykky("gc", "base", "--older-than", "0m").out
    assert "kept generation 1: environments that extend it may use it: it was replaced less than 30 days ago\n" in said
    family.site("")
    assert "removed generation 1" in family.parent.tykky("gc", "base", "--older-than", "0m").out


def test_alone_it_needs_no_parent(family: Family) -> None:
    mine = family.built("gamma")
    said = family.child.tykky("vendor", "mine").out
    assert said.startswith("published generation 2 of mine: it holds 1 image more, ")
    shutil.rmtree(family.parent.directory)
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    assert family.child.tykky("vendor", "mine").out == "mine stands alone already (generation 2)\n"
    assert family.child.tykky("verify", "mine").status == 0


def test_flatten_is_for_what_stands_alone(family: Family) -> None:
    mine = family.built("gamma")
    failed = family.child.tykky("flatten", mine, status=11)
    assert error(failed) == (
        f"{mine} extends another environment, whose images stay where they are\n"
        "hint: 'tykky build --rebuild' makes one layer of its own; 'tykky vendor' makes it stand alone\n"
    )
    family.child.tykky("vendor", "mine")
    family.child.tykky("flatten", mine)
    assert len(images_of(mine)) == 1
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"


def test_a_parent_that_was_moved(family: Family) -> None:
    family.site(f'[environments]\ncentral = "{family.base}"\n')
    mine = family.built("gamma", extends="central")
    elsewhere = family.parent.directory / "elsewhere"
    family.base.rename(elsewhere)
    family.site(f'[environments]\ncentral = "{elsewhere}"\n')
    family.child.tykky("build")  # the lock still holds: the same images, at another place
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    assert str(elsewhere) in record(mine)["layers"][0]["image"]  # type: ignore[index]


def test_a_link_to_the_parent_leads_elsewhere(family: Family, wheels_spec: Callable[..., str]) -> None:
    link = family.parent.directory / "newest"
    link.symlink_to("base")
    mine = family.built("gamma", extends=str(link))
    assert record(mine)["parent"] == str(family.base)
    family.parent.write(wheels_spec("alpha==1.1", "beta", name="base")).tykky("lock")
    family.parent.tykky("build", "--prefix", "other")
    link.unlink()
    link.symlink_to("other")
    family.built("gamma", "epsilon", extends=str(link))  # what was locked is there
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"
    moved = f"{link} leads to base ({family.parent.directory / 'other'}) now, {family.base} is locked"
    for words in (("lock", "--check"), ("info", "mine"), ("doctor", "mine"), ("doctor", ".")):
        assert moved in family.child.tykky(*words).out
    family.child.tykky("lock", "--rebase")
    family.child.tykky("build")
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.1 1\n"


def test_a_parent_that_is_gone(family: Family) -> None:
    mine = family.built("gamma")
    image = next((family.base / ".tykky" / "layers").glob("*.sqfs"))
    shutil.rmtree(family.base)
    family.ask("gamma", "epsilon").tykky("lock")  # what is locked of it is enough for that
    failed = family.child.tykky("build", status=11)
    assert error(failed) == (
        f"the image {image.name[:12]} of base is gone: it was {image}\n"
        f"hint: {family.base}: no such directory: ask whoever kept it, or correct 'extends' in [environment]\n"
    )
    assert "base cannot be read any more: " in family.child.tykky("lock", "--check").out
    assert error(family.child.tykky("lock", "--rebase", status=11)).startswith(f"{family.base}: no such directory")
    gone = f"the image {image.name[:12]}, lent by another environment, is gone: it was {image}"
    assert error(family.child.tykky("tree", mine, status=11)) == f"{gone}\nhint: {LENT}\n"
    hint = f"{family.base}: no such directory; ask whoever kept it, or correct 'extends' in [environment]\n"
    said = family.child.tykky("info", mine).out
    assert f"\n              base cannot be read any more: {hint}" in said
    assert "\n  packages    unknown\n" in said
    assert hint.partition("; ")[2] in family.child.tykky("doctor", mine, status=None).out


def test_what_stands_alone_is_built_without_its_parent(family: Family) -> None:
    mine = family.built("gamma")
    family.child.tykky("vendor", "mine")
    shutil.rmtree(family.base)
    assert "is up to date" in family.child.tykky("build").out
    family.ask("gamma", "epsilon").tykky("lock")
    family.child.tykky("build")
    assert run([mine / "bin" / "python", "-c", f"{CHILD}; import epsilon"]) == "1.0 1\n"


def test_images_that_cannot_be_used_are_said_before_a_launch(family: Family) -> None:
    family.built("gamma")
    image = next((family.base / ".tykky" / "layers").glob("*.sqfs"))
    image.chmod(0o664)
    for words in (("lock", "--check"), ("info", "mine"), ("doctor", "mine"), ("doctor", ".")):
        assert f"its group can write to {image}" in family.child.tykky(*words).out, words


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nowhere", "'nowhere' is no environment of this site\nhint: site.toml names none; write a path, ./nowhere\n"),
        (
            "../nowhere",
            "{top}/nowhere: no such directory\nhint: ask whoever kept it, or correct 'extends' in [environment]\n",
        ),
        (
            "../parent",
            "{top}/parent is no environment directory\nhint: name the directory that 'tykky build' published\n",
        ),
    ],
)
def test_a_parent_that_never_was(family: Family, extends: str, message: str) -> None:
    failed = family.ask("gamma", extends=extends).tykky("lock", status=11)
    assert error(failed) == message.format(top=family.base.parent.parent)


def test_an_image_that_others_can_write_to_is_not_used(family: Family) -> None:
    image = next((family.base / ".tykky" / "layers").glob("*.sqfs"))
    image.chmod(0o664)
    failed = family.ask("gamma").tykky("lock", status=11)
    assert error(failed) == (
        f"its group can write to {image}\nhint: its owner has to change that: chmod go-w {image}\n"
    )
    image.chmod(0o644)
    family.child.tykky("lock")
    image.with_suffix(".manifest").chmod(0o646)
    failed = family.child.tykky("build", status=11)
    manifest = image.with_suffix(".manifest")
    assert error(failed) == (
        f"everybody can write to {manifest}\nhint: its owner has to change that: chmod go-w {manifest}\n"
    )


def test_an_image_that_is_not_what_was_locked(family: Family) -> None:
    image = next((family.base / ".tykky" / "layers").glob("*.sqfs"))
    family.ask("gamma").tykky("lock")
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.chmod(0o644)
    image.write_bytes(content)
    failed = family.child.tykky("build", status=11)
    assert error(failed).startswith(f"{image} is not what the lock says: expected sha256 ")
    image.write_bytes(content[:-1])
    failed = family.child.tykky("build", status=11)
    assert error(failed) == (
        f"{image} has {len(content) - 1} bytes, {len(content)} were written\n"
        "hint: ask the owner of that environment to repair it\n"
    )


def test_an_owner_who_is_not_trusted(family: Family) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (family.base / ".tykky" / "current" / "environment.json", *family.base.glob(".tykky/layers/*")):
        os.chown(path, 12345, -1)
    failed = family.ask("gamma").tykky("lock", status=11)
    path = family.base / ".tykky" / "generations" / "1" / "environment.json"
    assert error(failed) == (
        f"{path} belongs to 12345, who is not trusted here\n"
        "hint: if you trust them, write owners = [12345] under [trust] in site.toml\n"
    )
    family.site("[trust]\nowners = [12345]\n")
    mine = family.built("gamma")
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"


def test_what_a_child_cannot_ask_for(family: Family) -> None:
    text = family.ask("gamma").directory.joinpath("tykky.toml").read_text()
    family.child.write(text.replace("[pypi]", '[pypi]\npython = "3.11"'))
    failed = family.child.tykky("lock", status=3)
    assert (
        "pypi.python: Python comes from the extended environment (environment.extends, line 3); take this out"
        in failed.err
    )
    family.child.write(text.replace('name = "mine"', 'name = "mine"\nplatforms = ["linux-64", "linux-aarch64"]'))
    failed = family.child.tykky("lock", status=6)
    assert error(failed) == (
        f"base ({family.base}) is for linux-64, the spec is for linux-64, linux-aarch64\n"
        'hint: write platforms = ["linux-64"] into [environment]: images are of one platform\n'
    )
    family.child.write(text + '\n[conda.dependencies]\nzlib = "*"\n')
    failed = family.child.tykky("lock", status=6)
    assert error(failed) == (
        f"base ({family.base}) has no conda packages, so none can be added to it\n"
        "hint: take [conda] out and ask for PyPI packages, or extend an environment that has conda packages\n"
    )
    family.parent.tykky("lock", "--rebase", status=2)


def test_extends_comes_and_goes(family: Family, wheels_spec: Callable[..., str]) -> None:
    mine = family.built("gamma")
    family.child.write(wheels_spec("alpha==1.0", name="mine").replace(str(family.house), str(family.house)))
    assert "environment.extends ../parent/base was removed" in family.child.tykky("build", status=5).err
    family.child.tykky("lock")
    family.child.tykky("build")
    assert len(images_of(mine)) == 1
    family.built("gamma")
    assert run([mine / "bin" / "python", "-c", CHILD]) == "1.0 1\n"


def test_a_launch_looks_at_what_is_lent(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYKKY_MOUNT", "private")  # what is mounted already was looked at then
    mine = family.built("gamma")
    image = Path(record(mine)["layers"][0]["image"])  # type: ignore[index]
    program = [mine / "bin" / "python", "-c", "pass"]

    def said() -> str:
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        assert done.returncode == 122, done.stderr
        return done.stderr.removeprefix(f"tykky: {mine} ").removesuffix("\n")

    image.chmod(0o664)
    assert said() == (
        f"cannot be used: others than its owner can write to the image {image}; "
        "its owner has to change that: chmod go-w"
    )
    image.chmod(0o644)
    run(program)
    if os.geteuid() == 0:
        os.chown(image, 12345, -1)
        assert said() == (
            f"cannot be used: the image {image} belongs to user 12345, who was not trusted when this was built"
        )
        os.chown(image, 0, -1)
    content = image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(image, (1, 1))
    written = (
        f"cannot be used: the image {image} was written to after this was built; "
        "'tykky build' with its spec and lock says whether it is still the same"
    )
    assert said() == written
    failed = family.child.tykky("build", status=11)
    assert error(failed).startswith(f"{image} is not what the lock says: expected sha256 ")
    image.write_bytes(content)
    os.utime(image, (1, 1))
    assert said() == written
    assert "published generation 2 " in family.child.tykky("build").out
    run(program)
    assert "is up to date" in family.child.tykky("build").out
    # With its old time it passes launches, and no build: its status has changed all the same.
    status = image.stat()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    failed = family.child.tykky("build", status=11)
    assert error(failed).startswith(f"{image} is not what the lock says: expected sha256 ")
    image.write_bytes(content)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "is up to date" in family.child.tykky("build").out
    # Who repairs an image puts another file there: launches go on, and the next build looks whether it is the same.
    image.rename(image.with_suffix(".old"))
    image.write_bytes(content)
    run(program)
    assert "published generation 3 " in family.child.tykky("build").out
    assert "is up to date" in family.child.tykky("build").out
    image.with_suffix(".old").rename(image)
    image.write_bytes(content[::-1])
    failed = family.child.tykky("build", status=11)
    assert error(failed).startswith(f"{image} is not what the lock says: expected sha256 ")
    image.unlink()
    assert said() == (
        f"is damaged: the image {image} cannot be read; "
        "it is lent by another environment: 'tykky lock --rebase' and 'tykky build' take what is there now"
    )


CONDA = """
[environment]
name = "{name}"
{more}
[conda]
channels = ["{channel}"]
[conda.dependencies]
{dependencies}
"""


def test_conda_packages_on_top_of_conda_packages(desk: Desk, conda_channel: Path) -> None:
    channel = conda_channel.as_uri()

    def ask(name: str, dependencies: str, more: str = "") -> Desk:
        return desk.write(CONDA.format(name=name, channel=channel, dependencies=dependencies, more=more))

    def locked() -> list[str]:
        lock = read_lock(desk.directory / "tykky.lock")
        return [f"{package.name} {package.version}" for package in lock.package]

    ask("base", f'python = "{MINOR}.*"\nhello = "1.0.*"\ngreeter = "1.*"\nmarkupsafe = "*"').environment("base")
    (desk.directory / "tykky.lock").unlink()
    ask("mine", 'jinja2 = "*"\ngreeter = "*"', 'extends = "./base"').tykky("lock")
    assert [line.split()[0] for line in locked()] == ["jinja2"], "markupsafe, greeter and python are there"
    desk.tykky("build")
    mine = desk.directory / "mine"
    code = "import jinja2, greeter, os; print(jinja2.__file__, os.environ['CONDA_PREFIX'])"
    assert run([mine / "bin" / "python", "-c", code]).split()[-1] == "/tykky/base"
    assert run([mine / "bin" / "hello"]).startswith("hello 1.0")
    failed = ask("mine", 'greeter = ">=2"', 'extends = "./base"').tykky("lock", status=6)
    assert "extends-policy" in failed.err
    ask("mine", 'greeter = ">=2"', 'extends = "./base"\nextends-policy = "upgrade"').tykky("lock")
    assert "greeter 2.0" in locked()
    desk.tykky("build")
    assert "2.0" in run([mine / "bin" / "python", "-c", "import importlib.metadata as m; print(m.version('greeter'))"])
    ask("mine", f'python = "{MINOR}.*"', 'extends = "./base"').tykky("lock")
    assert locked() == []
    desk.tykky("build")
    assert all(layer["image"].startswith("/") for layer in record(mine)["layers"])  # type: ignore[attr-defined]


def test_wheels_on_top_of_conda_packages(desk: Desk, conda_channel: Path, house: Path) -> None:
    dependencies = f'python = "{MINOR}.*"\njinja2 = "*"'
    desk.write(CONDA.format(name="base", channel=conda_channel.as_uri(), dependencies=dependencies, more=""))
    desk.environment("base")
    (desk.directory / "tykky.lock").unlink()
    make_wheel(
        house, "needs-jinja", "1.0", files={"needs_jinja.py": "import jinja2\n"}, requires=["jinja2>=1", "alpha"]
    )
    desk.write(
        '[environment]\nname = "mine"\nextends = "./base"\n\n[pypi]\ndependencies = ["needs-jinja"]\n'
        f'find-links = ["{house}"]\nindex-url = "file://{house}"\n'
    ).tykky("lock")
    lock = read_lock(desk.directory / "tykky.lock")
    assert [package.name for package in lock.package] == ["alpha", "needs-jinja"]
    desk.tykky("build")
    assert run([desk.directory / "mine" / "bin" / "python", "-c", "import needs_jinja"]) == ""
