"""Whole runs of the command line: spec to launcher, with wheels and a conda channel that the tests make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ready import Starter
from tests.resolve.pypi_index import pypi_index
from tests.wheelmaker import make_wheel

__all__ = ["pypi_index"]

MINOR = ".".join(map(str, sys.version_info[:2]))
TOOL = """
import json, os, sys
def main():
    print(json.dumps({"executable": sys.executable, "prefix": sys.prefix, "argv": sys.argv, "pid": os.getpid()}))
"""
STARTER = Starter()


@dataclass(frozen=True)
class Finished:
    """What a command line did."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Desk:
    """A directory with a spec, and the command line to use on it."""

    directory: Path

    def write(self, text: str) -> Desk:
        (self.directory / "tykky.toml").write_text(text)
        return self

    def tykky(self, *words: str | Path, environ: dict[str, str] | None = None, status: int | None = 0) -> Finished:
        """Run `tykky` in a process of its own; it must end with `status` (None: any)."""
        done = STARTER.run([str(word) for word in words], self.directory, {**os.environ, **(environ or {})})
        finished = Finished(done.returncode, done.stdout, done.stderr)
        if status is not None:
            assert finished.status == status, f"{finished.status}\n{finished.out}\n{finished.err}"
        assert "Traceback" not in finished.err, finished.err
        return finished

    def environment(self, name: str = "env", *words: str) -> Path:
        """Lock and build; return the environment directory."""
        self.tykky("lock")
        self.tykky("build", "--prefix", self.directory / name, *words)
        return self.directory / name


def run(argv: Sequence[str | os.PathLike[str]], **options: object) -> str:
    """Run a program that must succeed; return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout  # type: ignore[no-any-return]


def answer(argv: Sequence[str | os.PathLike[str]]) -> dict[str, object]:
    """Run a program that prints JSON."""
    return json.loads(run(argv))  # type: ignore[no-any-return]


def record(environment: Path) -> dict[str, object]:
    """Return the current generation's environment.json."""
    return json.loads((environment / ".tykky" / "current" / "environment.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty directory to work in; its name has a space and a letter that is not ASCII."""
    directory = tmp_path / "my désk"
    directory.mkdir()
    return Desk(directory)


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of small wheels, with the things that go wrong in real ones."""
    house = tmp_path_factory.mktemp("wheelhouse")
    for version in ("1.0", "1.1"):
        make_wheel(
            house,
            "alpha",
            version,
            files={
                "alpha/__init__.py": f"VERSION = {version!r}\nNAMES = {{'a', 'b', 'c'}}\n",
                "alpha/tool.py": TOOL,
                "shared_ns/alpha_part.py": "x = 1\n",
                "alpha/template.py": "print 'not python 3'\n",
            },
            entry_points={"console_scripts": {"alpha": "alpha.tool:main", "alpha$HOME": "alpha.tool:main"}},
        )
    make_wheel(house, "beta", "2.0", files={"shared_ns/beta_part.py": "y = 2\n"}, requires=["alpha>=1.0"])
    return house


@pytest.fixture
def wheels_spec(wheelhouse: Path) -> Callable[..., str]:
    """Return a maker of specs that find their packages in the wheelhouse alone."""

    def make(*dependencies: str, name: str = "demo", more: str = "") -> str:
        listed = ", ".join(json.dumps(dependency) for dependency in dependencies)
        return (
            f'[environment]\nname = "{name}"\n\n[pypi]\npython = "{MINOR}"\ndependencies = [{listed}]\n'
            f'find-links = ["{wheelhouse}"]\nindex-url = "file://{wheelhouse}"\n{more}'
        )

    return make
