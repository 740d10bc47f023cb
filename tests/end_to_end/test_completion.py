"""What TAB offers in bash, zsh and fish, for `tykky`, and that no program is started for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.shells import Terminal, need, run_script, terminal
from tests.environment.stacks import layer, make
from tests.living import until
from tykky.cli.main import VERBS
from tykky.cli.shell_text import shell_functions

pytestmark = pytest.mark.shells

SPEC = """
[environment]
name = "climate"
platforms = ["linux-64"]  # no requirement

[conda]
channels = ["conda-forge"]
[conda.dependencies]
python = "3.12.*"
"c-ares" = "*"
[pypi]
index-url = "https://example.org"
dependencies = ["numpy>=2", "torch[x]==2.6.*",  # "commented"
    'mylib @ git+https://example.org/a]b@v1',
    "./local package",
    # "out"
]
find-links = ["wheels"]
"""
LOCK = '[[platform]]\nname = "linux-64"\n\n[[package]]\nname = "numpy"\nversion = "2"\n\n[[package]]\nname = "six"\n'
SITES = {"theirs": "/appl/envs/theirs"}

# the line up to the cursor, and what is offered; None: directories, which the shell itself completes
CASES: list[tuple[str, list[str] | None]] = [
    ("", list(VERBS)),
    ("re", ["remove"]),
    ("--v", ["--version"]),
    ("build --re", ["--rebuild"]),
    ("build --keep --no-w", ["--no-wait"]),
    ("module --format ", ["lmod", "tcl"]),
    ("shell-init ", ["bash", "zsh", "ksh", "sh", "fish"]),
    ("shell-init bash ", []),
    ("remove ", ["python", "c-ares", "numpy", "torch", "mylib", "./local"]),
    ("remove numpy ", ["python", "c-ares", "numpy", "torch", "mylib", "./local"]),
    ("remove ./", ["./local"]),
    ("lock ", ["numpy", "six"]),
    ("lock --platform linux-64 n", ["numpy"]),
    ("activate ", ["one", "two three", "theirs", "here"]),
    ("activate t", ["two three", "theirs"]),
    ("activate one ", []),
    ("deactivate ", []),
    ("rollback shelf/one ", ["1", "2"]),
    ("diff shelf/one 1 ", ["1", "2"]),
    ("run shelf/one py", ["python"]),
    ("run shelf/one python --js", []),
    ("info ", None),
    ("build --prefix ", None),
    ("nonsense ", []),
]
IDS = [line or "nothing" for line, _ in CASES]


@pytest.fixture
def desk_with_things(tmp_path: Path) -> Path:
    """A directory with a spec, a lock, an environment, and a shelf of some more."""
    for path in ("shelf/one", "shelf/one", "shelf/two three", "here"):
        make(tmp_path / path, layer("ab", {"bin/python": 1, "bin/pip": 1}))
    (tmp_path / "tykky.toml").write_text(SPEC)
    (tmp_path / "tykky.lock").write_text(LOCK)
    return tmp_path


BASH = """
set -u
compopt() { printf 'compopt %s\\n' "$*"; }
_ask() {
    local COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY
    _tykky_complete
    (( ${#COMPREPLY[@]} == 0 )) || printf '%s\\n' "${COMPREPLY[@]}"
}
"""


def _bash(directory: Path, call: str, **environ: str) -> list[str]:
    said = run_script(
        "bash", f"{BASH}_ask {call}\n", directory, sites=SITES, TYKKY_PATH=f"{directory}/shelf", **environ
    )
    assert (said.err, said.status) == ("", 0)
    return list(said.lines)


@pytest.mark.parametrize(("line", "offered"), CASES, ids=IDS)
def test_bash(line: str, offered: list[str] | None, desk_with_things: Path) -> None:
    words = line.split(" ")
    found = _bash(desk_with_things, " ".join(f"'{word}'" for word in ["tykky", *words]))
    expected = ["compopt -o dirnames"] if offered is None else [word.replace(" ", "\\ ") for word in offered]
    found = [word for word in found if word != "compopt -o default"]
    assert sorted(found) == sorted(expected)


def test_bash_reads_quotes_equal_signs_and_other_specs(desk_with_things: Path) -> None:
    shelf = desk_with_things / "shelf"
    (shelf / "o'clock $x").mkdir()
    (shelf / "one").rename(shelf / "o'clock $x" / "P")
    assert _bash(desk_with_things, "tykky module --format = t") == ["tcl"]
    assert _bash(desk_with_things, 'tykky activate "\'two t"') == ["two three"]
    assert _bash(desk_with_things, "tykky activate 'two\\ t'") == ["two\\ three"]
    assert _bash(desk_with_things, "tykky rollback 'shelf/o\\'\\''clock\\ \\$x/P' 2") == ["2"]
    (desk_with_things / "other.toml").write_text('[pypi]\ndependencies = ["attrs"]\n')
    assert _bash(desk_with_things, "tykky remove -f other.toml ''") == ["attrs"]
    assert _bash(desk_with_things, "tykky remove --spec missing.toml ''") == []
    assert _bash(desk_with_things, "tykky activate ./x") == ["compopt -o dirnames"]


@pytest.mark.parametrize(("line", "offered"), CASES, ids=IDS)
def test_fish(line: str, offered: list[str] | None, desk_with_things: Path) -> None:
    script = f"cd {desk_with_things}\ncomplete -C 'tykky {line}'\n"
    said = run_script("fish", script, desk_with_things, sites=SITES, TYKKY_PATH=f"{desk_with_things}/shelf")
    assert (said.err, said.status) == ("", 0)
    found = [word.partition("\t")[0] for word in said.lines]
    expected = ["here/", "shelf/"] if offered is None else offered
    if not line.endswith("./"):  # what begins with a dot is not offered before one was typed, as for files
        expected = [word for word in expected if not word.startswith(".")]
    assert sorted(found) == sorted(expected)


def test_what_fish_says_of_a_verb(desk_with_things: Path) -> None:
    said = run_script("fish", "complete -C 'tykky doc'\n", desk_with_things)
    assert said.lines == (f"doctor\t{VERBS['doctor'][1]}",)


@pytest.fixture(params=["before compinit", "after compinit"])
def zsh(request: pytest.FixtureRequest, desk_with_things: Path) -> Iterator[Terminal]:
    """zsh on a terminal, with our functions; ^X^T writes the line to `line`."""
    functions = desk_with_things / "functions"
    functions.write_text(shell_functions("zsh", SITES, "tykky"))
    begin = [f". {functions}\n", "autoload -Uz compinit; compinit -u -D\n"]
    if request.param == "after compinit":
        begin.reverse()
    with terminal("zsh", desk_with_things, TYKKY_PATH=f"{desk_with_things}/shelf") as opened:
        opened.type("".join(begin) + "setopt no_beep no_auto_menu; _show() { print -r -- $BUFFER > line; BUFFER= }\n")
        opened.type("zle -N _show; bindkey '^X^T' _show; print ready > line\n")
        assert opened.wait_for(desk_with_things / "line") == "ready\n"
        yield opened


def test_zsh(zsh: Terminal, desk_with_things: Path) -> None:
    for before, after in [
        ("rem", "remove "),
        ("deac", "deactivate "),
        ("build --reb", "build --rebuild "),
        ("module --format=t", "module --format=tcl "),
        ("module --format l", "module --format lmod "),
        ("shell-init f", "shell-init fish "),
        ("remove py", "remove python "),
        ("remove numpy to", "remove numpy torch "),
        ("remove ./l", "remove ./local "),
        ("lock s", "lock six "),
        ("activate o", "activate one "),
        ("activate tw", "activate two\\ three "),
        ("activate thei", "activate theirs "),
        ("activate h", "activate here "),
        ("activate ./sh", "activate ./shelf/"),
        ("info sh", "info shelf/"),
        ("build --prefix he", "build --prefix here/"),
        ("run shelf/one py", "run shelf/one python "),
        ("run shelf/one python --js", "run shelf/one python --js"),
        ("deactivate o", "deactivate o"),
    ]:
        zsh.type(f"tykky {before}\t\x18\x14")
        assert zsh.wait_for(desk_with_things / "line") == f"tykky {after}\n", before


EVIL = "ev$(touch x)`touch y`;'*"


def test_a_name_that_is_code_is_offered_as_a_word(zsh: Terminal, desk_with_things: Path) -> None:
    make(desk_with_things / "shelf" / EVIL, layer("ab", {"bin/python": 1}))
    quoted = "ev\\$\\(touch\\ x\\)\\`touch\\ y\\`\\;\\'\\*"
    zsh.type("tykky activate ev\t\x18\x14")
    assert zsh.wait_for(desk_with_things / "line") == f"tykky activate {quoted} \n"
    assert _bash(desk_with_things, "tykky activate ev") == [quoted]
    script = "complete -C 'tykky activate ev'\n"
    said = run_script("fish", script, desk_with_things, TYKKY_PATH=f"{desk_with_things}/shelf")
    assert said.lines == (EVIL,)
    assert not [path for path in desk_with_things.rglob("?") if path.name in "xy"]


def test_zsh_says_what_a_verb_is_for(zsh: Terminal, desk_with_things: Path) -> None:
    zsh.type("tykky d\t\x18\x14")
    zsh.wait_for(desk_with_things / "line")
    until(lambda: b"what this host offers" in zsh.shown.replace(b"\r\n", b"\n"), seconds=30)  # it is read by a thread


def test_bash_on_a_terminal(desk_with_things: Path) -> None:
    functions = desk_with_things / "functions"
    functions.write_text(shell_functions("bash", SITES, "tykky"))
    (desk_with_things / "my place").mkdir()
    with terminal("bash", desk_with_things, TYKKY_PATH=f"{desk_with_things}/shelf") as opened:
        opened.type(
            f". {functions}; bind 'set bell-style none'; "
            "_show() { printf '%s\\n' \"$READLINE_LINE\" > line; READLINE_LINE=; }; bind -x '\"\\C-x\\C-t\": _show'; "
            "echo ready > line\n"
        )
        assert opened.wait_for(desk_with_things / "line") == "ready\n"
        for before, after in [
            ("rem", "remove "),
            ("build --reb", "build --rebuild "),
            ("module --format=t", "module --format=tcl "),
            ("activate tw", "activate two\\ three "),
            ("activate 'tw", "activate 'two three' "),
            ("info my", "info my\\ place/"),
            ("remove -f tykky.t", "remove -f tykky.toml "),
        ]:
            opened.type(f"tykky {before}\t\x18\x14")
            assert opened.wait_for(desk_with_things / "line") == f"tykky {after}\n", before


def test_the_prompt_of_fish_on_a_terminal(desk_with_things: Path) -> None:
    need("fish")
    functions = desk_with_things / "functions"
    functions.write_text(shell_functions("fish", SITES, "tykky"))
    script = (
        f'source {functions}; function fish_prompt; echo -n "[$status]"; end\n'
        f"set -gx TYKKY_PATH {desk_with_things}/shelf\n"
        "tykky activate one; false; fish_prompt; echo; tykky deactivate; true; fish_prompt; echo\n"
        "set -gx TYKKY_CHANGE_PS1 0; tykky activate one; fish_prompt; echo\n"
    )
    done = subprocess.run(
        ["fish", "--no-config", "--interactive", "--command", script],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.splitlines() == ["(one) [1]", "[0]", "[0]"], done.stderr


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_program_is_started(desk_with_things: Path) -> None:
    """TAB has to answer at once, also where Python lies on a slow file system."""
    functions = desk_with_things / "functions"
    functions.write_text(shell_functions("bash", SITES, "tykky"))
    calls = "".join(f"_ask tykky {' '.join(repr(word) for word in line.split(' '))}\n" for line, _ in CASES)
    calls += "tykky activate one; tykky activate ./here; tykky deactivate\n"
    trace = desk_with_things / "trace"
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=execve", "-o", trace, "bash", "--norc", "-c", f". {functions}\n{BASH}{calls}"],
        cwd=desk_with_things,
        env={**os.environ, "TYKKY_PATH": f"{desk_with_things}/shelf"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert trace.read_text().count("execve(") == 1
