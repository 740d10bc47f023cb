"""A base on a read-only file system, and on another one than its children."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.users.conftest import CHILD, Town

pytestmark = pytest.mark.hosts


def mount(*words: str | Path) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def elsewhere(town: Town) -> Iterator[Path]:
    """A directory of staff on a tmpfs of its own."""
    place = town.place / "elsewhere"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "mode=755", "tykky-test", place)
    try:
        town.staff.own(place)
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def images(environment: Path) -> list[Path]:
    return sorted((environment / ".tykky" / "layers").glob("*.sqfs"))


def test_a_base_that_is_read_only(town: Town, elsewhere: Path) -> None:
    base = town.staff.build(elsewhere, "base", "alpha==1.0")
    mount("-o", "remount,ro", elsewhere)
    assert town.alice.python(base, "import alpha; print(alpha.VERSION)").out == "1.0\n"
    work = town.alice.directory("work")
    town.alice.spec(work, "mine", "gamma", extends=base)
    town.alice.tykky("lock", cwd=work)
    built = town.alice.tykky("build", cwd=work)
    assert "lease" not in built.err  # what cannot be written there is nothing to be told about
    assert "warning" not in built.err
    assert town.alice.python(work / "mine", CHILD).out == "1.0 1\n"
    assert town.staff.tykky("gc", base, status=11).err == (
        f"error: {base} cannot be written: read-only file system\n\n"
        "hint: it is mounted read-only here: do this on a host where it is not (programs of an environment run here)\n"
    )


def test_a_base_on_another_file_system_is_vendored(town: Town, elsewhere: Path) -> None:
    base = town.staff.build(elsewhere, "base", "alpha==1.0")
    work = town.alice.directory("work")
    mine = town.alice.build(work, "mine", "gamma", extends=base)
    assert len(images(mine)) == 1
    town.alice.tykky("vendor", mine)
    assert len(images(mine)) == 2
    shutil.rmtree(base)
    assert town.alice.python(mine, CHILD).out == "1.0 1\n"
    town.alice.tykky("verify", mine)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_of_others_are_copied_not_linked(town: Town, umask: int) -> None:
    """A link to staff's file would be a file that staff can write to for ever, and that counts for their quota."""
    alice = town.alice.with_umask(umask)
    base = town.staff.build(town.staff.directory("base"), "base", "alpha==1.0")
    mine = alice.build(alice.directory("work"), "mine", "gamma", extends=base)
    alice.tykky("vendor", mine)
    for path in (mine / ".tykky" / "layers").iterdir():
        assert (path.stat().st_uid, path.stat().st_nlink, path.stat().st_mode & 0o777) == (alice.uid, 1, 0o644)
    assert [path.stat().st_nlink for path in images(base)] == [1]
    assert alice.python(mine, CHILD).out == "1.0 1\n"


def test_a_base_by_a_path_below_a_closed_directory(town: Town) -> None:
    """Who may not pass a directory above learns which one that is."""
    desk = town.staff.directory("base")
    base = town.staff.build(desk, "base", "alpha==1.0")
    work = town.alice.directory("work")
    town.alice.spec(work, "mine", "gamma", extends=base)
    os.chmod(desk, 0o700)
    assert town.alice.tykky("lock", cwd=work, status=11).err == (
        f"error: {base} cannot be read: {town.staff.name} does not let you into {desk}\n\n"
        f"hint: ask for it: chmod a+rx {desk}\n"
    )
