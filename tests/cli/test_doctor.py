"""`tykky doctor`: a table for people, JSON for programs, and an exit status that says whether anything works."""

from __future__ import annotations

import json

import pytest

from tykky.cli import doctor
from tykky.cli.boundary import run
from tykky.runtime.probe import Finding

FINDINGS = (
    Finding("/dev/fuse", "ok", "can be opened"),
    Finding("mksquashfs", "missing", "not on PATH", "install squashfs-tools"),
    Finding("backend namespace", "ok", "ran a program with two images"),
    Finding("backend apptainer", "missing", "neither apptainer nor singularity is there"),
)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch):
    """Let the host have these findings."""

    def set_to(findings: tuple[Finding, ...]) -> None:
        monkeypatch.setattr(doctor, "probe_host", lambda *_: findings)

    return set_to


def test_the_table(found, capsys: pytest.CaptureFixture[str]):
    found(FINDINGS)
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out == (
        "found    /dev/fuse          can be opened\n"
        "missing  mksquashfs         not on PATH\n"
        "                            -> install squashfs-tools\n"
        "found    backend namespace  ran a program with two images\n"
        "missing  backend apptainer  neither apptainer nor singularity is there\n"
        "\n"
        "backends that work here: namespace\n"
    )


def test_quiet_shows_only_what_is_not_in_order(found, capsys: pytest.CaptureFixture[str]):
    found(FINDINGS)
    assert run(["doctor", "-q"]) == 0
    assert "can be opened" not in capsys.readouterr().out


def test_no_backend(found, capsys: pytest.CaptureFixture[str]):
    found((Finding("backend namespace", "missing", "why"),))
    assert run(["doctor"]) == 12
    assert capsys.readouterr().out.endswith("\nno backend works here\n")


def test_json(found, capsys: pytest.CaptureFixture[str]):
    found(FINDINGS)
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "mksquashfs",
        "status": "missing",
        "detail": "not on PATH",
        "advice": "install squashfs-tools",
    }


def test_on_this_host(capsys: pytest.CaptureFixture[str], tmp_path):
    """The real probe renders as JSON, whatever is there."""
    status = run(["doctor", "--json", str(tmp_path)])
    names = [finding["name"] for finding in json.loads(capsys.readouterr().out)]
    assert status in (0, 12)
    assert "backend namespace" in names
