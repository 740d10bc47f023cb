"""The sessions in README.md and below docs/ print what the documents say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.console import PLACE, Typed, session

ROOT = Path(__file__).parents[2]
DOCUMENTS = [d for d in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if session(d)]


def test_the_readme_has_a_session() -> None:
    assert ROOT / "README.md" in DOCUMENTS


@pytest.mark.network
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            d, id=str(d.relative_to(ROOT)), marks=[] if d.parent != ROOT / "docs" / "how-to" else pytest.mark.thorough
        )
        for d in DOCUMENTS
    ],
)
def test_a_session_prints_what_the_document_says(document: Path, tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for typed in session(document):
        done = subprocess.run(
            ["bash", "-c", typed.command],
            cwd=directory,
            env={**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        shown = done.stdout.replace(str(directory), PLACE)
        assert typed.agrees(shown), f"$ {typed.command}\n{shown}\ndiffers from\n{typed.printed}"


@pytest.mark.parametrize(
    ("printed", "output", "agrees"),
    [
        ("", "", True),
        ("", "something\n", False),
        ("one\ntwo", "one\ntwo\n", True),
        ("one\ntwo", "one\n", False),
        ("in 0.7 s, done", "in 11.3 s, done\n", True),
        ("in 0.7 s, done", "in 11.3 s, failed\n", False),
        ("1,234 files", "7 files\n", True),
        ("(4.8 MB/s)", "(980 kB/s)\n", True),
        ("(4.8 MB/s)", "(980 files/s)\n", False),
        ("pack: 3 files in 1 s", "pack: 1 files of 3 files\npack: 3 files in 9 s\n", True),
        ("get: 3 kB in 1 s", "get: 1 kB\nget: 3 kB in 9 s\n", True),
        ("by ... alone", "by one or two alone\n", True),
        ("by ... alone", "by one\nalone\n", False),
        ("...\nlast", "a\nb\nlast\n", True),
        ("...\nlast", "last\n", True),
        ("...\nlast", "a\nlast\nmore\n", False),
        ("a.c", "abc\n", False),
    ],
)
def test_numbers_and_dots_stand_for_what_varies_and_nothing_else(printed: str, output: str, agrees: bool) -> None:
    assert Typed("true", printed).agrees(output) is agrees


def test_a_command_goes_on_after_a_prompt(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("```console\n$ cat <<END\n> one\n> END\none\n$ true\n```\n\n```sh\n$ no session\n```\n")
    assert session(document) == [Typed("cat <<END\none\nEND", "one"), Typed("true", "")]
