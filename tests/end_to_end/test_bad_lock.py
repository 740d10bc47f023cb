"""Lockfiles that are not there, not right, or not whole: what is wrong where; nothing is built."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk, record, run
from tests.end_to_end.specs import conda, error_of
from tests.end_to_end.traces import names, state
from tykky import __version__

Spec = Callable[..., str]
Edit = Callable[[str], str]
AGAIN = "the lockfile is written by 'tykky lock': take it from git again, or remove it and run 'tykky lock'"
STALE = "run 'tykky lock' (or build what is locked with --no-check)"


@pytest.fixture
def locked(desk: Desk, wheels_spec: Spec) -> Desk:
    """A desk with a lock: `beta`, which needs `alpha`."""
    desk.write(wheels_spec("beta")).tykky("lock")
    return desk


def edit(desk: Desk, change: Edit) -> str:
    """Change the lockfile; return its text."""
    lock = desk.directory / "tykky.lock"
    before = lock.read_text()
    text = change(before)
    assert text != before
    lock.write_text(text)
    return text


def line_of(text: str, part: str) -> int:
    """Return the line, from 1, of the first that holds `part`."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def refused(desk: Desk, *words: str, said: str, status: int) -> None:
    """The command must say just this, and touch nothing, not even the cache."""
    before = state(desk.directory.parent)
    assert desk.tykky(*words, status=status).err == said
    assert state(desk.directory.parent) == before


@pytest.mark.parametrize("words", [("build",), ("lock", "--check"), ("build", "--no-check")])
def test_there_is_none(desk: Desk, wheels_spec: Spec, words: tuple[str, ...]) -> None:
    desk.write(wheels_spec("alpha"))
    refused(desk, *words, said="error: tykky.lock: no such file\n\nhint: make it with 'tykky lock'\n", status=4)


def test_it_is_stale(locked: Desk, wheels_spec: Spec) -> None:
    """`--no-check` builds what is locked, whatever the spec says now."""
    locked.write(wheels_spec("beta", "gamma>=1"))
    reason = "  gamma>=1 is asked for but not locked"
    said = f"error: tykky.lock does not answer tykky.toml any more:\n{reason}\n\nhint: {STALE}\n"
    refused(locked, "build", "--prefix", "env", said=said, status=5)
    said = f"error: tykky.lock is out of date:\n{reason}\n\nhint: run 'tykky lock'\n"
    refused(locked, "lock", "--check", said=said, status=5)
    locked.tykky("build", "--prefix", "env", "--no-check")
    assert run([locked.directory / "env" / "bin" / "python", "-c", "import shared_ns.beta_part, alpha"]) == ""


def test_what_is_published_stays_when_the_lock_is_stale(locked: Desk, wheels_spec: Spec) -> None:
    locked.tykky("build", "--prefix", "env")
    before = state(locked.directory / "env")
    locked.write(wheels_spec("beta", "gamma"))
    locked.tykky("build", "--prefix", "env", status=5)
    assert state(locked.directory / "env") == before
    assert record(locked.directory / "env")["number"] == 1


@pytest.mark.parametrize("check", [(), ("--no-check",)])
def test_it_is_for_another_platform(locked: Desk, check: tuple[str, ...]) -> None:
    edit(locked, lambda text: text.replace("linux-64", "linux-aarch64"))
    said = (
        "error: tykky.lock: platform: the lock is for linux-aarch64, this host is linux-64\n\n"
        "hint: add 'linux-64' to environment.platforms and run 'tykky lock'\n"
    )
    refused(locked, "build", *check, said=said, status=4)


def test_a_package_that_nothing_names_was_removed(locked: Desk) -> None:
    """Nobody asks for alpha but beta."""
    edit(locked, lambda text: re.sub(r'\[\[package\]\]\nname = "alpha"[^\[]*', "", text))
    reason = "  beta needs alpha, which is not locked"
    said = f"error: tykky.lock does not answer tykky.toml any more:\n{reason}\n\nhint: {STALE}\n"
    refused(locked, "build", said=said, status=5)
    locked.tykky("lock")
    assert 'name = "alpha"' in (locked.directory / "tykky.lock").read_text()


def test_a_conda_package_that_nothing_names_was_removed(desk: Desk, conda_channel: Path) -> None:
    desk.write(conda(conda_channel.as_uri(), "jinja2")).tykky("lock")
    edit(desk, lambda text: re.sub(r'\[\[package\]\]\nname = "markupsafe"[^\[]*(\[[^\[]+)*', "", text, count=1))
    failed = desk.tykky("build", status=5)
    assert "\n  jinja2 needs markupsafe, which is not locked\n" in failed.err
    assert names(desk.directory) == ["tykky.lock", "tykky.toml"]


