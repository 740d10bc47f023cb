"""One artifact from its URL into a file, checked. For what uv does not fetch for us: sources that we build.

Credentials come from the URL's variables (`${NAME}`), from the URL itself or from netrc, as with uv; proxies and
certificates from the usual variables.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import http.client
import netrc
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from tykky.access import Access
from tykky.digests import file_sha256
from tykky.errors import ArtifactError, FetchError
from tykky.resolve.pypi.trouble import answered, not_reached, offline_missing
from tykky.resolve.pypi.urls import expanded, file_name, file_path, redacted, without_credentials

_T = TypeVar("_T")

_CHUNK = 1 << 20
_RETRIES = 3
_TIMEOUT = 30.0  # seconds without a byte
_NOT_THE_NETWORK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_PASSING = (408, 429, 500, 502, 503, 504)  # worth a second try


def fetch_artifact(url: str, sha256: str, access: Access, environ: Mapping[str, str]) -> Path:
    """Return the file that `url` names, from the cache or downloaded into it; its sha256 is `sha256`.

    Raises `FetchError` if it cannot be had and `ArtifactError` if it is not what the lock says; then no file is kept.
    """
    local = file_path(url)
    if local is not None:
        if not local.is_file():
            raise FetchError(f"{local} does not exist", hint="the lock names this file; put it back or lock again")
        require_sha256(local, sha256)
        return local
    kept = access.artifact(sha256, file_name(url))
    if kept.is_file():
        require_sha256(kept, sha256, remove=True)
        return kept
    if access.offline:
        raise offline_missing(redacted(url))
    with filling(kept) as part:
        download(access.mirrored(url), part, environ)
        require_sha256(part, sha256, name=redacted(url))
    return kept


@contextlib.contextmanager
def filling(place: Path) -> Iterator[Path]:
    """Give a file of our own beside `place`; it gets that name if the block ends well, and is gone if not."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=place.parent, prefix=".part-", delete=False) as file:
        part = Path(file.name)
    try:
        yield part
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def require_sha256(path: Path, expected: str, *, name: str | None = None, remove: bool = False) -> None:
    """Raise `ArtifactError` unless the file's sha256 is `expected`. `remove` deletes a file that is wrong."""
    actual = file_sha256(path)
    if actual == expected:
        return
    if remove:
        path.unlink(missing_ok=True)
    raise ArtifactError(
        f"{name or path} is not what the lock says: expected sha256 {expected}, got {actual}",
        hint="if the change is meant, run 'tykky lock --upgrade'; otherwise the index or a mirror gives a wrong file",
    )


def download(
    url: str, target: Path, environ: Mapping[str, str], on_bytes: Callable[[int], object] = lambda count: None
) -> None:
    """Write what `url` gives to `target`. Tries again where that may help.

    `on_bytes` hears how many more bytes have come (fewer than none where it starts again). Raises `FetchError`, or
    `OSError` if `target` cannot be written.
    """

    def rolled_back() -> None:
        with contextlib.suppress(FileNotFoundError):
            on_bytes(-target.stat().st_size)

    shown = redacted(url)
    retried(
        lambda: _download(url, target, environ, on_bytes),
        shown,
        environ,
        lambda code, tries: answered(shown, status_of(code), tries=tries),
        target,
        rolled_back,
    )


def retried(
    once: Callable[[], _T],
    url: str,
    environ: Mapping[str, str],
    refused: Callable[[int, int], FetchError],
    target: Path | None = None,
    again: Callable[[], object] = lambda: None,
) -> _T:
    """Return what `once` returns; after `again`, try again where that may help. `url` is as a message shows it.

    Raises what `refused` gives for a status and the number of tries, another `FetchError` if nothing answers, or
    `OSError` if `target` cannot be written.
    """
    retries = int(environ.get("UV_HTTP_RETRIES", _RETRIES))
    for attempt in range(retries + 1):
        try:
            return once()
        except urllib.error.HTTPError as error:
            if error.code not in _PASSING or attempt == retries:
                raise refused(error.code, attempt + 1) from None
        except (OSError, http.client.HTTPException) as error:
            if target is not None and isinstance(error, OSError) and error.errno in _NOT_THE_NETWORK:
                error.filename = os.fspath(target)
                raise
            if attempt == retries:
                raise not_reached(url, _why_not_reached(error), environ, tries=attempt + 1) from None
        again()
        time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable")


