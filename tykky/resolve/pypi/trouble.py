"""Failures of resolvers in our words: what each means for the user, and what to do next."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from tykky.access import Access
from tykky.errors import FetchError, ResolveError
from tykky.process import tail
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.provided import Stub
from tykky.resolve.pypi.question import DEFAULT_INDEX, requirement_name
from tykky.resolve.pypi.urls import redacted
from tykky.spec.names import canonical_name

CREDENTIALS_HINT = (
    "put them into ~/.netrc ('machine HOST login USER password TOKEN'), or write the index URL as "
    "'https://${INDEX_USER}:${INDEX_TOKEN}@host/…' and set both variables; the lock never holds them"
)
NETWORK_HINT = (
    "check the network and the proxy variables (HTTPS_PROXY, NO_PROXY); without a network use --offline, "
    "or name a mirror in site.toml"
)
_EXPLANATION_LINES = 15

_WHY = (
    ("operation timed out", "it did not answer in time"),
    ("connection refused", "the connection was refused"),
    ("dns error", "its name has no address"),
    ("connection closed", "the connection was closed"),
    ("connection reset", "the connection was closed"),
    ("certificate", "its TLS certificate is not trusted"),
    ("unsuccessful tunnel", "the proxy refused the connection"),
)


class Asked(Struct, frozen=True):
    """What was asked for, as far as an explanation needs it."""

    request: PypiRequest
    access: Access
    stubs: tuple[Stub, ...] = ()
    environ: Mapping[str, str] | None = None

    def indexes(self) -> str:
        """The indexes that were asked, for a sentence, without credentials."""
        request = self.request
        return ", ".join(redacted(u) for u in (request.index_url or DEFAULT_INDEX, *request.extra_index_url))


def unsatisfiable(asked: Asked, text: str, advice: Iterable[str]) -> ResolveError:
    """Return the error for a request that nothing satisfies. `text` is the resolver's own explanation."""
    request = asked.request
    named = [r for r in (*request.requirements, *request.constraints) if _mentions(text, requirement_name(r))]
    what = f": {', '.join(map(repr, named))}" if named else ""
    return ResolveError(
        f"no PyPI packages for {request.platform} with Python {request.python} satisfy the requirements{what}",
        output=text,
        hint="; ".join((*_provided_advice(asked, text), *advice))
        or "relax one of the requirements that the explanation names",
    )


def _provided_advice(asked: Asked, text: str) -> Iterable[str]:
    lent = {canonical_name(p.name) for p in asked.request.provided if p.kind == "pypi"}
    for stub in asked.stubs:
        if _mentions(text, stub.name) and stub.name in lent:
            yield (
                f"{stub.name} {stub.version} is the extended environment's: relax what needs another version, "
                'or write extends-policy = "upgrade" into [environment]'
            )
        elif _mentions(text, stub.name):
            yield (
                f"{stub.name} {stub.version} comes from conda: relax what needs another version, "
                f"or change {stub.name} in [conda.dependencies]"
            )


def python_advice(package: str, needs: str) -> str:
    """Return the advice for a package (`name==version`) that this Python is too old or too new for."""
    return f"{package} needs Python {needs}: choose another Python or another version of it"


def unknown(names: Iterable[str], asked: Asked, text: str) -> ResolveError:
    """Return the error for packages that no index has. `text` says who asks for those the request does not name."""
    names = list(names)
    return ResolveError(
        f"{', '.join(names)} is not on {asked.indexes()}",
        output=None if set(names) <= _required_names(asked.request) else text,
        hint="check the spelling, or name the index that has it under index-url, extra-index-url or find-links",
    )


def _required_names(request: PypiRequest) -> set[str]:
    return {name for r in request.requirements if (name := requirement_name(r)) is not None}


def build_failed(what: str, said: str, asked: Asked) -> ResolveError:
    """Return the error for a source (`name version`) whose backend cannot tell its metadata."""
    return ResolveError(
        f"{what} has no wheel that fits, and asking its source for metadata failed",
        output=tail(said),
        hint=f"choose a version with a wheel for {asked.request.platform} and Python {asked.request.python}, "
        "or install what its build needs",
    )


def git_failed(url: str, reference: str | None, said: str) -> FetchError:
    """Return the error for a repository, or a branch, tag or commit of it, that git cannot get."""
    at = "" if reference is None else f" at {reference}"
    return FetchError(
        f"{url if reference is None else url.removesuffix(f'@{reference}')} cannot be fetched{at}",
        output=tail(said),
        hint="check the address and the branch, tag or commit; git uses your own keys and credential helpers",
    )


def refused(url: str, status: str) -> FetchError:
    """Return the error for an index that wants other credentials. `status` is `401 Unauthorized` or the like."""
    return FetchError(f"{url} answered {status}: it wants other credentials", hint=CREDENTIALS_HINT)


def answered(url: str, status: str, *, tries: int = 1) -> FetchError:
    """Return the error for a server that answered with a status such as `404 Not Found`. `url` has no credentials."""
    return FetchError(f"{url} answered {status}{_times(tries)}", hint=_status_hint(status))


def _status_hint(status: str) -> str:
    if status.startswith(("401", "403")):
        return CREDENTIALS_HINT
    if status.startswith("404"):
        return "check the URL"
    return "the server is unwell: try again later, or name a mirror in site.toml"


def not_reached(url: str, said: str, environ: Mapping[str, str] | None, *, tries: int = 1) -> FetchError:
    """Return the error for a server that gave no answer. `said` is what the failing program knows of the reason."""
    text = said.lower()
    why = next((words for sign, words in _WHY if sign in text), said.splitlines()[-1] if said else "no answer")
    proxy = _proxy(url, environ)
    through = f" through the proxy {proxy}" if proxy else ""
    if "timed out" in text:
        hint = "try again, or allow more time: UV_HTTP_TIMEOUT=120 (seconds)"
    elif "certificate" in text:
        hint = "name your site's certificates in SSL_CERT_FILE"
    else:
        hint = NETWORK_HINT
    return FetchError(f"{url} cannot be reached{through}: {why}{_times(tries)}", hint=hint)


def _proxy(url: str, environ: Mapping[str, str] | None) -> str | None:
    variables = os.environ if environ is None else environ
    scheme = url.partition(":")[0]
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
        if value := variables.get(name):
            return redacted(value)
    return None


def _times(tries: int) -> str:
    return f" ({tries} tries)" if tries > 1 else ""


def offline_missing(what: str) -> FetchError:
    """Return the error for something that only the network could give."""
    return FetchError(
        f"{what} is not in the cache, and --offline allows no network",
        hint="run the same command once without --offline; after that the cache answers",
    )


def shortened(text: str) -> str:
    """Return the lines of `text` that are not blank, at most 15: the first and the last ones."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > _EXPLANATION_LINES:
        left_out = len(lines) - _EXPLANATION_LINES + 1
        lines = [*lines[: _EXPLANATION_LINES - 3], f"… {left_out} more lines …", *lines[-2:]]
    return "\n".join(lines)


def one_line(text: str) -> str:
    """Return a message as our own are written: on one line, lower case, no final full stop."""
    joined = " ".join(text.split()).rstrip(".")
    return joined[:1].lower() + joined[1:]


def _mentions(text: str, name: str | None) -> bool:
    if name is None:
        return False
    return re.search(rf"(?<![\w.-]){re.escape(canonical_name(name))}(?![\w-]|\.\w)", text) is not None


def missing_extra(name: str, extra: str) -> str:
    """Return the warning for an extra of a package that conda provides."""
    return f"{name}[{extra}]: {name} comes from conda, so name what the extra needs in [conda.dependencies]"
