"""The marks of an environment that extends the scientific one: one small package on top of 563 MB."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import KIBI, TOOLS, Bench, Mark
from benchmarks.clock import disk_usage, paired, seconds

_SMALL = "cowsay"


def children(bench: Bench) -> Iterator[Mark]:
    """Lock, build and launch a child of the bench's environment."""
    work = bench.root / "child"
    work.mkdir()
    spec, place = work / "tykky.toml", work / "mine"
    spec.write_text(
        f'[environment]\nname = "mine"\nextends = "{bench.environment}"\n\n[pypi]\ndependencies = ["{_SMALL}"]\n'
    )
    yield _lock(bench, work)
    make = bench.tykky("build", "-f", spec, "--prefix")
    seconds([*make, str(work / "trial")], bench.environ)  # warms the caches, and checks the parent's images once
    shutil.rmtree(work / "trial")
    took = seconds([*make, str(place)], bench.environ)
    size, inodes = disk_usage(place), len({p.lstat().st_ino for p in (place, *place.rglob("*"))})
    yield Mark("build of a child with one small package", took, 2, "s", "the parent's images were checked before")
    yield Mark("size of the child", size / KIBI, KIBI, "KiB", "the whole environment directory")
    yield Mark("inodes of the child", inodes, 24, "", "the whole environment directory")
    child, parent = (str(p / "bin" / "python") for p in (place, bench.environment))
    for mode, name in (("shared", "launch of the child"), ("private", "the same, with a mount of its own")):
        environ = {**bench.environ, "TYKKY_BACKEND": "namespace", "TYKKY_MOUNT": mode}
        mine, base = paired([child, "-c", "pass"], [parent, "-c", "pass"], environ, 30)
        made_of = f"{mine * 1000:.1f} ms, the parent's {base * 1000:.1f} ms"
        yield Mark(name, (mine - base) * 1000, 5, "ms more", made_of)


def _lock(bench: Bench, work: Path) -> Mark:
    """Lock against `uv pip compile` of the same requirement, with the parent's packages as constraints."""
    locked = tomllib.loads((bench.spec / "tykky.lock").read_text())["package"]
    (work / "constraints.txt").write_text("".join(f"{p['name']}=={p['version']}\n" for p in locked))
    (work / "requirements.in").write_text(f"{_SMALL}\n")
    by_hand = [str(TOOLS / "uv"), "pip", "compile", "--no-config", "--system-certs", "--no-python-downloads"]
    by_hand += ["--cache-dir", str(bench.root / "cache" / "uv"), str(work / "requirements.in")]
    by_hand += ["--constraints", str(work / "constraints.txt"), "--generate-hashes"]
    ours = bench.tykky("lock", "-f", work / "tykky.toml", "--upgrade", "-q")
    mine, uv = paired(ours, by_hand, bench.environ, 21)  # each waits for an index, now longer, now shorter
    return Mark("lock of the child", mine, 1.5 * uv, "s", f"uv pip compile with constraints {uv:.2f} s; limit 1.5 x")