def answers(url: str, environ: Mapping[str, str]) -> tuple[str | None, FetchError | None]:
    """Return what a page's server says, as a status (`404 Not Found`), and the error if that is no answer.

    A page that is there, or that a working server does not have, is no error.
    """
    try:
        with NamedTemporaryFile(prefix="tykky-") as file:
            _download(url, Path(file.name), environ, lambda count: None)
    except urllib.error.HTTPError as error:
        status = status_of(error.code)
        return status, None if error.code in (404, 410) else answered(redacted(url), status)
    except (OSError, http.client.HTTPException) as error:
        return None, not_reached(redacted(url), _why_not_reached(error), environ)
    return "200 OK", None


def _download(url: str, target: Path, environ: Mapping[str, str], on_bytes: Callable[[int], object]) -> None:
    request = _request(expanded(url, environ), environ)
    with opener(environ).open(request, timeout=timeout_of(environ)) as answer, target.open("wb") as file:
        expected = answer.headers.get("Content-Length")
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            on_bytes(len(chunk))
        if expected is not None and file.tell() != int(expected):
            raise http.client.IncompleteRead(b"", int(expected) - file.tell())


def status_of(code: int) -> str:
    """Return a status in words: `404 Not Found`."""
    return f"{code} {http.client.responses.get(code, '')}".strip()


def timeout_of(environ: Mapping[str, str]) -> float:
    """Return how many seconds may pass without a byte."""
    return float(environ.get("UV_HTTP_TIMEOUT", _TIMEOUT))


def opener(environ: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """Return what sends requests, with the site's certificates."""
    # urllib finds the proxies itself, in the process's variables.
    context = ssl.create_default_context(cafile=environ.get("SSL_CERT_FILE") or None)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))


def _request(url: str, environ: Mapping[str, str]) -> urllib.request.Request:
    parts = urlsplit(url)
    request = urllib.request.Request(without_credentials(url), headers={"User-Agent": "tykky"})  # noqa: S310
    if (pair := _credentials(parts.username, parts.password, parts.hostname or "", environ)) is not None:
        token = base64.b64encode(":".join(pair).encode()).decode()
        # Not carried over to another host by a redirect.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _credentials(
    user: str | None, password: str | None, host: str, environ: Mapping[str, str]
) -> tuple[str, str] | None:
    if user is not None:
        return unquote(user), unquote(password or "")
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - a string is what netrc takes
    file = environ.get("NETRC") or os.path.join(home, ".netrc")  # noqa: PTH118
    try:
        found = netrc.netrc(file).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return None if found is None else (found[0], found[2] or "")


def _why_not_reached(error: OSError | http.client.HTTPException) -> str:
    """Return the reason in words that `not_reached` knows."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "operation timed out"
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "certificate"
    if isinstance(reason, http.client.IncompleteRead | http.client.RemoteDisconnected | ConnectionResetError):
        return "connection closed"
    if getattr(reason, "errno", 0) in (-2, -3, -5):  # getaddrinfo's own numbers
        return "dns error"
    return str(reason)


def sha256_of(url: str, access: Access, environ: Mapping[str, str]) -> tuple[str, int]:
    """Return sha256 and size (bytes) of what `url` gives, for an index that does not tell them."""
    with NamedTemporaryFile(prefix="tykky-") as file:
        download(access.mirrored(url), Path(file.name), environ)
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
