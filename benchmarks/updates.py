"""The marks of updates: on the scientific environment, with warm caches, each against the same by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import KIBI, TOOLS, Bench, Mark
from benchmarks.clock import paired, seconds

_SMALL = "cowsay"
# One layer each, to stack eight of them.
# None of them is needed by another package of the environment, which would make no layer.
_MORE = ("iniconfig", "humanize", "inflection", "tabulate", "xmltodict", "termcolor", "parse", "untangle")
_IMPORTS = "import numpy, scipy.stats, pandas, sklearn.linear_model, matplotlib.pyplot, xarray, sympy"


def updates(bench: Bench) -> Iterator[Mark]:
    """Add, remove, roll back; then launch and import with many layers and with one."""
    yield from _change(bench, "add", _SMALL, 1.5, image_limit=200 * KIBI)
    yield from _change(bench, "add", "seaborn", 2.0)
    yield from _change(bench, "remove", "networkx", 1.0)
    tykky, place = bench.tykky, bench.environment
    there, back = tykky("rollback", place, "1", "-q"), tykky("rollback", place, "2", "-q")
    first, second = paired(there, back, bench.environ, 7)
    yield Mark("rollback", max(first, second), 0.2, "s", "whole process, median of 7")
    yield from _depth(bench)


def _change(bench: Bench, verb: str, name: str, limit: float, image_limit: int | None = None) -> Iterator[Mark]:
    spec, place = bench.spec / "tykky.toml", bench.environment
    seconds(bench.tykky(verb, name, "-f", spec), bench.environ)
    locked = seconds(bench.tykky("lock", "-f", spec), bench.environ)
    trial = bench.root / "trial"
    shutil.copytree(place, trial, symlinks=True, copy_function=os.link)
    seconds(bench.tykky("build", "-f", spec, "--prefix", trial), bench.environ)  # warms the caches
    shutil.rmtree(trial)
    before = set((place / ".tykky" / "layers").glob("*.sqfs"))
    took = seconds(bench.tykky("build", "-f", spec, "--prefix", place), bench.environ)
    (image,) = set((place / ".tykky" / "layers").glob("*.sqfs")) - before
    size = image.stat().st_size
    made_of = f"image {size / KIBI:.0f} KiB; lock {locked:.2f} s besides"
    if verb == "add":
        hand, hand_size = _by_hand(bench, name)
        made_of += f"; by hand {hand:.2f} s, {hand_size / KIBI:.0f} KiB"
    yield Mark(f"{verb} {name}", took, limit, "s", made_of)
    if image_limit is not None:
        yield Mark(f"image of {name}", size / KIBI, image_limit / KIBI, "KiB", "the whole delta layer")


def _by_hand(bench: Bench, name: str) -> tuple[float, int]:
    """Install one package into a directory and pack that: seconds and bytes."""
    work = bench.root / "tmp" / "delta-by-hand"
    work.mkdir()
    uv = [str(TOOLS / "uv"), "pip", "install", "-q", "--no-config", "--system-certs", "--no-deps"]
    uv += ["--cache-dir", str(bench.root / "cache" / "uv"), "--target", str(work / "tree"), name]
    image = work / "x.sqfs"
    pack = ["mksquashfs", str(work / "tree"), str(image), "-comp", "zstd", "-Xcompression-level", "3"]
    took = seconds(uv, bench.environ) + seconds([*pack, "-quiet", "-no-progress", "-no-recovery"], bench.environ)
    size = image.stat().st_size
    shutil.rmtree(work)
    return took, size


def _depth(bench: Bench) -> Iterator[Mark]:
    """Eight layers against one: what a launch and what imports cost."""
    spec = bench.spec / "tykky.toml"
    deep, flat = bench.root / "deep", bench.root / "flat"
    # As the ordinary updates do, one after another: the stack of the bench's own P, with more on top.
    shutil.copytree(bench.environment, deep, symlinks=True, copy_function=os.link)
    for name in _MORE:
        if _layers(deep) == 8:
            break
        seconds(bench.tykky("add", name, "-f", spec), bench.environ)
        seconds(bench.tykky("lock", "-f", spec), bench.environ)
        seconds(bench.tykky("build", "-f", spec, "--prefix", deep, "--delta"), bench.environ)
    shutil.copytree(deep, flat, symlinks=True, copy_function=os.link)
    seconds(bench.tykky("build", "-f", spec, "--prefix", flat, "--flatten"), bench.environ)
    environ = {**bench.environ, "TYKKY_BACKEND": "namespace"}
    many, one = (str(place / "bin" / "python") for place in (deep, flat))
    count = _layers(deep)
    layers = f"{count} layers against {_layers(flat)}"
    for mount in ("shared", "private"):
        given = {**environ, "TYKKY_MOUNT": mount}
        mine, base = paired([many, "-c", "pass"], [one, "-c", "pass"], given, 30)
        made_of = f"{layers}: {mine * 1000:.1f} ms, {base * 1000:.1f} ms"
        name = "joined" if mount == "shared" else "private"
        yield Mark(f"launch with {count} overlays, {name}", (mine - base) * 1000, 10, "ms more", made_of)
    mine, base = paired([many, "-c", _IMPORTS], [one, "-c", _IMPORTS], environ, 5)
    yield Mark(
        f"imports with {count} overlays, namespace", mine / base, 1.1, "x", f"{layers}: {mine:.2f} s, {base:.2f} s"
    )
    apptainer = shutil.which("apptainer", path=bench.environ["PATH"])
    if apptainer is not None:
        environ = {**bench.environ, "TYKKY_BACKEND": "apptainer"}
        mine, base = paired([many, "-c", "pass"], [one, "-c", "pass"], environ, 15)
        made_of = f"{layers}: {mine * 1000:.0f} ms, {base * 1000:.0f} ms"
        yield Mark(f"launch with {count} overlays, apptainer", (mine - base) * 1000, 10, "ms more", made_of)


def _layers(place: Path) -> int:
    import json

    return len(json.loads((place / ".tykky" / "current" / "environment.json").read_text())["layers"])
