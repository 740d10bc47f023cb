"""Links lead somewhere, and the list of rooms is the list of rooms."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {".venv", ".demo", ".cache", "node_modules"}
DOCUMENTS = sorted(p for p in ROOT.rglob("*.md") if not SKIPPED.intersection(p.relative_to(ROOT).parts))
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text()):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_the_list_of_rooms_is_complete() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listed = re.findall(r"^\| `tykky/([a-z]+)(?:/|\.py)` \|", text, flags=re.MULTILINE)
    rooms = {p.stem for p in (ROOT / "tykky").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert set(listed) == rooms - {"__init__", "__main__"}


def test_what_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in re.findall(r"`((?:tykky|tests|tools|docs|schemas|benchmarks)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_documents_that_the_code_names_exist() -> None:
    for path in [*(ROOT / "tykky").rglob("*.*"), *(ROOT / "tests").rglob("*.py"), ROOT / "Makefile"]:
        if path.suffix == ".pyc":
            continue
        for document in re.findall(r"\bdocs/[\w./-]+\.md\b", path.read_text(encoding="utf-8")):
            assert (ROOT / document).exists(), f"{path}: {document}"


def test_every_target_the_documents_name_is_in_the_makefile() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    known = set(re.findall(r"^  make ([a-z-]+)", done.stdout, flags=re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z-]+)", document.read_text()))
        assert named <= known, document
