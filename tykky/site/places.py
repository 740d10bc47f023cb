"""The base directories of a user (XDG Base Directory Specification)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def user_directory(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """Return a base directory of the user; a relative path counts as unset (XDG Base Directory, "Basics")."""
    chosen, home = environ.get(variable, ""), environ.get("HOME", "")
    if chosen.startswith("/"):
        return Path(chosen)
    return Path(home) / below_home if home.startswith("/") else None
