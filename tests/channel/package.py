"""One conda package as a value, and its bytes in both formats.

    package = CondaPackage("hello", "1.0", files={"bin/hello": script("#!/bin/sh\\necho hello\\n")})
    name, data = package.archive("conda")

Everything is deterministic: the same value gives the same bytes. A `.conda` file is a stored zip of
`metadata.json`, `pkg-*.tar.zst` and `info-*.tar.zst` (conda CEP 35); a `.tar.bz2` file is one tar.
`extra` holds tar members that no honest builder would write.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import zstandard

Format = Literal["conda", "tar.bz2"]

# The placeholder conda-build writes is 255 characters long, so that any real prefix fits into its place.
PLACEHOLDER = ("/opt/conda-build/" + "placehold_" * 30)[:255]

_TIME = 1_700_000_000  # seconds since 1970; every member has it


@dataclass(frozen=True, slots=True)
class File:
    """A regular file. `placeholder` is the prefix inside `data` that linking replaces."""

    data: bytes
    mode: int = 0o644
    placeholder: str | None = None
    binary: bool = False  # how the placeholder is replaced: padded with NUL, same length

    def described(self, path: str) -> dict[str, object]:
        """Return the entry of `info/paths.json`."""
        entry: dict[str, object] = {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "size_in_bytes": len(self.data),
        }
        if self.placeholder is not None:
            entry["prefix_placeholder"] = self.placeholder
            entry["file_mode"] = "binary" if self.binary else "text"
        return entry

    def member(self, path: str) -> tuple[tarfile.TarInfo, bytes]:
        """Return the tar member."""
        return _member(path, tarfile.REGTYPE, self.mode, size=len(self.data)), self.data


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str

    def described(self, path: str) -> dict[str, object]:
        """Return the entry of `info/paths.json`."""
        # conda-build records the sha256 of the content behind the link; nobody checks it for links.
        return {
            "_path": path,
            "path_type": "softlink",
            "sha256": hashlib.sha256(b"").hexdigest(),
            "size_in_bytes": 0,
        }

    def member(self, path: str) -> tuple[tarfile.TarInfo, bytes]:
        """Return the tar member."""
        return _member(path, tarfile.SYMTYPE, 0o777, target=self.target), b""


@dataclass(frozen=True, slots=True)
class Member:
    """A tar member as it is, for hostile packages: any name, type, mode and target."""

    name: str
    type: bytes = tarfile.REGTYPE
    data: bytes = b""
    mode: int = 0o644
    target: str = ""
    section: Literal["pkg", "info"] = "pkg"

    def member(self) -> tuple[tarfile.TarInfo, bytes]:
        """Return the tar member."""
        info = _member(self.name, self.type, self.mode, target=self.target, size=len(self.data))
        if self.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = 1, 3
        return info, self.data


def text(content: str, *, mode: int = 0o644) -> File:
    """Return a text file; if `PLACEHOLDER` is in it, linking replaces that by the prefix."""
    return File(content.encode(), mode, PLACEHOLDER if PLACEHOLDER in content else None)


def script(content: str) -> File:
    """Return an executable text file."""
    return text(content, mode=0o755)


@dataclass(frozen=True)
class CondaPackage:
    """A conda package: its record and its files."""

    name: str
    version: str
    build: str = "0"
    build_number: int = 0
    subdir: str = "linux-64"
    noarch: Literal["python", "generic"] | None = None
    depends: Sequence[str] = ()
    constrains: Sequence[str] = ()
    track_features: Sequence[str] = ()
    timestamp: int | None = 1_700_000_000_000  # milliseconds since 1970
    license: str | None = None
    python_site_packages_path: str | None = None
    files: Mapping[str, File | Link] = field(default_factory=dict)
    entry_points: Sequence[str] = ()  # noarch python only: `name = module:function`
    purls: Sequence[str] | None = None  # in repodata.json only, as conda-forge's patches add them
    extra: Sequence[Member] = ()
    undeclared: Sequence[str] = ()  # paths in paths.json that the archive does not hold
    format: Format = "conda"

    @property
    def stem(self) -> str:
        """`name-version-build`, the file name without its ending."""
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def file_name(self) -> str:
        """The name of the archive in its subdir."""
        return f"{self.stem}.{self.format}"

    def index_json(self) -> dict[str, object]:
        """Return `info/index.json`."""
        index: dict[str, object] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": self.build_number,
            "depends": list(self.depends),
            "constrains": list(self.constrains),
            "subdir": self.subdir,
            "arch": None if self.subdir == "noarch" else {"64": "x86_64"}.get(self.subdir[6:], self.subdir[6:]),
            "platform": None if self.subdir == "noarch" else "linux",
        }
        optional = {
            "noarch": self.noarch,
            "timestamp": self.timestamp,
            "license": self.license,
            "track_features": " ".join(self.track_features) or None,
            "python_site_packages_path": self.python_site_packages_path,
        }
        return index | {key: value for key, value in optional.items() if value is not None}

    def archive(self) -> bytes:
        """Return the archive's bytes."""
        if self.format == "tar.bz2":
            return bz2.compress(_tar([*self._info_members(), *self._members()]), 1)
        return _zip(
            {
                "metadata.json": _json({"conda_pkg_format_version": 2}),
                f"pkg-{self.stem}.tar.zst": _zstd(_tar(self._members())),
                f"info-{self.stem}.tar.zst": _zstd(_tar(self._info_members())),
            }
        )

    def record(self, archive: bytes) -> dict[str, object]:
        """Return the package's entry in `repodata.json`."""
        record = self.index_json() | {
            "md5": hashlib.md5(archive).hexdigest(),
            "sha256": hashlib.sha256(archive).hexdigest(),
            "size": len(archive),
        }
        if self.purls is not None:
            record["purls"] = list(self.purls)
        return record

    def _members(self) -> list[tuple[tarfile.TarInfo, bytes]]:
        honest = [item.member(path) for path, item in sorted(self.files.items())]
        return honest + [member.member() for member in self.extra if member.section == "pkg"]

    def _info_members(self) -> list[tuple[tarfile.TarInfo, bytes]]:
        paths = [item.described(path) for path, item in sorted(self.files.items())]
        paths += [File(b"").described(path) for path in self.undeclared]
        documents: dict[str, bytes] = {
            "info/about.json": _json({"summary": f"{self.name}, made by the tests"}),
            "info/files": "".join(f"{path}\n" for path in sorted(self.files)).encode(),
            "info/index.json": _json(self.index_json()),
            "info/paths.json": _json({"paths": paths, "paths_version": 1}),
        }
        if self.noarch == "python":
            noarch = {"type": "python", "entry_points": list(self.entry_points)}
            documents["info/link.json"] = _json({"noarch": noarch, "package_metadata_version": 1})
        members = [File(data).member(path) for path, data in sorted(documents.items())]
        return members + [member.member() for member in self.extra if member.section == "info"]


def _member(name: str, kind: bytes, mode: int, *, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size, info.mtime = kind, mode, target, size, _TIME
    return info


def _tar(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode()
