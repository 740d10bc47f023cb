"""Timing whole commands, and what they leave on disk while they run."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def seconds(argv: Sequence[str | os.PathLike[str]], environ: Mapping[str, str], cwd: Path | None = None) -> float:
    """Run a command once; return its wall time in seconds. It must succeed."""
    started = time.perf_counter()
    done = subprocess.run(argv, env=environ, cwd=cwd, capture_output=True, check=False)
    took = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{list(map(str, argv))} failed:\n{done.stdout.decode()}\n{done.stderr.decode()}")
    return took


def median(argv: Sequence[str | os.PathLike[str]], environ: Mapping[str, str], runs: int, warm: int = 2) -> float:
    """Return the median wall time in seconds of `runs` runs after `warm` that do not count."""
    for _ in range(warm):
        seconds(argv, environ)
    return statistics.median(seconds(argv, environ) for _ in range(runs))


def paired(
    first: Sequence[str | os.PathLike[str]],
    second: Sequence[str | os.PathLike[str]],
    environ: Mapping[str, str],
    runs: int,
) -> tuple[float, float]:
    """Return the medians of two commands run in turn, so that a drift of the machine meets both."""
    seconds(first, environ)
    seconds(second, environ)
    pairs = [(seconds(first, environ), seconds(second, environ)) for _ in range(runs)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def disk_usage(root: Path) -> int:
    """Return the bytes that the files below `root` occupy; hard links to elsewhere count in full."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for directory, _, files in os.walk(root, onerror=lambda error: None):
        for name in files:
            try:
                info = os.lstat(os.path.join(directory, name))  # noqa: PTH118 - 30,000 of them, while a build runs
            except FileNotFoundError:
                continue
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_size
    return total


class PeakDisk(threading.Thread):
    """Watches directories while something runs; `peak` is the most they held, in bytes."""

    def __init__(self, *roots: Path, interval: float = 1.0) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._roots, self._interval, self._done = roots, interval, threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._interval):
            self.peak = max(self.peak, sum(disk_usage(root) for root in self._roots if root.exists()))

    def __enter__(self) -> PeakDisk:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()
