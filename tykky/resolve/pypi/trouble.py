"""uv's failures in our words: nothing satisfies the request, an index cannot be read, or an sdist does not build."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from tykky.errors import FetchError, ResolveError, TykkyError
from tykky.process import tail
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.provided import Stub
from tykky.resolve.pypi.question import DEFAULT_INDEX, requirement_name
from tykky.resolve.pypi.urls import redacted
from tykky.resolve.pypi.uv_report import UvReport

CREDENTIALS_HINT = (
    "put them into ~/.netrc ('machine HOST login USER password TOKEN'), or write the index URL as "
    "'https://${INDEX_USER}:${INDEX_TOKEN}@host/…' and set both variables; the lock never holds them"
)
NETWORK_HINT = (
    "check the network and the proxy variables (HTTPS_PROXY, NO_PROXY); without a network use --offline, "
    "or name a mirror in site.toml"
)
_EXPLANATION_LINES = 15

_NOT_FOUND = re.compile(r"(?P<name>\S+) was not found in the package registry")
_NOT_CACHED = re.compile(r"(?P<name>\S+) was not found in the cache|Network connectivity is disabled")
_REFUSED = re.compile(r"index(?: URL)? \((?P<url>[^)]+)\).*?\b(?P<status>401|403) (?P<words>\w+)", re.I)
_FETCH = re.compile(r"[Ff]ailed to (?:fetch|download):? `?(?P<url>[a-z+]+://[^\s`]+)`?")
_URL = re.compile(r"[a-z][a-z+]*://[^\s`)]+")
_STATUS = re.compile(r"HTTP status \w+ error \((?P<status>[^)]+)\)")
_RETRIES = re.compile(r"after (?P<count>\d+) retries")
_BUILD = re.compile(r"[Ff]ailed to (?:download and )?build(?: the requested)?:? `(?P<what>[^`]+)`")
_GIT = re.compile(r"Git operation failed")
_PYTHON = re.compile(r"and (?P<package>\S+?) depends on Python(?P<needs>[^\s,]+)")
_WHY = (
    ("operation timed out", "it did not answer in time"),
    ("connection refused", "the connection was refused"),
    ("dns error", "its name has no address"),
    ("connection closed", "the connection was closed"),
    ("connection reset", "the connection was closed"),
    ("certificate", "its TLS certificate is not trusted"),
    ("unsuccessful tunnel", "the proxy refused the connection"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as far as an explanation needs it."""

    request: PypiRequest
    stubs: tuple[Stub, ...] = ()
    environ: Mapping[str, str] | None = None

    def indexes(self) -> str:
        """The indexes that were asked, for a sentence, without credentials."""
        request = self.request
        return ", ".join(redacted(u) for u in (request.index_url or DEFAULT_INDEX, *request.extra_index_url))


def uv_error(report: UvReport, asked: Asked) -> TykkyError:
    """Return the error that says what uv's report means for the user."""
    for translate in (_offline, _refused, _build_failed, _git_failed, _not_fetched, _unknown, _unsatisfiable):
        if (error := translate(report, asked)) is not None:
            return error
    reason = report.error.splitlines()[0] if report.error else "uv failed without saying why"
    more = "\n".join((*report.error.splitlines()[1:], *report.causes)) or None
    return ResolveError(f"uv: {reason[:1].lower()}{reason[1:]}", output=more, hint="; ".join(report.hints) or None)


def _offline(report: UvReport, asked: Asked) -> TykkyError | None:
    match = _NOT_CACHED.search(report.text)
    if match is None:
        return None
    url = _URL.search(report.text)
    what = match["name"] or (url.group() if url else "an artifact")
    return FetchError(
        f"{what} is not in the cache, and --offline allows no network",
        hint="run the same command once without --offline; after that the cache answers",
    )


def _refused(report: UvReport, asked: Asked) -> TykkyError | None:
    for hint in report.hints:
        if match := _REFUSED.search(hint):
            return FetchError(
                f"{match['url']} answered {match['status']} {match['words']}: it wants other credentials",
                hint=CREDENTIALS_HINT,
            )
    return None


def _build_failed(report: UvReport, asked: Asked) -> TykkyError | None:
    match = _BUILD.search(report.text)
    if match is None or _GIT.search(report.text) or _FETCH.search(report.text):
        return None
    what = _plain(match["what"])
    said = report.causes[-1] if report.causes else ""
    if "[stderr]" not in said and "[stdout]" not in said:
        return ResolveError(f"{what} cannot be read as a Python project", output="\n".join(report.causes))
    return ResolveError(
        f"{what} has no wheel that fits, and asking its source for metadata failed",
        output=tail(re.sub(r"^\[std(?:err|out)\]$", "", said, flags=re.M)),
        hint=f"choose a version with a wheel for {asked.request.platform} and Python {asked.request.python}, "
        "or install what its build needs",
    )


