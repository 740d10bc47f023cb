"""Garbage collection: what nobody needs any more, decided first, then removed in an order that no kill can spoil.

A generation goes by one rename to a private name, and only then the images that it alone needed: whatever stands under
its own name is whole at every moment. What a kill leaves is found by the next collection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tykky.environment.directory import EnvironmentDirectory, GenerationRecord
from tykky.environment.in_use import Usage
from tykky.environment.leases import Lease, lease_file
from tykky.environment.leftovers import leftovers
from tykky.environment.publish import cannot_write
from tykky.environment.scratch import remove_tree, scratch_left_behind
from tykky.errors import EnvironmentDirectoryError
from tykky.guard.ownership import make_private
from tykky.store.images import flush_file

_NAMED = re.compile(r"([0-9a-f]{64})\.(?:sqfs|manifest)")


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing to remove: all its paths, in that order, and the bytes it gives back. `what` is in a few words."""

    what: str
    paths: tuple[Path, ...]
    size: int
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing that stays although nothing in P needs it, or although it is old, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection removes and what it keeps."""

    removals: tuple[Removal, ...]
    kept: tuple[Kept, ...]

    @property
    def size(self) -> int:
        """The bytes it gives back."""
        return sum(removal.size for removal in self.removals)


@dataclass(frozen=True, slots=True)
class Asked:
    """What counts for a collection: the age from which generations go, None for never; and the moment.

    `grace` is how long a generation stays after another one took its place: environments that extend it may have had
    no way to say so.
    """

    older_than: timedelta | None
    now: datetime
    grace: timedelta = timedelta()


def plan_collection(
    directory: EnvironmentDirectory,
    usage: Usage,
    leases: Sequence[Lease],
    asked: Asked,
    scratch_parents: Iterable[Path] = (),
) -> Collection:
    """Return what to remove. Only reads.

    Raises `EnvironmentDirectoryError` if a generation cannot be read: which images it needs is not known then.
    """
    records = {number: _record(directory, number) for number in directory.numbers()}
    going, kept = _generations(records, directory.current_number(), usage, asked)
    needed = {key for number, record in records.items() if number not in going for key in record.keys}
    folders = [_generation(directory, number) for number in going]
    images, kept_images = _images(directory, needed, usage, leases)
    leftovers = _leftovers(directory, scratch_parents)
    return Collection((*folders, *images, *leftovers), (*kept, *kept_images))


def carry_out(directory: EnvironmentDirectory, collection: Collection, on_bytes: Callable[[int], None]) -> None:
    """Remove what was planned. `on_bytes` is told how many bytes are free. Raises `EnvironmentDirectoryError`."""
    try:
        going = [removal.generation for removal in collection.removals if removal.generation is not None]
        if (latest := directory.next_number() - 1) in going:
            _remember(directory, latest)
        for removal in collection.removals:
            if removal.generation is not None:
                _set_aside(directory, removal.paths[0])
            else:
                for path in removal.paths:
                    _remove(path)
            on_bytes(removal.size)
        if directory.store.directory.is_dir():
            flush_file(directory.store.directory)
    except OSError as error:
        raise cannot_write(directory.path, error) from None


def _record(directory: EnvironmentDirectory, number: int) -> GenerationRecord:
    try:
        return directory.record(number)
    except EnvironmentDirectoryError as error:
        folder = directory.generations / str(number)
        raise EnvironmentDirectoryError(
            error.reason,
            hint=f"nothing was removed: which images it needs is not known; if nobody needs it, remove {folder}",
        ) from None


def _generations(
    records: Mapping[int, GenerationRecord], current: int, usage: Usage, asked: Asked
) -> tuple[list[int], list[Kept]]:
    """Return the numbers of the generations that go, and those that are old enough and stay."""
    going: list[int] = []
    kept: list[Kept] = []
    for number, record in records.items():
        if asked.older_than is None or not _is_older(record.created, asked.now - asked.older_than):
            continue
        why = _why_kept(number, record, current, usage) or _in_grace(number, records, asked)
        if why is None:
            going.append(number)
        else:
            kept.append(Kept(f"generation {number}", why))
    return going, kept


def _why_kept(number: int, record: GenerationRecord, current: int, usage: Usage) -> str | None:
    if number == current:
        return "it is the current one"
    if number in usage.generations:
        return f"{usage.generations[number]} is just starting it"
    # A process shows its images, not its generation: two may differ in nothing but their settings. Images of
    # other directories are looked after there.
    keys = [layer.key for layer in record.layers if not Path(layer.image).is_absolute()]
    if keys and all(key in usage.images for key in keys):
        return f"{usage.images[keys[-1]]} may be running it"
    return None


def _in_grace(number: int, records: Mapping[int, GenerationRecord], asked: Asked) -> str | None:
    following = next((record for later, record in records.items() if later > number), records[number])
    if not asked.grace or _is_older(following.created, asked.now - asked.grace):
        return None
    return f"environments that extend it may use it: it was replaced less than {asked.grace.days} days ago"


def _is_older(created: str, limit: datetime) -> bool:
    """Return whether a generation was made before `limit`. One whose time cannot be read is not."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) < limit


