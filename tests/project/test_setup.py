"""tools/setup.sh and .ci/run, run as they are on machines that lack things."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = ("cat", "cksum", "cut", "dirname", "echo", "head", "id", "rm", "sed", "sh", "stat", "tail", "xargs")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A directory for PATH: plain tools, what passes for a Python, and nothing that installs packages."""
    made = tmp_path / "bin"
    made.mkdir()
    for name in PLAIN:
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found is not None
        (made / name).symlink_to(found)
    _program(made, "python3", "echo True")
    return made


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The few files of the project that setting up reads, somewhere else."""
    made = tmp_path / "clone"
    (made / "tools").mkdir(parents=True)
    for name in ("tools/setup.sh", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / name, made / name)
    return made


def _setup(clone: Path, path: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": str(path), **environ}
    argv = ["/bin/sh", clone / "tools/setup.sh", *words]
    return subprocess.run(argv, env=variables, capture_output=True, text=True, check=False)


def _program(directory: Path, name: str, text: str = "exit 0") -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_missing_packages_are_named_for_every_distribution(clone: Path, bare: Path) -> None:
    for name in ("unshare", "nsenter", "git"):
        _program(bare, name)
    done = _setup(clone, bare, SSL_CERT_FILE="/dev/null")
    assert done.returncode == 1
    assert (
        done.stderr
        == """\
setup: this machine lacks
    squashfs-tools   mksquashfs, which writes the images
    squashfuse       squashfuse_ll, which mounts them
Ask an administrator for them, or use an environment that has them:
    Debian, Ubuntu   apt-get install squashfs-tools squashfuse
    Fedora, EL       dnf install squashfs-tools squashfuse        (squashfuse is in EPEL)
    conda            conda install -c conda-forge squashfs-tools squashfuse
"""
    )
    assert not (clone / ".venv").exists()


def test_an_old_python_is_refused(clone: Path, bare: Path) -> None:
    _program(bare, "oldpython", "echo False")
    done = _setup(clone, bare, "venv", PYTHON="oldpython")
    assert (done.returncode, done.stderr) == (
        1,
        "setup: PYTHON=oldpython is older than 3.11, or no Python that starts\n",
    )


def test_a_python_that_is_not_there_is_refused(clone: Path, bare: Path) -> None:
    done = _setup(clone, bare, "venv", PYTHON="/nowhere/python3")
    assert (done.returncode, done.stderr) == (1, "setup: PYTHON=/nowhere/python3 is no program\n")


def test_a_python_without_ensurepip_is_explained(clone: Path, bare: Path) -> None:
    _program(bare, "half", "case $2 in *ensurepip*) exit 1 ;; *) echo True ;; esac")
    done = _setup(clone, bare, "venv", PYTHON="half")
    assert done.returncode == 1
    assert done.stderr == (
        f"setup: {bare}/half cannot make virtual environments: on Debian and Ubuntu, apt-get install python3-venv; "
        "or name another with make PYTHON=/path/to/python3\n"
    )


def test_an_unknown_part_is_refused(clone: Path, bare: Path) -> None:
    done = _setup(clone, bare, "everything")
    assert (done.returncode, done.stderr) == (1, "setup: unknown part everything\n")


@pytest.mark.parametrize(
    ("failing", "status", "ran"),
    [
        (None, 0, ["test", "lint", "check-generated", "demo", "test-hosts"]),
        ("test", 1, ["test"]),
        ("lint", 2, ["test", "lint"]),
        # pytest's status where it found no test: no run of CI may pass on that
        ("test-hosts", 5, ["test", "lint", "check-generated", "demo", "test-hosts"]),
    ],
)
def test_ci_stops_at_the_first_part_that_fails(
    tmp_path: Path, failing: str | None, status: int, ran: list[str]
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    programs = tmp_path / "bin"
    programs.mkdir()
    _program(programs, "make", f'echo "$1" >>"{tmp_path}/ran"\n[ "$1" != "{failing}" ] || exit {status}')
    variables = {"PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert (tmp_path / "ran").read_text().split() == ran
    assert done.returncode == (1 if failing else 0)
    last = done.stdout.splitlines()[-1]
    assert last == (f"ci: FAILED in: make {failing}" if failing else "ci: passed")
