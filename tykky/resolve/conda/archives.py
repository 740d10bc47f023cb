"""Archives of locked conda packages: downloaded whole, checked against the lock's sha256, kept by it.

    <cache>/conda/archives/<sha256>/<name>-<version>-<build>.conda

An archive gets its final name only after its sha256 was right. Archives of a file:// channel are used where they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from tykky.access import Access
from tykky.digests import file_sha256
from tykky.errors import ArtifactError, FetchError
from tykky.lock.model import Package
from tykky.resolve.conda.network import client, failure_of, fetch_error
from tykky.resolve.conda.records import file_name
from tykky.resolve.conda.running import run

if TYPE_CHECKING:
    from rattler import Client

_Result = TypeVar("_Result")

_AT_ONCE = 8
_TRIES = 3
_FIRST_PAUSE = 0.5  # seconds; doubled after each try
STALLED = 60.0  # seconds without one byte


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of one cache. `stalled` is how many seconds a download may bring nothing."""

    access: Access
    stalled: float = STALLED

    def place(self, package: Package) -> Path:
        """Return where the archive of a locked package is, or will be."""
        url = self.access.mirrored(package.url or "")
        if url.startswith("file://"):
            return Path(unquote(urlsplit(url).path))
        if package.sha256 is None:
            raise ArtifactError(
                f"{file_name(package)} has no sha256 in the lock, so it cannot be checked",
                hint="its channel publishes none; use a channel that does",
            )
        return self.access.cache / "conda" / "archives" / package.sha256 / file_name(package)

    def forget(self, packages: Sequence[Package]) -> None:
        """Remove downloaded archives; those of a file:// channel are not ours and stay."""
        own = self.access.cache / "conda" / "archives"
        for package in packages:
            place = self.place(package)
            if place.is_relative_to(own):
                place.unlink(missing_ok=True)

    def fetch(self, packages: Sequence[Package], on_bytes: Callable[[int], object]) -> dict[str, Path]:
        """Return name -> archive for all of `packages`, each with the lock's sha256.

        `on_bytes` hears how many more bytes have come. Raises `FetchError` if one cannot be had, `ArtifactError` if
        one is not what the lock says; then it is removed.
        """
        return run(self.fetch_all(packages, on_bytes))

    async def fetch_all(self, packages: Sequence[Package], on_bytes: Callable[[int], object]) -> dict[str, Path]:
        """Do the work of `fetch`, for a caller that is in an event loop already."""
        asking = client(timeout=None)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(package: Package) -> tuple[str, Path]:
            async with turn:
                return package.name, await self._fetch(package, asking, on_bytes)

        return dict(await _all_or_none([one(package) for package in packages]))

    async def _fetch(self, package: Package, asking: Client, on_bytes: Callable[[int], object]) -> Path:
        place = self.place(package)
        if place.is_file():
            actual = await asyncio.to_thread(file_sha256, place)
            if actual == package.sha256:
                on_bytes(package.size or 0)
                return place
            self.forget([package])
            if place.exists():  # in a file:// channel: not ours to remove
                raise _mismatch(package, actual)
        if self.access.mirrored(package.url or "").startswith("file://"):
            raise FetchError(
                f"{file_name(package)} cannot be read: it is not there",
                hint="the channel's directory changed since it was locked; run 'tykky lock'",
                output=str(place),
            )
        if self.access.offline:
            raise FetchError(
                f"{file_name(package)} cannot be read: it is not in the cache",
                hint="run the same command once without --offline",
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.parent / f".{secrets.token_hex(8)}.part"
        try:
            actual = await self._download(package, asking, unfinished, on_bytes)
            if actual != package.sha256:
                raise _mismatch(package, actual)
            unfinished.rename(place)
        finally:
            unfinished.unlink(missing_ok=True)
        return place

    async def _download(self, package: Package, asking: Client, target: Path, on_bytes: Callable[[int], object]) -> str:
        """Write the archive to `target`, trying again where that may help; return its sha256."""
        from rattler.package_streaming import download_to_writer

        url = self.access.mirrored(package.url or "")
        pause = _FIRST_PAUSE
        for attempt in range(1, _TRIES + 1):
            # Unbuffered: closing a file whose buffer cannot be written raises an error that names no file.
            with target.open("wb", buffering=0) as file:
                writer = _Writer(file, on_bytes)
                try:
                    await _unless_stalled(download_to_writer(asking, url, writer), writer, self.stalled)
                    return writer.digest.hexdigest()
                except (RuntimeError, OSError) as error:
                    if writer.failed is not None:
                        raise writer.failed from None
                    message = str(error) or "timed out"
                    if attempt == _TRIES or not failure_of(message).transient:
                        raise await asyncio.to_thread(fetch_error, package.url or url, url, message) from None
                on_bytes(-writer.count)
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")


@dataclass(slots=True)
class _Writer:
    """What rattler writes to: the file, its digest and its size grow together."""

    file: FileIO
    on_bytes: Callable[[int], object]
    count: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    failed: OSError | None = None  # the disk, not the network

    def write(self, chunk: bytes) -> None:
        """Take one chunk."""
        left = memoryview(chunk)
        try:
            while left:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.failed = OSError(error.errno, error.strerror, self.file.name)
            raise
        self.digest.update(chunk)
        self.count += len(chunk)
        self.on_bytes(len(chunk))


async def _unless_stalled(download: Coroutine[object, object, None], writer: _Writer, seconds: float) -> None:
    """Wait for a download as long as it brings something: a limit on the whole would stop big files."""
    task = asyncio.ensure_future(download)
    seen = -1
    while not task.done():
        await asyncio.wait({task}, timeout=seconds)
        if not task.done() and writer.count == seen:
            task.cancel()
            await asyncio.wait({task})
            raise TimeoutError(f"timed out: nothing came for {seconds:g} s")
        seen = writer.count
    task.result()


async def _all_or_none(tasks: Sequence[Coroutine[object, object, _Result]]) -> list[_Result]:
    """Return all results, or raise the first error after the other tasks have ended."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        return list(await asyncio.gather(*running))
    except BaseException:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        raise


def _mismatch(package: Package, actual: str) -> ArtifactError:
    return ArtifactError(
        f"{file_name(package)} is not what the lock says",
        hint="the channel or a mirror changed it, or something on the way did; "
        "if that is meant, 'tykky lock --upgrade' takes the new one",
        output=f"{package.url}\nexpected sha256 {package.sha256}\nactual sha256   {actual}",
    )
