"""What is killed: a verb on an environment directory, and what must come of it when it is done again.

A scene is laid out once for each worker (`Laid`) and copied for each kill, so that every kill meets the same directory
at a path of its own.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from tests.crash.foreign import Foreign
from tests.end_to_end.conftest import MINOR, Desk
from tests.wheelmaker import make_wheel

_TOOL = "import alpha\ndef main():\n    print(alpha.VERSION)\n"


def make_house(house: Path) -> Path:
    """Make the wheels: alpha in two versions, beta and gamma, each with a program."""
    for name, version in (("alpha", "1.0"), ("alpha", "1.1"), ("beta", "2.0"), ("gamma", "3.0")):
        files = {f"{name}/__init__.py": f"VERSION = {version!r}\n", f"{name}/tool.py": _TOOL}
        make_wheel(house, name, version, files=files, entry_points={"console_scripts": {name: f"{name}.tool:main"}})
    return house


def spec(house: Path, *dependencies: str) -> str:
    """Return the text of a spec of these wheels."""
    return (
        f'[environment]\nname = "demo"\n\n[pypi]\npython = "{MINOR}"\ndependencies = {json.dumps(list(dependencies))}\n'
        f'find-links = ["{house}"]\nindex-url = "file://{house}"\n'
    )


OLD, NEW = ("alpha==1.0", "gamma"), ("alpha==1.1", "beta")  # an update adds, changes and removes


@dataclass(frozen=True)
class Wants:
    """A step: the spec asks for these."""

    packages: tuple[str, ...]


Step: TypeAlias = Wants | tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """A verb to kill: `words`. `steps` come before it.

    After the kill it is done again, and then `after`, if that is given. `fresh` says that there is no P before, `cold`
    that the cache is empty; then it is killed only at what it does there.
    """

    name: str
    words: tuple[str, ...]
    steps: tuple[Step, ...]
    after: tuple[str, ...] | None = None
    fresh: bool = False
    cold: bool = False


_OLD, _NEW = Wants(("alpha==1.0", "gamma")), Wants(("alpha==1.1", "beta"))  # an update adds, changes and removes
_LOCK, _BUILD = ("lock",), ("build", "--prefix", "env")
_GROWN = (_OLD, _LOCK, _BUILD, _NEW, _LOCK)
_UPDATED = (*_GROWN, (*_BUILD, "--delta"))

SCENES = (
    Scene("first", _BUILD, (_NEW, _LOCK), fresh=True),
    Scene("cold", _BUILD, (_NEW, _LOCK), fresh=True, cold=True),
    Scene("update", (*_BUILD, "--delta"), _GROWN),
    Scene("rollback", ("rollback", "env", "1"), _UPDATED),
    Scene("flatten", ("flatten", "env"), _UPDATED),
    Scene("gc", ("gc", "env", "--older-than", "0m"), (*_UPDATED, ("flatten", "env"))),
    Scene("lock", _LOCK, (*_UPDATED, _OLD), after=_BUILD),
)


@dataclass(frozen=True)
class Laid:
    """A scene that is laid out below `root`; `theirs` are the paths of others there."""

    scene: Scene
    root: Path
    cache: Path
    theirs: frozenset[Path] = frozenset()

    @property
    def desk(self) -> Desk:
        """The desk of this layout."""
        return Desk(self.root / "my désk")

    @property
    def env(self) -> Path:
        """The environment directory."""
        return self.desk.directory / "env"

    @property
    def temporary(self) -> Path:
        """What TMPDIR is."""
        return self.root / "temporary"

    @property
    def environ(self) -> dict[str, str]:
        """The variables of all that runs here."""
        cache = self.root / "cache" if self.scene.cold else self.cache
        return {"TMPDIR": str(self.temporary), "TYKKY_CACHE": str(cache)}

    def copy(self, root: Path, *, others: bool) -> Laid:
        """Copy all of it to `root`; with `others`, add what belongs to them."""
        subprocess.run(["cp", "-a", self.root, root], check=True)
        copied = Laid(self.scene, root, self.cache)
        return replace(copied, theirs=Foreign(copied.env, copied.temporary).put()) if others else copied


def lay_out(root: Path, cache: Path) -> Laid:
    """Make an empty desk below `root`."""
    laid = Laid(SCENES[0], root, cache)
    laid.desk.directory.mkdir(parents=True)
    laid.temporary.mkdir()
    return laid
