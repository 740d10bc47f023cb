"""The layout of large images on Lustre: the command line, and what is done where `lfs` is missing, refuses or fails.

No Lustre can be had here, so a program named `lfs` stands for one: it notes its arguments and what is in the directory
when it is asked.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.store.test_tiers import CONTENT, KEY, Said, fill
from tykky.process import Commands
from tykky.site.model import Striping
from tykky.store.images import Store
from tykky.store.striping import stripe, stripe_argv
from tykky.store.tiers import Tiers

STAGE, LFS = Path("/store/.stage-1"), Path("/usr/bin/lfs")


@pytest.mark.parametrize(
    ("striping", "options"),
    [
        (Striping(count=16), "-E 64M -c 1 -E -1 -c 16"),
        (Striping(count=-1, size="4M"), "-E 64M -c 1 -S 4M -E -1 -c -1 -S 4M"),
        (Striping(count=8, above="1G", pool="flash"), "-E 1G -c 1 -p flash -E -1 -c 8 -p flash"),
        (Striping(count=8, above="0"), "-c 8"),
        (Striping(size="1M", pool="flash"), "-S 1M -p flash"),
    ],
)
def test_the_command_line(striping: Striping, options: str) -> None:
    assert stripe_argv(LFS, striping, STAGE) == ["/usr/bin/lfs", "setstripe", *options.split(), "/store/.stage-1"]


def test_no_wish_no_command_line() -> None:
    assert stripe_argv(LFS, Striping(), STAGE) is None
    assert stripe_argv(LFS, Striping(above="1G"), STAGE) is None


@pytest.fixture
def lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `lfs` first on PATH, and the file with the command lines it got."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / "lfs"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>"{said}"\nfor place; do :; done\nls -A "$place" >>"{said}"\n'
        f'. "{tmp_path}/then"\nexit 0\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "then").write_text("")
    return said


def striped(tmp_path: Path) -> list[str]:
    """Stripe a directory; return the warnings."""
    said = Said()
    place = tmp_path / "store" / "stage"
    place.mkdir(parents=True)
    stripe(place, Striping(count=4), Commands(), said)
    return [warning.replace(f"{tmp_path}/", "") for warning in said.warnings]


def test_lfs_is_asked_where_one_is_and_then_told(tmp_path: Path, lfs: Path) -> None:
    assert striped(tmp_path) == []
    place = tmp_path / "store" / "stage"
    assert lfs.read_text().splitlines() == [f"getstripe -d {place}", f"setstripe -E 64M -c 1 -E -1 -c 4 {place}"]


def test_another_file_system_is_left_alone(tmp_path: Path, lfs: Path) -> None:
    (tmp_path / "then").write_text("[ $1 != getstripe ] || exit 25\n")
    assert striped(tmp_path) == []
    assert lfs.read_text() == f"getstripe -d {tmp_path}/store/stage\n"


def test_a_failure_is_a_warning(tmp_path: Path, lfs: Path) -> None:
    (tmp_path / "then").write_text("[ $1 = getstripe ] || { echo 'lfs setstripe: invalid pool' >&2; exit 22; }\n")
    assert striped(tmp_path) == ["images are not striped as site.toml says: lfs setstripe: invalid pool"]


def test_a_program_that_is_none_is_a_warning(tmp_path: Path, lfs: Path) -> None:
    (tmp_path / "bin/lfs").write_text("#!/no/such/shell\n")
    (warning,) = striped(tmp_path)
    assert warning.startswith("images are not striped as site.toml says: bin/lfs cannot be started: ")


def test_servers_that_do_not_answer_hold_a_build_up_for_a_while_only(
    tmp_path: Path, lfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _children()
    monkeypatch.setattr("tykky.store.striping._PATIENCE", 0.2)
    (tmp_path / "then").write_text("exec sleep 60\n")
    assert striped(tmp_path) == ["images are not striped as site.toml says: lfs did not end within 0.2 s"]
    # The program is gone: a child that was left would keep the whole test run waiting.
    until = time.monotonic() + 10
    while _children() - before and time.monotonic() < until:
        time.sleep(0.05)
    assert not _children() - before


def _children() -> set[str]:
    """Return the children of this process; other tests may have left some of their libraries'."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_without_lfs_or_without_a_wish_nothing_is_run(tmp_path: Path, lfs: Path) -> None:
    stripe(tmp_path, Striping(), Commands(), Said())
    assert not lfs.exists()
    (tmp_path / "bin/lfs").unlink()
    assert striped(tmp_path) == []


def test_an_image_that_is_brought_and_one_that_is_handed_on_are_striped_before_they_are_written(
    tmp_path: Path, lfs: Path
) -> None:
    site, own, user = fill(tmp_path / "site"), Store(tmp_path / "own"), Store(tmp_path / "user")
    assert Tiers(own, None, (site,), striping=Striping(count=4)).bring(KEY) is not None
    Tiers(own, user, striping=Striping(count=4)).offer(KEY)
    lines = lfs.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["getstripe", "setstripe"] * 2, "each directory was empty"
    assert [Path(line.split()[-1]).parent for line in lines] == [own.directory] * 2 + [user.directory] * 2
    assert user.image(KEY).read_bytes() == CONTENT
