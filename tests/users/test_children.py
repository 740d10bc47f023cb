"""Staff's base, and the children of alice and bob on it: at once, while it changes, and of one another."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.living import naming, until
from tests.users.conftest import CHILD, Town
from tests.users.people import Person
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.leases import read_leases

pytestmark = pytest.mark.hosts

WAIT = f"import sys; {CHILD}; sys.stdout.flush(); sys.stdin.read(); import importlib; import alpha; print('still')"


def finished(started: subprocess.Popen[str]) -> str:
    """Wait for a program that must succeed; return what it printed."""
    out, err = started.communicate(timeout=120)
    assert started.returncode == 0, err
    return out


def locked(person: Person, base: Path, *dependencies: str) -> Path:
    """Have a desk with a lock of a child of `base`."""
    desk = person.directory("work")
    person.spec(desk, "mine", *dependencies, extends=base)
    person.tykky("lock", cwd=desk)
    return desk


@pytest.mark.parametrize(("staffs", "childrens"), [(0o022, 0o022), (0o002, 0o077)])
def test_two_children_at_once(town: Town, staffs: int, childrens: int) -> None:
    staff = town.staff.with_umask(staffs)
    base = staff.build(staff.directory("base"), "base", "alpha==1.0")
    people = [person.with_umask(childrens) for person in (town.alice, town.bob)]
    desks = [locked(person, base, "gamma") for person in people]
    builds = [person.starting("build", cwd=desk) for person, desk in zip(people, desks, strict=True)]
    for build in builds:
        finished(build)
    for person, desk in zip(people, desks, strict=True):
        assert person.python(desk / "mine", CHILD).out == "1.0 1\n"
    for path in base.rglob("*"):
        if path.is_file():
            assert not path.lstat().st_mode & 0o022, path


def test_staff_goes_on_while_children_run_and_build(town: Town) -> None:
    """With leases that cannot be written: what runs is seen, the rest is what `gc-grace` is for."""
    staff, alice, bob = town.staff, town.alice, town.bob
    desk = staff.directory("base")
    base = staff.build(desk, "base", "alpha==1.0")
    mine = locked(alice, base, "gamma") / "mine"
    alice.tykky("build", cwd=mine.parent)
    bobs = locked(bob, base, "gamma", "epsilon")
    running = alice.start([mine / "bin" / "python", "-c", WAIT], waiting=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "1.0 1\n"
    building = bob.starting("build", cwd=bobs)
    staff.build(desk, "base", "alpha==1.1")
    staff.tykky("rollback", base, "1")
    staff.tykky("rollback", base, "2")
    assert "kept generation 1: pid " in staff.tykky("gc", base, "--older-than", "0m").out
    finished(building)
    out, err = running.communicate("", timeout=60)
    assert (running.returncode, out) == (0, "still\n"), err
    staff.site("[policy]\ngc-grace = 30\n")
    said = staff.tykky("gc", base, "--older-than", "0m").out
    assert "kept generation 1: environments that extend it may use it: it was replaced less than 30 days ago\n" in said
    assert bob.python(bobs / "mine", f"{CHILD}; import epsilon").out == "1.0 1\n"
    staff.site("")
    key = record(mine)["layers"][0]["key"]
    until(lambda: naming(key) == {})  # what serves a private mount goes a moment after its program
    assert f"removed image {key[:12]}, " in staff.tykky("gc", base, "--older-than", "0m").out
    gone = alice.python(mine, CHILD, status=122).err
    image = base / ".tykky" / "layers" / f"{key}.sqfs"
    assert gone == (
        f"tykky: {mine} is damaged: the image {image} cannot be read; it is lent by another environment: "
        "'tykky lock --rebase' and 'tykky build' take what is there now\n"
    )
    alice.tykky("lock", "--rebase", cwd=mine.parent)
    alice.tykky("build", cwd=mine.parent)
    assert alice.python(mine, CHILD).out == "1.1 1\n"


def record(environment: Path) -> dict[str, list[dict[str, str]]]:
    return json.loads((environment / ".tykky" / "current" / "environment.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_leases_that_others_may_write_count(town: Town, umask: int) -> None:
    """A site makes P/.tykky/leases for everybody, as /tmp is; staff's gc can read what alice leaves there."""
    staff, alice = town.staff, town.alice.with_umask(umask)
    desk = staff.directory("base")
    base = staff.build(desk, "base", "alpha==1.0")
    leases = base / ".tykky" / "leases"
    leases.mkdir()
    staff.own(leases, 0o1777)
    mine = locked(alice, base, "gamma") / "mine"
    alice.tykky("build", cwd=mine.parent)
    (lease,) = read_leases(EnvironmentDirectory(base))
    assert lease.environment == str(mine)
    staff.build(desk, "base", "epsilon")
    said = staff.tykky("gc", base, "--older-than", "0m").out
    assert f"kept image {lease.keys[0][:12]}: {mine} uses it\n" in said
    assert alice.python(mine, CHILD).out == "1.0 1\n"
    alice.tykky("lock", "--rebase", cwd=mine.parent)
    alice.tykky("build", cwd=mine.parent)
    alice.tykky("gc", mine, "--older-than", "0m")
    assert f"removed image {lease.keys[0][:12]}, " in staff.tykky("gc", base, "--older-than", "0m").out


def test_bob_runs_alices_child(town: Town) -> None:
    base = town.staff.build(town.staff.directory("base"), "base", "alpha==1.0")
    mine = locked(town.alice, base, "gamma") / "mine"
    town.alice.tykky("build", cwd=mine.parent)
    town.bob.site("")  # whom to trust was alice's decision
    assert town.bob.python(mine, CHILD).out == "1.0 1\n"
    assert town.bob.tykky("info", mine).out.splitlines()[2] == f"  extends     base ({base}), generation 1"
    town.bob.spec(town.bob.directory("work"), "third", "epsilon", extends=mine)
    failed = town.bob.tykky("lock", cwd=town.bob.home / "work", status=11).err
    assert failed == (
        f"error: {mine}/.tykky/generations/1/environment.json belongs to {town.alice.name}, who is not trusted here\n\n"
        f'hint: if you trust them, write owners = ["{town.alice.name}"] under [trust] in site.toml\n'
    )


def test_a_parent_that_moved_is_registered_again(town: Town) -> None:
    desk = town.staff.directory("base")
    base = town.staff.build(desk, "base", "alpha==1.0")
    trust = f'[trust]\nowners = ["{town.staff.name}"]\n[environments]\n'
    town.alice.site(f'{trust}central = "{base}"\n')
    work = town.alice.directory("work")
    mine = town.alice.build(work, "mine", "gamma", extends="central")
    elsewhere = base.rename(base.with_name("elsewhere"))
    assert "cannot be read; it is lent by another environment" in town.alice.python(mine, CHILD, status=122).err
    town.alice.site(f'{trust}central = "{elsewhere}"\n')
    town.alice.tykky("build", cwd=work)
    assert town.alice.python(mine, CHILD).out == "1.0 1\n"
