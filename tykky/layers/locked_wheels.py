"""Locked wheels as local files that were checked against the lock's sha256 and looked into: what uv may install.

    <cache>/wheels-checked/<sha256[:2]>/<sha256>/<file name>

Only a wheel that passed both has a name there, so neither is done again. uv by itself would check the sha256, but
silently leave out, or write as it is, what no package may hold. Wheels of a `file:` URL are used where they are, and
checked each time: the directory is not ours.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tykky.access import Access
from tykky.errors import FetchError
from tykky.guard.ownership import private_directory
from tykky.layers.archive_problems import refuse_problems
from tykky.lock.model import Package
from tykky.progress import Reporter
from tykky.resolve.pypi.download import download, require_sha256
from tykky.resolve.pypi.trouble import offline_missing
from tykky.resolve.pypi.urls import file_name, file_path, redacted

_AT_ONCE = 8  # connections; more gain nothing with PyPI's own servers

_Event: TypeAlias = "int | Path | BaseException"  # bytes that came, a wheel that is there, why one cannot be had


def locked_wheels(
    packages: Sequence[Package], access: Access, environ: Mapping[str, str], reporter: Reporter
) -> dict[str, Path]:
    """Return name -> file for wheels that are locked by URL.

    Raises `FetchError` if one cannot be had, `ArtifactError` if one is not what the lock says or holds something no
    package may hold; then it is not kept.
    """
    found: dict[str, Path] = {}
    missing: list[Package] = []
    for package in packages:
        url, sha256 = _origin(package)
        local = file_path(url)
        if local is not None:
            found[package.name] = _in_place(local, sha256)
            continue
        found[package.name] = kept = _place(url, sha256, access)
        if not _is_whole(kept, package.size):
            missing.append(package)
    if missing:
        _fetch(missing, found, access, environ, reporter)
    return found


def _origin(package: Package) -> tuple[str, str]:
    assert package.url is not None and package.sha256 is not None
    return package.url, package.sha256


def _place(url: str, sha256: str, access: Access) -> Path:
    return access.cache / "wheels-checked" / sha256[:2] / sha256 / file_name(url)


def _in_place(path: Path, sha256: str) -> Path:
    if not path.is_file():
        raise FetchError(f"{path} does not exist", hint="the lock names this file; put it back or lock again")
    require_sha256(path, sha256)
    refuse_problems(path)
    return path


def _is_whole(kept: Path, size: int | None) -> bool:
    """Return whether a wheel is there; one that lost its tail (a crash, a full quota) is as good as none."""
    try:
        there = kept.stat().st_size
    except FileNotFoundError:
        return False
    return size is None or there == size


def _fetch(
    missing: Sequence[Package],
    places: Mapping[str, Path],
    access: Access,
    environ: Mapping[str, str],
    reporter: Reporter,
) -> None:
    if access.offline:
        raise offline_missing(redacted(_origin(missing[0])[0]))
    root = access.cache / "wheels-checked"
    root.mkdir(parents=True, exist_ok=True)
    size = sum(package.size or 0 for package in missing)
    with (
        reporter.phase("download PyPI packages", total=size or None, unit="bytes") as phase,
        # A thread that was told to stop may still be writing there; then the next download removes it.
        private_directory(root, ".part-") as private,
    ):
        downloads = _Downloads(missing, places, access, environ, private)
        try:
            downloads.start()
            while downloads.left:
                match downloads.events.get():
                    case int(count):
                        phase.advance(count)
                    case Path():
                        downloads.left -= 1
                    case error:
                        raise error
        finally:
            downloads.stopped.set()


class _Stopped(Exception):
    """Nobody waits for this download any more."""


@dataclass(slots=True)
class _Downloads:
    """Threads that fetch wheels and tell of it through `events`.

    Daemons, not a pool: a server that is silent must not keep Ctrl-C, or the first error, from ending the build.
    """

    missing: Sequence[Package]
    places: Mapping[str, Path]
    access: Access
    environ: Mapping[str, str]
    private: Path
    events: queue.SimpleQueue[_Event] = field(default_factory=queue.SimpleQueue)
    stopped: threading.Event = field(default_factory=threading.Event)
    left: int = 0

    def start(self) -> None:
        """Start the threads."""
        self.left = len(self.missing)
        waiting: queue.SimpleQueue[Package] = queue.SimpleQueue()
        # The largest first: the last one to come is then a small one.
        for package in sorted(self.missing, key=lambda p: (-(p.size or 0), p.name)):
            waiting.put(package)
        for _ in range(min(_AT_ONCE, self.left)):
            threading.Thread(target=self._work, args=(waiting,), daemon=True).start()

    def _work(self, waiting: queue.SimpleQueue[Package]) -> None:
        while not self.stopped.is_set():
            try:
                package = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self.events.put(self._one(package))
            except BaseException as error:
                self.events.put(error)

    def _one(self, package: Package) -> Path:
        url, sha256 = _origin(package)
        kept = self.places[package.name]
        part = self.private / package.name / file_name(url)  # its own name: messages show it
        part.parent.mkdir()
        download(self.access.mirrored(url), part, self.environ, self._count)
        require_sha256(part, sha256, name=redacted(url))
        refuse_problems(part)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part.replace(kept)
        return kept

    def _count(self, count: int) -> None:
        if self.stopped.is_set():
            raise _Stopped
        self.events.put(count)
