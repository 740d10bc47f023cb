"""A channel: a directory of subdirs, each with archives and an index of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import zstandard

from tests.channel.package import CondaPackage

SUBDIRS = ("linux-64", "linux-aarch64", "noarch")


class Channel:
    """A conda channel below `root`: `Channel(root).add(package).index()`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._records: dict[str, dict[str, dict[str, object]]] = defaultdict(dict)

    @property
    def url(self) -> str:
        """The channel as a file:// URL."""
        return self.root.resolve().as_uri()

    def add(self, *packages: CondaPackage) -> Channel:
        """Write the archives. They are in no index before `index`."""
        for package in packages:
            archive = package.archive()
            path = self.root / package.subdir / package.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive)
            self._records[package.subdir][package.file_name] = package.record(archive)
        return self

    def drop(self, subdir: str, file_names: Iterable[str]) -> Channel:
        """Take packages out of the next index; the archives stay."""
        for name in file_names:
            del self._records[subdir][name]
        return self

    def index(self) -> Channel:
        """Write `repodata.json` and `repodata.json.zst` of every subdir."""
        for subdir in SUBDIRS:
            records = self._records[subdir]
            document = {
                "info": {"subdir": subdir},
                "packages": {name: r for name, r in sorted(records.items()) if name.endswith(".tar.bz2")},
                "packages.conda": {name: r for name, r in sorted(records.items()) if name.endswith(".conda")},
                "repodata_version": 1,
            }
            data = json.dumps(document, indent=1, sort_keys=True).encode()
            folder = self.root / subdir
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "repodata.json").write_bytes(data)
            (folder / "repodata.json.zst").write_bytes(zstandard.ZstdCompressor().compress(data))
        return self
