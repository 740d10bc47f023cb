"""A git repository with a project in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.wheelmaker import make_project


def git(directory: Path, *words: str) -> str:
    """Run git there, as somebody whom no setting need name, and return what it printed."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", directory, *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository(root: Path, name: str, version: str, folder: str = "python") -> Path:
    """Commit a project below `folder`, on the branch main; return the repository."""
    make_project(root / folder, name, version)
    git(root, "init", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    return root
