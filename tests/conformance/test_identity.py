"""`sys.executable` is `P/bin/python` in every backend, and the tree is whole (invariant 9)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.stage import PREFIX, Images, publish
from tykky.runtime.model import Launch, Stack

SHOW = "import sys; print(sys.executable); print(sys.prefix)"


@pytest.mark.parametrize("kind", ["venv", "conda"])
def test_python_runs_as_p_bin_python(bench: Bench, kind: str):
    place = bench.environment(kind=kind)
    done = bench.run(place / "bin" / "python", "-c", SHOW)
    assert done.stdout.splitlines() == [f"{place}/bin/python", str(place)]
    assert done.stderr == ""


@pytest.mark.parametrize("kind", ["venv", "conda"])
def test_a_console_script_runs_under_p_bin_python(bench: Bench, kind: str):
    place = bench.environment(kind=kind)
    done = bench.run(place / "bin" / "tool", "a b", "")
    assert done.stdout.splitlines() == [f"{place}/bin/python", f"['{place}/bin/tool', 'a b', '']"]


@pytest.mark.parametrize("kind", ["venv", "conda"])
def test_a_child_of_the_program_starts_the_real_interpreter(bench: Bench, kind: str):
    """Inside, P/bin/python is no launcher any more: a child is in the same mounts."""
    place = bench.environment(kind=kind)
    text = (
        "import os, subprocess, sys\n"
        "ask = 'import os, sys; print(sys.executable, os.readlink(\"/proc/self/ns/mnt\"))'\n"
        "print(sys.executable, os.readlink('/proc/self/ns/mnt'), flush=True)\n"
        "subprocess.run([sys.executable, '-c', ask], check=True)\n"
    )
    first, second = bench.run(place / "bin" / "python", "-c", text).stdout.splitlines()
    assert first == second


def test_images_lie_over_one_another(bench: Bench, environment: Path):
    """The topmost image that has a path wins; a whiteout hides it; a program of the topmost image runs."""
    text = "import thing, importlib.util as u; print(thing.where, u.find_spec('gone'))"
    assert bench.run(environment / "bin" / "python", "-c", text).stdout == "middle None\n"
    assert bench.run(environment / "bin" / "extra").stdout == f"extra {environment}/bin/extra\n"


def test_one_image_needs_no_overlay(bench: Bench, kind: str):
    place = bench.environment(kind=kind, count=1)
    text = "import thing, gone, sys; print(thing.where, sys.executable)"
    assert bench.run(place / "bin" / "python", "-c", text).stdout == f"bottom {place}/bin/python\n"


def test_more_images_than_a_small_shell_has_descriptors_for(bench: Bench, kind: str, images: Callable[[str], Images]):
    """dash names descriptors up to 9 only."""
    place = bench.environment(kind=kind)
    layers = place / ".tykky" / "layers"
    for number in range(9):
        os.link(images(kind).files[2], layers / f"more-{number}.sqfs")
    every = [f".tykky/layers/{kind}-{n}.sqfs" for n in range(3)] + [f".tykky/layers/more-{n}.sqfs" for n in range(9)]
    publish(place, 2, Launch(Stack(PREFIX, tuple(every)), name="demo", programs=bench.case.programs))
    bench.case.own(place)
    done = bench.run(place / "bin" / "python", "-c", SHOW)
    assert done.stdout.splitlines() == [f"{place}/bin/python", str(place)]


def test_a_parents_image_may_lie_elsewhere(bench: Bench, kind: str, images: Callable[[str], Images]):
    place = bench.environment(kind=kind)
    bottom = bench.place / "its images"
    bottom.mkdir()
    os.link(images(kind).files[0], bottom / "base.sqfs")
    stack = Stack(PREFIX, (str(bottom / "base.sqfs"), f".tykky/layers/{kind}-1.sqfs"))
    publish(place, 2, Launch(stack, name="demo", programs=bench.case.programs))
    bench.case.own(bench.place)
    assert bench.run(place / "bin" / "python", "-c", "import thing; print(thing.where)").stdout == "middle\n"


def test_a_started_process_keeps_its_generation(bench: Bench, kind: str):
    """Invariant 5: an update is one rename, and what runs does not see it."""
    environment = bench.environment(kind=kind)
    text = "print('up', flush=True); input(); import thing; print(thing.where)"
    with bench.start(environment / "bin" / "python", "-c", text) as running:
        assert running.stdout.readline() == "up\n"
        bottom = Stack(PREFIX, (f".tykky/layers/{kind}-0.sqfs",))
        publish(environment, 2, Launch(bottom, name="demo", programs=bench.case.programs))
        bench.case.own(environment)
        new = bench.run(environment / "bin" / "python", "-c", "import thing; print(thing.where)").stdout
        old, _ = running.communicate("\n")
    assert (old, new) == ("middle\n", "bottom\n")


@pytest.mark.parametrize(
    "name", ["with space", "ünïcode-文", "it's $HOME `x`", "a,b", "#x=y&z", '"q"', "-dash", "back\\slash"]
)
def test_p_may_be_called_anything(bench: Bench, kind: str, name: str):
    place = bench.environment(name, kind)
    done = bench.run(place / "bin" / "python", "-c", SHOW)
    assert done.stdout.splitlines() == [f"{place}/bin/python", str(place)]
    assert bench.run(place / "bin" / "tool").stdout.splitlines()[0] == f"{place}/bin/python"
