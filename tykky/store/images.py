"""A directory of images, named by layer key.

    <key>.sqfs          the image; its presence is the commit
    <key>.manifest      gzip'd JSON: the key's document, digest, size, packages and their paths

Written under a private name first (`.stage-XXXX/`, mode 0700) and renamed: nothing half-made bears a key. The
manifest goes first, so that an image that is there always has one.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from tykky.errors import EnvironmentDirectoryError
from tykky.guard.regular import read_regular

MANIFEST_FORMAT = 2
_STAGE = ".stage-"
_GUARD = re.compile(r"\.?(\.[0-9a-f]{64}\.guard)(?:\..+)?")  # and what is beside one


class NewerManifest(EnvironmentDirectoryError):
    """A manifest that a newer Tykky wrote."""


class PackagePaths(Struct, frozen=True):
    """One installed package of a `kind` (conda, pypi) and the paths it claims, bytecode too, relative to the prefix.

    What it claims may be in this image, or in another one under another package's name. `identity` is the key of all
    that makes the package's files what they are: two installed packages of one identity are the same.
    """

    name: str
    version: str
    kind: str
    paths: tuple[str, ...]
    identity: str = ""


class Manifest(Struct, frozen=True):
    """What one image holds. `digest` is the sha256 of its bytes, `size` their number, `fingerprint` xxh3-128.

    `files` maps every file, symlink and empty directory to its bytes. `programs` are the names in the layer's `bin`,
    `whiteouts` the paths it hides and `removed` the packages of lower layers that it takes away, as (kind, name).
    `tools` says what made it.
    """

    key: str
    kind: str
    prefix: str
    document: dict[str, Any]
    digest: str
    fingerprint: str
    size: int
    files: dict[str, int]
    packages: tuple[PackagePaths, ...]
    programs: tuple[str, ...]
    whiteouts: tuple[str, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    tools: dict[str, str] | None = None

    @property
    def tree_bytes(self) -> int:
        """The bytes of the image's files before they were packed."""
        return sum(self.files.values())


def dump_manifest(manifest: Manifest) -> bytes:
    """Return the manifest file's bytes. Path names that are no UTF-8 survive (as lone surrogates, escaped).

    A package's paths are numbers into the sorted files: each of the many paths stands there once.
    """
    files = sorted(manifest.files)
    number = {path: index for index, path in enumerate(files)}
    document = {
        "format": MANIFEST_FORMAT,
        **{name: getattr(manifest, name) for name in Manifest.__struct_fields__ if name not in ("packages", "files")},
        "files": files,
        "sizes": [manifest.files[path] for path in files],
        "packages": [
            [p.name, p.version, p.kind, p.identity, [number.get(path, path) for path in p.paths]]
            for p in manifest.packages
        ],
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode("ascii"), compresslevel=6, mtime=0)


def load_manifest(path: Path) -> Manifest:
    """Read a manifest; raise `EnvironmentDirectoryError` if it is missing, damaged or of a newer format."""
    hint = _repair(path)
    try:
        info = path.stat()
        return _read_manifest(path, (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns))
    except FileNotFoundError:
        raise EnvironmentDirectoryError(f"{path} is missing", hint=hint) from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise EnvironmentDirectoryError(f"{path} is damaged: {error}", hint=hint) from None


def _repair(manifest: Path) -> str:
    image = manifest.with_suffix(".sqfs").name
    return f"remove {image} beside it and run 'tykky build', which makes it again from the lock"


@lru_cache(maxsize=32)
def _read_manifest(path: Path, identity: tuple[int, ...]) -> Manifest:
    """Read a manifest once: a build asks for those of the same few layers again and again."""
    document = json.loads(gzip.decompress(read_regular(path)))
    if document["format"] != MANIFEST_FORMAT:
        reason = f"{path} has format {document['format']}, this tykky reads {MANIFEST_FORMAT}"
        if document["format"] > MANIFEST_FORMAT:
            raise NewerManifest(reason, hint="use the tykky that made it, or a newer one")
        raise EnvironmentDirectoryError(reason, hint=_repair(path))
    return _manifest_of(document)


