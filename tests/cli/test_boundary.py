"""The door: which words are ours, and what happens to what we do not expect."""

from __future__ import annotations

import pytest

from tykky.cli.boundary import own_words, run


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (["lock", "--json"], ["lock", "--json"]),
        (["run", "P", "prog", "--json"], ["run", "P"]),
        (["run", "--json", "P", "--", "prog", "-v"], ["run", "--json", "P"]),
        (["run", "-q", "P", "-v"], ["run", "-q", "P"]),
        (["run", "--with", "Q", "--json", "P", "prog", "-v"], ["run", "--with", "Q", "--json", "P"]),
        (["run", "P", "--with", "Q", "prog", "-v"], ["run", "P"]),
        (["run"], ["run"]),
        ([], []),
    ],
)
def test_own_words(words: list[str], own: list[str]) -> None:
    assert own_words(words) == own


def test_an_unknown_verb_is_met_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bild"]) == 2
    assert "did you mean 'tykky build'?" in capsys.readouterr().err


def test_an_error_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert run(["info", "/nowhere", "--json"]) == 11
    assert json.loads(capsys.readouterr().out) == {
        "error": "EnvironmentDirectoryError",
        "reason": "/nowhere: no such directory",
        "hint": "build it with 'tykky build'; 'tykky list' shows what there is",
        "output": None,
        "exit-code": 11,
    }


def test_help_lists_the_verbs_without_importing_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "choose exact artifacts and write tykky.lock" in out
