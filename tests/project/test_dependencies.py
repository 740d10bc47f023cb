"""Every dependency is used, every pin answers pyproject.toml, and a wheel holds all that runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [Requirement(line) for line in PROJECT["dependencies"]]
DEVELOPMENT = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]

# distribution -> the module it is imported as, where the name differs
MODULES = {"conda-lock": "conda_lock", "py-rattler": "rattler", "rich-click": "rich_click", "tomli-w": "tomli_w"}
# distribution -> the words that start its program, where it is run and not imported
PROGRAMS = {"uv": "find_uv", "pip-tools": "piptools"}


@cache
def _imported() -> set[str]:
    """Return the top-level names that any module of Tykky imports."""
    names = set()
    for path in (ROOT / "tykky").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("name", [r.name for r in REQUIREMENTS if r.name not in PROGRAMS])
def test_a_dependency_is_imported(name: str) -> None:
    assert MODULES.get(name, name) in _imported()


@pytest.mark.parametrize(("name", "word"), PROGRAMS.items())
def test_a_program_among_the_dependencies_is_run(name: str, word: str) -> None:
    assert name in {r.name for r in REQUIREMENTS}
    code = [path.read_text() for path in (ROOT / "tykky").rglob("*.py")]
    assert any(re.search(rf"\b{word}\b", text) for text in code)


def test_what_is_imported_is_declared() -> None:
    declared = {MODULES.get(r.name, r.name) for r in REQUIREMENTS} | {"click"}  # rich-click is click, and needs it
    assert _imported() - set(sys.stdlib_module_names) - declared - {"tykky"} == set()


def _pins() -> dict[str, str]:
    text = (ROOT / "requirements-dev.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("requirement", [*REQUIREMENTS, *DEVELOPMENT], ids=lambda r: r.name)
def test_a_pin_answers_the_requirement(requirement: Requirement) -> None:
    assert requirement.specifier.contains(_pins()[canonicalize_name(requirement.name)])


def test_pins_name_versions_and_digests_and_nothing_else() -> None:
    """No index, mirror, path or editable of the machine that chose them."""
    form = re.compile(r"#.*|[a-z0-9-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    assert [line for line in lines if not form.fullmatch(line)] == []


def test_a_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """Templates and the worker that runs elsewhere are read as files: they must be in there too."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("tykky/")}
    files = (path for path in (ROOT / "tykky").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert held == {path.relative_to(ROOT).as_posix() for path in files}


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "handler"])
def test_no_module_hides_what_it_is_for(word: str) -> None:
    assert [path for path in (ROOT / "tykky").rglob("*") if path.stem == word] == []
