"""Who may read, and who may write, what builds with different umasks leave: P is the door to all that is below it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.users.conftest import CHILD, Town
from tests.users.people import project_gid

pytestmark = pytest.mark.hosts


def modes(environment: Path) -> dict[str, str]:
    """Return what is in an environment directory -> its mode, symlinks and images' names left out."""
    paths = [environment, *(path for path in environment.rglob("*") if not path.is_symlink())]
    return {
        "image" if path.suffix == ".sqfs" and path.parent.name == "layers" else str(path.relative_to(environment)): (
            f"{stat.S_IMODE(path.stat().st_mode):o}"
        )
        for path in paths
        if path.suffix != ".manifest"
    }


def expected(door: str, below: str) -> dict[str, str]:
    directories = (".tykky", ".tykky/generations", ".tykky/generations/1", ".tykky/inside", ".tykky/layers", "bin")
    files = (
        ".tykky/host.sqfs",
        *(f".tykky/generations/1/{x}" for x in ("environment.json", "launch.sh", "tykky.lock")),
    )
    programs = (".tykky/launcher", "bin/python", "bin/python3")
    return {
        ".": door,
        **dict.fromkeys(directories, below),
        **dict.fromkeys((*files, "image"), "644"),
        **dict.fromkeys(programs, "755"),
    }


@pytest.mark.parametrize(
    ("umask", "door", "below"), [(0o022, "755", "755"), (0o077, "700", "755"), (0o002, "775", "775")]
)
def test_what_a_build_leaves(town: Town, umask: int, door: str, below: str) -> None:
    staff = town.staff.with_umask(umask)
    base = staff.build(staff.directory("base"), "base", "alpha==1.0")
    found = {name: mode for name, mode in modes(base).items() if not name.startswith("bin/python3.")}
    assert found == expected(door, below)
    listed = subprocess.run(
        ["unsquashfs", "-lls", base / ".tykky" / "host.sqfs"], capture_output=True, text=True, check=True
    ).stdout
    kinds = {line.split()[0] for line in listed.splitlines() if line.startswith(("d", "-", "l"))}
    assert kinds == {"drwxr-xr-x", "lrwxrwxrwx"}


def test_a_closed_base_is_opened_by_one_word(town: Town) -> None:
    """Built with umask 077, it is staff's alone, until they open the directory itself."""
    staff, alice = town.staff.with_umask(0o077), town.alice
    base = staff.build(staff.directory("base"), "base", "alpha==1.0")
    desk = alice.directory("work")
    alice.spec(desk, "mine", "gamma", extends=base)
    reason = f"{base} cannot be read: {staff.name} does not let you into {base}"
    closed = f"error: {reason}\n\nhint: ask for it: chmod a+rx {base}\n"
    assert alice.tykky("lock", cwd=desk, status=11).err == closed
    base.chmod(0o755)
    alice.tykky("lock", cwd=desk)
    alice.tykky("build", cwd=desk)
    assert alice.python(desk / "mine", CHILD).out == "1.0 1\n"
    staff.build(staff.home / "base", "base", "alpha==1.1")  # its umask closes nothing again
    assert alice.python(base, "import alpha; print(alpha.VERSION)").out == "1.1\n"
    alice.tykky("lock", "--rebase", cwd=desk)
    alice.tykky("build", cwd=desk)
    assert alice.python(desk / "mine", CHILD).out == "1.1 1\n"
    staff.tykky("rollback", base, "1")
    staff.tykky("vendor", base)
    assert alice.python(base, "import alpha; print(alpha.VERSION)").out == "1.0\n"


