"""Odd command lines, and texts of a spec that a careless shell would run: they are bytes, all the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Desk, Finished, answer, run
from tests.end_to_end.traces import names, state
from tests.wheelmaker import make_wheel

Spec = Callable[..., str]
TYKKY = [sys.executable, "-m", "tykky"]


def usage(finished: Finished) -> str:
    """Return the last line of what click says."""
    return finished.err.splitlines()[-1]


# Verbs


def test_no_verb_at_all(desk: Desk) -> None:
    """The same help as with --help, and an exit code that scripts notice."""
    assert desk.tykky(status=2).out == desk.tykky("--help").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bild",), "Error: No such command 'bild' (did you mean 'tykky build'?)"),
        (("frobnicate",), "Error: No such command 'frobnicate' (see 'tykky --help')"),
        (("build", "extra-arg"), "Error: Got unexpected extra argument (extra-arg)"),
        (("lock", "numpy"), "Error: numpy: names go with --upgrade"),
        (("run",), "Error: Missing argument 'DIRECTORY'."),
        (("run", "env"), "Error: Missing argument '[--] COMMAND [ARG]...'."),
        (("info",), "Error: Missing argument 'DIRECTORY'."),
        (("info", ""), "Error: Invalid value for 'DIRECTORY': the path is empty"),
        (("lock", "--spec", ""), "Error: Invalid value for '-f' / '--spec': the path is empty"),
    ],
)
def test_words_that_are_no_command(desk: Desk, words: tuple[str, ...], said: str) -> None:
    assert usage(desk.tykky(*words, status=2)) == said
    assert names(desk.directory) == []


@pytest.mark.parametrize("words", [("info",), ("verify",), ("shell",), ("run", "true")])
def test_a_file_is_no_environment(desk: Desk, words: tuple[str, ...]) -> None:
    file = desk.directory / "thesis.tex"
    file.write_text("mine\n")
    failed = desk.tykky(words[0], file, *words[1:], status=11)
    assert failed.err == f"error: {file} is a file, not an environment directory\n"


def test_what_is_published_was_damaged(desk: Desk, wheels_spec: Spec) -> None:
    env = desk.write(wheels_spec("alpha")).environment()
    file = env / ".tykky" / "current" / "environment.json"
    file.write_text(file.read_text()[:100])
    repair = "\n\nhint: run 'tykky build' with the spec and lock it was made from\n"
    for words in (("info", env), ("verify", env), ("run", env, "true"), ("tree", env)):
        failed = desk.tykky(*words, status=11)
        assert failed.err.startswith(f"error: {file} is damaged: ")
        assert failed.err.endswith(repair)
    assert f"env  {env}: .tykky/current/environment.json is damaged: " in desk.tykky("list", desk.directory).out
    desk.tykky("build", "--prefix", env)
    assert desk.tykky("build", "--prefix", env).out == f"{env} is up to date (generation 2)\n"
    assert desk.tykky("verify", env).status == 0


# Programs that `tykky run` becomes


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment for the tests that only run programs of it."""
    base = tmp_path_factory.mktemp("ran")
    home = base / "home"
    home.mkdir()
    wheel = make_wheel(base / "wheels", "alpha", "1.0")
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (base / "tykky.toml").write_text(
        f'[environment]\nname = "demo"\n[pypi]\npython = "{minor}"\ndependencies = ["./wheels/{wheel.name}"]\n'
    )
    for words in (["lock"], ["build", "--prefix", "env"]):
        run([*TYKKY, *words], cwd=base, env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)})
    return base / "env"


