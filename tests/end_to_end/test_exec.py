"""`tykky build --exec`: a one-off command runs inside, and stands in the spec afterwards if it went well."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk, record, run
from tests.end_to_end.traces import state

Spec = Callable[..., str]

NOTE = 'echo kept > "$TYKKY_BUILD_PREFIX/note"'


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Path:
    """A desk with the environment directory `env` of one small package."""
    place = tmp_path_factory.mktemp("built")
    environ = {"HOME": str(place), "XDG_CACHE_HOME": str(place / "cache"), "XDG_CONFIG_HOME": str(place / "config")}
    desk = Desk(place / "desk")
    desk.directory.mkdir()
    desk.write(
        f'[environment]\nname = "demo"\n\n[pypi]\npython = "{MINOR}"\ndependencies = ["alpha"]\n'
        f'find-links = ["{wheelhouse}"]\nindex-url = "file://{wheelhouse}"\n'
    )
    desk.tykky("lock", environ=environ)
    desk.tykky("build", "--prefix", "env", environ=environ)
    return desk.directory


@pytest.fixture
def env(built_once: Path, desk: Desk) -> Path:
    """The environment directory, at a desk of the test's own."""
    desk.directory.rmdir()
    subprocess.run(["cp", "-a", built_once, desk.directory], check=True)
    return desk.directory / "env"


def build(desk: Desk, *commands: str, status: int = 0) -> str:
    """Run the commands with one build; return what is said to the user as an error or on the way."""
    words = [word for command in commands for word in ("--exec", command)]
    return desk.tykky("build", "--prefix", "env", *words, status=status).err


def left(desk: Desk) -> dict[str, tuple[int, int, bytes]]:
    """Return what is at the desk; of the spec and the scripts, which are written and taken back, without times."""
    found = state(desk.directory)
    return {path: (mode, when if path.startswith("env") else 0, text) for path, (mode, when, text) in found.items()}


def recorded(desk: Desk) -> list[str]:
    """Return the scripts that the spec names."""
    spec = tomllib.loads((desk.directory / "tykky.toml").read_text())
    return list(spec.get("build", {}).get("post-install", []))


def inside(env: Path, path: str) -> str:
    """Return a text that the environment holds at a path below the prefix."""
    return run([env / "bin" / "python", "-c", f"import sys; print(open(sys.prefix + '/{path}').read(), end='')"])


def kinds(env: Path) -> list[str]:
    return [layer["kind"] for layer in record(env)["layers"]]  # type: ignore[attr-defined]


def test_a_command_runs_inside_and_is_recorded(desk: Desk, env: Path) -> None:
    before = (desk.directory / "tykky.toml").read_text()
    build(desk, 'python -c \'import alpha, sys; open(sys.prefix + "/note", "w").write(alpha.VERSION)\'')
    assert inside(env, "note") == "1.1", "the environment's own python ran"
    assert kinds(env) == ["pypi", "script"]
    (script,) = recorded(desk)
    assert script == "scripts/01-python-import-alpha-sys-open-sys-prefix.sh"
    assert (desk.directory / script).read_text() == (
        '#!/bin/sh\nset -e\npython -c \'import alpha, sys; open(sys.prefix + "/note", "w").write(alpha.VERSION)\'\n'
    )
    after = (desk.directory / "tykky.toml").read_text()
    assert after.startswith(before.rstrip("\n")), "what stood in the spec stands there still"
    assert record(env)["spec"] == after, "the generation's record has the spec with the command"


def test_what_is_recorded_builds_the_same_elsewhere(desk: Desk, env: Path) -> None:
    build(desk, NOTE)
    desk.tykky("build", "--prefix", "other")
    keys = [[layer["key"] for layer in record(p)["layers"]] for p in (env, desk.directory / "other")]  # type: ignore[attr-defined]
    assert keys[0] == keys[1]
    assert inside(desk.directory / "other", "note") == "kept\n"


