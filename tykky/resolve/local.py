"""Local sources of a lock: has what is on disk moved away from what was locked?"""

from __future__ import annotations

from pathlib import Path

from tykky.digests import file_sha256, source_fingerprint
from tykky.lock.model import Lock, Package


def drifted_sources(lock: Lock, base: Path) -> tuple[str, ...]:
    """Return one line per local directory or file that is gone or no longer what the lock recorded.

    `base` is the lockfile's directory.
    """
    found: dict[str, str] = {}
    for package in lock.package:
        if package.path is not None and package.path not in found:
            reason = _drift(package, base / package.path)
            if reason is not None:
                found[package.path] = reason
    return tuple(found[path] for path in sorted(found))


def _drift(package: Package, path: Path) -> str | None:
    if not path.exists():
        return f"{package.path} ({package.name}) is gone"
    if package.source == "directory":
        return None if source_fingerprint(path) == package.tree else f"{package.path} ({package.name}) has changed"
    return None if file_sha256(path) == package.sha256 else f"{package.path} ({package.name}) has changed"
