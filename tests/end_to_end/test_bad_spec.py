"""Specs that cannot be used: file, line, dotted key and what is meant; nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk
from tests.end_to_end.specs import conda, error_of
from tests.end_to_end.traces import names, state

Spec = Callable[..., str]
ENVIRONMENT = '[environment]\nname = "demo"\n'

SPECS = {
    "broken": (
        '[environment\nname = "demo"\n',
        "tykky.toml:1: not valid TOML: expected ']' at the end of a table declaration at column 13",
    ),
    "unknown-key": (
        ENVIRONMENT + 'platfroms = ["linux-64"]\n\n[pypy]\ndependencies = ["numpy"]\n',
        "tykky.toml:3: environment.platfroms: unknown key (did you mean 'platforms'?)\n"
        "tykky.toml:5: pypy: unknown key (did you mean 'pypi'?)",
    ),
    "wrong-type": (
        '[environment]\nname = 3\n\n[pypi]\ndependencies = "numpy"\n',
        "tykky.toml:2: environment.name: expected str, got int; put the value in quotes\n"
        "tykky.toml:5: pypi.dependencies: expected array, got str",
    ),
    "bad-name": (
        '[environment]\nname = "../My Env"\n',
        "tykky.toml:2: environment.name: '../My Env' is not allowed: use lower case letters, digits and hyphens, "
        "with a letter or digit first and last",
    ),
    "name-for-a-shell": (
        '[environment]\nname = "$(touch pwned)"\n',
        "tykky.toml:2: environment.name: '$(touch pwned)' is not allowed: use lower case letters, digits and hyphens, "
        "with a letter or digit first and last",
    ),
    "same-pypi-package": (
        ENVIRONMENT + '[pypi]\ndependencies = [\n  "Ruamel.YAML",\n  "ruamel-yaml>=0.18",\n]\n',
        "tykky.toml:6: pypi.dependencies[1]: 'ruamel-yaml>=0.18' is the same package as 'Ruamel.YAML' in line 5; "
        "keep one of them",
    ),
    "same-conda-package": (
        ENVIRONMENT + '[conda.dependencies]\nGDAL = "*"\ngdal = ">=3.9"\n',
        "tykky.toml:5: conda.dependencies.gdal: 'gdal' is the same package as 'GDAL' in line 4; keep one of them",
    ),
    "patterns-that-lead-out": (
        ENVIRONMENT + '[build]\nexclude = ["../../*", "/etc/*", "lib/../../x", ".", ""]\n',
        "tykky.toml:4: build.exclude[0]: '../../*' leads out of the prefix; patterns start there, as in 'lib/**/*.a'\n"
        "tykky.toml:4: build.exclude[1]: '/etc/*' leads out of the prefix; patterns start there, as in 'lib/**/*.a'\n"
        "tykky.toml:4: build.exclude[2]: 'lib/../../x' leads out of the prefix; patterns start there, "
        "as in 'lib/**/*.a'\n"
        "tykky.toml:4: build.exclude[3]: must name something in the prefix\n"
        "tykky.toml:4: build.exclude[4]: must not be empty",
    ),
    "variables-for-a-shell": (
        ENVIRONMENT + '[runtime]\nenviron = { "A=$(touch pwned)" = "x", OK = "a\\u0000b" }\n',
        'tykky.toml:4: runtime.environ."A=$(touch pwned)": the name of a variable has letters, digits and underscores '
        "and does not begin with a digit\n"
        "tykky.toml:4: runtime.environ.OK: the value of a variable cannot hold a NUL character",
    ),
    "options-for-a-resolver": (
        ENVIRONMENT + '[pypi]\ndependencies = ["--index-url=http://evil.example", "-r other.txt"]\n',
        "tykky.toml:4: pypi.dependencies[0]: '--index-url=http://evil.example' is not a requirement: "
        "options of pip do not belong here\n"
        "tykky.toml:4: pypi.dependencies[1]: '-r other.txt' is not a requirement: options of pip do not belong here",
    ),
}


@pytest.mark.parametrize("verb", ["lock", "build"])
@pytest.mark.parametrize("case", SPECS)
def test_it_cannot_be_read(desk: Desk, case: str, verb: str) -> None:
    """With an old lock beside it, which stays; not even a cache is made."""
    text, problems = SPECS[case]
    (desk.directory / "tykky.lock").write_text("what was locked before\n")
    before = state(desk.write(text).directory.parent)
    failed = desk.tykky(verb, status=3)
    assert failed.err == f"error: {problems}\n"
    assert state(desk.directory.parent) == before


def test_there_is_none(desk: Desk) -> None:
    for verb in ("lock", "build"):
        assert desk.tykky(verb, status=3).err == "error: tykky.toml: no such file\n\nhint: make one with 'tykky init'\n"
    assert names(desk.directory) == []


def test_it_is_no_text(desk: Desk) -> None:
    (desk.directory / "tykky.toml").write_bytes('[environment]\nname = "demo"\n'.encode("utf-16"))
    assert desk.tykky("lock", status=3).err == (
        "error: tykky.toml: is UTF-16 text, not UTF-8\n\nhint: save it with UTF-8 encoding\n"
    )


def test_it_is_a_directory(desk: Desk) -> None:
    (desk.directory / "tykky.toml").mkdir()
    assert desk.tykky("lock", status=3).err == "error: tykky.toml: is a directory, not a file\n"


def test_an_edit_of_a_broken_one_is_refused(desk: Desk) -> None:
    text, problems = SPECS["unknown-key"]
    before = state(desk.write(text).directory)
    assert error_of(desk.tykky("add", "numpy", status=3)) == f"error: {problems}"
    assert state(desk.directory) == before


# What nothing satisfies: the resolver's own explanation, and the old lock stays.


def test_an_unsatisfiable_pypi_set(desk: Desk, wheels_spec: Spec) -> None:
    desk.write(wheels_spec("alpha")).tykky("lock")
    before = state(desk.write(wheels_spec("beta", "alpha<1")).directory)
    failed = desk.tykky("lock", status=6)
    # Where the lines of the explanation break is uv's business.
    assert " ".join(error_of(failed).split()) == (
        f"error: no PyPI packages for linux-64 with Python {MINOR} satisfy the requirements: 'beta', 'alpha<1' "
        "Because all versions of beta depend on alpha>=1.0 and you require beta, we can conclude that you require "
        "alpha>=1.0. "
        "And because you require alpha<1, we can conclude that your requirements are unsatisfiable. "
        "hint: relax one of the requirements that the explanation names"
    )
    assert state(desk.directory) == before


def test_an_unsatisfiable_conda_set(desk: Desk, conda_channel: Path) -> None:
    url = conda_channel.as_uri()
    desk.write(conda(url, "needs-old")).tykky("lock")
    before = state(desk.write(conda(url, "needs-old", "needs-new")).directory)
    failed = desk.tykky("lock", status=6)
    said = error_of(failed)
    head, *explanation, hint = said.split("\n\n")
    assert head == "error: no set of conda packages satisfies tykky.toml for linux-64"
    # Which of the two it starts with is the solver's business.
    assert "needs-old 1.0 would require\n" in explanation[0]
    assert "needs-new 1.0 would require\n" in explanation[0]
    assert "which conflicts with the versions reported above" in explanation[0]
    assert hint == "hint: relax or remove one of needs-new, needs-old"
    assert state(desk.directory) == before