def test_several_commands_run_in_their_order(desk: Desk, env: Path) -> None:
    build(desk, "echo one > $TYKKY_BUILD_PREFIX/note", "echo two >> $TYKKY_BUILD_PREFIX/note")
    assert inside(env, "note") == "one\ntwo\n"
    assert recorded(desk) == [
        "scripts/01-echo-one-tykky-build-prefix-note.sh",
        "scripts/02-echo-two-tykky-build-prefix-note.sh",
    ]
    assert kinds(env) == ["pypi", "script"], "one layer of all scripts"


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("printf '%s\\n' \"it's \\$HOME\" > $TYKKY_BUILD_PREFIX/note", "it's $HOME\n"),
        ("printf '%s|' 'a  b' \"\" '*' > $TYKKY_BUILD_PREFIX/note", "a  b||*|"),
        ("printf '%s' '\"\"\" \\ # é' > $TYKKY_BUILD_PREFIX/note", '""" \\ # é'),
        ("cat > $TYKKY_BUILD_PREFIX/note <<'EOF'\none $x\n\ttwo\nEOF", "one $x\n\ttwo\n"),
        ("false | true\necho went on > $TYKKY_BUILD_PREFIX/note", "went on\n"),
    ],
    ids=["quotes", "words", "toml", "here-document", "two lines"],
)
def test_a_command_arrives_as_it_was_typed(desk: Desk, env: Path, command: str, printed: str) -> None:
    build(desk, command)
    assert inside(env, "note") == printed
    assert (desk.directory / recorded(desk)[0]).read_text() == f"#!/bin/sh\nset -e\n{command}\n"


def test_the_shell_that_calls_tykky_is_the_only_one_that_expands(desk: Desk, env: Path) -> None:
    """The path of the project is never part of what a shell reads: a script below a hostile name just runs."""
    hostile = desk.directory / "$(touch pwned); 'x"
    hostile.mkdir()
    for name in ("tykky.toml", "tykky.lock"):
        (hostile / name).write_bytes((desk.directory / name).read_bytes())
    there = Desk(hostile)
    there.tykky("build", "--prefix", "env", "--exec", NOTE)
    assert inside(hostile / "env", "note") == "kept\n"
    assert not list(desk.directory.rglob("pwned"))


def test_the_same_command_is_recorded_once(desk: Desk, env: Path) -> None:
    build(desk, NOTE)
    before, first = state(desk.directory), record(env)
    done = desk.tykky("build", "--prefix", "env", "--exec", NOTE)
    assert done.out == f"{env} is up to date (generation 2)\n"
    assert record(env) == first
    assert state(desk.directory) == before
    build(desk, NOTE, "true", NOTE)
    assert recorded(desk) == ["scripts/01-echo-kept-tykky-build-prefix-note.sh", "scripts/02-true.sh"]


def test_a_failing_command_leaves_spec_and_environment_as_they_were(desk: Desk, env: Path) -> None:
    before = left(desk)
    failed = build(desk, "echo lost > $TYKKY_BUILD_PREFIX/note; echo it cannot be >&2; exit 7", status=9)
    assert (
        "error: 01-echo-lost-tykky-build-prefix-note-echo.sh failed: sh failed with exit status 7\n\n"
        "    it cannot be\n\n"
        "hint: the whole log is "
    ) in failed
    assert failed.endswith(".log; nothing was recorded\n")
    assert left(desk) == before, "no script, no line in the spec, no layer"
    assert not Path(f"{env}/note").exists()


def test_of_several_commands_none_is_recorded_if_one_fails(desk: Desk, env: Path) -> None:
    build(desk, NOTE)
    before = left(desk)
    failed = build(desk, "true", "false", status=9)
    assert "error: 03-false.sh failed: sh failed with exit status 1\n" in failed
    assert left(desk) == before
    assert inside(env, "note") == "kept\n"


def test_what_prevents_the_build_prevents_the_record(desk: Desk, wheels_spec: Spec) -> None:
    desk.write(wheels_spec("alpha"))
    failed = desk.tykky("build", "--exec", "true", status=4)
    assert failed.err == "error: tykky.lock: no such file\n\nhint: make it with 'tykky lock'; nothing was recorded\n"
    assert sorted(path.name for path in desk.directory.iterdir()) == ["tykky.toml"]


