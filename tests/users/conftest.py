"""A machine with staff, alice, bob and mallory, and a base environment that staff built."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.users.people import NAMES, Person, move_in, project_gid, why_not
from tests.wheelmaker import make_wheel

CHILD = "import alpha, gamma; print(alpha.VERSION, gamma.X)"


@dataclass(frozen=True)
class Town:
    """Where everybody lives. `shared` is the project's directory, which the group can write to (setgid)."""

    place: Path
    staff: Person
    alice: Person
    bob: Person
    mallory: Person

    @property
    def shared(self) -> Path:
        return self.place / "shared"

    def asking(self, base: Path) -> Path:
        """Have alice's desk with a spec that extends `base`."""
        desk = self.alice.directory("work")
        self.alice.spec(desk, "mine", "gamma", extends=base)
        return desk

    def trusting(self) -> None:
        """Let the site trust staff."""
        for person in (self.alice, self.bob, self.mallory):
            person.site(f'[trust]\nowners = ["{self.staff.name}"]\n')


@pytest.fixture
def town() -> Iterator[Town]:
    """An open place in /tmp: pytest's own directories are closed to others."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    people: list[Person] = []
    place = Path(tempfile.mkdtemp(prefix="tykky-town-", dir="/tmp"))
    try:
        place.chmod(0o755)
        house = place / "house"
        house.mkdir()
        fill(house, place.name)
        people += [move_in(place, name, house) for name in NAMES]
        made = Town(place, *people)
        made.shared.mkdir()
        os.chown(made.shared, made.staff.uid, project_gid())
        made.shared.chmod(0o2775)
        made.trusting()
        yield made
    finally:
        for process in (process for person in people for process in person.started):
            process.kill()
            process.communicate()
        shutil.rmtree(place)


def fill(house: Path, town: str) -> None:
    """Make the wheels; no other town has the same, as who looks for images in use is careful with namesakes."""
    for version in ("1.0", "1.1"):
        make_wheel(house, "alpha", version, files={"alpha.py": f"VERSION = {version!r}\nTOWN = {town!r}\n"})
    make_wheel(house, "gamma", "1.0", files={"gamma.py": f"X = 1\nTOWN = {town!r}\n"}, requires=["alpha"])
    make_wheel(house, "epsilon", "1.0", files={"epsilon.py": ""})