def _git_failed(report: UvReport, asked: Asked) -> TykkyError | None:
    if _GIT.search(report.text) is None:
        return None
    found = _URL.search(report.text)
    said = report.causes[-1].partition("--- stderr")[2] or report.causes[-1]
    reference = re.search(r"failed to fetch (branch or tag|commit|ref\w*) `(?P<name>[^`]+)`", report.text)
    at = f" at {reference['name']}" if reference else ""
    url = found.group().removeprefix("git+").partition("#")[0] if found else "a git repository"
    if reference:
        url = url.removesuffix(f"@{reference['name']}")
    return FetchError(
        f"{url} cannot be fetched{at}",
        output=tail(said),
        hint="check the address and the branch, tag or commit; git uses your own keys and credential helpers",
    )


def _not_fetched(report: UvReport, asked: Asked) -> TykkyError | None:
    match = _FETCH.search(report.text)
    status = _STATUS.search(report.text)
    if match is None and status is None and "error sending request" not in report.text:
        return None
    found = match["url"] if match else (m.group() if (m := _URL.search(report.text)) else "an index")
    tried = _RETRIES.search(report.text)
    tries = int(tried["count"]) + 1 if tried else 1
    if status is not None:
        return answered(found, status["status"], tries=tries)
    return not_reached(found, "\n".join((report.text, *report.causes[-1:])), asked.environ, tries=tries)


def answered(url: str, status: str, *, tries: int = 1) -> FetchError:
    """Return the error for a server that answered with a status such as `404 Not Found`. `url` has no credentials."""
    return FetchError(f"{url} answered {status}{_times(tries)}", hint=_status_hint(status))


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


def _times(tries: int) -> str:
    return f" ({tries} tries)" if tries > 1 else ""


def _status_hint(status: str) -> str:
    if status.startswith(("401", "403")):
        return CREDENTIALS_HINT
    if status.startswith("404"):
        return "check the URL"
    return "the server is unwell: try again later, or name a mirror in site.toml"


def _proxy(url: str, environ: Mapping[str, str] | None) -> str | None:
    variables = os.environ if environ is None else environ
    scheme = url.partition(":")[0]
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
        if value := variables.get(name):
            return redacted(value)
    return None


def _unknown(report: UvReport, asked: Asked) -> TykkyError | None:
    names = list(dict.fromkeys(match["name"] for match in _NOT_FOUND.finditer(report.text)))
    if not names:
        return None
    missing = ", ".join(names)
    wanted_by = "" if set(names) <= _required_names(asked.request) else explanation(report)
    return ResolveError(
        f"{missing} is not on {asked.indexes()}",
        output=wanted_by or None,
        hint="check the spelling, or name the index that has it under index-url, extra-index-url or find-links",
    )


def _unsatisfiable(report: UvReport, asked: Asked) -> TykkyError | None:
    if not report.error.startswith("No solution found"):
        return None
    text = report.text
    request = asked.request
    named = [r for r in (*request.requirements, *request.constraints) if _mentions(text, requirement_name(r))]
    what = f": {', '.join(map(repr, named))}" if named else ""
    return ResolveError(
        f"no PyPI packages for {request.platform} with Python {request.python} satisfy the requirements{what}",
        output=explanation(report),
        hint="; ".join(_advice(report, asked)) or "relax one of the requirements that the explanation names",
    )


def explanation(report: UvReport) -> str:
    """Return uv's chain of reasons, at most 15 lines."""
    lines = [line for cause in report.causes for line in cause.splitlines() if line.strip()]
    if len(lines) > _EXPLANATION_LINES:
        left_out = len(lines) - _EXPLANATION_LINES + 1
        lines = [*lines[: _EXPLANATION_LINES - 3], f"… {left_out} more lines …", *lines[-2:]]
    return "\n".join(lines)


def _advice(report: UvReport, asked: Asked) -> Iterable[str]:
    for stub in asked.stubs:
        if _mentions(report.text, stub.name):
            yield (
                f"{stub.name} {stub.version} comes from conda: relax what needs another version, "
                f"or change {stub.name} in [conda.dependencies]"
            )
    for match in dict.fromkeys(m.groups() for m in _PYTHON.finditer(report.text)):
        package, needs = match
        yield f"{package} needs Python {needs}: choose another Python or another version of it"
    for hint in report.hints:
        if "pre-release" in hint.lower():
            yield f'{_one_line(hint).partition(" (try:")[0]}: set prerelease = "allow" in [pypi]'
        elif "--python-version" in hint:
            continue  # said above, in words of the spec
        elif "--no-binary" in hint or "--no-build" in hint:
            yield f"{_one_line(hint).partition(' (i.e.')[0]}: see no-binary and only-binary in [pypi]"
        else:
            yield _one_line(hint)


def _one_line(text: str) -> str:
    joined = " ".join(text.split()).rstrip(".")
    return joined[:1].lower() + joined[1:]


def _required_names(request: PypiRequest) -> set[str]:
    return {name for r in request.requirements if (name := requirement_name(r)) is not None}


def _mentions(text: str, name: str | None) -> bool:
    if name is None:
        return False
    return re.search(rf"(?<![\w.-]){re.escape(canonicalize_name(name))}(?![\w-])", text) is not None


def _plain(requirement: str) -> str:
    """`bad==1.0` -> `bad 1.0`; a URL stays."""
    return requirement.replace("==", " ", 1)
