"""Collections: what they decide, and that no kill in the middle spoils what is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.environment.stacks import key, layer, make
from tykky.environment.collect import Asked, Collection, Kept, carry_out, plan_collection
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.in_use import Usage
from tykky.environment.leases import end_lease, read_leases, write_lease
from tykky.environment.rollback import check_whole, roll_back
from tykky.errors import EnvironmentDirectoryError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NOBODY = Usage({}, {})
A, B, C, D = (key(name) for name in "abcd")


def day(number: int) -> str:
    return datetime(2026, 11, number, tzinfo=UTC).isoformat()


@pytest.fixture
def directory(tmp_path: Path) -> EnvironmentDirectory:
    """Generations of the 1st, 11th and 21st of November: a; a b; a c. And an image that none of them has."""
    path = tmp_path / "env"
    make(path, layer("a"), created=day(1))
    make(path, layer("a"), layer("b"), created=day(11))
    made = make(path, layer("a"), layer("c"), created=day(21))
    (made.store.directory / f"{D}.manifest").write_text("left by a kill between manifest and image")
    return made


def plan(directory: EnvironmentDirectory, days: int | None, usage: Usage = NOBODY) -> Collection:
    asked = Asked(None if days is None else timedelta(days=days), NOW)
    return plan_collection(directory, usage, read_leases(directory), asked)


def going(collection: Collection) -> list[str]:
    return [removal.what for removal in collection.removals]


def test_without_an_age_all_generations_stay(directory: EnvironmentDirectory) -> None:
    found = plan(directory, None)
    assert going(found) == ["image d00000000000"]
    assert found.size == 41


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (30, []),
        (15, ["generation 1"]),
        (5, ["generation 1", "generation 2", "image b00000000000"]),
        (0, ["generation 1", "generation 2", "image b00000000000"]),
    ],
)
def test_what_goes_by_age(directory: EnvironmentDirectory, days: int, expected: list[str]) -> None:
    found = plan(directory, days)
    assert going(found) == [*expected, "image d00000000000"]
    assert found.kept == ((Kept("generation 3", "it is the current one"),) if days == 0 else ())


def test_the_current_one_stays_however_old(directory: EnvironmentDirectory) -> None:
    roll_back(directory, 1, lambda record, names: None)
    found = plan(directory, 5)
    assert going(found) == ["generation 2", "image b00000000000", "image d00000000000"]
    assert found.kept == (Kept("generation 1", "it is the current one"),)


def test_the_image_of_a_root_goes_with_the_last_generation_that_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    make(path, layer("a"), created=day(1), root=layer("e", kind="root"))
    make(path, layer("a"), created=day(11), root=layer("f", kind="root"))
    directory = make(path, layer("a"), created=day(21), root=layer("f", kind="root"))
    assert going(plan(directory, None)) == []
    assert going(plan(directory, 15)) == ["generation 1", "image e00000000000"]
    assert going(plan(directory, 5)) == ["generation 1", "generation 2", "image e00000000000"]
    carry_out(directory, plan(directory, 5), lambda count: None)
    assert {path.stem for path in directory.store.directory.glob("*.sqfs")} == {key("a"), key("f")}
    # A program that runs in it keeps it.
    make(path, layer("a"), created=day(22))
    used = plan(directory, 0, Usage({key("f"): "pid 1 (x)"}, {}))
    assert Kept("image f00000000000", "pid 1 (x) uses it") in used.kept


def test_a_generation_whose_root_is_gone_is_not_rolled_back_to(tmp_path: Path) -> None:
    path = tmp_path / "env"
    make(path, layer("a"), root=layer("e", kind="root"))
    directory = make(path, layer("a"))
    image = directory.store.image(key("e"))
    image.unlink()
    with pytest.raises(EnvironmentDirectoryError) as caught:
        roll_back(directory, 1, lambda record, names: None)
    assert str(caught.value) == (
        f"generation 1 of {path} cannot be used:\n  image {image} cannot be read: no such file or directory"
    )


def test_a_generation_whose_images_are_all_in_use_stays(directory: EnvironmentDirectory) -> None:
    found = plan(directory, 5, Usage({A: "pid 1 (x)"}, {}))
    assert going(found)[0] == "generation 2"
    assert found.kept == (Kept("generation 1", "pid 1 (x) may be running it"),)
    found = plan(directory, 5, Usage({A: "pid 1 (x)", B: "pid 2 (y)"}, {}))
    assert going(found) == ["image d00000000000"]
    assert found.kept[1] == Kept("generation 2", "pid 2 (y) may be running it")


def test_a_generation_that_is_being_started_stays(directory: EnvironmentDirectory) -> None:
    found = plan(directory, 5, Usage({}, {2: "pid 1 (sh)"}))
    assert found.kept == (Kept("generation 2", "pid 1 (sh) is just starting it"),)
    assert going(found) == ["generation 1", "image d00000000000"]


def test_an_image_in_use_or_leased_stays(directory: EnvironmentDirectory, tmp_path: Path) -> None:
    assert plan(directory, 5, Usage({B: "pid 1 (x)"}, {})).kept == (Kept("image b00000000000", "pid 1 (x) uses it"),)
    write_lease(directory, tmp_path, [B, B, C])
    (lease,) = read_leases(directory)
    assert lease.keys == (B, C)
    assert plan(directory, 5).kept == (Kept("image b00000000000", f"{tmp_path} uses it"),)
    write_lease(directory, tmp_path, [C])
    assert going(plan(directory, 5))[2] == "image b00000000000", "the later lease of one child replaces the earlier"
    end_lease(directory, tmp_path)
    end_lease(directory, tmp_path)
    assert read_leases(directory) == ()


def test_a_time_that_cannot_be_read_is_never_old(directory: EnvironmentDirectory) -> None:
    file = directory.generations / "1" / "environment.json"
    file.write_text(file.read_text().replace(day(1), "long ago"))
    assert going(plan(directory, 5))[0] == "generation 2"


def test_what_others_put_there_stays(directory: EnvironmentDirectory) -> None:
    for name in ("notes.txt", f"{B}.sqfs.bak", "x.sqfs", ".stage-mine"):
        (directory.store.directory / name).write_text("mine")
    assert going(plan(directory, None)) == ["image d00000000000"]


def test_a_link_to_an_image_gives_no_bytes(directory: EnvironmentDirectory, tmp_path: Path) -> None:
    image = directory.store.image(B)
    whole = plan(directory, 5).removals[2].size
    (tmp_path / "store").mkdir()
    os.link(image, tmp_path / "store" / image.name)
    assert plan(directory, 5).removals[2].size == whole - image.stat().st_size


KILLED = """
import os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tykky.environment.collect import Asked, carry_out, plan_collection
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.in_use import Usage
from tykky.environment.rollback import roll_back

