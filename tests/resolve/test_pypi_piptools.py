"""What only pip-tools' adapter has: what it refuses, and other interpreters."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.resolve.pypi_asking import PLATFORM, PYTHON, Asking, private_home, versions
from tests.resolve.pypi_index import Index
from tests.wheelmaker import make_sdist, make_wheel
from tykky.errors import FetchError, ResolveError
from tykky.resolve.pypi.piptools import pip_line

OTHER = "linux-aarch64" if PLATFORM == "linux-64" else "linux-64"


@pytest.fixture
def ask(tmp_path: Path, pypi_index: Index, monkeypatch: pytest.MonkeyPatch) -> Asking:
    private_home(tmp_path, monkeypatch)
    return Asking("pip-tools", tmp_path, pypi_index.url)


@pytest.mark.parametrize(
    ("more", "kind", "reason", "hint"),
    [
        (
            {"platform": OTHER},
            ResolveError,
            f"pip-tools resolves only for this host's platform, {PLATFORM}, not {OTHER}",
            'set resolver = "uv" in [pypi]',
        ),
        (
            {"overrides": ("a==1",)},
            ResolveError,
            "pip-tools has no overrides",
            'set resolver = "uv" in [pypi], or write them as constraints',
        ),
        (
            {"no_build_isolation": ("a",)},
            ResolveError,
            "pip-tools cannot build single packages without isolation",
            'set resolver = "uv" in [pypi]',
        ),
        (
            {"prerelease": "disallow"},
            ResolveError,
            "pip-tools has no prerelease = 'disallow'",
            'set resolver = "uv" in [pypi]',
        ),
        (
            {"access": {"offline": True}},
            FetchError,
            "pip-tools works offline only from find-links",
            'set resolver = "uv" in [pypi]',
        ),
        (
            {"python": "3.99", "interpreter": None},
            ResolveError,
            "pip-tools needs a Python 3.99 on this host to resolve for it",
            'set resolver = "uv" in [pypi]',
        ),
        (
            {"python": "3.9"},
            ResolveError,
            "pip-tools as installed here does not run on Python 3.9",
            'set resolver = "uv" in [pypi]',
        ),
    ],
)
def test_what_pip_cannot_is_refused(
    ask: Asking, more: dict[str, Any], kind: type[ResolveError | FetchError], reason: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        ask("a", **more)
    assert (str(caught.value), caught.value.hint) == (reason, hint)


def test_a_cutoff_needs_a_newer_pip(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", {"pip": "25.3", "pip-tools": "7"}.__getitem__)
    with pytest.raises(ResolveError) as caught:
        ask("a", exclude_newer="2026-01-01")
    assert str(caught.value) == "pip 25.3 cannot leave out what is newer than a date"
    assert caught.value.hint == 'set resolver = "uv" in [pypi], or install pip 26.0 or newer beside Tykky'


def test_offline_from_find_links(ask: Asking, pypi_index: Index) -> None:
    make_wheel(ask.base / "wheels", "leaf", "1.0")
    packages = ask("leaf", find_links=("wheels",), access={"offline": True})
    assert [p.path for p in packages] == ["wheels/leaf-1.0-py3-none-any.whl"]
    assert pypi_index.requests == []


def test_a_wheel_for_a_newer_glibc_is_not_taken(ask: Asking, pypi_index: Index, tmp_path: Path) -> None:
    machine = "x86_64" if PLATFORM == "linux-64" else "aarch64"
    for version, glibc in (("1.0", "17"), ("2.0", "18")):
        pypi_index.add(make_wheel(tmp_path / "made", "fast", version, tag=f"py3-none-manylinux_2_{glibc}_{machine}"))
    assert versions(ask("fast", glibc="2.17")) == {"fast": "1.0"}
    assert versions(ask("fast", glibc="2.18")) == {"fast": "2.0"}


def other_pythons() -> list[Path]:
    """Working interpreters on PATH of another minor version that Tykky itself could run on."""
    found = []
    for minor in (12, 13, 14):
        path = shutil.which(f"python3.{minor}")
        if path is None or f"3.{minor}" == PYTHON:
            continue
        probe = [path, "-c", "import sys; print(sys._base_executable)"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found.append(Path(done.stdout.strip()))
    return found


def test_another_interpreter_is_shown_pip_tools(ask: Asking, pypi_index: Index, tmp_path: Path) -> None:
    others = other_pythons()
    if not others:
        pytest.skip("no other Python on PATH")
    interpreter = others[0]
    done = subprocess.run(
        [interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    python = done.stdout.strip()
    made = tmp_path / "made"
    for minor in {PYTHON, python}:
        tag = f"cp{minor.replace('.', '')}"
        pypi_index.add(make_wheel(made, "fast", "1.0", tag=f"{tag}-none-any"))
    pypi_index.add(make_sdist(made, "source", "1.0", requires=["fast", f"never; python_version == '{PYTHON}'"]))
    packages = ask("source", python=python, interpreter=interpreter)
    assert versions(packages) == {"fast": "1.0", "source": "1.0"}
    assert (packages[0].url or "").endswith(f"fast-1.0-cp{python.replace('.', '')}-none-any.whl")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "x @ git+file:///r@main#subdirectory=p ; python_version > '3'",
            "git+file:///r@main#egg=x&subdirectory=p ; python_version > '3'",
        ),
        ("x[y] @ git+file:/r", "git+file:/r#egg=x[y]"),
        ("x @ git+https://host/r@main", "x @ git+https://host/r@main"),
        ("numpy>=2", "numpy>=2"),
    ],
)
def test_lines_that_pip_reads(line: str, expected: str) -> None:
    assert pip_line(line) == expected


def test_the_interpreter_of_tykky_itself_serves(ask: Asking, pypi_index: Index, tmp_path: Path) -> None:
    pypi_index.add(make_wheel(tmp_path / "made", "leaf", "1.0"))
    assert versions(ask("leaf", python=".".join(map(str, sys.version_info[:3])), interpreter=None)) == {"leaf": "1.0"}
