"""Channels: from what a spec says to the one URL a lock holds, and to the URL that is really asked.

A channel is mirrored as a whole, never one of its subdirs alone. Credentials in a URL are used for asking and are
in no lock, no cache key and no message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from tykky.access import Access
from tykky.errors import ResolveError

ALIAS = "https://conda.anaconda.org"

_TOKEN = re.compile(r"/t/[^/]+(?=/)")
_SECRETS = re.compile(r"(?<=://)[^/@\s]+@|(?<=/t/)[^/\s]+(?=/)")


def channel_url(channel: str) -> str:
    """Return the canonical URL of a channel: no credentials, no trailing slash.

    `conda-forge` is `https://conda.anaconda.org/conda-forge`; an absolute path is a file:// URL. Raises
    `ResolveError` for what names no channel.
    """
    return without_credentials(_given_url(channel))


def _given_url(channel: str) -> str:
    name = channel.strip()
    if name.startswith("/"):
        return "file://" + quote(name.rstrip("/"))
    if "://" in name:
        parts = urlsplit(name)
        if parts.scheme == "file" or parts.netloc:
            return name.rstrip("/")
    elif name and not name.startswith(".") and not re.search(r"\s", name):
        return f"{ALIAS}/{name.strip('/')}"
    raise ResolveError(
        f"{redacted(channel)!r} is no conda channel",
        hint="a channel is a name (conda-forge), a URL, or an absolute path",
    )


def without_credentials(url: str) -> str:
    """Return the URL without user, password and `/t/<token>` part."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path if parts.scheme == "file" else _TOKEN.sub("", parts.path)
    # urlunsplit writes file:/path for an empty host; conda URLs have three slashes.
    return f"file://{path}" if parts.scheme == "file" else urlunsplit(parts._replace(netloc=host, path=path))


def redacted(text: str) -> str:
    """Return a message with every credential in a URL replaced by `***`."""
    return _SECRETS.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)


@dataclass(frozen=True, slots=True)
class Route:
    """One channel: `canonical` stands in the lock, `asked` is the URL requests go to (its mirror, perhaps)."""

    canonical: str
    asked: str

    @property
    def shown(self) -> str:
        """What a message says: the channel, and its mirror if it has one."""
        asked = without_credentials(self.asked)
        return self.canonical if asked == self.canonical else f"{self.canonical} (mirror {asked})"


@dataclass(frozen=True, slots=True)
class Routes:
    """The channels of one question, in order of priority."""

    routes: tuple[Route, ...]

    @classmethod
    def of(cls, channels: Iterable[str], access: Access) -> Routes:
        """Return the routes to `channels`; a channel named twice counts once."""
        found: dict[str, Route] = {}
        for channel in channels:
            given, canonical = _given_url(channel), channel_url(channel)
            mirror = access.mirrored(canonical)
            found.setdefault(canonical, Route(canonical, given if mirror == canonical else mirror.rstrip("/")))
        return cls(tuple(found.values()))

    def route(self, canonical: str) -> Route | None:
        """Return the route of a channel by its canonical URL."""
        return next((route for route in self.routes if route.canonical == canonical), None)

    def asked_at(self, text: str) -> Route | None:
        """Return the route whose asked URL is part of a message, the longest if several are."""
        found = [r for r in self.routes if r.asked in text or without_credentials(r.asked) in text]
        return max(found, key=lambda route: len(route.asked), default=None)

    def canonical(self, url: str) -> str:
        """Return the URL to record for one that was asked."""
        for route in sorted(self.routes, key=lambda route: -len(route.asked)):
            if url == route.asked or url.startswith(route.asked + "/"):
                return route.canonical + url[len(route.asked) :]
        return without_credentials(url)

    def asked(self, url: str) -> str:
        """Return the URL to ask for a recorded one: the inverse of `canonical`."""
        for route in sorted(self.routes, key=lambda route: -len(route.canonical)):
            if url == route.canonical or url.startswith(route.canonical + "/"):
                return route.asked + url[len(route.canonical) :]
        return url