@pytest.mark.parametrize("dashes", [(), ("--",)])
def test_options_after_the_directory_are_the_programs(environment: Path, dashes: tuple[str, ...]) -> None:
    code = "import json, sys; print(json.dumps(sys.argv[1:])); sys.exit(3)"
    given = ["--json", "-v", "--help", "--", "", "a b", "new\nline", "$(touch pwned)"]
    done = subprocess.run(
        [*TYKKY, "run", environment, *dashes, "python", "-c", code, *given], capture_output=True, text=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (3, given, "")


def test_a_programs_options_do_not_change_our_errors(desk: Desk) -> None:
    failed = desk.tykky("run", "nowhere", "--", "prog", "--json", "-v", status=11)
    missing = f"{desk.directory}/nowhere: no such directory"
    assert (failed.out, failed.err) == (
        "",
        f"error: {missing}\n\nhint: build it with 'tykky build'; 'tykky list' shows what there is\n",
    )
    as_json = desk.tykky("run", "--json", "nowhere", "--", "prog", status=11)
    assert json.loads(as_json.out)["reason"] == missing


def ignored_signals(status: str) -> set[int]:
    """The signals a process ignores, by what /proc/self/status says (proc(5): a mask, signal 1 is bit 0)."""
    (mask,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn:")]
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_a_program_hears_its_signals(environment: Path) -> None:
    """Python ignores SIGPIPE for itself: `tykky run P -- yes | head` must end all the same.

    What whoever started us ignores stays ignored, as with any program.
    """
    pythons_own = {signal.SIGPIPE, signal.SIGXFSZ}
    inherited = ignored_signals(Path("/proc/self/status").read_text(encoding="utf-8")) - pythons_own
    inside = ignored_signals(run([*TYKKY, "run", environment, "--", "cat", "/proc/self/status"]))
    assert inside == inherited


def test_a_program_that_is_not_there(environment: Path) -> None:
    done = subprocess.run([*TYKKY, "run", environment, "--", "no such program"], capture_output=True, check=False)
    assert done.returncode == 127
    assert b"no such program" in done.stderr


# Output


def test_nobody_reads_what_is_printed(environment: Path) -> None:
    """`tykky list | head -0`: no traceback, and the exit code of a program that SIGPIPE ended."""
    for words in (["list", environment], ["info", environment], ["info", "--json", environment]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([*TYKKY, *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, "")


def test_what_is_printed_has_no_room(environment: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*TYKKY, "list", environment], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on device\n")


def test_a_locale_without_our_letters(desk: Desk, wheels_spec: Spec) -> None:
    """What it cannot show is escaped: that must not end a build."""
    desk.write(wheels_spec("alpha")).tykky("lock")
    built = desk.tykky("build", "--prefix", "wörk", environ={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert "w\\xf6rk" in built.out


# Texts of a spec


def test_names_of_scripts_and_directories(desk: Desk, wheelhouse: Path, wheels_spec: Spec) -> None:
    """Spaces, quotes, leading dashes and substitutions are part of names."""
    scripts = ["-x.sh", "a b$(touch pwned).sh", "`touch pwned`;'\".sh", "*.sh"]
    for number, name in enumerate(scripts):
        (desk.directory / name).write_text(f'echo "$0" >"$TYKKY_BUILD_PREFIX/ran-{number}"\n')
    house = desk.directory / "my wheels, $(touch pwned)"
    house.mkdir()
    for wheel in wheelhouse.iterdir():
        (house / wheel.name).write_bytes(wheel.read_bytes())
    listed = ", ".join(json.dumps(name) for name in scripts)
    excluded = '["**/$(touch pwned)", "-rf", "lib/*/site-packages/shared_ns/alpha*"]'
    spec = wheels_spec("alpha", more=f"\n[build]\npost-install = [{listed}]\nexclude = {excluded}\n")
    desk.write(spec.replace(f'find-links = ["{wheelhouse}"]', f"find-links = [{json.dumps(house.name)}]"))
    before = names(desk.directory)
    env = desk.environment()
    assert names(desk.directory) == sorted([*before, "env", "tykky.lock"])
    code = "import sys; print([open(f'{sys.prefix}/ran-{i}').read().strip() for i in range(4)])"
    ran = [str(desk.directory / name) for name in scripts]
    assert run([env / "bin" / "python", "-c", code]) == f"{ran}\n"
    left = run([env / "bin" / "python", "-c", "import importlib.util as u; print(u.find_spec('shared_ns'))"])
    assert left == "None\n"


ODD = (
    "sp ace",
    'quo"te',
    "apos'trophe",
    "back\\slash",
    "dol$(touch pwned)lar",
    "-dash",
    "*",
    "#hash",
    "a=b c 0 0",
    "ü",
)


def test_names_in_images(desk: Desk, wheels_spec: Spec, tmp_path: Path) -> None:
    """Files of any name are packed; hidden again by a whiteout; and programs of any name start."""
    files = {f"odd-1.0.data/data/share/odd/{name}": "x" for name in ODD}
    programs = {f"odd-1.0.data/scripts/{name}": '#!/bin/sh\nprintf "%s|" ran "$@"\n' for name in ODD}
    modes = dict.fromkeys(programs, 0o100755)
    wheel = make_wheel(desk.directory / "wheels", "odd", "1.0", files={**files, **programs}, modes=modes)
    spec = wheels_spec(f"./wheels/{wheel.name}")
    env = desk.write(spec).environment()
    shown = [env / "bin" / "python", "-c", "import os, sys; print(sorted(os.listdir(sys.prefix + '/share/odd')))"]
    assert run(shown) == f"{sorted(ODD)}\n"
    for name in ODD:
        assert run([env / "bin" / name, "a b", ""], cwd=tmp_path) == "ran|a b||"
    removing = 'cd "$TYKKY_BUILD_PREFIX/share/odd"\nfor name in *; do [ "$name" = ü ] || rm -- "$name"; done\n'
    (desk.directory / "post.sh").write_text(removing)
    desk.write(spec + '\n[build]\npost-install = ["post.sh"]\n').environment()
    assert run(shown) == "['ü']\n"
    assert names(tmp_path) == ["my désk"]
    assert "pwned" not in " ".join(names(desk.directory))


def test_values_of_variables_reach_programs_as_they_are(desk: Desk, wheels_spec: Spec) -> None:
    values = {
        "A": "$(touch pwned)",
        "B": "`touch pwned`; touch pwned",
        "C": "new\nline\ttab\\back'apos\"quote",
        "D": "",
        "E": "-e ü ${HOME}",
    }
    listed = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    env = desk.write(wheels_spec("alpha", more=f"\n[runtime]\nenviron = {{ {listed} }}\n")).environment()
    before = state(desk.directory)
    code = "import json, os; print(json.dumps({name: os.environ[name] for name in 'ABCDE'}))"
    assert answer([env / "bin" / "python", "-c", code]) == values
    assert answer([*TYKKY, "run", env, "--", "python", "-c", code]) == values
    assert state(desk.directory) == before


def test_a_requirement_is_no_option(desk: Desk, wheels_spec: Spec) -> None:
    before = state(desk.write(wheels_spec("alpha")).directory)
    failed = desk.tykky("add", "--", "--index-url=http://evil.example", status=2)
    why = "'--index-url=http://evil.example' is not a requirement: options of pip do not belong here"
    assert failed.err == f"error: {why}\n"
    assert state(desk.directory) == before
