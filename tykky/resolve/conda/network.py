"""Asking servers: the one client, and its failures in the user's words.

The client has rattler's usual credentials (RATTLER_AUTH_FILE, ~/.rattler/credentials.json, the keyring, .netrc) and
honours HTTPS_PROXY; nothing else of the user's settings reaches it.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tykky import __version__
from tykky.errors import FetchError, ToolError
from tykky.resolve.conda.channels import redacted

if TYPE_CHECKING:
    from rattler import Client

Kind = Literal["missing", "refused-us", "server", "unreachable", "timeout", "damaged", "uncached", "other"]

_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3})(?: ([^)]*))?\)")
_NETWORK_HINT = (
    "check the network and HTTPS_PROXY; where there is no network, use --offline with a warm cache "
    "or set a mirror in site.toml"
)
_HINTS: dict[Kind, str] = {
    "missing": "check its name; a server may also answer 404 where credentials are missing",
    "refused-us": "credentials come from rattler's file: RATTLER_AUTH_FILE or ~/.rattler/credentials.json",
    "server": "try again later, or set a mirror in site.toml",
    "unreachable": _NETWORK_HINT,
    "timeout": _NETWORK_HINT,
    "damaged": "try again; if it stays so, the server or a proxy on the way is broken",
    "uncached": "run the same command once without --offline",
    "other": _NETWORK_HINT,
}
# Seconds for one request, its body included: a big repodata.json over a slow line must fit.
REQUEST_TIMEOUT = 300
_CONNECT_TIMEOUT = 5.0  # seconds, for finding out why a connection failed


def client(timeout: int | None = REQUEST_TIMEOUT) -> Client:
    """Return a client with rattler's usual credentials. `timeout` is in seconds, for one whole request.

    Raises `ToolError` if the credentials' file cannot be read.
    """
    from rattler.exceptions import AuthenticationStorageError
    from rattler.networking import AuthenticationMiddleware, Client, GCSMiddleware, OciMiddleware, S3Middleware

    try:
        return Client(
            [AuthenticationMiddleware(), OciMiddleware(), GCSMiddleware(), S3Middleware()],
            user_agent=f"tykky/{__version__}",
            timeout=timeout,
        )
    except AuthenticationStorageError as error:
        raise ToolError(
            "the file with credentials for conda channels cannot be read",
            hint="it is the file RATTLER_AUTH_FILE names, or ~/.rattler/credentials.json",
            output=str(error),
        ) from None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed: its kind, in words, and whether trying again may help."""

    kind: Kind
    words: str

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.kind in ("server", "damaged")

    @property
    def hint(self) -> str:
        """What to do about it."""
        return _HINTS[self.kind]


# In this order: the first pattern that is found in rattler's message decides.
_PATTERNS: tuple[tuple[str, Failure], ...] = (
    (r"no usable repodata cache|offline", Failure("uncached", "it is not in the cache")),
    (r"dns error|failed to lookup address", Failure("unreachable", "its host name is not known")),
    (r"[Cc]onnection refused", Failure("unreachable", "connection refused")),
    (r"certificate|TLS|SSL", Failure("unreachable", "its certificate is not trusted")),
    (r"proxy|tunnel", Failure("unreachable", "the proxy does not let it through")),
    (r"timed out|deadline", Failure("timeout", "no answer in time")),
    (
        r"decoding response body|before message completed|[Cc]onnection reset|[Bb]roken pipe|end of file|"
        r"unexpected EOF|bytes remaining|[Cc]orrupt|expected value",
        Failure("damaged", "the answer was cut short or damaged"),
    ),
    (r"No such file or directory|could not find subdir", Failure("missing", "it is not there")),
)


def failure_of(message: str) -> Failure:
    """Return what rattler's message means."""
    status = _STATUS.search(message)
    if status is not None:
        code = int(status[1])
        words = f"HTTP {code} {status[2]}" if status[2] else f"HTTP {code}"
        if code in (401, 403, 407):
            return Failure("refused-us", words)
        return Failure("server" if code >= 500 or code == 429 else "missing", words)
    for pattern, failure in _PATTERNS:
        if re.search(pattern, message):
            return failure
    return Failure("other", "the request failed")


def fetch_error(what: str, url: str, message: str) -> FetchError:
    """Return the error for `what` (`channel conda-forge`) that could not be had from `url`."""
    failure = failure_of(message)
    if failure.kind == "other":
        failure = _diagnosed(url) or failure
    proxy = _proxy(url)
    through = "" if proxy is None or proxy in failure.words else f" through the proxy {proxy}"
    if failure.kind not in ("unreachable", "timeout"):
        through = ""
    return FetchError(
        f"{what} cannot be read{through}: {failure.words}", hint=failure.hint, output=redacted(message.strip())
    )


def _diagnosed(url: str) -> Failure | None:
    """Find out why no connection to `url` came about; the client tells the gateway, but not downloads."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return None
    proxy = _proxy(url)
    if proxy is not None:
        return Failure("unreachable", f"the proxy {proxy} does not let it through")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_TIMEOUT).close()
    except OSError as error:
        return _why_no_connection(error)
    return None


def _proxy(url: str) -> str | None:
    """Return the proxy that stands before `url`, without credentials."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    return redacted(proxy) if proxy and not proxy_bypass(parts.hostname or "") else None


def _why_no_connection(error: OSError) -> Failure:
    if isinstance(error, socket.gaierror):
        return Failure("unreachable", "its host name is not known")
    if isinstance(error, TimeoutError):
        return Failure("timeout", "no answer in time")
    return Failure("unreachable", (error.strerror or str(error)).lower())
