"""Credentials for a registry: the `auths` of Docker's config.json, which podman and skopeo write too.

    {"auths": {"registry.example.org": {"auth": "dXNlcjpwYXNzd29yZA=="}}}

Programs that keep credentials elsewhere (`credsStore`, `credHelpers`) are not asked: they want a desktop.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tykky.guard.regular import read_regular
from tykky.spec.image_reference import HUB

# What Docker calls itself in its own file.
_NAMES_OF_HUB = ("https://index.docker.io/v1/", "index.docker.io", HUB, "registry-1.docker.io")
_LARGEST = 1 << 20  # bytes


def file_of(environ: Mapping[str, str]) -> Path | None:
    """Return where Docker's config.json is, or would be."""
    if directory := environ.get("DOCKER_CONFIG"):
        return Path(directory) / "config.json"
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - may stay '~'
    return Path(home) / ".docker" / "config.json" if home.startswith("/") else None


def basic_credentials(registry: str, environ: Mapping[str, str]) -> str | None:
    """Return user and password for a registry, encoded as HTTP's Basic scheme wants them; None if there are none."""
    file = file_of(environ)
    try:
        auths = json.loads(read_regular(file, _LARGEST))["auths"] if file is not None else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    names = _NAMES_OF_HUB if registry == HUB else (registry, f"https://{registry}", f"https://{registry}/")
    for name in names:
        entry = auths.get(name) if isinstance(auths, dict) else None
        if isinstance(entry, dict) and (token := _encoded(entry)) is not None:
            return token
    return None


def _encoded(entry: Mapping[str, object]) -> str | None:
    auth, user, password = entry.get("auth"), entry.get("username"), entry.get("password")
    if isinstance(auth, str) and auth:
        try:
            pair = base64.b64decode(auth, validate=True).rstrip(b"\0")
        except binascii.Error:
            return None
    elif isinstance(user, str) and isinstance(password, str):
        pair = f"{user}:{password}".encode()
    else:
        return None
    return base64.b64encode(pair).decode() if b":" in pair else None
