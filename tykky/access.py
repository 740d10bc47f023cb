"""How artifacts and indexes are reached: the cache, mirrors, and whether the network may be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field


class Access(Struct, frozen=True):
    """Where to ask and where to keep.

    `mirrors` maps a URL prefix to the URL prefix to use in its place; locks always hold the left side, so that
    they read the same on every site. `cache` is Tykky's cache directory.
    """

    cache: Path
    offline: bool = False
    mirrors: Mapping[str, str] = field(default_factory=dict)

    def mirrored(self, url: str) -> str:
        """Return the URL to ask for `url`: the longest matching prefix is replaced by its mirror."""
        return _replace_prefix(url, self.mirrors)

    def canonical(self, url: str) -> str:
        """Return the URL to record for one that a mirror gave: the inverse of `mirrored`."""
        return _replace_prefix(url, {mirror: original for original, mirror in self.mirrors.items()})

    def artifact(self, sha256: str, name: str) -> Path:
        """Return where the cache keeps a file by its sha256: it has that name only if it was checked."""
        return self.cache / "artifacts" / sha256[:2] / sha256 / name


def _replace_prefix(url: str, table: Mapping[str, str]) -> str:
    """Replace the longest key of `table` that `url` starts with, at a path boundary."""
    matches = [key for key in table if url == key.rstrip("/") or url.startswith(key.rstrip("/") + "/")]
    if not matches:
        return url
    longest = max(matches, key=len)
    return table[longest].rstrip("/") + url[len(longest.rstrip("/")) :]
