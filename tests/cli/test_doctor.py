"""`tykky doctor`: a table for people, JSON for programs, and an exit status that says whether anything works."""

from __future__ import annotations

import json
from pathlib import Path

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

DEFAULTS = """\
store                   -                           default
stores                  []                          default
environments            -                           default
mirrors                 -                           default
trust.owners            []                          default
policy.depth            8                           default
policy.flatten-from     6                           default
policy.flatten          "propose"                   default
policy.gc-grace         0                           default
runtime.backends        ["namespace", "apptainer"]  default
runtime.no-bind         []                          default
runtime.bind            []                          default
programs.apptainer      -                           default
programs.squashfuse     -                           default
programs.mksquashfs     -                           default
build.scratch           -                           default
build.script-network    true                        default
build.processors        -                           default
build.message           -                           default
striping.count          -                           default
striping.size           -                           default
striping.pool           -                           default
striping.above          "64M"                       default
python.downloads        -                           default
init.channels           ["conda-forge"]             default
init.index-url          -                           default
init.extra-index-url    []                          default
init.compression-level  -                           default
"""


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
        "\n"
        "settings (no site.toml is there):\n" + DEFAULTS
    )


def test_quiet_shows_only_what_is_not_in_order(found, capsys: pytest.CaptureFixture[str]):
    found(FINDINGS)
    assert run(["doctor", "-q"]) == 0
    out = capsys.readouterr().out
    assert "can be opened" not in out
    assert "settings" not in out


def test_no_backend(found, capsys: pytest.CaptureFixture[str]):
    found((Finding("backend namespace", "missing", "why"),))
    assert run(["doctor"]) == 12
    assert "\nno backend works here\n" in capsys.readouterr().out


def test_a_backend_that_the_site_does_not_use_is_none(
    found, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site = tmp_path / "site.toml"
    monkeypatch.setenv("TYKKY_SITE", str(site))
    found((*FINDINGS[:3], Finding("backend apptainer", "ok", "ran a program with two images")))
    site.write_text('[runtime]\nbackends = ["apptainer", "namespace"]\n')
    assert run(["doctor"]) == 0
    assert "\nbackends that work here: apptainer, namespace\n" in capsys.readouterr().out
    found(FINDINGS)
    site.write_text('[runtime]\nbackends = ["apptainer"]\n')
    assert run(["doctor"]) == 12
    assert "\nno backend of site.toml works here; namespace would\n" in capsys.readouterr().out


def test_each_setting_says_where_it_is_from(
    found, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
):
    site, user = tmp_path / "site.toml", home / ".config" / "tykky" / "site.toml"
    user.parent.mkdir(parents=True)
    (tmp_path / "store").mkdir()
    site.write_text(
        f'stores = ["{tmp_path}/store"]\n[environments]\npytorch = "/appl/envs/pytorch"\n"r.4" = "/appl/envs/r"\n'
        '[policy]\ndepth = 5\n[build]\nmessage = """\nThis is said to everybody who builds something, and it is longer '
        'than a line of the table."""\n'
    )
    user.write_text('store = "~/images"\n[environments]\n"r.4" = "/proj/r"\n')
    monkeypatch.setenv("TYKKY_SITE", str(site))
    found(FINDINGS)
    assert run(["doctor"]) == 0
    findings, table = capsys.readouterr().out.split(f"\nsettings ({site}, {user}):\n")
    assert findings.count("is no environment directory") == 2
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in table.splitlines()}
    assert rows["store"] == f'"{home}/images" {user}'
    assert rows["stores"].endswith(f" {site}")
    assert rows["environments.pytorch"] == f'"/appl/envs/pytorch" {site}'
    assert rows['environments."r.4"'] == f'"/proj/r" {user}'
    assert (rows["policy.depth"], rows["policy.flatten-from"]) == (f"5 {site}", "6 default")
    assert rows["build.message"] == f'"This is said to everybody who builds something, and it is … {site}'
    columns = {line.index(origin) for line in table.splitlines() for origin in [line.split()[-1]]}
    assert len(columns) == 1, "the origins stand below one another"


def test_what_the_site_names_and_is_not_there(
    found, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site = tmp_path / "site.toml"
    site.write_text('stores = ["/nowhere/store"]\n[environments]\n"r.4" = "/nowhere/r"\n')
    monkeypatch.setenv("TYKKY_SITE", str(site))
    found(())
    run(["doctor"])
    assert capsys.readouterr().out.startswith(
        'look     environments."r.4"  /nowhere/r is no environment directory\n'
        "                             -> no spec can extend it by this name\n"
        "look     stores              /nowhere/store cannot be read\n"
        "                             -> its images are built or downloaded again\n"
    )


def test_json(found, capsys: pytest.CaptureFixture[str]):
    found(FINDINGS)
    assert run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["findings"][1] == {
        "name": "mksquashfs",
        "status": "missing",
        "detail": "not on PATH",
        "advice": "install squashfs-tools",
    }
    assert (document["backends"], document["site-files"]) == (["namespace"], [])
    settings = {row["key"]: (row["value"], row["origin"]) for row in document["settings"]}
    assert settings["runtime.backends"] == (["namespace", "apptainer"], None)
    assert settings["build.scratch"] == (None, None)


def test_json_of_settings(found, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    site = tmp_path / "site.toml"
    site.write_text('[build]\nscratch = "/local"\nscript-network = false\n')
    monkeypatch.setenv("TYKKY_SITE", str(site))
    found(FINDINGS)
    run(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["site-files"] == [str(site)]
    assert {"key": "build.scratch", "value": "/local", "origin": str(site)} in document["settings"]
    assert {"key": "build.script-network", "value": False, "origin": str(site)} in document["settings"]


def test_settings_that_may_surprise_here(
    found, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site = tmp_path / "site.toml"
    site.write_text('[runtime]\nno-bind = ["/srv", "/home"]\nbind = ["/srv/mine"]\n[striping]\ncount = 4\n')
    monkeypatch.setenv("TYKKY_SITE", str(site))
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("PATH", str(tmp_path))
    found(())
    run(["doctor", "/srv/theirs"])
    assert capsys.readouterr().out.startswith(
        "look     no-bind   programs do not see /srv/theirs\n"
        "                   -> name it under bind in [runtime] of site.toml\n"
        "look     no-bind   programs do not see /home/ada\n"
        "                   -> name it under bind in [runtime] of site.toml\n"
        "look     striping  lfs is not on PATH\n"
        "                   -> images that are built here are not striped\n"
    )
    (tmp_path / "lfs").write_text("#!/bin/sh\n")
    (tmp_path / "lfs").chmod(0o755)
    monkeypatch.setenv("HOME", "/root")
    run(["doctor", "/srv/mine/env"])
    assert capsys.readouterr().out.startswith("\n\nno backend works here")


def test_the_sites_scratch_directory_is_looked_at(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site = tmp_path / "site.toml"
    site.write_text('[build]\nscratch = "/nowhere"\n')
    monkeypatch.setenv("TYKKY_SITE", str(site))
    run(["doctor", "--json"])
    found = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert found["scratch"]["status"] == "missing"
    assert found["scratch"]["detail"] == "/nowhere: no such file or directory"


def test_on_this_host(capsys: pytest.CaptureFixture[str], tmp_path):
    """The real probe renders as JSON, whatever is there."""
    status = run(["doctor", "--json", str(tmp_path)])
    names = [finding["name"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert status in (0, 12)
    assert "backend namespace" in names