left = int(sys.argv[2])
WATCHED = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "shutil.rmtree"}

def count(event, arguments):
    global left
    if event in WATCHED or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        left -= 1
        if left < 0:
            os._exit(9)

directory = EnvironmentDirectory(Path(sys.argv[1]))
sys.addaudithook(count)
if sys.argv[3] == "gc":
    asked = Asked(timedelta(days=5), datetime(2026, 11, 22, tzinfo=UTC))
    carry_out(directory, plan_collection(directory, Usage({}, {}), (), asked), lambda size: None)
else:
    roll_back(directory, int(sys.argv[3]), lambda record, names: None)
"""


def killed(directory: EnvironmentDirectory, after: int, what: str) -> bool:
    """Do it in a process that is ended before its change number `after` of the file system; return whether it was."""
    argv = [sys.executable, "-c", KILLED, str(directory.path), str(after), what]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 9), done.stderr
    return done.returncode == 9


def test_a_kill_anywhere_in_a_collection(tmp_path: Path) -> None:
    """Invariant 6: every generation that has its name is whole, one is the current one, the next collection ends it."""
    steps = 0
    while True:
        path = tmp_path / str(steps)
        make(path, layer("a"), layer("b"), created=day(1))
        directory = make(path, layer("a"), layer("c"), created=day(21))
        again = killed(directory, steps, "gc")
        for number in directory.numbers():
            check_whole(directory, directory.record(number))
            directory.manifests(directory.record(number))
        assert directory.record().number == 2
        carry_out(directory, plan(directory, 5), lambda size: None)
        assert [p.name for p in directory.generations.iterdir()] == ["2"]
        assert sorted(p.name[0] for p in directory.store.directory.iterdir()) == ["a", "a", "c", "c"]
        if not again:
            break
        steps += 1
    assert steps > 4


def test_a_kill_anywhere_in_a_rollback(tmp_path: Path) -> None:
    """Invariant 6: at every moment each program of the current generation has its launcher; the next one tidies up."""
    steps = 0
    while True:
        path = tmp_path / str(steps)
        make(path, layer("a", {"bin/python": 1, "bin/one": 1}))
        directory = make(path, layer("b", {"bin/python": 1, "bin/two": 1}))
        again = killed(directory, steps, "1")
        names = {p.name for p in (path / "bin").iterdir()}
        assert set(directory.record().programs) <= names
        roll_back(directory, 2, lambda record, names: None)
        roll_back(directory, 1, lambda record, names: None)
        assert {p.name for p in (path / "bin").iterdir()} - {".launcher.new"} == {"python", "one"}
        if not again:
            break
        steps += 1
    assert steps > 3


@pytest.mark.parametrize("damage", ["short", "missing", "launch"])
def test_rollback_to_a_damaged_generation(directory: EnvironmentDirectory, damage: str) -> None:
    image = directory.store.image(B)
    reasons = {
        "short": f"image {image.name} has 3 bytes, 256 were written",
        "missing": f"image {image.name} is missing",
        "launch": "its launch.sh is missing",
    }
    if damage == "short":
        image.write_bytes(b"bad")
    elif damage == "missing":
        image.unlink()
    else:
        (directory.generations / "2" / "launch.sh").unlink()
    with pytest.raises(EnvironmentDirectoryError) as caught:
        roll_back(directory, 2, lambda record, names: None)
    assert str(caught.value) == f"generation 2 of {directory.path} cannot be used:\n  {reasons[damage]}"
    assert directory.record().number == 3


def test_mount_points_are_made_only_where_the_top_differs(tmp_path: Path) -> None:
    make(tmp_path / "env", layer("a", {"bin/x": 1, "lib/y": 1}))
    make(tmp_path / "env", layer("b", {"bin/x": 1, "lib/z": 1}))
    directory = make(tmp_path / "env", layer("c", {"bin/x": 1, "share/z": 1}))
    asked: list[tuple[int, tuple[str, ...]]] = []
    roll_back(directory, 2, lambda record, names: asked.append((record.number, names)))
    assert asked == [(2, ("bin", "lib", "share"))], "for launches before the switch and after it"
    roll_back(directory, 1, lambda record, names: asked.append((record.number, names)))
    assert len(asked) == 1


def test_rollback_without_an_earlier_generation(tmp_path: Path) -> None:
    directory = make(tmp_path / "env", layer("a"))
    with pytest.raises(EnvironmentDirectoryError) as caught:
        roll_back(directory, None, lambda record, names: None)
    assert str(caught.value) == f"{directory.path} has no generation before 1, the current one"
    assert caught.value.hint == "there is 1; see 'tykky history'"
