"""References to images of registries: what `docker://rockylinux:9` stands for.

The grammar and the defaults are those of github.com/distribution/reference: the first part is a registry if it has a
dot or a port or is `localhost`, else all of it is an image of Docker Hub; without a tag it is `latest`.
"""

from __future__ import annotations

import re

from msgspec import Struct

SCHEME = "docker://"
HUB = "docker.io"
_HUB_SERVER = "registry-1.docker.io"
_DEFAULT_TAG = "latest"
_LONGEST_NAME = 255

# Patterns are compiled where they are used first: few specs name an image of a registry.
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:([0-9a-f]{64})"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_SERVER = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_LOOPBACK = r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?"


class BadReference(Exception):
    """A text that names no image of a registry; the message says why, after the text itself."""


class ImageReference(Struct, frozen=True):
    """An image of a registry. `written` is the text of the spec; `digest` is of a manifest, 64 hexadecimal digits.

    With a digest the tag says nothing.
    """

    written: str
    registry: str
    name: str
    tag: str
    digest: str | None = None

    @property
    def url(self) -> str:
        """The root of the registry's API for this image: https, but http for a registry of this machine."""
        server = _HUB_SERVER if self.registry == HUB else self.registry
        scheme = "http" if re.fullmatch(_LOOPBACK, server) else "https"
        return f"{scheme}://{server}/v2/{self.name}"

    @property
    def image(self) -> str:
        """The image without tag and digest, as in `docker.io/library/debian`."""
        return f"{self.registry}/{self.name}"


def is_reference(image: str) -> bool:
    """Say whether `image` in a spec is meant to be one of a registry."""
    return image.startswith(SCHEME)


def parse_reference(text: str) -> ImageReference:
    """Return what `docker://[REGISTRY/]NAME[:TAG][@sha256:…]` names. Raises `BadReference`."""
    rest, at, digest = text.removeprefix(SCHEME).partition("@")
    found = re.fullmatch(_DIGEST, digest)
    if at and found is None:
        raise BadReference("has no digest behind the '@': that is 'sha256:' and 64 lower case hexadecimal digits")
    registry, name = _split(rest)
    name, colon, tag = name.partition(":")
    if not re.fullmatch(_SERVER, registry):
        raise BadReference(f"names no registry: {registry!r} is no host name, with or without a port")
    if len(name) > _LONGEST_NAME or not all(re.fullmatch(_PART, part) for part in name.split("/")):
        raise BadReference(
            f"names no image: {name!r} is not made of lower case letters and digits, with single separators in between"
        )
    if colon and not re.fullmatch(_TAG, tag):
        raise BadReference(f"names no image: {tag!r} is no tag")
    # Docker Hub keeps its own images there.
    official = registry == HUB and "/" not in name
    return ImageReference(
        text,
        registry,
        f"library/{name}" if official else name,
        tag or _DEFAULT_TAG,
        None if found is None else found[1],
    )


def _split(rest: str) -> tuple[str, str]:
    """Return the registry, and the name with its tag."""
    first, slash, name = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        # Docker Hub has gone by three names.
        return HUB if first in (HUB, "index.docker.io", _HUB_SERVER) else first, name
    return HUB, rest
