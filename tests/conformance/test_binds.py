"""Which directories of the host programs see, where a site does not show all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench, below_srv
from tests.conformance.stage import lay_out
from tykky.runtime.model import Binds

LOOK = "import json, os, sys; print(json.dumps([os.path.isdir(path) for path in sys.argv[1:]]))"
WHO = "import json, os, sys; print(json.dumps([sys.executable, os.getcwd()]))"


@pytest.fixture
def srv(bench: Bench) -> Iterator[Path]:
    """A directory of the case's user below /srv, with two in it; its name has a space."""
    with below_srv(bench, "inner", "neighbour") as made:
        yield made


def seen(bench: Bench, environment: Path, *paths: object) -> list[bool]:
    return json.loads(bench.run(environment / "bin" / "python", "-c", LOOK, *paths).stdout)  # type: ignore[no-any-return]


def test_a_directory_of_the_root_is_hidden(bench: Bench, kind: str):
    paths = ("/var/lib", "/var/cache", "/usr/bin", "/etc", "/tmp", "/proc/self", bench.place)
    everything = seen(bench, bench.environment("all", kind), *paths)
    assert everything == [True] * 7
    environment = bench.environment("P", kind, binds=Binds(hidden=("/var", "/no-such-directory")))
    assert seen(bench, environment, *paths) == [False, False, True, True, True, True, True]


def test_what_lies_in_a_hidden_one_is_shown_by_its_name(bench: Bench, kind: str, srv: Path):
    shown, inner = srv / "inner", srv / "inner" / "deep"
    inner.mkdir()
    bench.case.own(inner)
    environment = bench.environment(
        kind=kind, binds=Binds(("/srv",), (str(shown), "/srv/no-such-directory", "/usr/bin"))
    )
    assert seen(bench, environment, inner, srv / "neighbour", "/usr/bin") == [True, False, True]
    # It is the same directory, not a copy.
    bench.run(environment / "bin" / "python", "-c", "import sys; open(sys.argv[1], 'w').close()", inner / "made")
    assert (inner / "made").exists()
    assert sorted(path.name for path in srv.iterdir()) == ["inner", "neighbour"], "nothing was made on the host"


def test_an_environment_in_a_hidden_directory_runs(bench: Bench, kind: str, srv: Path):
    """Its neighbours are not seen, and so neither is a working directory there."""
    place = lay_out(srv / "P", bench.images(kind), programs=bench.case.programs, binds=Binds(("/srv",)))
    bench.case.own(place)
    found = json.loads(bench.run(place / "bin" / "python", "-c", WHO, cwd=srv / "neighbour").stdout)
    assert found == [str(place / "bin" / "python"), "/"]
    assert seen(bench, place, srv / "neighbour", place / "bin") == [False, True]
