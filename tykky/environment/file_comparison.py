"""Which paths of two merged trees differ.

A path of the same layer in both is the same; so is one whose packages are the same in both (their identities are equal,
and so are the files that come of them). Another size is another file. What is left is read from the images and
compared: kind, execute permission, content, a symlink's target.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tykky.digests import file_fingerprint
from tykky.errors import EnvironmentDirectoryError
from tykky.layers.lower import extract_only
from tykky.layers.merged import Merged, PackageName, merge
from tykky.process import Commands
from tykky.store.images import Manifest

# Path -> all that can be told of it; what cannot be read has no entry.
Contents: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a generation shows: its layers' manifests, bottom first, and what they are together."""

    manifests: tuple[Manifest, ...]
    merged: Merged

    @classmethod
    def of(cls, manifests: Sequence[Manifest]) -> Shown:
        """Return what the layers show."""
        return cls(tuple(manifests), merge(manifests))

    def layer(self, path: str) -> Manifest:
        """Return the layer that a path is seen from."""
        return self.manifests[self.merged.files[path]]


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Paths relative to the prefix, each sorted: files, symlinks and empty directories."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def compare_files(old: Shown, new: Shown, read: Callable[[Manifest, list[str]], Contents]) -> FileChanges:
    """Return how the trees differ. `read` gives the contents of paths in one layer's image; it is asked for few."""
    both = old.merged.files.keys() & new.merged.files.keys()
    other = {path for path in both if old.layer(path).key != new.layer(path).key}
    other -= _of_same_packages(old.merged, new.merged, other)
    changed = {path for path in other if old.layer(path).files[path] != new.layer(path).files[path]}
    doubtful = other - changed
    if doubtful:
        before, after = _read(old, doubtful, read), _read(new, doubtful, read)
        changed |= {path for path in doubtful if path not in before or before[path] != after.get(path)}
    return FileChanges(
        added=tuple(sorted(new.merged.files.keys() - both)),
        removed=tuple(sorted(old.merged.files.keys() - both)),
        changed=tuple(sorted(changed)),
    )


def _of_same_packages(old: Merged, new: Merged, paths: Iterable[str]) -> set[str]:
    """Return those paths that belong to the same packages in both, and to at least one."""
    before, after = old.claims(), new.claims()
    return {
        path
        for path in paths
        if before.get(path) and _identities(old, before[path]) == _identities(new, after.get(path, []))
    }


def _identities(merged: Merged, names: Iterable[PackageName]) -> set[tuple[PackageName, str]]:
    return {(name, merged.packages[name].identity) for name in names}


def _read(shown: Shown, paths: Iterable[str], read: Callable[[Manifest, list[str]], Contents]) -> dict[str, str]:
    by_layer: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        by_layer[shown.merged.files[path]].append(path)
    found: dict[str, str] = {}
    for number, chosen in by_layer.items():
        found.update(read(shown.manifests[number], sorted(chosen)))
    return found


def read_contents(image: Path, prefix: str, paths: Sequence[str], commands: Commands) -> dict[str, str]:
    """Return the contents of paths in an image, by extracting them, and only them, to a temporary directory.

    Raises `EnvironmentDirectoryError` if the image cannot be read.
    """
    below = prefix.strip("/")
    with tempfile.TemporaryDirectory(prefix="tykky-diff-") as folder:
        root = Path(folder) / "root"
        done = extract_only(image, root, [f"{below}/{path}" for path in paths], commands)
        if not root.is_dir():
            raise EnvironmentDirectoryError(
                f"{image} cannot be read", hint="see 'tykky verify'", output=done.stderr or done.stdout or None
            )
        return {path: text for path in paths if (text := _content(root / below / path)) is not None}


def _content(path: Path) -> str | None:
    if path.is_symlink():
        return f"symlink to {path.readlink()}"
    if path.is_dir():
        return "directory"
    if path.is_file():
        executable = "executable " if path.stat().st_mode & 0o100 else ""
        return f"{executable}file {file_fingerprint(path)}"
    return None
