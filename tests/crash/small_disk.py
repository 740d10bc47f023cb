"""Updates P on a tmpfs with ever more room, in a mount namespace of its own, and prints what was wrong as JSON.

    python -m tests.crash.small_disk SCENE PLACE DESK TEMPORARY CACHE LIMIT…

A LIMIT is `size+3` (pages more than P has) or `nr_inodes+3`. Other programs meet that disk too: mksquashfs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.crash.scenes import SCENES, Laid
from tests.crash.verdict import check_killed, outcome
from tests.crash.warm import Warm

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LAYER = re.compile(r"env/\.tykky/layers/[0-9a-f]{64}\.(sqfs|manifest)")
_ROOM = "size=64m,nr_inodes=10000"


def room(place: Path, limit: str) -> str:
    """Return the mount option that leaves so much room beside what is there."""
    kind, _, more = limit.partition("+")
    disk = os.statvfs(place)
    if kind == "size":
        return f"size={((disk.f_blocks - disk.f_bfree) * disk.f_frsize // _PAGE + int(more)) * _PAGE}"
    return f"nr_inodes={disk.f_files - disk.f_ffree + int(more)}"


def mount(place: Path, options: str, *more: str) -> None:
    """Mount a tmpfs, or change one."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join([options, *more]), "none", place], check=True)


def update(warm: Warm, laid: Laid, before: Path, limit: str) -> tuple[dict[str, object], int]:
    """Update the environment of `before` on a disk with that limit; return what came of it and of the first try."""
    mount(laid.root, _ROOM)
    try:
        laid.temporary.mkdir()
        subprocess.run(["cp", "-a", before, laid.desk.directory], check=True)
        mount(laid.root, room(laid.root, limit), "remount")
        environ = {**laid.environ, "TMPDIR": str(before.parent / "temporary")}
        done = warm.run(laid.scene.words, laid.desk.directory, environ=environ, traced=False)
        if done["status"] != 0:
            assert done["status"] > 1, done["err"]
            assert "Traceback" not in done["err"], done["err"]
            assert "no space left" in done["err"].lower(), done["err"]
            # A layer that was made is kept for the next try.
            left = {path for path in _paths(laid.desk.directory) - _paths(before) if not _LAYER.fullmatch(path)}
            assert not left, f"left: {sorted(left)}\n{done['err']}"
        check_killed(laid)
        mount(laid.root, _ROOM, "remount")
        warm.do(*laid.scene.words, cwd=laid.desk.directory, environ=environ)
        return outcome(laid), done["status"]
    finally:
        subprocess.run(["umount", "-l", laid.root], check=True)


def _paths(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def main(name: str, place: str, desk: str, cache: str, *limits: str) -> None:
    """Try every limit, and one without."""
    (scene,) = [scene for scene in SCENES if scene.name == name]
    laid = Laid(scene, Path(place), Path(cache))
    warm = Warm(Path(cache).parent / "said-small")
    wrong, failed = [], 0
    undisturbed, _ = update(warm, laid, Path(desk), "size+10000")
    for limit in limits:
        try:
            found, status = update(warm, laid, Path(desk), limit)
            failed += status != 0
            assert found == undisturbed
        except (AssertionError, OSError) as error:
            wrong.append(f"{limit}: {error}")
    warm.close()
    print(json.dumps({"wrong": wrong, "failed": failed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
