"""A private name says who made it, and nothing is taken for left behind that is not provably so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tykky.guard import ownership
from tykky.guard.holder import Process, this_process
from tykky.guard.ownership import is_left_behind, make_private, private_name, sweep

MAKE = """
import sys
from pathlib import Path
from tykky.guard.ownership import make_private
print(make_private(Path(sys.argv[1]), '.stage-').name)
"""


def made_by_a_dead_process(place: Path) -> str:
    done = subprocess.run([sys.executable, "-c", MAKE, place], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_private_and_its_maker_lives(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = make_private(tmp_path, ".stage-")
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o777 == 0o700
    assert not is_left_behind(made.name, ".stage-")
    assert len(made.name) <= len(".stage-") + 70


def test_its_maker_has_ended(tmp_path: Path) -> None:
    name = made_by_a_dead_process(tmp_path)
    assert is_left_behind(name, ".stage-")
    assert not is_left_behind(name, ".other-")
    assert not is_left_behind(f"{name}-mine", ".stage-")


def test_what_the_dead_have_left_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / made_by_a_dead_process(tmp_path)
    (folder / "part").write_text("x")
    file = tmp_path / f"{folder.name[:-8]}01234567"
    file.write_text("x")
    link = tmp_path / f"{folder.name[:-8]}89abcdef"
    link.symlink_to(tmp_path)
    stays = [make_private(tmp_path, ".stage-"), tmp_path / private_name(".stage-"), tmp_path / ".stage-mine"]
    for path in stays[1:]:
        path.write_text("x")
    sweep(tmp_path, ".stage-")
    assert sorted(tmp_path.iterdir()) == sorted(stays)
    sweep(tmp_path / "gone", ".stage-")


def test_its_pid_is_another_process_now(tmp_path: Path) -> None:
    name = made_by_a_dead_process(tmp_path)
    *start, _pid, _started, random = name.split("-")
    here = this_process()
    assert is_left_behind("-".join([*start, str(here.pid), str(here.start + 1), random]), ".stage-")
    assert not is_left_behind("-".join([*start, str(here.pid), str(here.start), random]), ".stage-")


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"boot": "another"}, True),
        ({"host": "another"}, False),
        ({"space": "pid:[1]"}, False),
        ({"machine": ""}, False),
        ({"space": ""}, False),
        ({"boot": "another", "host": "another"}, False),
        ({"boot": "another", "space": "pid:[1]"}, False),
    ],
)
def test_seen_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], left: bool
) -> None:
    real = this_process()
    known = Process(**{**msgspec.structs.asdict(real), "machine": "m", "space": real.space or "pid:[4]"})
    monkeypatch.setattr(ownership, "this_process", lambda: known)
    name = make_private(tmp_path, "tykky-").name
    there = Process(**{**msgspec.structs.asdict(known), **change})
    monkeypatch.setattr(ownership, "this_process", lambda: there)
    assert is_left_behind(name, "tykky-") is left


@pytest.mark.parametrize("name", ["tykky-", "tykky-a1b2c3d4", "tykky-doctor-x", "", "tykky-00000000-1-2-3-4-5"])
def test_other_names_are_somebody_elses(name: str) -> None:
    assert not is_left_behind(name, "tykky-")
