"""Publishing: one inode for all launchers, a generation is one rename, P is never half-made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.environment.stacks import record_of
from tests.ordinary import as_ordinary_user, open_place
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.publish import Generation, check_place, opened, publish
from tykky.environment.sole import sole
from tykky.errors import EnvironmentDirectoryError


def generation(number: int, programs: tuple[str, ...], launcher: bytes = b"#!/bin/sh\n") -> Generation:
    record = record_of(number, programs=programs)
    return Generation(record, {"tykky.lock": b"", "launch.sh": b""}, launcher)


def make(path: Path, *programs: str) -> EnvironmentDirectory:
    with opened(path) as directory:
        publish(directory, generation(1, programs))
    return EnvironmentDirectory(path)


def test_a_new_environment_directory(tmp_path: Path) -> None:
    directory = make(tmp_path / "my env ü", "python", "a b", "-dash", "$HOME", "quo'te")
    assert directory.record().number == 1
    assert directory.current.readlink() == Path("generations/1")
    names = directory.path / "bin"
    assert sorted(p.name for p in names.iterdir()) == sorted(["python", "a b", "-dash", "$HOME", "quo'te"])
    inodes = {p.stat().st_ino for p in names.iterdir()}
    assert inodes == {(directory.private / "launcher").stat().st_ino}
    assert [p.name for p in tmp_path.iterdir()] == ["my env ü"]


def test_modes_follow_the_umask_and_nothing_is_world_writable(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        directory = make(tmp_path / "env", "python")
    finally:
        os.umask(old)
    assert directory.path.stat().st_mode & 0o777 == 0o750
    for path in directory.path.rglob("*"):
        if not path.is_symlink():
            assert not path.stat().st_mode & 0o002, path


def test_the_next_generation(tmp_path: Path) -> None:
    directory = make(tmp_path / "env", "python", "old")
    (directory.path / "bin" / "mine").write_text("a user's own file")
    with opened(directory.path) as again:
        assert again.next_number() == 2
        publish(again, generation(2, ("python", "new"), b"#!/bin/sh\n# newer\n"))
    assert directory.record().number == 2
    assert sorted(p.name for p in (directory.path / "bin").iterdir()) == ["mine", "new", "python"]
    assert (directory.path / "bin" / "python").read_bytes() == b"#!/bin/sh\n# newer\n"
    assert (directory.generations / "1" / "environment.json").exists()


def test_a_failed_build_of_a_new_directory_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), opened(tmp_path / "env"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_may_become_an_environment(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    assert make(tmp_path / "env", "python").record().name == "demo"


def test_somebody_elses_directory_is_not_touched(tmp_path: Path) -> None:
    place = tmp_path / "thesis"
    place.mkdir()
    (place / "chapter.tex").write_text("x")
    with pytest.raises(EnvironmentDirectoryError) as caught, opened(place):
        pass
    assert str(caught.value) == f"{place} exists and is no environment directory"
    assert caught.value.hint == "choose another directory with --prefix; nothing of it was touched"
    assert [p.name for p in place.iterdir()] == ["chapter.tex"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\nb", "{repr} holds a control character"),
        ("a:b", "{path} holds a colon, which separates directories in PATH"),
    ],
)
def test_places_that_scripts_cannot_name(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    with pytest.raises(EnvironmentDirectoryError) as caught:
        check_place(path)
    assert str(caught.value) == reason.format(path=path, repr=repr(str(path)))


def test_a_file_or_a_dangling_link_in_the_place(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    for path, reason in ((file, f"{file} exists and is a file"), (link, f"{link} is a dangling symlink")):
        with pytest.raises(EnvironmentDirectoryError) as caught:
            check_place(path)
        assert str(caught.value) == reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(EnvironmentDirectoryError) as caught:
            check_place(tmp_path / "env")
    finally:
        tmp_path.chmod(0o755)
    assert str(caught.value) == f"{tmp_path} is not writable"


def test_what_belongs_to_somebody_else() -> None:
    """Who may read an environment may run it, not change it; the message says whose it is."""
    if os.geteuid() != 0:
        pytest.skip("only root can give something to somebody else")
    with open_place() as place:
        path = make(place / "env", "python").path

        def work() -> None:
            with pytest.raises(EnvironmentDirectoryError) as caught, sole(path, "gc", wait=False, say=print):
                raise AssertionError("must not come so far")
            assert str(caught.value) == f"{path} cannot be written: permission denied"
            assert caught.value.hint == (
                "it belongs to root: ask for it there, or build an environment directory of your own"
            )

        as_ordinary_user(work)


def test_a_launcher_of_another_version_is_a_launcher(tmp_path: Path) -> None:
    """A build that was killed while it renewed the launchers leaves names of the old one; they go with the rest."""
    old, new = b"#!/bin/sh\n# The launcher\nold\n", b"#!/bin/sh\n# The launcher\nnew\n"
    with opened(tmp_path / "env") as directory:
        publish(directory, generation(1, ("python", "gone"), old))
    directory = EnvironmentDirectory(tmp_path / "env")
    (directory.private / "launcher").unlink()
    (directory.private / "launcher").write_bytes(new)
    (directory.path / "bin" / "mine").write_text("#!/bin/sh\n# mine\n")
    with opened(directory.path) as again:
        publish(again, generation(2, ("python",), new))
    assert sorted(p.name for p in (directory.path / "bin").iterdir()) == ["mine", "python"]


def test_what_is_no_environment_directory(tmp_path: Path) -> None:
    cases = {
        tmp_path / "gone": "no such directory",
        tmp_path: "is no environment directory",
    }
    for path, reason in cases.items():
        with pytest.raises(EnvironmentDirectoryError, match=reason):
            EnvironmentDirectory(path).record()
    ancestor = tmp_path / "old"
    (ancestor / "bin").mkdir(parents=True)
    (ancestor / "common.sh").write_text("")
    with pytest.raises(EnvironmentDirectoryError) as caught:
        EnvironmentDirectory(ancestor).record()
    assert str(caught.value) == f"{ancestor} was made by hpc-container-wrapper, not by this tykky"


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    directory = make(tmp_path / "env", "python")
    file = directory.current / "environment.json"
    file.write_text("{")
    with pytest.raises(EnvironmentDirectoryError, match=r"environment\.json is damaged"):
        directory.record()
    file.unlink()
    with pytest.raises(EnvironmentDirectoryError, match=r"is damaged|is missing"):
        directory.record()
