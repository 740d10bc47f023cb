"""The generations of an environment directory: what each of them changed, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tykky.environment.comparison import PackageChanges, compare_packages, installed
from tykky.environment.directory import EnvironmentDirectory, GenerationRecord
from tykky.errors import EnvironmentDirectoryError
from tykky.layers.merged import PackageName
from tykky.store.images import Manifest, PackagePaths, load_manifest


@dataclass(frozen=True, slots=True)
class Entry:
    """One generation.

    `changes` are against the generation before it that is still there, the first one's against nothing; None if they
    cannot be told. `new_bytes` are those of images that the one before has not. `problem` is what is wrong with it;
    `record` is None where that is that it cannot be read.
    """

    number: int
    current: bool
    record: GenerationRecord | None
    changes: PackageChanges | None
    new_bytes: int
    problem: str | None


def history(directory: EnvironmentDirectory) -> tuple[Entry, ...]:
    """Return the generations that are there, the newest first. Raises `EnvironmentDirectoryError` if P is none."""
    current = directory.current_number()
    load = cache(load_manifest)  # generations share most of their layers
    entries: list[Entry] = []
    before: tuple[frozenset[str], dict[PackageName, PackagePaths] | None] = (frozenset(), {})
    for number in directory.numbers():
        try:
            record = directory.record(number)
        except EnvironmentDirectoryError as error:
            entries.append(Entry(number, number == current, None, None, 0, str(error)))
            before = (before[0], None)
            continue
        packages, problem = _packages(directory, record, load)
        changes = None if packages is None or before[1] is None else compare_packages(before[1], packages)
        new_bytes = sum(layer.size for layer in record.layers if layer.key not in before[0])
        entries.append(Entry(number, number == current, record, changes, new_bytes, problem))
        before = (frozenset(layer.key for layer in record.layers), packages)
    return tuple(reversed(entries))


def _packages(
    directory: EnvironmentDirectory, record: GenerationRecord, load: Callable[[Path], Manifest]
) -> tuple[dict[PackageName, PackagePaths] | None, str | None]:
    """Return the packages of a generation and what is wrong with it, as far as names and sizes tell."""
    problem = next(iter(directory.damage(record).values()), None) or directory.root_damage(record.root)
    try:
        manifests = [load(directory.image_path(layer).with_suffix(".manifest")) for layer in record.layers]
    except EnvironmentDirectoryError as error:
        return None, problem or str(error)
    return installed(manifests), problem
