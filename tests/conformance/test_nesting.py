"""One environment inside another, several in one mount, and all of it inside foreign containers."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.stage import Images, make_images
from tykky.runtime.model import Beside, Launch, Stack
from tykky.runtime.render import render_launch

WHO = "import json, os, sys; print(json.dumps([sys.executable, sys.prefix, os.readlink('/proc/self/ns/mnt')]))"


@pytest.fixture(scope="session")
def other_images(ground: Path) -> Callable[[str], Images]:
    """Give images of environments that live at another prefix."""
    made: dict[str, Images] = {}

    def get(name: str) -> Images:
        if name not in made:
            folder = Path(tempfile.mkdtemp(prefix=f"images-{name}-", dir=ground))
            folder.chmod(0o755)
            made[name] = make_images("conda", folder, f"/tykky/{name}")
        return made[name]

    return get


@pytest.fixture
def make_other(bench: Bench, other_images: Callable[[str], Images]) -> Callable[..., Path]:
    """Return a maker of environments at prefixes of their own: each lives at /tykky/ and the name."""

    def make(name: str, count: int = 3, place: str | None = None) -> Path:
        images = replace(bench, images=lambda kind: other_images(name))
        return images.environment(place or name, count=count, launched=False)

    return make


def ask(bench: Bench, environment: Path, *commands: list[object]) -> list[list[str]]:
    """Run commands, one after another, inside an environment; return what WHO printed in each, first that in itself."""
    text = (
        f"import json, subprocess, sys\nexec({WHO!r})\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    sys.stdout.flush()\n    subprocess.run(command, check=True)\n"
    )
    words = json.dumps([[str(word) for word in command] for command in commands])
    return [
        json.loads(line) for line in bench.run(environment / "bin" / "python", "-c", text, words).stdout.splitlines()
    ]


def test_its_own_launchers_run_directly_however_they_are_called(bench: Bench, environment: Path):
    """By its path, by a link from elsewhere, without any variables, and by its name."""
    link = bench.place / "mypython"
    link.symlink_to(environment / "bin" / "python")
    python = environment / "bin" / "python"
    commands = [[python], [link], ["/usr/bin/env", "-i", python], ["python"], [environment / "bin" / "python3"]]
    first, *found = ask(bench, environment, *([*command, "-c", WHO] for command in commands))
    assert {mounts for _, _, mounts in found} == {first[2]}
    assert [executable for executable, _, _ in found] == [str(p) for p in (python, link, python, python, f"{python}3")]


def test_another_one_inside_and_the_first_one_in_that(bench: Bench, make_other: Callable[..., Path]):
    """Each has mounts of its own, and what is mounted already is seen in them."""
    if bench.case.backend == "apptainer":
        pytest.skip("test_surroundings.py says what Apptainer can do there")
    outer, inner = bench.environment("outer"), make_other("inner")
    text = f"import subprocess\nexec({WHO!r})\nsubprocess.run([{str(outer / 'bin' / 'python')!r}, '-c', {WHO!r}])"
    first, second = ask(bench, outer, [inner / "bin" / "python", "-c", WHO])
    assert [first[:2], second[:2]] == [[f"{place}/bin/python", str(place)] for place in (outer, inner)]
    assert first[2] != second[2]
    unbuffered = ["-u", "-c", text]
    _, second, third = ask(bench, outer, [inner / "bin" / "python", *unbuffered])
    assert third[:2] == [f"{outer}/bin/python", str(outer)]
    assert second[2] == third[2]


@pytest.fixture
def together(bench: Bench) -> Callable[..., list[object]]:
    """Return a maker of command lines: a shell that becomes a program with several environments shown."""

    def stack(place: Path) -> Stack:
        images = sorted((place / ".tykky" / "layers").iterdir())
        prefix = "/tykky/demo" if place.name in ("A", "P") else f"/tykky/{place.name}"
        return Stack(prefix, tuple(f".tykky/layers/{image.name}" for image in images))

    def make(first: Path, *others: Path, **launch: object) -> list[object]:
        value = Launch(stack(first), "demo", programs=bench.case.programs, **launch)
        beside = [Beside(str(place), os.path.realpath(place), stack(place)) for place in others]
        file = bench.place / "together.sh"
        file.write_text(render_launch(value, beside))
        file.chmod(0o644)
        start = '_tykky_p=$1 _tykky_called=$2 _tykky_x=$3; shift 3; . "$_tykky_x"'
        return ["/bin/sh", "-c", start, "tykky", first, "/bin/sh", file, "-c", 'exec "$@"', "tykky"]

    return make


SEVERAL = (
    "import json, os, subprocess, sys\n"
    f"ask = {WHO!r}\n"
    "found = [json.loads(subprocess.check_output([python, '-c', ask])) for python in sys.argv[1:]]\n"
    "tree = {name: os.path.isdir(f'/tykky/{name}/bin') for name in os.listdir('/tykky') if name[0] != '.'}\n"
    "names = [os.environ['TYKKY_ENVIRONMENT'], os.environ['PATH'], os.environ.get('OF_A')]\n"
    "print(json.dumps([found, tree, names, os.readlink('/proc/self/ns/mnt')]))\n"
)


def test_several_in_one_mount(bench: Bench, make_other: Callable[..., Path], together: Callable[..., list[object]]):
    """Each at its own place and prefix; their launchers mount nothing; the surroundings are the first one's."""
    first, one, two = bench.environment("A"), make_other("one"), make_other("two", 1)
    command = together(first, one, two, environ={"OF_A": "yes"})
    pythons = [place / "bin" / "python" for place in (first, one, two)]
    done = bench.run(*command, "python", "-c", SEVERAL, *pythons)
    found, tree, (environment, path, of_a), mounts = json.loads(done.stdout)
    assert found == [[str(python), str(python.parent.parent), mounts] for python in pythons]
    assert tree == {"demo": True, "one": True, "two": True}
    assert (environment, of_a) == (str(first), "yes")
    assert path.split(":")[:3] == [f"{place}/bin" for place in (first, one, two)]
    assert done.stderr == ""
    for place in (one, two):  # their console scripts find them
        listed = bench.run(*command, place / "bin" / ("tool" if place == one else "python"), "-c", "pass").stdout
        assert listed.splitlines()[:1] == ([f"{one}/bin/python"] if place == one else [])


