"""Staff's base, and the children of alice and bob on it."""

from __future__ import annotations

import pytest

from tests.users.conftest import CHILD, Town

pytestmark = pytest.mark.hosts


@pytest.mark.parametrize("staffs", [0o022, 0o002])
@pytest.mark.parametrize("childrens", [0o022, 0o077])
def test_two_children_at_once(town: Town, staffs: int, childrens: int) -> None:
    staff = town.staff.with_umask(staffs)
    base = staff.build(staff.directory("base"), "base", "alpha==1.0")
    people = [person.with_umask(childrens) for person in (town.alice, town.bob)]
    desks = [person.directory("work") for person in people]
    for person, desk in zip(people, desks, strict=True):
        person.spec(desk, "mine", "gamma", extends=base)
        person.tykky("lock", cwd=desk)
    builds = [person.starting("build", cwd=desk) for person, desk in zip(people, desks, strict=True)]
    for build in builds:
        _, err = build.communicate(timeout=120)
        assert build.returncode == 0, err
    for person, desk in zip(people, desks, strict=True):
        assert person.python(desk / "mine", CHILD).out == "1.0 1\n"
