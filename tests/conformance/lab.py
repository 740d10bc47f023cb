"""Real environments with JupyterLab, debuggers and a profiler from PyPI, locked and built once per session.

Whoever launches finds them where they are; what is outside of them, a jupyter_client and a browser's driver, is in a
venv of the host's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.stage import host_python

__all__ = ["lab", "labs", "outside"]

PROJECT = Path(__file__).parent.parent.parent
KINDS = ("venv", "conda")
_PACKAGES = ["debugpy", "ipykernel", "jupyterlab", "matplotlib", "pip", "py-spy", "virtualenv"]
_OUTSIDE = ["jupyter_client", "playwright", "py-spy"]


@dataclass(frozen=True, slots=True)
class Lab:
    """An environment directory that `tykky build` made, as one case launches it."""

    place: Path
    bench: Bench

    def program(self, name: str) -> Path:
        """Return a program's launcher."""
        return self.place / "bin" / name

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of a launch. An Apptainer is found as a site's module would give it: through PATH."""
        given = self.bench.environ(**more)
        programs = [str(Path(path).parent) for path in self.bench.case.programs.values()]
        return {**given, "PATH": os.pathsep.join([*programs, given["PATH"]])}

    def run(self, *argv: object, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a program as the case's user."""
        return self.bench.run(*argv, **{"env": self.environ(), **options})

    def start(self, *argv: object, **options: object) -> subprocess.Popen[str]:
        """Start a program as the case's user."""
        given = {"env": self.environ(), "stdin": None, "stdout": None, **options}
        return self.bench.start(*argv, **given)


@pytest.fixture(scope="session")
def labs(ground: Path, conda_channel: Path) -> Callable[[str], Path]:
    """Give the environment directory of a kind, locked and built once."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = _build(kind, ground / f"lab-{kind}", conda_channel)
        return made[kind]

    return get


@pytest.fixture(params=KINDS)
def lab(request: pytest.FixtureRequest, bench: Bench, labs: Callable[[str], Path]) -> Lab:
    """The environment, of either kind; joined, its mounts are there before the test."""
    found = Lab(labs(request.param), bench)
    if bench.case.mount == "joined":
        found.run(found.program("python"), "-c", "pass")
    return found


@pytest.fixture(scope="session")
def outside(ground: Path) -> Path:
    """A venv of the host's own Python, for what is outside of an environment."""
    made = ground / "outside"
    if made.exists():  # a fixture that two modules import is made twice
        return made
    uv = shutil.which("uv", path=sysconfig.get_path("scripts"))
    assert uv is not None
    for words in (["venv", "--python", host_python(), made], ["pip", "install", "--python", made, *_OUTSIDE]):
        done = subprocess.run([uv, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return made


def _build(kind: str, folder: Path, channel: Path) -> Path:
    if (folder / "P" / ".tykky" / "current").exists():  # as above
        return folder / "P"
    (folder / "home").mkdir(parents=True)
    conda = ""
    if kind == "conda":
        # Its interpreter is this one, repacked: conda-forge cannot be reached from everywhere.
        minor = ".".join(map(str, sys.version_info[:2]))
        conda = f'[conda]\nchannels = ["{channel.as_uri()}"]\n[conda.dependencies]\npython = "{minor}.*"\n'
    python = f'python = "{host_python()}"\n' if kind == "venv" else ""
    dependencies = ", ".join(f'"{name}"' for name in _PACKAGES)
    (folder / "tykky.toml").write_text(
        f'[environment]\nname = "lab"\n\n{conda}\n[pypi]\n{python}dependencies = [{dependencies}]\n'
    )
    environ = {"HOME": str(folder / "home"), "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"}
    environ |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or "CERT" in name}
    environ["PYTHONPATH"] = str(PROJECT)
    for words in (["lock"], ["build", "--prefix", "P"]):
        done = subprocess.run(
            [sys.executable, "-m", "tykky", *words],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"tykky {words[0]}: {done.stderr}"
    return folder / "P"


def script(place: Path, text: str) -> Path:
    """Write a program into a file of its own."""
    place.write_text(textwrap.dedent(text))
    return place
