"""Running programs with a stack shown at its prefix, as a build does."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tykky.errors import RuntimeUnavailable
from tykky.runtime.inside import Inside
from tykky.runtime.model import EXIT_MOUNT_FAILED, EXIT_NO_BACKEND, Stack


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    """What runs programs here, or a skip that says why not."""
    made = Inside(tmp_path / "scratch", ("namespace",))
    try:
        made.require()
    except RuntimeUnavailable as error:
        pytest.skip(f"{error.reason}: {error.output}")
    return made


def image(folder: Path, name: str, **files: str) -> str:
    tree = folder / name / "tykky" / "demo"
    tree.mkdir(parents=True)
    for file, content in files.items():
        (tree / file).write_text(content)
    packed = folder / f"{name}.sqfs"
    subprocess.run(["mksquashfs", folder / name, packed, "-noappend", "-quiet", "-no-progress"], check=True)
    return str(packed)


def run(inside: Inside, stack: Stack, *argv: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(inside.argv(stack, argv), capture_output=True, text=True, check=False, **options)


def test_a_tree_is_shown_read_write(inside: Inside, tmp_path: Path):
    tree = tmp_path / "a tree: it's"
    tree.mkdir()
    done = run(inside, Stack("/tykky/demo", tree=tree), "/bin/sh", "-c", "echo new >/tykky/demo/made; exit 3")
    assert (done.returncode, done.stderr) == (3, "")
    assert (tree / "made").read_text() == "new\n"


def test_images_lie_below_a_read_only_tree(inside: Inside, tmp_path: Path):
    images = (image(tmp_path, "low", a="low", b="low", c="low"), image(tmp_path, "high", a="high", b="high"))
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("tree")
    text = 'cd /tykky/demo && cat a b c; touch new 2>/dev/null || echo " refused"'
    done = run(inside, Stack("/tykky/demo", images, tree), "/bin/sh", "-c", text)
    assert (done.returncode, done.stdout) == (0, "treehighlow refused\n")
    assert os.listdir(tree) == ["a"]


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_written_over_images_is_kept(inside: Inside, tmp_path: Path, count: int):
    images = (image(tmp_path, "low", a="low", b="low"), image(tmp_path, "high", c="high", d="high"))[:count]
    changes = tmp_path / "what changes: it's"
    text = "cd /tykky/demo && echo new >made && echo more >>a && rm b && id -u && id -g"
    done = run(inside, Stack("/tykky/demo", images, changes=changes), "/bin/sh", "-c", text)
    if done.returncode == EXIT_MOUNT_FAILED:
        pytest.skip(f"no overlay can be written here: {done.stderr}")
    assert (done.returncode, done.stdout) == (0, f"{os.geteuid()}\n{os.getegid()}\n")
    assert sorted(os.listdir(changes / "upper")) == ["a", "b", "made"]
    assert (changes / "upper" / "a").read_text() == "lowmore\n"
    gone = (changes / "upper" / "b").stat()
    assert (stat.S_ISCHR(gone.st_mode), gone.st_rdev) == (True, 0)
    again = run(inside, Stack("/tykky/demo", images, changes=changes), "/bin/sh", "-c", "cd /tykky/demo; cat made; ls")
    assert again.stdout.split() == ["new", "a", *(["c", "d"] if count > 1 else []), "made"]
    assert run(inside, Stack("/tykky/demo", images), "/bin/cat", "/tykky/demo/b").stdout == "low"


def test_what_is_written_is_kept_by_one_backend_only(inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stack = Stack("/tykky/demo", (image(tmp_path, "only", a="x"),), changes=tmp_path / "changes")
    with pytest.raises(RuntimeUnavailable) as raised:
        Inside(tmp_path, ("apptainer",)).argv(stack, ["true"])
    assert (
        str(raised.value) == "what is written can be kept by the backend namespace only, and this site does not use it"
    )
    assert raised.value.hint == "add it to [runtime] backends in site.toml"
    monkeypatch.setenv("TYKKY_BACKEND", "apptainer")
    done = run(inside, stack, "/bin/true")
    assert (done.returncode, done.stderr) == (
        EXIT_NO_BACKEND,
        "tykky: what is written can be kept by the backend namespace only, and TYKKY_BACKEND is apptainer\n",
    )


def test_changes_lie_on_images(tmp_path: Path):
    for images, tree in (((), None), (("/a.sqfs",), tmp_path)):
        with pytest.raises(ValueError, match="changes lie on top of images, and of nothing else"):
            Stack("/tykky/demo", images, tree, tmp_path)


def test_one_image(inside: Inside, tmp_path: Path):
    done = run(inside, Stack("/tykky/demo", (image(tmp_path, "only", a="x"),)), "/bin/cat", "/tykky/demo/a")
    assert (done.returncode, done.stdout, done.stderr) == (0, "x", "")


def test_arguments_and_directory_pass_and_nothing_is_activated(inside: Inside, tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    text = 'pwd; printf "%s|" "$@"; env | grep -c -E "^(TYKKY|_tykky|PYTHONNOUSERSITE)"'
    done = run(inside, Stack("/tykky/demo", tree=tree), "/bin/sh", "-c", text, "sh", "a b", "", "$x", cwd=tmp_path)
    assert done.stdout == f"{tmp_path}\na b||$x|0\n"


def test_a_program_of_the_tree_by_its_prefix(inside: Inside, tmp_path: Path):
    program = tmp_path / "tree" / "hello"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho $0\n")
    program.chmod(0o755)
    assert run(inside, Stack("/tykky/demo", tree=program.parent), "/tykky/demo/hello").stdout == "/tykky/demo/hello\n"


def test_nothing_to_run(inside: Inside):
    with pytest.raises(ValueError, match="no program to run"):
        inside.argv(Stack("/tykky/demo"), [])


def test_images_have_absolute_paths(inside: Inside):
    with pytest.raises(ValueError, match="while building, images have absolute paths"):
        inside.argv(Stack("/tykky/demo", ("a.sqfs",)), ["true"])


def test_no_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is missing is named, with the next step."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    nothing = Inside(tmp_path / "scratch", ("apptainer",), {"apptainer": "/bin/false"})
    with pytest.raises(RuntimeUnavailable) as raised:
        nothing.require()
    assert str(raised.value) == "no backend works on this host"
    assert raised.value.hint == "run 'tykky doctor': it says what is missing and how to get it"
    assert raised.value.output == (
        "tykky: no backend works on this host\n    apptainer: /bin/false cannot mount here ()\n"
        "tykky doctor says more, and how to get what is missing"
    )
