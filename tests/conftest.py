"""Every test has a home of its own, hears nothing of the caller's settings, and leaves nothing behind."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.living import naming

pytest_plugins = ["tests.channel.fixtures"]

# Shells start what they put into the background with SIGINT ignored, and every program that a test starts would inherit
# that: nothing could be interrupted then.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Settings of the person who runs the tests. Certificates, proxies, PATH and TMPDIR do pass.
_SETTINGS = (
    "APPTAINER",
    "CONDA",
    "GIT_AUTHOR",
    "GIT_COMMITTER",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "LD_",
    "MAMBA",
    "PIP_",
    "PYTHON",
    "RATTLER_",
    "SINGULARITY",
    "SLURM",
    "TYKKY_",
    "UV_",
    "VIRTUAL_ENV",
    "XDG_",
)
# In front of PATH: what is called python there may be a script that looks for one each time, as those of pyenv are.
_PYTHON = Path(os.path.realpath(sys.executable)).parent
_COUNTER = itertools.count()
_PATIENCE = 30.0  # seconds; the keeper of a shared mount may take a moment to see that nobody is left


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, which is HOME and holds every XDG directory; the caller's settings are gone."""
    made = tmp_path_factory.getbasetemp() / "homes" / str(next(_COUNTER))
    made.mkdir(parents=True)
    for name in list(os.environ):
        if name.startswith(_SETTINGS) and name != "PYTEST_CURRENT_TEST":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{_PYTHON}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(made / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(made / ".local/share"))
    monkeypatch.setenv("XDG_STATE_HOME", str(made / ".local/state"))
    # One for all tests of a worker: a launcher keeps there what it found out about this host.
    runtime = tmp_path_factory.getbasetemp() / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(made / ".gitconfig"))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
    return made


_CLONE_NEWNS, _MS_REC, _MS_SLAVE = 0x20000, 0x4000, 0x80000  # <linux/sched.h>, <linux/mount.h>


@pytest.fixture(scope="session", autouse=True)
def own_mounts() -> None:
    """What the tests of another worker mount is not seen here, where that can be had: a keeper that cannot have new
    mounts of the host's ends when there is one, and tests that count keepers would see it end."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) == 0 and libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None) != 0:
        raise OSError(ctypes.get_errno(), "mount --make-rslave /")


@pytest.fixture(scope="session", autouse=True)
def nothing_left(own_mounts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run if a mount or a process below this worker's temporary directory outlives the tests."""
    base = f"{tmp_path_factory.getbasetemp()}/"
    yield
    # A keeper whose file is gone ends at its next look, not only when nobody has used its mounts for a while.
    for file in (tmp_path_factory.getbasetemp() / "runtime" / "tykky").glob("kept-*"):
        file.unlink(missing_ok=True)
    until = time.monotonic() + _PATIENCE
    while (left := _mounts_below(base) + _processes_naming(base)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left, "left behind by the tests:\n" + "\n".join(left)


def _mounts_below(base: str) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4].startswith(base)]


def _processes_naming(base: str) -> list[str]:
    return [f"{process}: {' '.join(words)}" for process, words in naming(base).items()]
