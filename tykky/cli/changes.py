"""How changes of packages are shown: `+ seaborn 0.13 (pypi)`, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from tykky.environment.comparison import PackageChange, PackageChanges


def counts(changes: PackageChanges) -> str:
    """Return `+1 ~2 -3`, without what is not."""
    numbers = {"+": len(changes.added), "~": len(changes.changed), "-": len(changes.removed)}
    return " ".join(f"{mark}{number}" for mark, number in numbers.items() if number) or "same packages"


def change_lines(changes: PackageChanges) -> Iterator[str]:
    """Give one line per package: added, changed, removed."""
    for change in changes.added:
        yield f"+ {change.name} {change.after} ({change.kind})"
    for change in changes.changed:
        if change.before == change.after:
            yield f"~ {change.name} {change.after} ({change.kind}), another build"
        else:
            yield f"~ {change.name} {change.before} -> {change.after} ({change.kind})"
    for change in changes.removed:
        yield f"- {change.name} {change.before} ({change.kind})"


def as_json(changes: PackageChanges) -> dict[str, object]:
    """Return the changes as JSON values."""
    return {
        "added": [_package(change) for change in changes.added],
        "changed": [_package(change) for change in changes.changed],
        "removed": [_package(change) for change in changes.removed],
    }


def _package(change: PackageChange) -> dict[str, object]:
    return {"name": change.name, "kind": change.kind, "before": change.before, "after": change.after}
