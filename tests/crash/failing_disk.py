"""Builds on a file system that fails, in a mount namespace of its own, and prints what was wrong as JSON.

    python -m tests.crash.failing_disk PLACE LAID ROLE ERRNO PARTS PART…

PLACE is an empty directory, LAID one that `lay_out` filled. ROLE says what is on the file system that fails: `env` (the
environment directory), `work` (scratch directory and caches) or `all`. Of all changes that an undisturbed update makes
there, those of some parts are where it begins to fail, for every program that works on it: mksquashfs, uv, rattler.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tests.channel.distributions import made_up, noarch_package
from tests.channel.index import Channel
from tests.channel.nasty import MINOR, slim_python
from tests.crash.failing_files import FailingFiles
from tests.crash.foreign import Foreign
from tests.crash.scenes import Laid, Scene, make_house
from tests.crash.verdict import check_killed, outcome
from tests.crash.warm import Warm
from tests.flockless import mounted

UPDATE = ("build", "--prefix", "env", "--delta")
SCENE = Scene("update", UPDATE, ())


def spec(house: Path, channel: Channel, conda: str, *wheels: str) -> str:
    """Return the text of a spec with packages of both kinds."""
    return (
        f'[environment]\nname = "demo"\n\n[conda]\nchannels = ["{channel.url}"]\n[conda.dependencies]\n'
        f'python = "{MINOR}.*"\n{conda} = "*"\n\n[pypi]\ndependencies = {json.dumps(list(wheels))}\n'
        f'find-links = ["{house}"]\nindex-url = "file://{house}"\n'
    )


def lay_out(root: Path, warm: Warm) -> Laid:
    """Lay out an environment, and the lock of an update that adds and removes packages of both kinds."""
    house = make_house(root / "house")
    tools = [noarch_package(made_up(n, "1.0", {f"{n}.py": "def main(): ...\n"}, entry_points=[f"{n} = {n}:main"]))
             for n in ("spade", "rake")]  # fmt: skip
    channel = Channel(root / "channel").add(slim_python(), *tools).index()
    laid = Laid(SCENE, root, root / "cache")
    laid.desk.directory.mkdir()
    laid.temporary.mkdir()
    for conda, wheels, verbs in (
        ("rake", ("alpha==1.0", "gamma"), (("lock",), UPDATE[:-1])),
        ("spade", ("alpha==1.1", "beta"), (("lock",),)),
    ):
        laid.desk.write(spec(house, channel, conda, *wheels))
        for words in verbs:
            warm.do(*words, cwd=laid.desk.directory, environ=laid.environ)
    return laid


@dataclass(frozen=True)
class Role:
    """Where things are for one try: `laid` is what they were before, `place` where the failing file system is."""

    laid: Laid
    place: Path
    name: str

    def put(self, root: Path) -> tuple[Laid, dict[str, str]]:
        """Copy the desk and the caches to where they belong; return the copy and its variables."""
        good, bad = root, self.place
        desk = bad if self.name in ("env", "all") else good
        work = bad if self.name in ("work", "all") else good
        good.mkdir()
        for old in self.place.iterdir():
            shutil.rmtree(old)
        copied = Laid(SCENE, desk, work / "cache")
        for source, target in ((self.laid.desk.directory, copied.desk.directory), (self.laid.cache, copied.cache)):
            subprocess.run(["cp", "-a", source, target], check=True)
        temporary = work / "temporary"
        temporary.mkdir()
        theirs = Foreign(copied.env, temporary).put()
        # Bytecode of the update is to be made, as the first time.
        shutil.rmtree(copied.cache / "bytecode")
        return replace(copied, theirs=theirs), {"TMPDIR": str(temporary), "TYKKY_CACHE": str(copied.cache)}


def order(place: Path, name: str) -> None:
    """Tell the file system what to do."""
    with contextlib.suppress(OSError):
        (place / name).mkdir()


def undisturbed(role: Role, warm: Warm, root: Path) -> tuple[dict[str, object], int]:
    """Return what comes of an update on a file system that does not fail, and how many changes it makes there."""
    laid, environ = role.put(root)
    order(role.place, ".mend")
    warm.do(*UPDATE, cwd=laid.desk.directory, environ=environ)
    count = int((role.place / ".count").readlink().name)
    return came(laid, environ), count


def came(laid: Laid, environ: dict[str, str]) -> dict[str, object]:
    """Return what came of it, with what is left in the scratch directory."""
    left = {p.name for p in Path(environ["TMPDIR"]).rglob("*") if p not in laid.theirs and len(p.name) != 8}
    return {**outcome(laid), "temporary": left}


def fails(role: Role, warm: Warm, root: Path, number: int, after: int) -> tuple[dict[str, object], int]:
    """Update where the file system fails after so many changes; return what comes of the next try, and the status."""
    laid, environ = role.put(root)
    before = {path: path.read_bytes() for path in laid.theirs if path.is_file()}
    order(role.place, f".fail-{number}-{after}")
    done = warm.run(UPDATE, laid.desk.directory, environ=environ, traced=False)
    order(role.place, ".mend")
    said = done["err"]
    assert "Traceback" not in said, said
    if done["status"] != 0:
        assert done["status"] > 0, done["status"]
        assert "error: " in said and "\nhint: " in said, said
        assert {errno.EIO: "input/output error", errno.ENOSPC: "no space left"}[number] in said.lower(), said
        assert any(f"{place}/" in said for place in (role.place, root)), said
    check_killed(laid)
    warm.do(*UPDATE, cwd=laid.desk.directory, environ=environ)
    if done["status"] == 0:  # published, and the scratch directory may have stayed: no build has to come for it
        warm.do("gc", "env", cwd=laid.desk.directory, environ=environ)
    assert {path: path.read_bytes() for path in before} == before
    return came(laid, environ), done["status"]


def main(place: str, laid: str, name: str, number: str, *parts: str) -> None:
    """Try every N-th change."""
    root = Path(laid)
    warm = Warm(root.parent / "said-failing")
    wrong, failed, tries = [], 0, 0
    with mounted(place, FailingFiles()):
        role = Role(Laid(SCENE, root, root / "cache"), Path(place), name)
        whole, count = undisturbed(role, warm, root.parent / "undisturbed")
        step, *chosen = map(int, parts)
        for after in [point for part in chosen for point in range(part, count, step)]:
            tries += 1
            try:
                found, status = fails(role, warm, root.parent / f"try-{after}", int(number), after)
                failed += status != 0
                other = {k: (found[k], whole[k]) for k in whole if k != "inodes of bin" and found[k] != whole[k]}
                assert not other, f"status {status}, {other}"
            except (AssertionError, OSError) as error:
                wrong.append(f"after {after} of {count} changes, {errno.errorcode[int(number)]}: {error}")
        order(Path(place), ".mend")
        warm.close()
    print(json.dumps({"wrong": wrong, "failed": failed, "tries": tries, "count": count}))


if __name__ == "__main__":
    main(*sys.argv[1:])