def test_a_base_that_closes_again(town: Town) -> None:
    """Every message says who closed what: that of `build` and those of who looks only."""
    staff, alice = town.staff, town.alice
    base = staff.build(staff.directory("base"), "base", "alpha==1.0")
    desk = alice.directory("work")
    mine = alice.build(desk, "mine", "gamma", extends=base)
    layers = base / ".tykky" / "layers"
    (image,) = layers.glob("*.sqfs")
    layers.chmod(0o700)
    alice.spec(desk, "mine", "gamma", "epsilon", extends=base)
    alice.tykky("lock", cwd=desk)
    said = (
        f"error: {image} cannot be read: {staff.name} does not let you into {layers}\n\n"
        f"hint: ask for it: chmod a+rx {layers}\n"
    )
    assert alice.tykky("build", cwd=desk, status=11).err == said
    assert alice.tykky("lock", "--rebase", cwd=desk, status=11).err == said
    layers.chmod(0o755)
    base.chmod(0o700)
    closed = f"cannot be read: {staff.name} does not let you into {base}\n\nhint: ask for it: chmod a+rx {base}\n"
    assert alice.tykky("build", cwd=desk, status=11).err == f"error: {image} {closed}"
    reason = f"base cannot be read any more: {base} cannot be read: {staff.name} does not let you into {base}"
    shown = alice.tykky("info", mine).out
    assert f"\n              {reason}; ask for it: chmod a+rx {base}\n" in shown
    assert "\n  packages    unknown\n" in shown
    said = re.sub(" +", " ", alice.tykky("doctor", mine).out)
    assert f"look extends {reason}\n -> ask for it: chmod a+rx {base}\n" in said
    assert alice.python(mine, "", status=122).err == (
        f"tykky: {mine} cannot be used: {base} is closed to you, and the image {image} is in it; "
        "ask its owner for it: chmod a+rx\n"
    )
    base.chmod(0o755)
    image.chmod(0o600)
    assert alice.python(mine, "", status=122).err == (
        f"tykky: {mine} cannot be used: you may not read the image {image}; ask its owner for it: chmod a+r\n"
    )
    assert alice.tykky("build", cwd=desk, status=11).err == (
        f"error: {image} cannot be read: {staff.name} does not let you read {image.name}\n\n"
        f"hint: ask for it: chmod a+r {image}\n"
    )
    image.chmod(0o644)
    generation = base / ".tykky" / "generations" / "1"
    generation.chmod(0o700)
    reason = f"{base} cannot be read: {staff.name} does not let you into {generation}"
    assert alice.tykky("info", base, status=11).err == f"error: {reason}\n\nhint: ask for it: chmod a+rx {generation}\n"
    assert (
        f"base cannot be read any more: {reason}; ask for it: chmod a+rx {generation}\n"
        in alice.tykky("lock", "--check", cwd=desk).out
    )
    assert f"base cannot be read any more: {reason}" in alice.tykky("info", mine).out


def test_a_project_shares_one_environment(town: Town) -> None:
    """Directories that the group may write to (setgid, umask 002), files that only their owners may."""
    staff, bob = town.staff.with_umask(0o002), town.bob.with_umask(0o002)
    desk = town.shared / "desk"
    desk.mkdir()
    os.chown(desk, staff.uid, project_gid())
    desk.chmod(0o2775)
    env = staff.build(desk, "env", "alpha==1.0")
    found = {name: mode for name, mode in modes(env).items() if not name.startswith("bin/")}
    assert {mode for name, mode in found.items() if (env / name).is_dir()} == {"2775"}
    assert {mode for name, mode in found.items() if not (env / name).is_dir()} == {"644", "755"}
    os.unlink(desk / "tykky.toml")
    os.unlink(desk / "tykky.lock")
    bob.with_umask(0o077).build(desk, "env", "alpha==1.1", "gamma")  # bob forgot
    assert modes(env)[".tykky/generations/2"] == "2775"
    os.unlink(desk / "tykky.toml")
    os.unlink(desk / "tykky.lock")
    staff.build(desk, "env", "epsilon")
    assert staff.python(env, "import epsilon; print(1)").out == "1\n"
    bob.tykky("rollback", env, "2")
    staff.tykky("gc", env, "--older-than", "0m")
    assert town.alice.python(env, CHILD).out == "1.1 1\n"
    # Both have images in it, so a child has to trust both.
    trust = ", ".join(f'"{person.name}"' for person in (staff, bob))
    town.alice.site(f"[trust]\nowners = [{trust}]\n")
    mine = town.alice.build(town.alice.directory("work"), "mine", "epsilon", extends=env)
    assert town.alice.python(mine, f"{CHILD}; import epsilon").out == "1.1 1\n"
