"""Invariant 5 with whole builds: jobs import lazily while their environment is updated, rolled back and collected."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.warm import Warm
from tests.end_to_end.conftest import MINOR, Desk
from tests.wheelmaker import make_wheel

# One module after another as it is told to; in between, a thread reads a file and lists the package.
JOB = """
import importlib, os, sys, threading, many
place, wrong, ended = os.path.dirname(many.__file__), [], threading.Event()
def look():
    listed = sorted(os.listdir(place))
    while not ended.wait(0.05):
        with open(os.path.join(place, "version.txt")) as file:
            found = (file.read(), sorted(os.listdir(place)))
        if found != (many.VERSION, listed):
            wrong.append(found)
thread = threading.Thread(target=look)
thread.start()
print(many.VERSION, flush=True)
for line in sys.stdin:
    print(importlib.import_module("many.m" + line.strip()).VERSION, flush=True)
ended.set()
thread.join()
print(len(wrong), wrong[:1], flush=True)
"""


@dataclass
class Job:
    """A program of the environment that runs through all that happens to it."""

    process: subprocess.Popen[str]
    version: str
    asked: int = 0

    @classmethod
    def start(cls, env: Path) -> Job:
        pipe = subprocess.PIPE
        process = subprocess.Popen([env / "bin" / "python", "-c", JOB], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert process.stdout is not None
        version = process.stdout.readline().strip()
        assert version, process.communicate()
        return cls(process, version)

    def check(self) -> None:
        """Import the next module: it is of the version that the job began with."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(self.asked, file=self.process.stdin, flush=True)
        self.asked += 1
        found = self.process.stdout.readline().strip()
        assert found == self.version, found or self.process.communicate()[1]

    def end(self) -> None:
        """Let it end; all that it saw was of its own generation."""
        out, err = self.process.communicate()
        assert (self.process.returncode, out, err) == (0, "0 []\n", "")


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    """What runs the verbs."""
    made = Warm(tmp_path / "said")
    yield made
    made.close()


def wheels(house: Path, versions: int, modules: int) -> None:
    """Make the versions of a package with so many modules; each of its files differs from version to version."""
    for version in range(1, versions + 1):
        text = f"VERSION = '{version}.0'\n"
        files = {f"many/m{number}.py": text for number in range(modules)}
        files |= {"many/__init__.py": text, "many/version.txt": f"{version}.0", f"many/only_{version}.py": ""}
        make_wheel(house, "many", f"{version}.0", files=files)


def write(desk: Desk, house: Path, version: str) -> None:
    desk.write(
        f'[environment]\nname = "demo"\n\n[pypi]\npython = "{MINOR}"\ndependencies = ["many=={version}"]\n'
        f'find-links = [{json.dumps(str(house))}]\nindex-url = "file://{house}"\n'
    )


@pytest.mark.parametrize("updates", [4, pytest.param(20, marks=pytest.mark.thorough)])
def test_jobs_see_their_own_generation_alone(desk: Desk, tmp_path: Path, warm: Warm, updates: int) -> None:
    house, env, cwd = tmp_path / "house", desk.directory / "env", desk.directory
    wheels(house, updates + 1, 3 * updates)
    with ExitStack() as stack:
        jobs: list[Job] = []

        def start(version: str) -> None:
            jobs.append(Job.start(env))
            stack.callback(jobs[-1].process.kill)
            assert jobs[-1].version == version

        def all_are_well() -> None:
            for job in jobs:
                job.check()

        for number in range(1, updates + 2):
            write(desk, house, f"{number}.0")
            warm.do("lock", cwd=cwd)
            warm.do("build", "--prefix", "env", *(("--delta",) if number > 1 and number % 3 else ()), cwd=cwd)
            start(f"{number}.0")
            all_are_well()
            if number % 4 == 3:
                warm.do("rollback", "env", str(number - 2), cwd=cwd)
                start(f"{number - 2}.0")
                all_are_well()
                warm.do("rollback", "env", str(number), cwd=cwd)
        warm.do("flatten", "env", cwd=cwd)
        start(f"{updates + 1}.0")
        for ended in jobs[1:3]:
            ended.end()
        del jobs[1:3]
        warm.do("gc", "env", "--older-than", "0m", cwd=cwd)
        all_are_well()
        start(f"{updates + 1}.0")
        for job in jobs:
            job.end()
    warm.do("gc", "env", "--older-than", "0m", cwd=cwd)
    assert os.listdir(env / ".tykky" / "generations") == [(env / ".tykky" / "current").readlink().name]
    assert len(list((env / ".tykky" / "layers").glob("*.sqfs"))) == 1
    last = Job.start(env)
    last.check()
    last.end()
