"""Plain words mean what click takes them for, and what is not plain is left to it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import click
import pytest

from tykky.cli.clicks import declared
from tykky.cli.main import VERBS

ODD = ("n" * 300, "", "-", "--", "-x", "--frob", "-qv", "--json=1", "no/such/place", "here", "3", "a b", "-h")


# A choice among words is checked by click, which says what they are.
BY_CLICK = ("module", "shell-init")


@pytest.mark.parametrize("verb", VERBS)
def test_they_are_read_as_click_reads_them(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    command, found = declared(verb), declared(verb).command()
    vocabulary = [*ODD, *(name for parameter in command.parameters for name in parameter.names)]
    chance, plain = random.Random(verb), 0
    for _ in range(400):
        words = chance.choices(vocabulary, k=chance.randrange(5))
        values = command.values(words)
        if values is not None:
            plain += 1
            assert values == found.make_context(verb, list(words), help_option_names=["-h", "--help"]).params, words
    assert plain or command.settings or verb in BY_CLICK, "no words of this verb are plain"


@pytest.mark.parametrize(
    ("verb", "words", "values"),
    [
        ("lock", ["-U", "--spec", "x.toml"], {"upgrade_all": True, "spec_path": Path("x.toml"), "platforms": ()}),
        ("lock", ["--platform", "a", "--platform", "b", "-q"], {"platforms": ("a", "b"), "quiet": True}),
        ("rollback", ["env"], {"directory": Path("env"), "number": None}),
        ("build", [], {"prefix": None, "spec_path": Path("tykky.toml")}),
    ],
)
def test_what_people_type_is_plain(
    verb: str, words: list[str], values: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read = declared(verb).values(words)
    assert read is not None
    assert {name: read[name] for name in values} == values


@pytest.mark.parametrize(
    "words",
    [["-Uq"], ["--spec=x"], ["--spec"], ["--spec", "--json"], ["--spec", ""], ["--"], ["-h"], ["-f", "a", "-f", "b"]],
)
def test_what_is_not_plain_is_left_to_click(words: list[str]) -> None:
    assert declared("lock").values(words) is None


def test_a_place_that_cannot_be_read_is_left_to_click(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = os.access
    monkeypatch.setattr("os.access", lambda place, mode: mode == os.F_OK and there(place, mode))
    assert declared("rollback").values([str(tmp_path)]) is None
    assert declared("rollback").values([str(tmp_path / "gone")]) is not None


def test_a_usage_error_of_a_verb_shows_the_usage() -> None:
    from tykky.cli.verbs import place_usage

    error = click.UsageError("names go with --upgrade")
    place_usage(error, "lock", declared("lock").command())
    assert error.ctx is not None
    assert error.ctx.get_usage() == "Usage: tykky lock [OPTIONS] [NAME]..."
