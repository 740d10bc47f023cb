"""A build that is ended in the middle leaves nothing: not beside P, not in TMPDIR, no process, no mount."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.channel import Served
from tests.end_to_end.conftest import Desk, record, run
from tests.end_to_end.specs import conda, pypi
from tests.end_to_end.traces import names, state, wait_until_nothing_names
from tests.living import naming
from tests.resolve.pypi_index import Index
from tests.sample import sampled
from tests.wheelmaker import make_project, make_wheel
from tykky.guard.ownership import is_left_behind

Spec = Callable[..., str]

_PATIENCE = 120.0  # seconds until a build on a busy machine is where the test wants it
SIGNALS = sampled([(signal.SIGINT, 130, "\ninterrupted\n"), (signal.SIGTERM, 143, "ended by SIGTERM\n")], every=2)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The TMPDIR of the builds: a directory of their own."""
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    return made


@contextmanager
def building(desk: Desk, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start `tykky build --prefix env`; it ends with the block at the latest."""
    argv = [sys.executable, "-m", "tykky", "build", "--prefix", "env", *words]
    with subprocess.Popen(
        argv, cwd=desk.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for(child: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """Wait until something is there that the build makes."""
    until = time.monotonic() + _PATIENCE
    while not there():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def stop(child: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal to the build alone; return its status and the end of what it said."""
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert "Traceback" not in err, err
    return child.returncode, err


def waiting_mksquashfs(desk: Desk, home: Path) -> Path:
    """Name a mksquashfs in site.toml that starts to write and never ends; return the file that says it was started."""
    started = desk.directory.parent / "started"
    program = desk.directory.parent / "mksquashfs"
    real = shutil.which("mksquashfs")
    program.write_text(
        f'#!/bin/sh\n[ "$1" != -version ] || exec {real} -version\n'
        f'echo half >"$2"\ntouch {shlex.quote(str(started))}\nsleep 1000 & wait\n'
    )
    program.chmod(0o755)
    site = home / ".config" / "tykky" / "site.toml"
    site.parent.mkdir(parents=True)
    site.write_text(f'[programs]\nmksquashfs = "{program}"\n')
    return started


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_in_the_middle_of_packing(
    desk: Desk, wheels_spec: Spec, home: Path, temporary: Path, number: signal.Signals, status: int, said: str
) -> None:
    started = waiting_mksquashfs(desk, home)
    desk.write(wheels_spec("alpha")).tykky("lock")
    before = state(desk.directory)
    with building(desk) as child:
        wait_for(child, started.exists)
        found, err = stop(child, number)
    assert found == status
    assert err.endswith(said)
    assert state(desk.directory) == before
    assert names(temporary) == []
    wait_until_nothing_names(temporary.parent)


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_in_the_middle_of_a_wheels_build(
    desk: Desk, wheels_spec: Spec, home: Path, temporary: Path, number: signal.Signals, status: int, said: str
) -> None:
    started = desk.directory.parent / "started"
    project = make_project(desk.directory / "slow", "slow", "1.0")
    backend = next(project.rglob("backend.py"))
    waiting = f"    open({str(started)!r}, 'w').close(); import time; time.sleep(1000)\n"
    head, define, tail = backend.read_text().partition("def build_wheel(")
    signature, _, body = tail.partition("\n")
    backend.write_text(f"{head}{define}{signature}\n{waiting}{body}")
    desk.write(wheels_spec("./slow")).tykky("lock")
    before = state(desk.directory)
    with building(desk) as child:
        wait_for(child, started.exists)
        found, _ = stop(child, number)
    assert found == status
    assert state(desk.directory) == before
    assert names(temporary) == []
    assert names(home / ".cache" / "tykky" / "wheels") == []
    wait_until_nothing_names(temporary.parent)


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_in_the_middle_of_compiling(
    desk: Desk, wheels_spec: Spec, wheelhouse: Path, temporary: Path, number: signal.Signals, status: int, said: str
) -> None:
    files = {f"long/m{i}.py": "".join(f"def f{j}(x): return [x, {j}]\n" for j in range(4000)) for i in range(40)}
    wheel = make_wheel(desk.directory / "wheels", "long", "1.0", files=files)
    desk.write(wheels_spec(f"./wheels/{wheel.name}")).tykky("lock")
    before = state(desk.directory)
    with building(desk) as child:
        wait_for(child, lambda: _runs("compile_worker.py", temporary))
        found, _ = stop(child, number)
    assert found == status
    assert state(desk.directory) == before
    assert names(temporary) == []
    wait_until_nothing_names(temporary.parent)


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_in_the_middle_of_a_download(
    desk: Desk, pypi_index: Index, home: Path, temporary: Path, number: signal.Signals, status: int, said: str
) -> None:
    pypi_index.add(make_wheel(desk.directory / "wheels", "alpha", "1.0"))
    desk.write(pypi(pypi_index.url)).tykky("lock")
    pypi_index.fault("/files/", "hang")
    before = state(desk.directory)
    pypi_index.requests.clear()
    with building(desk) as child:
        wait_for(child, lambda: bool(pypi_index.requests))
        found, _ = stop(child, number)
    assert found == status
    assert state(desk.directory) == before
    assert names(temporary) == []
    assert names(home / ".cache" / "tykky" / "wheels-checked") == []


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_in_the_middle_of_a_conda_download(
    desk: Desk, channel_server: Served, temporary: Path, number: signal.Signals, status: int, said: str
) -> None:
    desk.write(conda(channel_server.url, "clobber-a", "clobber-b")).tykky("lock")
    channel_server.switches.only, channel_server.switches.hang = "*.conda", True
    before = state(desk.directory)
    channel_server.requests.clear()
    with building(desk) as child:
        wait_for(child, lambda: bool(channel_server.requests))
        found, _ = stop(child, number)
    assert found == status
    assert state(desk.directory) == before
    assert names(temporary) == []


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_in_the_middle_of_a_script(
    desk: Desk, wheels_spec: Spec, temporary: Path, number: signal.Signals, status: int, said: str
) -> None:
    """The program runs inside, in namespaces of its own; what was published before stays."""
    env = desk.write(wheels_spec("alpha")).environment()
    started = desk.directory.parent / "started"
    (desk.directory / "post.sh").write_text(f"touch {shlex.quote(str(started))}\nsleep 1000 & sleep 1000\n")
    desk.write(wheels_spec("alpha", more='\n[build]\npost-install = ["post.sh"]\n')).tykky("lock")
    before = state(env)
    with building(desk) as child:
        wait_for(child, started.exists)
        found, _ = stop(child, number)
    assert found == status
    assert state(env) == before
    assert names(temporary) == []
    wait_until_nothing_names(temporary.parent)


def test_after_kill_9_the_next_build_works(desk: Desk, wheels_spec: Spec, home: Path, temporary: Path) -> None:
    """What is left names who made it, and the next build removes it, though a program of the dead one still runs."""
    started = waiting_mksquashfs(desk, home)
    desk.write(wheels_spec("alpha")).tykky("lock")
    with building(desk) as child:
        wait_for(child, started.exists)
        child.kill()
        child.communicate()
        guard, staged = sorted(set(names(desk.directory)) - {"tykky.toml", "tykky.lock"}, reverse=True)
        assert guard == ".env.tykky-guard"
        assert json.loads((desk.directory / guard).read_text())["pid"] == child.pid
        assert is_left_behind(staged, ".env.tykky-")
        assert all(is_left_behind(name, "tykky-") for name in names(temporary))
        assert len(names(temporary)) == 1
        (home / ".config" / "tykky" / "site.toml").unlink()
        env = desk.environment()
    assert names(desk.directory) == ["env", "tykky.lock", "tykky.toml"]
    assert names(temporary) == []
    (group,) = _processes_of(desk.directory.parent / "mksquashfs")
    os.killpg(group, signal.SIGKILL)
    assert run([env / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]) == "1.1\n"
    assert record(env)["number"] == 1


def _runs(program: str, place: Path) -> bool:
    return any(program in " ".join(words) for words in naming(place).values())


def _processes_of(program: Path) -> list[int]:
    return [process for process, words in naming(program).items() if "/bin/sh" in words]