@pytest.mark.parametrize(
    ("change", "where", "key", "problem"),
    [
        (
            lambda text: text.replace('name = "alpha"', 'name = "../../alpha"'),
            '"../../alpha"',
            "package[0].name: ",
            "'../../alpha' is not a package name",
        ),
        (
            lambda text: text.replace('version = "1.1"', 'version = "../1.1"'),
            '"../1.1"',
            "package[0].version: ",
            "'../1.1' is not a version of alpha",
        ),
        (
            lambda text: text.replace('kind = "pypi"', 'kind = "rpm"', 1),
            '"rpm"',
            "package[0].kind: ",
            "'rpm' is not one of 'conda', 'pypi', 'python'",
        ),
        (
            lambda text: re.sub(r'sha256 = "..', 'sha256 = "$(', text, count=1),
            '"$(',
            "package[0].sha256: ",
            None,
        ),
        (lambda text: "<<<<<<< HEAD\n" + text, "<<<<<<<", "", "not valid TOML: invalid statement at column 1"),
        (
            lambda text: text.replace('lock-version = "1.0"', "lock-version = 1.0"),
            "lock-version",
            "lock-version: ",
            "expected str, got float; put the value in quotes",
        ),
    ],
    ids=["name", "version", "kind", "sha256", "merge", "type"],
)
def test_it_was_edited(locked: Desk, change: Edit, where: str, key: str, problem: str | None) -> None:
    """Building and locking refuse it alike: locking anew would forget what it pins."""
    text = edit(locked, change)
    if problem is None:
        digest = text.splitlines()[line_of(text, where) - 1].split('"')[1]
        problem = f"'{digest}' is not allowed: a sha256 is 64 lower case hexadecimal digits"
    said = f"error: tykky.lock:{line_of(text, where)}: {key}{problem}\n\nhint: {AGAIN}\n"
    for words in (("build",), ("build", "--no-check"), ("lock",), ("lock", "--check")):
        refused(locked, *words, said=said, status=4)


def test_a_sha256_was_edited(locked: Desk, wheelhouse: Path) -> None:
    text = (locked.directory / "tykky.lock").read_text()
    right = text.partition('sha256 = "')[2][:64]
    wrong = "0" * 64
    edit(locked, lambda text: text.replace(right, wrong))
    before = state(locked.directory)
    failed = locked.tykky("build", "--prefix", "env", status=8)
    assert error_of(failed) == (
        f"error: {wheelhouse}/alpha-1.1-py3-none-any.whl is not what the lock says: "
        f"expected sha256 {wrong}, got {right}\n\n"
        "hint: if the change is meant, run 'tykky lock --upgrade'; otherwise the index or a mirror gives a wrong file"
    )
    assert state(locked.directory) == before


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_is_truncated(locked: Desk, share: float) -> None:
    """Wherever it was cut: an error, or a package that is missed."""
    edit(locked, lambda text: text[: int(len(text) * share)])
    before = state(locked.directory)
    failed = locked.tykky("build", status=None)
    assert failed.status in (4, 5)
    assert failed.err.startswith("error: tykky.lock")
    assert state(locked.directory) == before


def test_it_is_empty(locked: Desk) -> None:
    edit(locked, lambda text: "")
    said = (
        "error: tykky.lock: lock-version: this key is missing\n"
        f"tykky.lock: requirements: this table is missing\n\nhint: {AGAIN}\n"
    )
    refused(locked, "build", said=said, status=4)


def test_it_is_of_a_newer_format(locked: Desk) -> None:
    """A newer major version is refused; what a newer minor one adds is passed over."""
    text = edit(locked, lambda text: text.replace('lock-version = "1.0"', 'lock-version = "2.0"'))
    said = (
        f"error: tykky.lock:{line_of(text, 'lock-version')}: lock-version: the format is version 2.0, "
        f"tykky {__version__} reads version 1\n\nhint: use a tykky that reads lockfiles of version 2\n"
    )
    for words in (("build",), ("lock",), ("lock", "--upgrade")):
        refused(locked, *words, said=said, status=4)
    edit(locked, lambda text: text.replace('lock-version = "2.0"', 'lock-version = "1.9"\nmood = "sunny"'))
    locked.tykky("build", "--prefix", "env")


def test_it_was_made_for_another_python(locked: Desk) -> None:
    edit(locked, lambda text: text.replace(f'python = "{MINOR}"', 'python = "3.99"'))
    reason = f"  Python {MINOR} is asked for, 3.99 is locked"
    said = f"error: tykky.lock does not answer tykky.toml any more:\n{reason}\n\nhint: {STALE}\n"
    refused(locked, "build", said=said, status=5)
