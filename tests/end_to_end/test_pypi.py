"""A venv-type environment, from spec to launcher."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import Desk, answer, record, run

Spec = Callable[..., str]


def test_from_spec_to_launcher(desk: Desk, wheels_spec: Spec) -> None:
    desk.write(wheels_spec("beta"))
    env = desk.environment()
    python = env / "bin" / "python"
    code = (
        "import sys, json, alpha, shared_ns.alpha_part, shared_ns.beta_part;"
        "print(json.dumps([sys.executable, sys.prefix, alpha.__file__]))"
    )
    executable, prefix, file = json.loads(run([python, "-c", code]))
    assert (executable, prefix) == (str(python), str(env))
    assert Path(file).is_relative_to(env)
    assert not Path(file).exists(), "the environment's files are inside only"


def test_console_scripts_know_the_outside_path(desk: Desk, wheels_spec: Spec) -> None:
    """Invariant 9."""
    env = desk.write(wheels_spec("alpha")) and desk.environment()
    said = answer([env / "bin" / "alpha", "a b", "", "new\nline"])
    assert said["executable"] == str(env / "bin" / "python")
    assert said["argv"] == [str(env / "bin" / "alpha"), "a b", "", "new\nline"]
    odd = answer([env / "bin" / "alpha$HOME"])
    assert odd["argv"] == [str(env / "bin" / "alpha$HOME")]


def test_few_inodes(desk: Desk, wheels_spec: Spec) -> None:
    """Invariant 10 and the mark of the main job."""
    env = desk.write(wheels_spec("beta")) and desk.environment()
    inodes = {path.lstat().st_ino for path in (env, *env.rglob("*"))}
    assert len(inodes) <= 24


def test_a_build_with_nothing_to_do_changes_nothing(desk: Desk, wheels_spec: Spec) -> None:
    env = desk.write(wheels_spec("alpha")) and desk.environment()
    before = {p: p.lstat().st_mtime_ns for p in (env, *env.rglob("*"))}
    again = desk.tykky("build", "--prefix", env)
    assert again.out == f"{env} is up to date (generation 1)\n"
    assert {p: p.lstat().st_mtime_ns for p in (env, *env.rglob("*"))} == before


def test_the_next_generation_keeps_the_images_of_the_first(desk: Desk, wheels_spec: Spec) -> None:
    env = desk.write(wheels_spec("alpha==1.0")) and desk.environment()
    first = record(env)
    desk.write(wheels_spec("alpha==1.1"))
    desk.environment()
    second = record(env)
    assert (first["number"], second["number"]) == (1, 2)
    assert run([env / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]) == "1.1\n"
    for generation in (first, second):
        for layer in generation["layers"]:  # type: ignore[attr-defined]
            assert (env / layer["image"]).is_file()


def test_the_plan_says_what_and_why_and_writes_nothing(desk: Desk, wheels_spec: Spec) -> None:
    desk.write(wheels_spec("alpha"))
    desk.tykky("lock")
    plan = json.loads(desk.tykky("build", "--dry-run", "--json").out)
    assert plan["environment-directory"] == str(desk.directory / "demo")
    assert plan["prefix"] == "/tykky/demo"
    (layer,) = plan["layers"]
    assert (layer["kind"], layer["cached"], layer["packages"]) == ("pypi", False, ["alpha==1.1"])
    assert sorted(p.name for p in desk.directory.iterdir()) == ["tykky.lock", "tykky.toml"]


def test_json_events(desk: Desk, wheels_spec: Spec) -> None:
    desk.write(wheels_spec("alpha"))
    desk.tykky("lock")
    events = [json.loads(line) for line in desk.tykky("build", "--json").out.splitlines()]
    phases = [event["phase"] for event in events if event["event"] == "phase-end"]
    assert phases == ["install PyPI packages", "byte-compile", "pack pypi layer"]
    assert all(event["ok"] for event in events if event["event"] == "phase-end")
    assert events[-1]["event"] == "result"
    assert events[-1]["changed"] is True


def test_p_needs_no_tykky_and_can_be_moved(desk: Desk, wheels_spec: Spec) -> None:
    """Invariant 7: POSIX sh and the runtime's own programs."""
    env = desk.write(wheels_spec("alpha")) and desk.environment()
    moved = desk.directory / "elsewhere"
    env.rename(moved)
    said = json.loads(
        subprocess.run(
            [moved / "bin" / "alpha"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
        ).stdout
    )
    assert said["executable"] == str(moved / "bin" / "python")


def test_the_users_settings_do_not_leak_in(desk: Desk, wheels_spec: Spec, home: Path, tmp_path: Path) -> None:
    """Invariant 11: neither into lock and layer, nor into a run."""
    desk.write(wheels_spec("alpha"))
    desk.tykky("lock")
    clean = (desk.directory / "tykky.lock").read_bytes()
    desk.tykky("build", "--prefix", "one")
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "sitecustomize.py").write_text("raise SystemExit('leaked')\n")
    user_site = home / ".local" / "lib" / "python3.11" / "site-packages"
    user_site.mkdir(parents=True)
    (user_site / "leaked.py").write_text("")
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:1/\n")
    (home / ".config" / "uv").mkdir(parents=True)
    (home / ".config" / "uv" / "uv.toml").write_text('index-url = "http://127.0.0.1:1/"\n')
    (home / ".condarc").write_text("channels: [nonsense]\n")
    environ = {
        "PYTHONPATH": str(hostile),
        "UV_INDEX_URL": "http://127.0.0.1:1/",
        "PIP_INDEX_URL": "http://127.0.0.1:1/",
        "UV_NO_INDEX": "1",
        "CONDA_PREFIX": "/nowhere",
        "VIRTUAL_ENV": "/nowhere",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    (desk.directory / "tykky.lock").unlink()
    tykky = [shutil.which("env"), *(f"{k}={v}" for k, v in environ.items() if k != "PYTHONPATH")]
    assert tykky
    desk.tykky("lock", environ={k: v for k, v in environ.items() if k != "PYTHONPATH"})
    assert (desk.directory / "tykky.lock").read_bytes() == clean
    desk.tykky("build", "--prefix", "two", environ={k: v for k, v in environ.items() if k != "PYTHONPATH"})
    layers = [record(desk.directory / name)["layers"] for name in ("one", "two")]
    assert layers[0] == layers[1]
    # Debian's own Python has a sitecustomize; the hostile one ends whatever imports it.
    code = "import importlib.util as u; print(u.find_spec('leaked'))"
    python = desk.directory / "two" / "bin" / "python"
    assert run([python, "-c", code], env={**os.environ, **environ}) == "None\n"


def test_environ_of_the_spec(desk: Desk, wheels_spec: Spec) -> None:
    value = "a b\n$(touch pwned) `x` 'q' \"d\" ü"
    more = f'\n[runtime]\nuser-site = true\nenviron = {{ OMP_NUM_THREADS = "1", ODD = {json.dumps(value)} }}\n'
    env = desk.write(wheels_spec("alpha", more=more)) and desk.environment()
    code = "import os, json; print(json.dumps([os.environ['OMP_NUM_THREADS'], os.environ['ODD']]))"
    assert json.loads(run([env / "bin" / "python", "-c", code], cwd=desk.directory)) == ["1", value]
    assert not (desk.directory / "pwned").exists()
    (desk.directory / "mine.py").write_text("")
    environ = {**os.environ, "PYTHONPATH": str(desk.directory)}
    assert run([env / "bin" / "python", "-P", "-c", "import mine; print(mine.__name__)"], env=environ) == "mine\n"
