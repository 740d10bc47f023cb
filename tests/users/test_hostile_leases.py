"""Leases in a directory that everybody may write to, as a site may make it: what a hostile user leaves there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.users.conftest import CHILD, Town
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.leases import write_lease

pytestmark = pytest.mark.hosts


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("0" * 32 + ".json", os.mkfifo, "it is no regular file"),
        ("0" * 32 + ".json", lambda path: path.symlink_to("/dev/zero"), "it is a symbolic link"),
        ("0" * 32 + ".json", lambda path: path.write_text("{"), "Input data was truncated"),
        ("0" * 32 + ".json", lambda path: path.write_bytes(b" " * (2 << 20)), "it has more than 1048576 bytes"),
        (
            "0" * 32 + ".json",
            lambda path: path.write_text(json.dumps({"environment": "/\x1b[2J", "keys": [], "created": ""})),
            "it names no environment",
        ),
        (
            "0" * 32 + ".json",
            lambda path: path.write_text(json.dumps({"environment": "/x", "keys": ["../../etc"], "created": ""})),
            None,
        ),
        ("\x1b[2J.json", os.mkfifo, None),
    ],
    ids=["fifo", "symlink", "cut", "large", "escapes", "keys", "name"],
)
def test_a_hostile_lease(town: Town, name: str, made: Callable[[Path], None], said: str | None) -> None:
    base = town.staff.build(town.staff.directory("base"), "base", "alpha==1.0")
    leases = base / ".tykky" / "leases"
    leases.mkdir()
    town.staff.own(leases, 0o1777)
    path = leases / name
    made(path)
    town.mallory.own(path)
    if said is None:
        assert town.staff.tykky("gc", base).out == f"nothing to remove in {base}\n"
    else:
        assert town.staff.tykky("gc", base, status=11).err == (
            f"error: {path} (of {town.mallory.name}) is damaged: {said}\n\nhint: it names images that another "
            "environment uses; build that one again, or remove the file if it is gone\n"
        )
    asking = town.asking(base)
    town.alice.tykky("lock", cwd=asking)
    town.alice.tykky("build", cwd=asking)
    assert town.alice.python(asking / "mine", CHILD).out == "1.0 1\n"


def test_a_lease_writes_into_nothing_of_hers(town: Town) -> None:
    """She knows the name of alice's lease, and puts a link there, to a file of alice's."""
    base = town.staff.build(town.staff.directory("base"), "base", "alpha==1.0")
    leases = base / ".tykky" / "leases"
    leases.mkdir()
    town.staff.own(leases, 0o1777)
    desk = town.asking(base)
    precious = town.alice.write(town.alice.home / "precious", "precious")
    mine = desk / "mine"
    lease = write_lease(EnvironmentDirectory(base), mine, [])
    lease.unlink()
    lease.symlink_to(precious)
    town.mallory.own(lease)
    town.alice.tykky("lock", cwd=desk)
    town.alice.tykky("build", cwd=desk)
    assert town.alice.python(mine, CHILD).out == "1.0 1\n"
    assert precious.read_text() == "precious"
