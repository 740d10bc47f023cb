"""The marks of the main job: ratios against a baseline measured in the same run.

    python -m benchmarks.marks [--write FILE] [--quick]

Every line is one mark: what was measured, the baseline it is measured against, the limit, and whether it is met.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import MEGA, TOOLS, Bench, Mark, make_bench
from benchmarks.children import children
from benchmarks.clock import PeakDisk, disk_usage, median, paired, seconds
from benchmarks.launches import interpreter, launches
from benchmarks.updates import updates


def start(bench: Bench) -> Iterator[Mark]:
    """`tykky --version`."""
    took = median(bench.tykky("--version"), bench.environ, 15)
    yield Mark("tykky --version", took * 1000, 100, "ms", "whole process, median of 15")


def lock(bench: Bench) -> Iterator[Mark]:
    """Lock with warm caches against `uv pip compile` alone, for the quickstart."""
    work = bench.root / "quickstart"
    shutil.copytree(Path(__file__).parent.parent / "examples" / "quickstart", work)
    (work / "tykky.lock").unlink(missing_ok=True)
    spec = work / "tykky.toml"
    text = spec.read_text()
    import tomllib

    requirements = tomllib.loads(text)["pypi"]["dependencies"]
    platforms = tomllib.loads(text)["environment"].get("platforms", ["linux-64"])
    (work / "requirements.in").write_text("\n".join(requirements))
    resolve = bench.tykky("lock", "-f", spec, "--upgrade", "-q")
    by_hand = [
        str(TOOLS / "uv"),
        "pip",
        "compile",
        "--no-config",
        "--system-certs",
        "--no-python-downloads",
        "--generate-hashes",
    ]
    by_hand += ["--cache-dir", str(bench.root / "cache" / "uv"), str(work / "requirements.in")]
    mine, uv = paired(resolve, by_hand, bench.environ, 7)
    limit = 1.5 * uv * len(platforms) + 0.5
    yield Mark(
        "lock of the quickstart",
        mine,
        limit,
        "s",
        f"{len(platforms)} platform(s); uv pip compile alone {uv:.2f} s each; limit 1.5 x + 0.5 s",
    )


def build(bench: Bench) -> Iterator[Mark]:
    """A fresh build with warm caches against the same by hand; its disk, inodes, and a build with nothing to do."""
    spec = bench.spec / "tykky.toml"
    seconds(bench.tykky("lock", "-f", spec), bench.environ)
    make = bench.tykky("build", "-f", spec, "--prefix", bench.environment)
    seconds(make, bench.environ)  # warms the caches
    by_hand = _by_hand(bench)
    shutil.rmtree(bench.environment)
    with PeakDisk(bench.root / "tmp", bench.environment.parent / "none", interval=0.5) as watch:
        took = seconds(make, bench.environ)
    image = sum(p.stat().st_size for p in (bench.environment / ".tykky" / "layers").glob("*.sqfs"))
    tree = by_hand["tree"]
    yield Mark(
        "fresh build of 11 scientific packages",
        took,
        1.2 * by_hand["total"],
        "s",
        f"by hand {by_hand['total']:.1f} s: uv pip install {by_hand['install']:.1f}, "
        f"compileall {by_hand['compile']:.1f}, mksquashfs {by_hand['pack']:.1f}; limit 1.2 x",
    )
    shutil.rmtree(bench.environment)
    shutil.rmtree(bench.root / "cache" / "bytecode")
    cold = seconds(make, bench.environ)
    yield Mark(
        "the same, without kept bytecode",
        cold,
        1.2 * by_hand["total"],
        "s",
        "every package compiled, as by hand; limit 1.2 x",
    )
    peak = watch.peak + image
    yield Mark("peak temporary disk", peak / MEGA, 1.1 * (tree + image) / MEGA, "MB", "limit 1.1 x (tree + image)")
    inodes = len({p.lstat().st_ino for p in (bench.environment, *bench.environment.rglob("*"))})
    yield Mark("inodes of the environment directory", inodes, 24, "", f"image {image / MEGA:.0f} MB")
    nothing = median(make, bench.environ, 7)
    yield Mark("build with nothing to do", nothing, 0.5, "s", "median of 7")


def _by_hand(bench: Bench) -> dict[str, float]:
    """Do by hand what a build does: install, byte-compile, pack. Return seconds, and the tree's bytes."""
    import tomllib

    packages = tomllib.loads((bench.spec / "tykky.lock").read_text())["package"]
    work = bench.root / "tmp" / "by-hand"
    work.mkdir()
    (work / "requirements.txt").write_text("\n".join(f"{p['name']}=={p['version']}" for p in packages))
    venv = work / "venv"
    uv = [str(TOOLS / "uv"), "--no-config", "--system-certs", "--cache-dir", str(bench.root / "cache" / "uv")]
    seconds([*uv, "venv", "-q", "--python", interpreter(bench.environment), str(venv)], bench.environ)
    install = [*uv, "pip", "install", "-q", "--no-deps", "--python", str(venv / "bin" / "python")]
    install += ["-r", str(work / "requirements.txt")]
    found = {"install": seconds(install, bench.environ)}
    jobs = str(len(os.sched_getaffinity(0)))
    compile_all = [str(venv / "bin" / "python"), "-m", "compileall", "-q", "-j", jobs]
    compile_all += ["--invalidation-mode", "unchecked-hash", str(venv / "lib")]
    # compileall ends with 1 where a package ships a template that is no Python
    found["compile"] = seconds(["sh", "-c", '"$@" >/dev/null; true', "sh", *compile_all], bench.environ)
    pack = ["mksquashfs", str(venv), str(work / "x.sqfs"), "-comp", "zstd", "-Xcompression-level", "3", "-quiet"]
    found["pack"] = seconds([*pack, "-no-progress", "-no-recovery"], bench.environ)
    found["total"] = sum(found.values())
    found["tree"] = disk_usage(venv)
    shutil.rmtree(work)
    return found


def table(marks: list[Mark]) -> str:
    """Return the marks as a Markdown table."""
    rows = ["| mark | measured | limit | | made of |", "|---|---|---|---|---|"]
    for mark in marks:
        verdict = "met" if mark.met else "**missed**"
        rows.append(
            f"| {mark.name} | {mark.value:.4g} {mark.unit} | {mark.limit:.4g} {mark.unit} | {verdict} | {mark.detail} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure, print the table, and write it where asked. The exit status says nothing of the marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="write the table as a page of the docs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tykky-bench-") as name:
        bench = make_bench(Path(name))
        marks = []
        for measure in (start, lock, build, launches, children, updates):
            for mark in measure(bench):
                marks.append(mark)
                print(f"{mark.name}: {mark.value:.4g} {mark.unit} (limit {mark.limit:.4g})", file=sys.stderr)
    text = table(marks)
    print(text)
    if options.write is not None:
        options.write.write_text(_page(text))


def _page(text: str) -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        "# Marks\n\n"
        "Written by `make bench`; ratios come from one run, on one machine. "
        f"Last run: {os.cpu_count()} cores, Linux {kernel}.\n\n{text}\n"
    )


if __name__ == "__main__":
    main()
