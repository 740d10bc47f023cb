"""What has to change in a stack, and which paths have to go. Pure; only manifests are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tykky.layers.bytecode import source_of
from tykky.layers.merged import Merged, PackageName, directories
from tykky.store.images import PackagePaths


@dataclass(frozen=True, slots=True)
class Change:
    """From the packages that are installed to those that are wanted.

    `install` are new or other than what is there, `remove` are wanted no more; both sorted.
    """

    install: tuple[PackageName, ...]
    remove: tuple[PackageName, ...]


def difference(installed: Mapping[PackageName, PackagePaths], wanted: Mapping[PackageName, str]) -> Change:
    """Return the change from `installed` to `wanted`, which maps packages to their identities."""
    install = [n for n, identity in wanted.items() if n not in installed or installed[n].identity != identity]
    return Change(tuple(sorted(install)), tuple(sorted(set(installed) - set(wanted))))


@dataclass(frozen=True, slots=True)
class Moves:
    """A change over a mounted stack, package by package: every package is in exactly one of the three.

    `install` are staged for the delta, `gone` stood there before (removed, or about to be replaced) and `kept` stay
    as they are. A package that is replaced is both installed and gone.
    """

    install: frozenset[PackageName]
    gone: frozenset[PackageName]
    kept: frozenset[PackageName]

    @classmethod
    def of(cls, merged: Merged, install: Iterable[PackageName], remove: Iterable[PackageName]) -> Moves:
        """Return the moves for what is to be installed and removed."""
        chosen = frozenset(install)
        gone = frozenset(remove) | (chosen & frozenset(merged.packages))
        return cls(chosen, gone, frozenset(merged.packages) - gone)


def moves(merged: Merged, change: Change) -> Moves:
    """Return the change with all that has to be installed again because a package that goes shared a path with it.

    Of packages of one kind that claim one path, one owns it: when one of them goes, who owns the path, and how the
    neighbours' bytecode comes out, is decided anew. A conda package whose file a PyPI package hid comes to light again.
    """
    found = Moves.of(merged, change.install, change.remove)
    claims = merged.claims()
    while True:
        more = {
            neighbour
            for name in found.gone
            for neighbour in _claimants(claims, merged.packages[name].paths, found.kept)
            if not (name[0] == "conda" and neighbour[0] == "pypi")  # its file was seen before and is seen still
        }
        if not more:
            return found
        found = Moves.of(merged, found.install | more, change.remove)


def contested(merged: Merged, found: Moves, claimed: Mapping[str, Iterable[str]]) -> set[PackageName]:
    """Return the kept packages that share a path with a staged one of their own kind.

    `claimed` maps a kind to the paths of its staged packages.
    """
    claims = merged.claims()
    return {
        name for kind, paths in claimed.items() for name in _claimants(claims, paths, found.kept) if name[0] == kind
    }


def entangled(merged: Merged, found: Moves, staged: Sequence[PackagePaths]) -> str | None:
    """Return a path at which the change meets what packages' claims alone cannot order; None if there is none.

    That is where one package has a file or link and another one a directory: whatever is on top hides more than its own
    path. And where a PyPI package's module hides a conda package's but has no bytecode of its own, for the conda
    package's is seen then.
    """
    kept = [merged.packages[name] for name in found.kept]
    gone = [merged.packages[name] for name in found.gone]
    kept_paths = _paths(kept)
    kept_directories = directories(kept_paths)
    new, old = _paths(staged), _paths(gone)
    new_directories = directories(new)
    met = (new_directories & (kept_paths | new)) | (kept_directories & (new | old)) | (directories(old) & kept_paths)
    return min(met, default=None) or _foreign_bytecode([*staged, *gone], [*kept, *staged, *gone])


def _paths(packages: Iterable[PackagePaths]) -> set[str]:
    return {path for package in packages for path in package.paths}


def _foreign_bytecode(moved: Iterable[PackagePaths], every: Sequence[PackagePaths]) -> str | None:
    if not any(package.kind == "conda" for package in every):
        return None
    pypi = _paths(package for package in every if package.kind == "pypi")
    bare = {path for path in pypi if path.endswith(".py")} - {source_of(path) for path in pypi if path.endswith(".pyc")}
    if not bare:
        return None
    conda = _paths(package for package in every if package.kind == "conda")
    found = bare & {source_of(path) for path in conda if "/__pycache__/" in path}
    return min(found & _paths(moved), default=None)


def runs_post_link(paths: Iterable[str]) -> bool:
    """Return whether one of these paths is a post-link script: what such a package leaves behind is not known."""
    return any(path.startswith("bin/.") and path.endswith("-post-link.sh") for path in paths)


def _claimants(
    claims: Mapping[str, list[PackageName]], paths: Iterable[str], among: frozenset[PackageName]
) -> set[PackageName]:
    return {name for path in paths for name in claims.get(path, ()) if name in among}


def whiteouts(merged: Merged, found: Moves, staged: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that a delta has to hide, sorted.

    `staged` are the files, symlinks and empty directories of the delta. A directory that is left empty goes as a whole:
    one whiteout hides it with all that is in it.
    """
    new = set(staged)
    kept = {path for name in found.kept for path in merged.packages[name].paths}
    old = {path for name in found.gone for path in merged.packages[name].paths}
    hidden = {path for path in old if path in merged.files} - kept - new
    left = directories(path for path in merged.files if path not in hidden) | directories(new) | new
    tops = {_topmost_empty(path, left) for path in hidden}
    # What is now a directory, or stands below what is no directory any more, is hidden by the delta's own.
    return tuple(sorted(top for top in tops - left if new.isdisjoint(directories((top,)))))


def _topmost_empty(path: str, left: set[str]) -> str:
    parent = path.rpartition("/")[0]
    while parent and parent not in left:
        path, parent = parent, parent.rpartition("/")[0]
    return path
