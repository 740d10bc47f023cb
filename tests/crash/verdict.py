"""What must hold after a kill, and what must have come of it when the verb has been done again."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from tests.crash.scenes import Laid
from tykky.environment.directory import EnvironmentDirectory
from tykky.lock.read import read_lock
from tykky.runtime.render import render_launcher

_KEYED = re.compile(r"([0-9a-f]{64})\.(sqfs|manifest)")
_GENERATION = ["environment.json", "launch.sh", "tykky.lock"]


def check_killed(laid: Laid) -> None:
    """The last published generation runs, and nothing half-made has a final name."""
    if not laid.env.exists():
        assert laid.scene.fresh, "P is gone"
        return
    directory = EnvironmentDirectory(laid.env)
    for image in directory.store.directory.iterdir():
        if (match := _KEYED.fullmatch(image.name)) and match[2] == "sqfs":
            manifest = directory.store.manifest(match[1])
            assert manifest.key == match[1]
            assert hashlib.sha256(image.read_bytes()).hexdigest() == manifest.digest, image.name
    for number in directory.numbers():
        assert directory.record(number).number == number
        assert names(directory.generations / str(number)) == _GENERATION
    _check_launches(directory)


def _check_launches(directory: EnvironmentDirectory) -> None:
    record = directory.record()
    lock = read_lock(directory.current / "tykky.lock")
    (alpha,) = [package.version for package in lock.package if package.name == "alpha"]
    for program in record.programs:
        assert (directory.path / "bin" / program).read_text() == render_launcher()
    done = subprocess.run([directory.path / "bin" / "alpha"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{alpha}\n", "")


def outcome(laid: Laid) -> dict[str, object]:
    """Return what came of a scene: every path but those of others, and what the current generation is."""
    directory = EnvironmentDirectory(laid.env)
    record = directory.record()
    generations = directory.numbers()
    for number in generations:
        assert names(directory.generations / str(number)) == _GENERATION
    _check_launches(directory)
    roots = (laid.desk.directory, laid.temporary)
    paths = {path for root in roots for path in root.rglob("*") if path not in laid.theirs}
    # Python's own try whether TMPDIR can be written (tempfile.gettempdir), which names nobody.
    paths -= {path for path in paths if path.parent == laid.temporary and re.fullmatch("[a-z0-9_]{8}", path.name)}
    return {
        "paths": {str(path.relative_to(laid.root)) for path in paths if not _is_numbered(path, directory)},
        "layers": [(layer.key, layer.digest) for layer in record.layers],
        "programs": record.programs,
        "launch": (directory.current / "launch.sh").read_bytes(),
        "locked": (directory.current / "tykky.lock").read_bytes(),
        "lock": (laid.desk.directory / "tykky.lock").read_bytes(),
        "inodes of bin": len({path.stat().st_ino for path in (laid.env / "bin").iterdir() if path not in laid.theirs}),
    }


def _is_numbered(path: Path, directory: EnvironmentDirectory) -> bool:
    """Say whether a path is a generation or in one. A kill may cost the number of one that never ran."""
    if not path.is_relative_to(directory.generations):
        return False
    return path.relative_to(directory.generations).parts[:1] in {(str(number),) for number in directory.numbers()}


def names(directory: Path) -> list[str]:
    """Return the names in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())
