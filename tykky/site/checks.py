"""What of a site.toml the types of its model do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tykky.site.model import Settings
from tykky.site.owners import UnknownUser, uid_of
from tykky.toml import KeyPath

_URL = re.compile(r"(?:https?|file)://\S+")


def wrong(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key and the message of everything that is wrong in one file."""
    yield from _mirrors(settings)
    yield from _owners(settings)
    yield from _python(settings)
    yield from _twice(settings)


def _owners(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    for index, owner in enumerate(settings.trust.owners):
        try:
            uid_of(owner)
        except UnknownUser:
            yield ("trust", "owners", index), f"no user {owner!r} is known on this host"


def _mirrors(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    for url, mirror in settings.mirrors.items():
        for text in (url, mirror):
            if not _URL.fullmatch(text):
                yield ("mirrors", url), f"{text!r} is not a URL of https, http or file"


def _python(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    downloads = settings.python.downloads
    if downloads is not None and not (_URL.fullmatch(downloads) or downloads.startswith("/")):
        yield ("python", "downloads"), f"{downloads!r} is neither a URL of https, http or file nor an absolute path"


def _twice(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    lists: dict[KeyPath, Sequence[object]] = {
        ("runtime", "backends"): settings.runtime.backends,
        ("stores",): settings.stores,
        ("trust", "owners"): settings.trust.owners,
    }
    for key, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (*key, index), f"{value!r} is listed twice"
