"""`tykky shell-init`: the text, what it knows of the site, and the ancestor's function of the same name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tykky import __version__
from tykky.cli.boundary import run
from tykky.cli.main import main
from tykky.cli.shadow import shadowing_function
from tykky.cli.shell_text import PARTS, functions_here, program, shell_functions
from tykky.runtime.probe import Finding
from tykky.site.load import load_site

HOSTILE = "a'b\\$(touch x)`touch y`\"*;é"
PROGRAMS = Path(sys.executable).parent


def test_the_short_way_prints_what_the_verb_prints(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in PARTS:
        main(["shell-init", shell])
        short = capsys.readouterr().out
        assert run(["shell-init", shell]) == 0
        assert capsys.readouterr().out == short
        assert run(["shell-init", shell, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"shell": shell, "text": short}


def test_the_short_way_imports_neither_click_nor_the_site() -> None:
    code = "import sys, tykky.cli.main as m; m.main(['shell-init', 'sh']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"'click'", "'msgspec'", "'tykky.site'", "'jinja2'"}.intersection(done.stderr.strip("[]\n").split(", "))


def test_another_shell_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["shell-init", "tcsh"]) == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'ksh', 'sh', 'fish'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("where", ["TYKKY_SITE", "XDG_CONFIG_HOME", "HOME"])
def test_the_sites_environments_are_known_from_every_file(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not asked for them where there is no file: this is the test that it knows where files are."""
    file = {"TYKKY_SITE": "site.toml", "XDG_CONFIG_HOME": "tykky/site.toml", "HOME": ".config/tykky/site.toml"}[where]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text('[environments]\npytorch = "/appl/envs/pytorch"\n')
    monkeypatch.setenv(where, os.fspath(tmp_path / file if where == "TYKKY_SITE" else tmp_path))
    if where == "HOME":
        monkeypatch.delenv("XDG_CONFIG_HOME")
    assert load_site(os.environ).environments == {"pytorch": Path("/appl/envs/pytorch")}
    assert "'pytorch') _tykky_p='/appl/envs/pytorch' ;;" in functions_here("bash")


def test_a_broken_site_toml_does_not_break_the_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text("nonsense = 1\n")
    monkeypatch.setenv("TYKKY_SITE", os.fspath(tmp_path / "site.toml"))
    main(["shell-init", "sh"])
    shown = capsys.readouterr()
    assert "_tykky_activate() {" in shown.out
    assert shown.err.startswith(
        f"tykky: the site's environments are not known here: {tmp_path}/site.toml:1: nonsense: "
    )


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_no_value_is_evaluated(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (tests/hosts/setup.sh installs it)")
    text = shell_functions(shell, {HOSTILE: f"/appl/{HOSTILE}"}, f"/opt/{HOSTILE}/tykky")
    ask = (
        f"{text}\n_tykky_site $argv[1]; printf '%s\\n' $_tykky_at $_tykky_sites"
        if shell == "fish"
        else (f'{text}\n_tykky_site "$1"; printf \'%s\\n\' "$_tykky_p" "$_tykky_at" "$_tykky_sites"')
    )
    (tmp_path / "script").write_text(ask)
    said = subprocess.run([shell, "script", HOSTILE], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"/appl/{HOSTILE}", f"/opt/{HOSTILE}/tykky", HOSTILE]
    assert [path.name for path in tmp_path.iterdir()] == ["script"]


def test_the_program_of_path_is_called_as_it_will_be_then(tmp_path: Path) -> None:
    (tmp_path / "tykky").write_text("#!/bin/sh\n")
    environ = {"PATH": f"/nowhere:{tmp_path}"}
    assert program(f"{tmp_path}/tykky", environ) == "tykky"  # it cannot be run
    (tmp_path / "tykky").chmod(0o755)
    assert program(f"{tmp_path}/tykky", environ) == "tykky"
    assert program(f"{tmp_path}/tykky", {"PATH": "/nowhere"}) == f"{tmp_path}/tykky"
    assert program(f"{tmp_path}/tykky", {}) == f"{tmp_path}/tykky"
    assert program(f"{tmp_path}/__main__.py", {}) == "tykky"


# As hpc-container-wrapper's etc/profile.d/tykky.sh exports them.
ANCESTOR = (
    'tykky() { if [[ $1 == activate ]]; then __tykky_activate "$2"; else echo usage; fi; }; __tykky_activate() { :; }\n'
)


def test_the_ancestors_function_is_a_finding() -> None:
    assert not list(shadowing_function({}))
    assert not list(shadowing_function({"BASH_FUNC_module%%": "() { __tykky_activate; }"}))
    (found,) = shadowing_function({"BASH_FUNC_tykky%%": '() {  __tykky_activate "$2"\n}'})
    assert found == Finding(
        "shell function tykky",
        "warn",
        "an exported function of hpc-container-wrapper is called in bash instead of this program",
        "leave out its module, or its line in ~/.bashrc; until then 'unset -f tykky', or say 'command tykky'; "
        "'tykky shell-init bash' prints a function with activate and deactivate in its place",
    )
    (found,) = shadowing_function({"BASH_FUNC_tykky()": "() { :; }"})
    assert found.detail == "an exported function of somebody else is called in bash instead of this program"


def test_doctor_says_so_where_bash_exports_it() -> None:
    """The variable's name is bash's; so bash makes it."""
    script = f"{ANCESTOR}export -f tykky\ncommand tykky doctor --json"
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    names = [finding["name"] for finding in json.loads(done.stdout)["findings"]]
    assert "shell function tykky" in names


@pytest.mark.parametrize("interactive", [True, False])
def test_our_functions_take_its_place_and_are_not_exported(interactive: bool) -> None:
    script = (
        f"{ANCESTOR}export -f tykky __tykky_activate\ntykky --version\n"
        'eval "$(command tykky shell-init bash)"\ntykky --version\nbash --norc -c "tykky --version"\n'
    )
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", *(["-i"] if interactive else []), "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["usage", f"tykky {__version__}", f"tykky {__version__}"]
    said = [line for line in done.stderr.splitlines() if line.startswith("tykky")]
    assert said == (
        [
            "tykky: the shell function 'tykky' of hpc-container-wrapper is replaced in this shell",
            "tykky: to be rid of it for good, leave out its module, or its line in the files that your shell reads",
        ]
        if interactive
        else []
    )
