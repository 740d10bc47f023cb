"""Invariant 5: what runs sees its own generation until it ends, whatever is published or removed meanwhile."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.stage import PREFIX, publish
from tykky.runtime.model import Launch, Stack

# The lowest image has `gone` and a `thing` at the bottom; the second hides the one and brings another of the other.
JOB = """
import importlib, sys, time
print("up", flush=True)
for line in sys.stdin:
    try:
        found = importlib.import_module(line.strip())
        print(getattr(found, "where", "there"), flush=True)
    except ImportError:
        print("absent", flush=True)
"""


@contextmanager
def job(bench: Bench, place: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a program of the environment that imports what it is told, when it is told."""
    with bench.start(place / "bin" / "python", "-c", JOB, stderr=subprocess.PIPE) as running:
        try:
            assert _line(running) == "up"
            yield running
        finally:
            running.kill()


def ask(running: subprocess.Popen[str], module: str) -> str:
    """Let a job import a module, and return what it found."""
    print(module, file=running.stdin, flush=True)
    return _line(running)


def end(running: subprocess.Popen[str]) -> tuple[int, str]:
    """Let a job end; return its status and what it complained of."""
    _, err = running.communicate()
    return running.returncode, err


def _line(running: subprocess.Popen[str]) -> str:
    line = running.stdout.readline()
    assert line, running.communicate()[1]
    return line.strip()


def switch(bench: Bench, place: Path, number: int, layers: int) -> None:
    """Publish a generation with the lowest `layers` layers."""
    files = sorted(path.name for path in (place / ".tykky" / "layers").glob("*.sqfs"))
    stack = Stack(PREFIX, tuple(f".tykky/layers/{file}" for file in files[:layers]))
    publish(place, number, Launch(stack, name="demo", programs=bench.case.programs))
    bench.case.own(place)


def test_jobs_see_their_own_generation_alone(bench: Bench, kind: str) -> None:
    """Twenty updates and rollbacks, then every image but those of the last generation goes."""
    place = bench.environment(kind=kind)
    switch(bench, place, 2, layers=1)
    with job(bench, place) as first:
        switch(bench, place, 3, layers=2)
        with job(bench, place) as second:
            for number in range(4, 24):
                switch(bench, place, number, layers=1 + number % 3)
            assert ask(first, "thing") == "bottom"
            assert ask(second, "thing") == "middle"
            switch(bench, place, 24, layers=3)
            found = bench.run(place / "bin" / "python", "-c", "import thing; print(thing.where)").stdout
            assert found == "middle\n"
            # What a collection on another host does, which cannot see these jobs.
            (place / ".tykky" / "layers" / f"{kind}-0.sqfs").unlink()
            assert ask(first, "gone") == "there"
            assert ask(second, "gone") == "absent"
            assert end(second) == (0, "")
        assert ask(first, "json") == "there"
        assert end(first) == (0, "")


def test_a_child_by_sys_executable_is_of_the_same_generation(bench: Bench, kind: str) -> None:
    """A pool's workers see what their parent sees, also if they start after an update; who starts outside sees it."""
    place = bench.environment(kind=kind)
    switch(bench, place, 2, layers=1)
    code = (
        "import subprocess, sys; print('up', flush=True); input();"
        "argv = [sys.executable, '-c', 'import sys, thing; print(thing.where, sys.executable)'];"
        "print(subprocess.check_output(argv, text=True), end='', flush=True)"
    )
    with bench.start(place / "bin" / "python", "-c", code) as parent:
        assert _line(parent) == "up"
        switch(bench, place, 3, layers=2)
        inside, _ = parent.communicate("\n")
    outside = bench.run(place / "bin" / "python", "-c", "import sys, thing; print(thing.where, sys.executable)").stdout
    assert (inside, outside) == (f"bottom {place}/bin/python\n", f"middle {place}/bin/python\n")


@pytest.mark.parametrize("way", [("cp", "-r"), ("cp", "-a"), ("rsync", "-a"), ("rsync", "-aH"), ("mv",)], ids=" ".join)
def test_p_somewhere_else(bench: Bench, kind: str, way: tuple[str, ...]) -> None:
    """Copied with hard links or without, or moved, after a launch there: it runs under the new path alone."""
    if shutil.which(way[0]) is None:
        pytest.skip(f"{way[0]} is not on this machine")
    place, target = bench.environment(kind=kind), bench.place / "somewhere else" / "Q"
    show = "import sys, thing; print(sys.executable, sys.prefix, thing.where)"
    assert bench.run(place / "bin" / "python", "-c", show).stdout == f"{place}/bin/python {place} middle\n"
    target.parent.mkdir()
    subprocess.run([*way, f"{place}/" if way[0] == "rsync" else place, target], check=True)
    if way != ("mv",):
        shutil.rmtree(place)
    bench.case.own(bench.place / "somewhere else")
    assert bench.run(target / "bin" / "python", "-c", show).stdout == f"{target}/bin/python {target} middle\n"
    assert bench.run(target / "bin" / "tool").stdout.splitlines()[0] == f"{target}/bin/python"
