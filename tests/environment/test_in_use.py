"""What running processes use: from a real /proc, and from one made up for what cannot be had here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment.stacks import key, layer, make
from tykky.environment.in_use import usage

A, B, C = key("a"), key("b"), key("c")


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """The private directory of an environment with three images."""
    return make(tmp_path / "my env", layer("a"), layer("b"), layer("c")).private


def sleeper(*words: str | Path, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", "read x", *map(str, words)], stdin=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def process(request: pytest.FixtureRequest, private: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has something to do with the images, as the test says."""
    running: subprocess.Popen[bytes] = request.param(private)
    yield running
    running.communicate(b"\n")


def opens(private: Path) -> subprocess.Popen[bytes]:
    with (private / "layers" / f"{A}.sqfs").open() as file:
        return sleeper(pass_fds=[file.fileno()])


def opens_through_a_link(private: Path) -> subprocess.Popen[bytes]:
    link = private.parent.parent / "elsewhere"
    link.symlink_to(private.parent)
    with (link / ".tykky" / "layers" / f"{A}.sqfs").open() as file:
        return sleeper(pass_fds=[file.fileno()])


def names(private: Path) -> subprocess.Popen[bytes]:
    return sleeper("-f", private / "layers" / f"{A}.sqfs", "/dev/fd/7")


def names_as_apptainer_does(private: Path) -> subprocess.Popen[bytes]:
    return sleeper(f"--overlay={private}/layers/{A}.sqfs:ro")


def is_being_launched(private: Path) -> subprocess.Popen[bytes]:
    return sleeper(env={**os.environ, "_tykky_image_0": f"{private}/layers/{A}.sqfs"})


@pytest.mark.parametrize(
    "process",
    [opens, opens_through_a_link, names, names_as_apptainer_does, is_being_launched],
    indirect=True,
    ids=lambda function: function.__name__,
)
def test_an_image_is_in_use(private: Path, process: subprocess.Popen[bytes]) -> None:
    found = usage(private)
    assert found.images == {A: f"pid {process.pid} (sh)"}
    assert found.generations == {}


def reads_the_launch(private: Path) -> subprocess.Popen[bytes]:
    with (private / "current" / "launch.sh").open() as file:
        return sleeper(pass_fds=[file.fileno()])


@pytest.mark.parametrize("process", [reads_the_launch], indirect=True, ids=lambda function: function.__name__)
def test_a_generation_is_being_started(private: Path, process: subprocess.Popen[bytes]) -> None:
    assert usage(private).generations == {1: f"pid {process.pid} (sh)"}


def uses_a_copy(private: Path) -> subprocess.Popen[bytes]:
    other = make(private.parent.parent / "other", layer("a")).store.image(A)
    with other.open() as file:
        return sleeper(other, pass_fds=[file.fileno()], env={**os.environ, "_tykky_image_0": str(other)})


def says_so_in_a_variable(private: Path) -> subprocess.Popen[bytes]:
    return sleeper(env={**os.environ, "NOTE": f"{private}/layers/{A}.sqfs"})


def has_a_deleted_one_open(private: Path) -> subprocess.Popen[bytes]:
    image = private / "layers" / f"{A}.sqfs"
    with image.open() as file:
        image.rename(image.with_suffix(".old"))
        image.write_bytes(b"made again")
        image.with_suffix(".old").unlink()
        return sleeper(pass_fds=[file.fileno()])


def builds_the_same_elsewhere(private: Path) -> subprocess.Popen[bytes]:
    """As mksquashfs does before it has made the file, or a server whose image was removed."""
    return sleeper("mksquashfs", private.parent.parent / "other" / ".stage-1" / f"{A}.sqfs")


@pytest.mark.parametrize(
    "process",
    [uses_a_copy, says_so_in_a_variable, has_a_deleted_one_open, builds_the_same_elsewhere],
    indirect=True,
    ids=lambda function: function.__name__,
)
def test_an_image_is_not_in_use(private: Path, process: subprocess.Popen[bytes]) -> None:
    assert usage(private).images == {}


def test_what_cannot_be_told_is_in_use(private: Path, tmp_path: Path) -> None:
    """A process of a mount namespace that is hidden from us names an image by a path that is not here."""
    proc = tmp_path / "proc"
    (proc / "42").mkdir(parents=True)
    (proc / "42" / "cmdline").write_bytes(f"squashfuse_ll\0/elsewhere/{B}.sqfs\0layers/{C}.sqfs\0".encode())
    (proc / "42" / "comm").write_bytes(b"squash\x1b[31m\n")
    (proc / "self").mkdir()
    assert usage(private, proc, tmp_path / "no devices").images == dict.fromkeys((B, C), "pid 42 (squash[31m)")


def test_an_image_is_mounted_by_the_kernel(private: Path, tmp_path: Path) -> None:
    for number, path in enumerate((private / "layers" / f"{B}.sqfs", tmp_path / f"{C}.sqfs")):
        loop = tmp_path / "block" / f"loop{number}" / "loop"
        loop.mkdir(parents=True)
        path.touch()
        (loop / "backing_file").write_text(f"{path}\n")
    (tmp_path / "proc").mkdir()
    assert usage(private, tmp_path / "proc", tmp_path / "block").images == {B: "a mount (loop0)"}


def test_a_word_of_many_slashes_does_not_take_long(private: Path, tmp_path: Path) -> None:
    """Its time must follow its length: a command line may have a megabyte."""
    proc = tmp_path / "proc"
    (proc / "42").mkdir(parents=True)
    long = "/" * 1_000_000
    (proc / "42" / "cmdline").write_bytes(f"{long}\0{long}{private}/layers/{A}.sqfs".encode())
    assert list(usage(private, proc, tmp_path / "no devices").images) == [A]