def _generation(directory: EnvironmentDirectory, number: int) -> Removal:
    folder = directory.generations / str(number)
    return Removal(f"generation {number}", (folder,), _size(folder), number)


def _images(
    directory: EnvironmentDirectory, needed: set[str], usage: Usage, leases: Sequence[Lease]
) -> tuple[list[Removal], list[Kept]]:
    store = directory.store.directory
    names = sorted(path.name for path in store.iterdir()) if store.is_dir() else []
    keys = sorted({match[1] for name in names if (match := _NAMED.fullmatch(name))} - needed)
    leased = {key: lease for lease in leases for key in lease.keys}
    removals: list[Removal] = []
    kept: list[Kept] = []
    for key in keys:
        if key in leased:
            kept.append(
                Kept(f"image {key[:12]}", _leased(leased[key], lease_file(directory, Path(leased[key].environment))))
            )
        elif key in usage.images:
            kept.append(Kept(f"image {key[:12]}", f"{usage.images[key]} uses it"))
        else:
            # The image first: one that is there always has a manifest.
            paths = tuple(path for end in ("sqfs", "manifest") if (path := store / f"{key}.{end}").exists())
            removals.append(Removal(f"image {key[:12]}", paths, sum(map(_size, paths))))
    return removals, kept


def _leased(lease: Lease, file: Path) -> str:
    try:
        seen = Path(lease.environment).exists()
    except OSError:  # in a directory that is closed to us
        seen = False
    if seen:
        return f"{lease.environment} uses it"
    return f"{lease.environment} uses it, which is not to be seen from here; if it is gone, remove {file}"


def _leftovers(directory: EnvironmentDirectory, scratch_parents: Iterable[Path]) -> list[Removal]:
    """Return what builds of this host that were killed have left: in P, beside P, and where they work."""
    scratch = [path for parent in dict.fromkeys(scratch_parents) for path in scratch_left_behind(parent)]
    return [Removal(f"leftover {path}", (path,), _size(path)) for path in (*leftovers(directory), *scratch)]


def _remember(directory: EnvironmentDirectory, latest: int) -> None:
    """Keep a number from being given again."""
    private = make_private(directory.generations, ".stage-")
    try:
        staged = private / "highest"
        staged.write_text(f"{latest}\n")
        staged.chmod(0o644)  # for who shares the directory, whatever our umask
        staged.replace(directory.highest)
    finally:
        remove_tree(private)


def _set_aside(directory: EnvironmentDirectory, folder: Path) -> None:
    """Remove a generation: it has its own name either whole or not at all."""
    private = make_private(directory.generations, ".stage-")
    try:
        folder.replace(private)
        flush_file(directory.generations)
    finally:
        remove_tree(private)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
        if path.exists():
            path.rmdir()  # says why it cannot
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Return the bytes that go with a path; a file that has other names too gives none back."""
    if path.is_symlink() or not path.is_dir():
        info = path.lstat()
        return info.st_size if info.st_nlink == 1 else 0
    size = 0
    for folder, _, files in os.walk(path):
        for name in files:
            info = Path(folder, name).lstat()
            size += info.st_size if info.st_nlink == 1 else 0
    return size