def test_several_are_shared_too(bench: Bench, make_other: Callable[..., Path], together: Callable[..., list[object]]):
    """Later launches join; one that shows something else does not, nor one after another directory was made there."""
    if bench.case.mount != "joined":
        pytest.skip("nothing is kept, or it is not waited for")
    first, one = bench.environment("A", launched=False), make_other("one", 1)
    command = [*together(first, one), "readlink", "/proc/self/ns/mnt"]
    bench.run(*command)
    until = time.monotonic() + 30
    while not bench.kept() and time.monotonic() < until:
        time.sleep(0.01)
    kept = [bench.run(*command).stdout for _ in range(2)]
    assert kept[0] == kept[1]
    assert ask(bench, first)[0][2] != kept[0].strip()
    moved = one.rename(one.with_name("away"))
    shutil.copytree(moved, one, symlinks=True)
    bench.case.own(one)
    assert bench.run(*command).stdout != kept[0]


@pytest.mark.parametrize("name", ["it's $HOME `x`", 'a,"b'])
def test_whatever_they_are_called(
    bench: Bench, make_other: Callable[..., Path], together: Callable[..., list[object]], name: str
):
    first, one = bench.environment("A"), make_other("one", place=f"{name}/one")
    done = bench.run(*together(first, one), "extra")
    assert done.stdout == f"extra {first}/bin/extra\n"
    done = bench.run(*together(first, one), one / "bin" / "python", "-c", "import sys; print(sys.prefix)")
    assert done.stdout == f"{one}\n"