def _manifest_of(document: dict[str, Any]) -> Manifest:
    files: list[str] = document["files"]
    packages = tuple(
        PackagePaths(name, version, kind, tuple(files[p] if isinstance(p, int) else p for p in paths), identity)
        for name, version, kind, identity, paths in document["packages"]
    )
    return Manifest(
        key=document["key"],
        kind=document["kind"],
        prefix=document["prefix"],
        document=document["document"],
        digest=document["digest"],
        fingerprint=document["fingerprint"],
        size=document["size"],
        files=dict(zip(files, document["sizes"], strict=True)),
        packages=packages,
        programs=tuple(document["programs"]),
        whiteouts=tuple(document.get("whiteouts", ())),
        removed=tuple((kind, name) for kind, name in document.get("removed", ())),
        tools=document.get("tools"),
    )


class Store(Struct, frozen=True):
    """One directory of images."""

    directory: Path

    def image(self, key: str) -> Path:
        """Return where the image of a key is, or would be."""
        return self.directory / f"{key}.sqfs"

    def has(self, key: str) -> bool:
        """Return whether the image of a key is here."""
        return self.image(key).is_file()

    def manifest(self, key: str) -> Manifest:
        """Return the manifest of an image that is here."""
        return load_manifest(self._manifest_path(key))

    def _manifest_path(self, key: str) -> Path:
        return self.directory / f"{key}.manifest"

    @contextlib.contextmanager
    def stage(self) -> Iterator[Path]:
        """Give a private directory on the store's file system; it is gone when the block ends."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.sweep()
        from tykky.guard.ownership import make_private

        private = make_private(self.directory, _STAGE)
        try:
            yield private
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def leftovers(self) -> list[Path]:
        """Return what processes of this user and host, provably gone, were staging here."""
        from tykky.guard.ownership import left_behind

        return left_behind(self.directory, _STAGE)

    def sweep(self) -> None:
        """Remove what processes of this user and host that are provably gone have left. Raises no `OSError`."""
        for path in self.leftovers():
            shutil.rmtree(path, ignore_errors=True)
        from tykky.guard.hold import forget

        for guard in self._guards():
            forget(guard)

    def is_forsaken(self) -> bool:
        """Say whether there is a guard of an image, or what was left of taking one, that `sweep` removes."""
        from tykky.guard.hold import is_forsaken

        return any(map(is_forsaken, self._guards()))

    def _guards(self) -> set[Path]:
        with contextlib.suppress(OSError):
            names = os.listdir(self.directory)  # noqa: PTH208 - names are all that is needed
            return {self.directory / match[1] for name in names if (match := _GUARD.fullmatch(name))}
        return set()

    def commit(self, image: Path, manifest: Manifest, *, over: bool = False) -> Path:
        """Give a staged image its name. A whole one that is there already stays, for they are equal; not if `over`.

        Two processes may commit one key at once, with images that differ because their tools do: under a guard, so
        that no manifest ever stands beside another one's image.
        """
        target = self.image(manifest.key)
        staged = image.with_suffix(".manifest")
        staged.write_bytes(dump_manifest(manifest))
        for path in (staged, image):
            path.chmod(0o644)
            flush_file(path)
        with self._committing(manifest.key):
            if over or self.whole_manifest(manifest.key) is None:
                target.unlink(missing_ok=True)  # never a new manifest beside an old image
                staged.replace(self._manifest_path(manifest.key))
                image.replace(target)
                flush_file(self.directory)
        return target

    @contextlib.contextmanager
    def _committing(self, key: str) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            # Without hard links there are no guards; then only one user's builds come here, one after another.
            with contextlib.suppress(OSError):
                from tykky.guard.hold import guarded  # only who writes needs it

                path = self.directory / f".{key}.guard"
                stack.enter_context(guarded(path, f"commit of {key[:12]}", wait=True, say=lambda text: None))
            yield

    def whole_manifest(self, key: str) -> Manifest | None:
        """Return the manifest of an image that is here and fits it, as far as the image's size tells; else None."""
        try:
            size = self.image(key).stat().st_size
            manifest = self.manifest(key)
        except (OSError, EnvironmentDirectoryError):
            return None
        return manifest if manifest.size == size else None


def flush_file(path: Path) -> None:
    """Wait until a file's content (or a directory's names) is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
