"""Which directories of the host programs see, where a site does not show all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.stage import lay_out
from tykky.runtime.model import Binds

LOOK = "import json, os, sys; print(json.dumps([os.path.isdir(path) for path in sys.argv[1:]]))"
WHO = "import json, os, sys; print(json.dumps([sys.executable, os.getcwd()]))"


@pytest.fixture
def var(bench: Bench) -> Iterator[Path]:
    """A directory of the case's user below /var; its name has a space."""
    made = Path(tempfile.mkdtemp(prefix="tykky binds-", dir="/var/tmp"))
    bench.case.own(made)
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def seen(bench: Bench, environment: Path, *paths: object) -> list[bool]:
    return json.loads(bench.run(environment / "bin" / "python", "-c", LOOK, *paths).stdout)  # type: ignore[no-any-return]


def test_a_directory_of_the_root_is_hidden(bench: Bench):
    paths = ("/var/lib", "/var/cache", "/usr/bin", "/etc", "/tmp", "/proc/self", bench.place)
    everything = seen(bench, bench.environment("all"), *paths)
    assert everything == [True] * 7
    environment = bench.environment("P", binds=Binds(hidden=("/var", "/no-such-directory")))
    assert seen(bench, environment, *paths) == [False, False, True, True, True, True, True]


def test_what_lies_in_a_hidden_one_is_shown_by_its_name(bench: Bench, var: Path):
    (var / "inner").mkdir()
    binds = Binds(hidden=("/var",), shown=(str(var), "/var/no-such-directory", "/usr/bin"))
    environment = bench.environment(binds=binds)
    assert seen(bench, environment, var / "inner", "/var/lib", "/usr/bin", "/var/no-such-directory") == [
        *(True, False, True),
        # Apptainer's image has the mount point.
        bench.case.backend == "apptainer",
    ]
    # It is the same directory, not a copy.
    bench.run(environment / "bin" / "python", "-c", "import sys; open(sys.argv[1], 'w').close()", var / "inner/made")
    assert (var / "inner" / "made").exists()


def test_an_environment_in_a_hidden_directory_runs(bench: Bench, var: Path):
    """Its neighbours are not seen, and the working directory there is not either."""
    place = lay_out(var / "P", bench.images("venv"), programs=bench.case.programs, binds=Binds(hidden=("/var",)))
    bench.case.own(place)
    (var / "neighbour").mkdir()
    found = json.loads(bench.run(place / "bin" / "python", "-c", WHO, cwd=var / "neighbour").stdout)
    assert found == [str(place / "bin" / "python"), "/"]
    assert seen(bench, place, var / "neighbour", place / "bin") == [False, True]
