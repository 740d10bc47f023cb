"""What of a site.toml the types of its model do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tykky.site.model import Settings
from tykky.site.owners import UnknownUser, uid_of

if TYPE_CHECKING:
    from tykky.toml.positions import KeyPath

STRIPE_UNIT = 64 << 10  # bytes; Lustre's stripes are multiples of it (lfs-setstripe(1))
_UNITS = {"k": 10, "M": 20, "G": 30}
_URL = re.compile(r"(?:https?|file)://\S+")


def wrong(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key and the message of everything that is wrong in one file."""
    yield from _mirrors(settings)
    yield from _owners(settings)
    yield from _python(settings)
    yield from _striping(settings)
    yield from _init(settings)
    yield from _twice(settings)


def _owners(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    for index, owner in enumerate(settings.trust.owners):
        try:
            uid_of(owner)
        except UnknownUser:
            yield (
                ("trust", "owners", index),
                f"no user {owner!r} is known on this host; write a number",
            )


def bytes_of(size: str) -> int:
    """Return the bytes of `64k`, `4M` or `1G`."""
    return int(size[:-1]) << _UNITS[size[-1]] if size[-1] in _UNITS else int(size)


def _mirrors(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    for url, mirror in settings.mirrors.items():
        for text in (url, mirror):
            if not _URL.fullmatch(text):
                yield ("mirrors", url), f"{text!r} is not a URL of https, http or file"


def _striping(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    table = settings.striping
    if table.count == 0:
        yield ("striping", "count"), "0 targets can hold no image"
    for key, value in (("size", table.size), ("above", table.above)):
        if value is not None and bytes_of(value) % STRIPE_UNIT:
            yield ("striping", key), f"{value!r} is no multiple of 64k"
    if table.size == "0":
        yield ("striping", "size"), "'0' is no size"
    elif table.count is not None and table.size is not None and bytes_of(table.above) % bytes_of(table.size):
        yield ("striping", "above"), f"{table.above!r} is no multiple of the size {table.size!r}"


def _init(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    urls: list[tuple[KeyPath, str]] = [
        (("init", "extra-index-url", index), url) for index, url in enumerate(settings.init.extra_index_url)
    ]
    if settings.init.index_url is not None:
        urls.insert(0, (("init", "index-url"), settings.init.index_url))
    for key, url in urls:
        if not _URL.fullmatch(url):
            yield key, f"{url!r} is not a URL of https, http or file"


def _python(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    downloads = settings.python.downloads
    if downloads is not None and not (_URL.fullmatch(downloads) or downloads.startswith("/")):
        yield ("python", "downloads"), f"{downloads!r} is neither a URL of https, http or file nor an absolute path"


def _twice(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    lists: dict[KeyPath, Sequence[object]] = {
        ("runtime", "backends"): settings.runtime.backends,
        ("stores",): settings.stores,
        ("trust", "owners"): settings.trust.owners,
        ("runtime", "bind"): settings.runtime.bind,
        ("runtime", "no-bind"): settings.runtime.no_bind,
        ("init", "channels"): settings.init.channels,
        ("init", "extra-index-url"): settings.init.extra_index_url,
    }
    for key, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (*key, index), f"{value!r} is listed twice"
