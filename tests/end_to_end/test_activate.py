"""`tykky activate` and `tykky deactivate` in real shells: what is set, and that all is as before afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Desk
from tests.end_to_end.shells import POSIX, PROGRAMS, SHELLS, installed, need, run_script
from tests.environment.stacks import layer, make
from tykky.cli.shell_text import shell_functions

pytestmark = pytest.mark.shells

HOSTILE = "a b$(touch x)`touch y`'\"\\;[c]{%n!1&*~"

# What a script sees of an activation, one a line.
_FOUR = ("TYKKY_PREFIX", "PATH", "_TYKKY_ACTIVE", "_TYKKY_BEFORE")
SHOW = dict.fromkeys(POSIX, "printf '%s\\n' " + " ".join(f'"${{{name}-unset}}"' for name in _FOUR) + "\n")
SHOW["fish"] = (
    f"for name in {' '.join(_FOUR)}\n"
    "    if set -q $name\n        echo (string join : -- $$name)\n    else\n        echo unset\n    end\nend\n"
)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory for TYKKY_PATH with two environments, one of them with a name that hurts."""
    made = tmp_path / "my shelf"
    for name in ("one", "two", HOSTILE):
        make(made / name, layer("ab", {"bin/python": 1}))
    return made


@pytest.mark.parametrize("shell", SHELLS)
def test_activate_and_deactivate(shell: str, shelf: Path, tmp_path: Path) -> None:
    show = SHOW[shell]
    script = f"{show}tykky activate one\n{show}tykky deactivate\n{show}"
    said = run_script(shell, script, tmp_path, TYKKY_PATH=f"/missing::{shelf}")
    assert (said.err, said.status) == ("", 0)
    before, active, after = said.lines[:4], said.lines[4:8], said.lines[8:]
    assert active == (f"{shelf}/one", f"{shelf}/one/bin:{before[1]}", f"{shelf}/one", "unset")
    assert after == before == ("unset", before[1], "unset", "unset")


@pytest.mark.parametrize("shell", SHELLS)
def test_another_one_takes_its_place_and_what_was_added_to_path_stays(shell: str, shelf: Path, tmp_path: Path) -> None:
    add = "set -gx PATH /first $PATH /last\n" if shell == "fish" else "PATH=/first:$PATH:/last\n"
    script = f"tykky activate one\n{add}tykky activate two\n{SHOW[shell]}tykky deactivate\n{SHOW[shell]}"
    said = run_script(shell, script, tmp_path, TYKKY_PATH=str(shelf))
    path = f"/first:{PROGRAMS}:{os.environ['PATH']}:/last"
    assert said.lines[:2] == (f"{shelf}/two", f"{shelf}/two/bin:{path}")
    assert said.lines[4:] == ("unset", path, "unset", "unset")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_prefix_that_a_module_set_comes_back(shell: str, shelf: Path, tmp_path: Path) -> None:
    script = f"tykky activate one\ntykky activate two\n{SHOW[shell]}tykky deactivate\n{SHOW[shell]}"
    said = run_script(shell, script, tmp_path, TYKKY_PATH=str(shelf), TYKKY_PREFIX="/appl/envs/by module")
    assert (said.lines[0], said.lines[3]) == (f"{shelf}/two", "/appl/envs/by module")
    assert (said.lines[4], said.lines[6], said.lines[7]) == ("/appl/envs/by module", "unset", "unset")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_directory_with_dots_and_a_name_that_hurts(shell: str, shelf: Path, tmp_path: Path) -> None:
    script = 'tykky activate "$1"\n' + SHOW[shell] + "tykky deactivate\n"
    said = run_script(shell, script, tmp_path, f".//{shelf.name}/../{shelf.name}/./{HOSTILE}/")
    assert (said.err, said.status) == ("", 0)
    assert said.lines[0] == f"{shelf}/{HOSTILE}"
    assert said.lines[1].startswith(f"{shelf}/{HOSTILE}/bin:")
    said = run_script(shell, script, tmp_path, HOSTILE, TYKKY_PATH=str(shelf))
    assert said.lines[0] == f"{shelf}/{HOSTILE}"
    assert not list(tmp_path.rglob("[xy]"))


