"""The image that programs see as their root, made of a registry's image: its layers, unpacked, and packed as one.

It is done here, not by Apptainer, for three reasons (decision 0016): sites that have none can do it, its bytes are the
same wherever it is made, and files come through the same mirrors, cache and checks as all others.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import zstandard

from tykky.layers.keys import PlannedLayer
from tykky.layers.root_tree import BadLayer, Kind, Member, RootTree, Shown
from tykky.layers.staged import Staged, commit
from tykky.layers.workshop import Workshop
from tykky.store.images import Manifest, Store

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def merged_tree(layers: Sequence[Path], on_bytes: Callable[[int], object]) -> tuple[Shown, ...]:
    """Return what archives show together, bottom first. Raises `BadLayer`."""
    tree = RootTree()
    for path in layers:
        with _archive(path, on_bytes) as archive:
            tree.add([member for number, info in enumerate(archive) if (member := _member(number, info)) is not None])
    return tuple(tree.shown())


def write_tree(shown: Sequence[Shown], layers: Sequence[Path], target: Path, on_bytes: Callable[[int], object]) -> None:
    """Write a tree into the empty directory `target`. Raises `BadLayer`, and `OSError` if it cannot be written."""
    contents: dict[int, dict[int, list[Shown]]] = defaultdict(lambda: defaultdict(list))
    for one in shown:
        if one.kind == "directory":
            (target / one.path).mkdir(mode=0o755)
        elif one.kind == "file":
            contents[one.layer][one.number].append(one)
    for number, path in enumerate(layers):
        if number in contents:
            _write_files(path, contents[number], target, on_bytes)
        else:
            on_bytes(path.stat().st_size)
    # Last of all: nothing is ever written where a link of the image leads.
    for one in shown:
        if one.kind == "symlink":
            (target / one.path).symlink_to(one.target)


def make_root(
    planned: PlannedLayer, shown: Sequence[Shown], layers: Sequence[Path], store: Store, workshop: Workshop
) -> Manifest:
    """Unpack, pack and commit; return the manifest. Raises `BadLayer`, `BuildError` and `OSError`."""
    tree = workshop.scratch / "root"
    tree.mkdir(mode=0o755)
    size = sum(path.stat().st_size for path in layers)
    with workshop.reporter.phase("unpack the image", total=size, unit="bytes") as phase:
        write_tree(shown, layers, tree, phase.advance)
    return commit(planned, Staged(tree, tree, (), None), store, workshop)


def _write_files(
    path: Path, contents: Mapping[int, Sequence[Shown]], target: Path, on_bytes: Callable[[int], object]
) -> None:
    with _archive(path, on_bytes) as archive:
        for number, info in enumerate(archive):
            if number not in contents:
                continue
            first, *others = contents[number]
            place = target / first.path
            source = archive.extractfile(info)
            assert source is not None  # a file
            mode = 0o700 if first.executable else 0o600  # what the image shall have is seen to when it is packed
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            for other in others:
                os.link(place, target / other.path)


def _member(number: int, info: tarfile.TarInfo) -> Member | None:
    """Return a member of an archive; None for what no root shows: devices are the host's, pipes are nobody's."""
    kinds: list[tuple[bool, Kind]] = [
        (info.isdir(), "directory"),
        (info.issym(), "symlink"),
        (info.islnk(), "hard link"),
        (info.isreg(), "file"),
    ]
    kind = next((kind for yes, kind in kinds if yes), None)
    if kind is None:
        return None
    if kind == "symlink" and (not info.linkname or "\0" in info.linkname):
        raise BadLayer(f"{info.name!r} is a link to {info.linkname!r}")
    return Member(number, info.name, kind, bool(info.mode & 0o111), info.linkname)


@dataclass(slots=True)
class _Counted:
    """A file that says how much of it was read."""

    file: BinaryIO
    on_bytes: Callable[[int], object]

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.on_bytes(len(chunk))
        return chunk


@contextmanager
def _archive(path: Path, on_bytes: Callable[[int], object]) -> Iterator[tarfile.TarFile]:
    """Open a layer, however it is packed. What is wrong with it is a `BadLayer`; it is read once, front to back."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        counted = cast(IO[bytes], _Counted(file, on_bytes))
        unpacked: IO[bytes]
        if start.startswith(_GZIP):
            unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=counted))
        elif start == _ZSTD:
            unpacked = zstandard.ZstdDecompressor().stream_reader(counted, read_across_frames=True)
        else:
            unpacked = counted
        try:
            with tarfile.open(fileobj=unpacked, mode="r|") as archive:
                yield archive
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, ValueError) as error:
            raise BadLayer(f"a layer cannot be unpacked: {str(error)[:1].lower()}{str(error)[1:]}") from None
