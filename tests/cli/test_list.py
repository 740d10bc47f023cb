"""`tykky list`: the table, JSON, and where it looks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.environment.stacks import layer, make
from tykky.cli.boundary import run
from tykky.cli.list_ import _lines
from tykky.environment.known import Known

LAYER = layer("ab", {"bin/python": 1})


def test_the_table(tmp_path: Path) -> None:
    record = make(tmp_path / "env", LAYER).record()
    found = (
        Known("climate", Path("/u/climate"), "user", replace(record, python="3.12", packages=57, number=12), None),
        Known("old", Path("/u/old"), "user", replace(record, python="3.9", packages=1), None),
        Known("broken", Path("/u/broken"), "user", None, "generation 3 is missing"),
        Known("tools", Path("/appl/tools"), "site", record, None),
    )
    assert _lines(found) == [
        "climate  generation 12  2026-11-22  Python 3.12  57 packages  256 B  /u/climate",
        "old      generation 1   2026-11-22  Python 3.9   1 package    256 B  /u/old",
        "broken   /u/broken: generation 3 is missing",
        "tools    generation 1   2026-11-22  no Python                 256 B  /appl/tools  (the site's)",
    ]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's directory, a site's environment, and the current directory."""
    for name in ("mine/a", "appl/base-1", "here/c"):
        make(tmp_path / name, LAYER)
    (tmp_path / "site.toml").write_text(f'[environments]\nbase = "{tmp_path}/appl/base-1"\n')
    monkeypatch.setenv("TYKKY_SITE", os.fspath(tmp_path / "site.toml"))
    monkeypatch.setenv("TYKKY_PATH", os.fspath(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_json(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "mine/broken/.tykky").mkdir(parents=True)
    (places / "mine/broken/.tykky/current").symlink_to("generations/1")
    assert run(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["directory"], row["from"]) for row in rows] == [
        ("a", f"{places}/mine/a", "user"),
        ("broken", f"{places}/mine/broken", "user"),
        ("base", f"{places}/appl/base-1", "site"),
        ("c", f"{places}/here/c", "here"),
    ]
    assert rows[0] == {
        "name": "a",
        "directory": f"{places}/mine/a",
        "from": "user",
        "problem": None,
        "generation": 1,
        "created": "2026-11-22T00:00:00+00:00",
        "python": None,
        "packages": None,
        "size": 256,
    }
    assert (rows[1]["problem"], rows[1]["size"]) == ("generation 1 is missing", None)


def test_directories_take_the_place_of_all_others(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", str(places / "appl")]) == 0
    assert capsys.readouterr().out == f"base-1  generation 1  2026-11-22  no Python    256 B  {places}/appl/base-1\n"


def test_nothing(places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", str(places / "site.toml")]) == 0
    assert capsys.readouterr().out == f"no environments in {places}/site.toml\n"
    assert run(["list", "-q", str(places / "site.toml")]) == 0
    assert capsys.readouterr().out == ""
