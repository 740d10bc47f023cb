"""Conda requirements (MatchSpec strings), and the channels that some of them name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tykky.access import Access
from tykky.errors import ResolveError
from tykky.resolve.conda.channels import Routes, channel_url

if TYPE_CHECKING:
    from rattler import MatchSpec


def parsed(text: str) -> MatchSpec:
    """Return the requirement. Raises `ResolveError` for what is none."""
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    try:
        return MatchSpec(text, strict=False)
    except InvalidMatchSpecError as error:
        raise ResolveError(
            f"{text!r} is no conda requirement",
            hint="write a version like '>=3.9', '3.12.*' or '1.2.3', and a build like '*mpi*'",
            output=str(error),
        ) from None


def routes_of(channels: Sequence[str], requirements: Iterable[str], access: Access) -> Routes:
    """Return the routes to the channels, and last to those that only a requirement names."""
    named = (parsed(text).channel for text in requirements)
    return Routes.of((*channels, *(channel.base_url for channel in named if channel is not None)), access)


def as_asked(text: str, routes: Routes) -> str:
    """Return the requirement, with its channel (if it names one) as that is asked."""
    spec = parsed(text)
    if spec.channel is None:
        return text
    route = routes.route(channel_url(spec.channel.base_url))
    assert route is not None
    words = [f"{route.asked}::{spec.name.normalized}"]
    if spec.version is not None or spec.build is not None:
        words.append(spec.version or "*")
    if spec.build is not None:
        words.append(str(spec.build))
    return " ".join(words)