def test_an_interrupted_command_is_not_recorded(desk: Desk, env: Path) -> None:
    before = left(desk)
    started = desk.directory.parent / "started"
    command = f"touch '{started}'; sleep 60"
    words = [sys.executable, "-m", "tykky", "build", "--prefix", "env", "--exec", command]
    with subprocess.Popen(words, cwd=desk.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as building:
        deadline = time.monotonic() + 60
        while not started.exists() and building.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert started.exists()
        building.send_signal(signal.SIGINT)
        _, said = building.communicate(timeout=60)
    assert building.returncode == 130, said.decode()
    assert left(desk) == before


def test_a_spec_that_is_edited_meanwhile_is_left_alone(desk: Desk, env: Path) -> None:
    """Who writes into the spec while the command runs keeps what was written, also when the command fails."""
    spec = desk.directory / "tykky.toml"
    failed = build(desk, f"echo '# mine' >> '{spec}'; exit 3", status=9)
    assert failed.endswith(".log; tykky.toml was edited meanwhile: take the command out\n")
    assert spec.read_text().endswith("# mine\n")


def test_a_dry_run_of_a_command_is_refused(desk: Desk, env: Path) -> None:
    before = left(desk)
    done = desk.tykky("build", "--prefix", "env", "--exec", NOTE, "--dry-run", environ={"COLUMNS": "80"}, status=2)
    lines = [line.rstrip() for line in done.err.splitlines() if line.strip()]
    assert lines == [
        "Usage: tykky build [OPTIONS]",
        "Try 'tykky build --help' for help.",
        "Error: what a command does is not known before it runs: leave --exec or --dry-run out",
    ]
    assert done.out == ""
    assert left(desk) == before


@pytest.mark.parametrize("command", ["", "  ", "\n"])
def test_no_command(desk: Desk, env: Path, command: str) -> None:
    before = left(desk)
    assert build(desk, command, status=2) == (
        "error: there is no command to run\n\nhint: write it as one word: --exec 'pip install …'\n"
    )
    assert left(desk) == before


def test_a_command_stays_on_top_of_an_update(desk: Desk, env: Path, wheels_spec: Spec) -> None:
    build(desk, 'cp "$(python -c "import alpha; print(alpha.__file__)")" "$TYKKY_BUILD_PREFIX/note"')
    assert "VERSION = '1.1'\n" in inside(env, "note")
    (line,) = recorded(desk)
    desk.write(wheels_spec("alpha==1.0", more=f"\n[build]\npost-install = {json.dumps([line])}\n"))
    desk.tykky("lock")
    desk.tykky("build", "--prefix", "env", "--delta")
    assert kinds(env) == ["pypi", "delta", "script"], "the script layer is made anew over what is there now"
    assert "VERSION = '1.0'\n" in inside(env, "note")


def test_json_says_what_was_built(desk: Desk, env: Path) -> None:
    lines = desk.tykky("build", "--prefix", "env", "--exec", NOTE, "--json").out.splitlines()
    result = json.loads(lines[-1])
    assert (result["event"], result["generation"], result["changed"]) == ("result", 2, True)
    assert len(result["layers"]) == len(kinds(env)) == 2
    assert os.fspath(env) == result["directory"]


def test_pip_is_the_environments_where_it_has_none(env: Path, desk: Desk, wheelhouse: Path, tmp_path: Path) -> None:
    """The first pip in the host's PATH would install into the host."""
    trap = tmp_path / "host-bin"
    trap.mkdir()
    for name in ("pip", "pip3"):
        (trap / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hosts-pip-ran\n")
        (trap / name).chmod(0o755)
    command = f"pip install --no-index --no-deps --find-links {wheelhouse} beta"
    words = ("build", "--prefix", "env", "--exec", command)
    desk.tykky(*words, environ={"PATH": f"{trap}{os.pathsep}{os.environ['PATH']}"})
    assert not (tmp_path / "hosts-pip-ran").exists()
    code = "import shared_ns.beta_part as part, sys; print(part.__file__.startswith(sys.prefix))"
    assert run([env / "bin" / "python", "-c", code]) == "True\n"
    assert not any(path.name == ".lock" for path in env.iterdir())