@pytest.mark.parametrize("shell", SHELLS)
def test_names_are_looked_for_in_the_users_directories_then_the_sites_then_here(
    shell: str, shelf: Path, tmp_path: Path
) -> None:
    for name in ("one", "theirs", "here"):
        make(tmp_path / "appl" / name, layer("ab", {"bin/python": 1}))
        make(tmp_path / name, layer("ab", {"bin/python": 1}))
    sites = {name: f"{tmp_path}/appl/{name}" for name in ("one", "theirs", "gone")}
    script = "".join(f"tykky activate {name}\n{SHOW[shell]}" for name in ("one", "theirs", "here"))
    said = run_script(shell, script, tmp_path, sites=sites, TYKKY_PATH=str(shelf))
    assert said.lines[::4] == (f"{shelf}/one", f"{tmp_path}/appl/theirs", f"{tmp_path}/here")
    gone = run_script(shell, "tykky activate gone\n", tmp_path, sites=sites)
    assert (gone.status, gone.err) == (
        11,
        f"error: the site's environment gone is not at {tmp_path}/appl/gone\n\nhint: tell whoever keeps site.toml\n",
    )


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (
            "activate nowhere",
            11,
            "error: no environment nowhere in TYKKY_PATH, among the site's, or here\n\n"
            "hint: 'tykky list' shows what there is\n",
        ),
        ("activate ./nowhere", 11, "error: ./nowhere: no such directory\n\nhint: 'tykky list' shows what there is\n"),
        (
            "activate ./plain",
            11,
            "error: ./plain is no environment directory\n\nhint: name the directory that 'tykky build' published\n",
        ),
        (
            "activate",
            2,
            "error: tykky activate takes one NAME or DIRECTORY\n\nhint: 'tykky list' shows what there is\n",
        ),
        (
            "activate a b",
            2,
            "error: tykky activate takes one NAME or DIRECTORY\n\nhint: 'tykky list' shows what there is\n",
        ),
        (
            "deactivate",
            1,
            "error: no environment is active in this shell\n\nhint: 'tykky activate NAME' activates one\n",
        ),
        (
            "deactivate it",
            2,
            "error: tykky deactivate takes no words\n\n"
            "hint: it leaves the environment that 'tykky activate' put in front of PATH\n",
        ),
    ],
)
def test_mistakes(shell: str, words: str, status: int, error: str, tmp_path: Path) -> None:
    (tmp_path / "plain" / "bin").mkdir(parents=True)
    said = run_script(shell, f"tykky {words}\n", tmp_path)
    assert (said.status, said.err) == (status, error)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_failed_activation_leaves_the_active_one(shell: str, shelf: Path, tmp_path: Path) -> None:
    said = run_script(
        shell, f"tykky activate one\ntykky activate nowhere\n{SHOW[shell]}", tmp_path, TYKKY_PATH=str(shelf)
    )
    assert said.lines[0] == f"{shelf}/one"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_path_with_a_colon_cannot_be_activated(shell: str, tmp_path: Path) -> None:
    (tmp_path / "a:b/bin").mkdir(parents=True)
    (tmp_path / "a:b/common.sh").touch()
    said = run_script(shell, "tykky activate ./a:b\n", tmp_path)
    assert (said.status, said.err) == (
        11,
        f"error: {tmp_path}/a:b cannot stand in PATH: it holds a colon or a control character\n\n"
        "hint: move the environment\n",
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_an_environment_of_hpc_container_wrapper_is_activated_too(shell: str, tmp_path: Path) -> None:
    (tmp_path / "old/bin").mkdir(parents=True)
    (tmp_path / "old/common.sh").touch()
    assert run_script(shell, f"tykky activate ./old\n{SHOW[shell]}", tmp_path).lines[0] == f"{tmp_path}/old"


@pytest.mark.parametrize("shell", SHELLS)
def test_inside_an_environment_its_own_directory_is_one(shell: str, tmp_path: Path) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    said = run_script(shell, f"tykky activate ./env\n{SHOW[shell]}", tmp_path, TYKKY_ENVIRONMENT=f"{tmp_path}/env")
    assert said.lines[0] == f"{tmp_path}/env", said.err


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_started_from_an_active_one_can_deactivate(shell: str, shelf: Path, tmp_path: Path) -> None:
    outer = run_script(shell, f"tykky activate one\n{SHOW[shell]}", tmp_path, TYKKY_PATH=str(shelf))
    prefix, path, active, _ = outer.lines
    for inner in SHELLS:
        if inner in ("bash", "fish", shell):
            said = run_script(
                inner,
                f"tykky deactivate\n{SHOW[inner]}",
                tmp_path,
                TYKKY_PREFIX=prefix,
                PATH=path,
                _TYKKY_ACTIVE=active,
            )
            assert said.lines[:2] == ("unset", f"{PROGRAMS}:{os.environ['PATH']}"), inner


@pytest.mark.parametrize("shell", POSIX)
def test_options_of_the_shell_do_not_matter_and_are_kept(shell: str, shelf: Path, tmp_path: Path) -> None:
    script = f"""
set -e -u -f -C
IFS=/e
tykky activate one
tykky activate two
tykky deactivate
TYKKY_PATH=
tykky activate two || printf '%s\\n' "status $?"
[ "$IFS" = /e ] && case $- in *e*) case $- in *u*) case $- in *f*) printf '%s\\n' kept ;; esac ;; esac ;; esac
{SHOW[shell]}tykky activate nowhere
printf '%s\\n' 'not ended by set -e'
"""
    said = run_script(shell, script, tmp_path, TYKKY_PATH=str(shelf))
    assert said.lines == ("status 11", "kept", "unset", f"{PROGRAMS}:{os.environ['PATH']}", "unset", "unset")
    assert said.status == 11


@pytest.mark.parametrize("shell", POSIX)
def test_nothing_of_the_functions_own_is_left_in_the_shell(shell: str, shelf: Path, tmp_path: Path) -> None:
    asked = "".join(f'"${{_tykky_{name}+{name}}}" ' for name in ("p", "x", "rest", "name", "status"))
    script = f"tykky activate one\ntykky deactivate\ntykky activate nowhere 2>/dev/null\nprintf %s {asked}\n"
    assert run_script(shell, script, tmp_path, TYKKY_PATH=str(shelf)).lines == ()


@pytest.mark.parametrize("shell", POSIX)
def test_the_prompt(shell: str, shelf: Path, tmp_path: Path) -> None:
    script = """
PS1='$ '
tykky activate one; printf '%s\\n' "$PS1"
tykky activate two; printf '%s\\n' "$PS1"
PS1="mine $PS1"
tykky deactivate; printf '%s\\n' "$PS1"
PS1='$ '
tykky activate "$1"; printf '%s\\n' "$PS1"
tykky deactivate; printf '%s\\n' "$PS1"
TYKKY_CHANGE_PS1=0
tykky activate one; printf '%s\\n' "$PS1"
tykky deactivate; printf '%s\\n' "$PS1"
"""
    said = run_script(shell, script, tmp_path, HOSTILE, TYKKY_PATH=str(shelf))
    plain = "(a b?(touch x)?touch y????;[c]{?n?1&*~) $ "
    assert said.lines == ("(one) $ ", "(two) $ ", "mine (two) $ ", plain, "$ ", "$ ", "$ ")


DUMP = f"""#!{sys.executable}
import os, sys
sys.stdout.buffer.write(repr([os.fsencode(word) for word in sys.argv[1:]]).encode())
sys.exit(7)
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_other_verbs_pass_through_byte_for_byte(shell: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tykky"
    program.write_text(DUMP)
    program.chmod(0o755)
    words = [
        "run",
        "./a b",
        "--",
        "",
        "*",
        "$HOME",
        "two\nlines",
        "\\n",
        "'\"",
        os.fsdecode(b"\xff\xfe"),
        "-h",
        "activate",
    ]
    every = "$argv" if shell == "fish" else '"$@"'
    said = run_script(
        shell, f"tykky {every}\n", tmp_path, *words, PATH=f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
    )
    assert (said.status, said.err) == (7, "")
    assert said.lines == (repr([os.fsencode(word) for word in words]),)


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_help_is_the_programs(shell: str, tmp_path: Path) -> None:
    for verb in ("activate", "deactivate"):
        said = run_script(shell, f"tykky {verb} --help\n", tmp_path)
        assert said.status == 0
        assert f"Usage: tykky {verb}" in "\n".join(said.lines)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_line_of_the_documents(shell: str, shelf: Path, tmp_path: Path) -> None:
    """As it is typed, with the real program, in a script that ends at the first failure."""
    need(shell)
    argv, init = SHELLS[shell]
    line = "tykky shell-init fish | source" if shell == "fish" else f'set -e -u\neval "$(tykky shell-init {init})"'
    file = tmp_path / "job"
    file.write_text(f"{line}\ntykky activate one\n{SHOW[shell]}tykky deactivate\n")
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "TYKKY_PATH": str(shelf)}
    done = subprocess.run([*argv, file], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [f"{shelf}/one", f"{shelf}/one/bin:{path}"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "ksh93", "mksh"])
def test_an_alias_of_that_name_gives_way(shell: str, shelf: Path, tmp_path: Path) -> None:
    need(shell)
    argv, init = SHELLS[shell]
    (tmp_path / "functions").write_text(shell_functions(init, {}, "tykky"))
    file = tmp_path / "script"
    file.write_text(
        "alias tykky='echo old' printf=false\nshopt -s expand_aliases 2>/dev/null\n"
        f'eval "$(cat {tmp_path}/functions)"\ntykky activate one\necho "$TYKKY_PREFIX"\n'
    )
    environ = {**os.environ, "TYKKY_PATH": str(shelf)}
    done = subprocess.run([*argv, file], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{shelf}/one\n", "")


def test_the_program_alone_says_what_is_missing(desk: Desk) -> None:
    for verb in (["activate", "climate"], ["deactivate"]):
        done = desk.tykky(*verb, status=2)
        assert done.err == (
            f"error: tykky {verb[0]} changes the shell it is typed in, which only the shell's own function can\n\n"
            'hint: run eval "$(command tykky shell-init bash)" first (or zsh, ksh, sh); '
            "in fish: tykky shell-init fish | source\n"
        )


def test_a_real_environment(desk: Desk, wheels_spec: Callable[..., str], tmp_path: Path) -> None:
    environment = desk.write(wheels_spec("alpha")).environment("climate env")
    ask = "import sys, alpha; print(sys.executable, alpha.VERSION)"
    script = f'tykky activate "$1"\npython -c "{ask}"\ntykky deactivate\ncommand -v alpha\n'
    for shell in filter(installed, SHELLS):
        said = run_script(shell, script, tmp_path, environment)
        assert said.lines == (f"{environment}/bin/python 1.1",), (shell, said.err)
