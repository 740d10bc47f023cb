"""URLs as they may be written down: without credentials, and with paths that hold on another host."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")


def redacted(text: str) -> str:
    """Return `text` with the credentials of every URL in it replaced by `***`."""
    return _USERINFO.sub("***@", text)


def without_credentials(url: str) -> str:
    """Return a URL as a lock may hold it.

    An ssh user name stays: it is part of the address (`git@`), not a secret. A password never stays.
    """
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    user, _, place = parts.netloc.rpartition("@")
    if parts.scheme.endswith("ssh"):
        place = f"{user.partition(':')[0]}@{place}"
    return urlunsplit(SplitResult(parts.scheme, place, parts.path, parts.query, parts.fragment))


def is_url(text: str) -> bool:
    """Say whether `text` starts with a scheme (`https://…`, `git+ssh://…`, `file:///…`)."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None or text.startswith("file:")


def expanded(url: str, environ: Mapping[str, str] | None = None) -> str:
    """Return a URL with `${NAME}` replaced from the environment, as pip and uv do it in requirement files.

    A variable that is not set stays as it is written.
    """
    variables = os.environ if environ is None else environ
    return _VARIABLE.sub(lambda m: variables.get(m.group()[2:-1], m.group()), url)


def file_path(url: str) -> Path | None:
    """Return the path that a `file:` URL names, or None for any other URL."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    return Path(unquote(parts.path))  # what url2pathname does on POSIX, without importing all of http


def file_name(url: str) -> str:
    """Return the last part of a URL's or a path's path, unquoted: the name of the artifact."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def recorded_path(path: Path, base: Path, portable: frozenset[Path]) -> str | None:
    """Return how a lock in `base` names a local file: relative if it is below `base`, else None.

    Paths that the user typed as relative (`../lib`, in `portable`) are relative too, wherever they are.
    """
    real, root = path.resolve(), base.resolve()
    if real.is_relative_to(root) or real in portable:
        return Path(os.path.relpath(real, root)).as_posix()
    return None
