"""Real builds, rollbacks and collections while programs run and mounts are kept: nobody has to wait."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.left import left
from tests.conformance.stage import host_python
from tests.conformance.test_build import MINOR, name_programs, tykky, variables
from tests.living import until
from tests.wheelmaker import make_wheel

__all__ = ["tykky"]  # a fixture

SAMPLED = True
pytestmark = pytest.mark.timeout(300)

SAY = "import alpha; print(alpha.VERSION)"
# What was not imported before is read from the generation that the program started in.
WAIT = "import sys, alpha; print(alpha.VERSION, flush=True); sys.stdin.read(); import late; print(late.VERSION)"


@dataclass(frozen=True, slots=True)
class Desk:
    """A directory of the case's user with a spec, and the command line to use on it."""

    bench: Bench
    program: list[str]
    place: Path
    spec: str

    def tykky(self, *words: object) -> str:
        """Run `tykky` as the case's user; return what it printed."""
        return self.bench.run(*self.program, *words, cwd=self.place, env=variables(self.bench)).stdout

    def build(self, version: str) -> Path:
        """Lock and build with this version of alpha."""
        (self.place / "tykky.toml").write_text(self.spec.replace("VERSION", version))
        self.bench.case.own(self.place)
        self.tykky("lock")
        self.tykky("build", "--prefix", "P")
        return self.place / "P"

    def says(self) -> str:
        return self.bench.run(self.place / "P" / "bin" / "python", "-c", SAY).stdout.strip()


@pytest.fixture
def desk(bench: Bench, tykky: list[str], kind: str, request: pytest.FixtureRequest) -> Desk:
    """Two versions of a package to choose from; the site names its Apptainer in site.toml."""
    place = bench.place / "desk"
    place.mkdir()
    (bench.place / "tmp").mkdir()
    house = bench.place / "house"
    house.mkdir()
    for version in ("1.0", "1.1"):
        files = dict.fromkeys(("alpha.py", "late.py"), f"VERSION = {version!r}\n")
        make_wheel(house, "alpha", version, files=files)
    name_programs(bench)
    conda, python = "", f'python = "{host_python()}"\n'
    if kind == "conda":
        channel = bench.place / "channel"
        shutil.copytree(request.getfixturevalue("conda_channel"), channel)  # pytest's own directory is closed to others
        python = ""
        conda = f'[conda]\nchannels = ["{channel.as_uri()}"]\n[conda.dependencies]\npython = "{MINOR}.*"\n'
    bench.case.own(bench.place)
    links = f'find-links = ["{house}"]\nindex-url = "file://{house}"\n'
    spec = f'[environment]\nname = "demo"\n\n{conda}\n[pypi]\n{python}dependencies = ["alpha==VERSION"]\n{links}'
    return Desk(bench, tykky, place, spec)


def test_an_environment_changes_and_goes_under_what_runs(bench: Bench, desk: Desk):
    place = desk.build("1.0")
    if bench.case.mount == "joined":
        bench.keep(place)
    with bench.start(place / "bin" / "python", "-c", WAIT) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "1.0\n"
        # Each verb finds the directory free, and the next launch what it left.
        desk.build("1.1")
        assert desk.says() == "1.1"
        desk.tykky("rollback", "P", "1")
        assert desk.says() == "1.0"
        desk.tykky("rollback", "P", "2")
        desk.tykky("flatten", "P")
        assert desk.says() == "1.1"
        assert "kept generation 1: pid " in desk.tykky("gc", "P", "--older-than", "0m")
        desk.tykky("verify", "P")
        out, _ = running.communicate("", timeout=60)
        assert (running.returncode, out) == (0, "1.0\n")
    # Kept mounts are no reason to keep a generation: gc lets go of those that nobody uses.
    bench.run(place / "bin" / "python", "-c", "pass")
    if bench.case.backend == "namespace" and bench.case.mount == "private":
        until(lambda: not left(place))  # what serves a private mount goes a moment after its program
    assert "removed generation 1" in desk.tykky("gc", "P", "--older-than", "0m")
    assert desk.says() == "1.1"
    bench.run("rm", "-rf", place)
    assert not place.exists()
    until(lambda: not left(place))
