"""The file that a spec names as the root of its programs: found, looked into, and told again by its sha256."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tykky.digests import file_sha256
from tykky.environment.checked import check_sha256, was_checked
from tykky.environment.directory import RootRecord
from tykky.errors import Problem, SpecError
from tykky.lock.model import Lock, LockedImage
from tykky.process import Commands
from tykky.progress import Reporter
from tykky.runtime.image_file import ImageFile, UnfitImage, look_into
from tykky.spec.image_reference import is_reference
from tykky.spec.model import Spec


@dataclass(frozen=True, slots=True)
class Named:
    """The image of a spec: where the spec is, what it says, and the path that this is."""

    spec_path: Path
    written: str
    mounts: tuple[str, ...]

    @classmethod
    def of(cls, spec: Spec, spec_path: Path) -> Named | None:
        """Return the file that a spec names, None for the host's own root and for an image of a registry."""
        table = spec.runtime
        return None if table.image == "host" or is_reference(table.image) else cls(spec_path, table.image, table.mounts)

    @property
    def path(self) -> Path:
        """Where it is; a relative path starts at the spec, `~` is not expanded."""
        return Path(os.path.normpath(self.spec_path.absolute().parent / self.written))

    def look(self, commands: Commands) -> ImageFile:
        """Return what is there. Raises `SpecError` if it cannot be the root of programs."""
        try:
            return look_into(self.path, commands)
        except UnfitImage as unfit:
            raise self.refused(unfit.reason, unfit.hint) from None

    def refused(self, reason: str, hint: str | None) -> SpecError:
        """Return the error that names the key of the spec."""
        return SpecError(str(self.spec_path), [Problem(reason, "runtime.image")], hint=hint)


def lock_image(named: Named, commands: Commands, reporter: Reporter) -> LockedImage:
    """Return what the lock holds of the image as it is now. Raises `SpecError`."""
    size = named.look(commands).size
    return LockedImage(_digest(named.path, size, reporter), size)


def drift(named: Named, lock: Lock) -> str | None:
    """Return in one line how the image differs from the lock, as far as a look at its size tells; None if not."""
    if lock.image is None:
        return f"the image {named.written} is not locked"
    try:
        size = named.path.stat().st_size
    except OSError:
        return None  # locks are also read where it is not
    return None if size == lock.image.size else f"the image {named.written} has changed"


def root_record(named: Named, lock: Lock, checked: Path, commands: Commands, reporter: Reporter) -> RootRecord:
    """Return what a generation records. Raises `SpecError` if the image is not the locked one.

    `checked` is the directory that remembers which files were read already (`tykky.environment.checked`).
    """
    found, locked = named.look(commands), lock.image
    if locked is None or locked.size != found.size or not _is_locked(named.path, locked, checked, reporter):
        raise named.refused(
            f"{named.path} is not the image that was locked", "run 'tykky lock' if it may be another one"
        )
    return RootRecord(named.written, os.fspath(named.path), locked.digest, locked.size, found.offset, named.mounts)


def _is_locked(path: Path, locked: LockedImage, checked: Path, reporter: Reporter) -> bool:
    if was_checked(path, locked.digest, checked):
        return True
    with reporter.phase(f"check {path.name}", total=locked.size, unit="bytes") as phase:
        return check_sha256(path, locked.digest, checked, phase.advance) == locked.digest


def _digest(path: Path, size: int, reporter: Reporter) -> str:
    with reporter.phase(f"check {path.name}", total=size, unit="bytes") as phase:
        return file_sha256(path, phase.advance)
