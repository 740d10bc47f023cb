"""The tables of completion: that they name every verb and option, and only kinds that the functions know."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tools.command_pages import load_command
from tools.shell_tables import _fish, _kinds, _options, _quoted, fish_table, posix_table
from tykky.cli import shell_text
from tykky.cli.main import VERBS

FUNCTIONS = Path(shell_text.__file__).with_name("shell_functions")


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_is_there(verb: str) -> None:
    command = load_command(verb)
    posix = posix_table().partition(f"\n    {verb})\n")[2].partition(";;")[0]
    for option in _options(command):
        for name in (*option.opts, *option.secondary_opts):
            assert f"{name}:" in posix
            assert (f" {name}=" in posix) is not option.is_flag
            dashed = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            assert re.search(rf"_tykky_verb_is {verb}'.* {dashed} ", fish_table())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_kind_is_known_to_the_functions(shell: str) -> None:
    kinds = {kind.rstrip("+") for verb in VERBS for kind in _kinds(verb, load_command(verb))}
    kinds |= set(re.findall(r" --?[\w-]+=([a-z]+)(?=[ '])", posix_table()))
    text = (FUNCTIONS / f"complete.{shell}").read_text()
    heads = re.findall(r"^ *case ([a-z |]+)$" if shell == "fish" else r"^ *([a-z |]+)\)", text, re.MULTILINE)
    known = {word for head in heads for word in re.split(r"[ |]+", head)}
    assert {kind for kind in kinds if kind and "|" not in kind} <= known


def test_positions_that_no_word_fits_keep_their_place() -> None:
    @click.command()
    @click.argument("what")
    @click.argument("number")
    @click.argument("rest", nargs=-1)
    def verb(what: str, number: str, rest: tuple[str, ...]) -> None:
        """Do something."""

    assert _kinds("some", verb) == ["", "generation", "+"]


def test_quoting() -> None:
    assert _quoted("a'b$") == "'a'\\''b$'"
    assert _fish("a'b\\") == "'a\\'b\\\\'"
