"""What a report of uv means: nothing satisfies the request, an index cannot be read, or an sdist does not build."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tykky.errors import ResolveError, TykkyError
from tykky.resolve.pypi.trouble import (
    Asked,
    answered,
    build_failed,
    git_failed,
    not_reached,
    offline_missing,
    one_line,
    python_advice,
    refused,
    shortened,
    unknown,
    unsatisfiable,
)
from tykky.resolve.pypi.uv_report import UvReport

_NOT_FOUND = re.compile(r"(?P<name>\S+) was not found in the package registry")
_NOT_CACHED = re.compile(r"(?P<name>\S+) was not found in the cache|Network connectivity is disabled")
_REFUSED = re.compile(r"index(?: URL)? \((?P<url>[^)]+)\).*?\b(?P<status>401|403) (?P<words>\w+)", re.I)
_FETCH = re.compile(r"[Ff]ailed to (?:fetch|download):? `?(?P<url>[a-z+]+://[^\s`]+)`?")
_URL = re.compile(r"[a-z][a-z+]*://[^\s`)]+")
_STATUS = re.compile(r"HTTP status \w+ error \((?P<status>[^)]+)\)")
_RETRIES = re.compile(r"after (?P<count>\d+) retr(?:y|ies)")
_BUILD = re.compile(r"[Ff]ailed to (?:download and )?build(?: the requested)?:? `(?P<what>[^`]+)`")
_GIT = re.compile(r"Git operation failed")
_PYTHON = re.compile(r"and (?P<package>\S+?) depends on Python(?P<needs>[^\s,]+)")


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
    return offline_missing(what)


def _refused(report: UvReport, asked: Asked) -> TykkyError | None:
    for hint in report.hints:
        if match := _REFUSED.search(hint):
            return refused(match["url"], f"{match['status']} {match['words']}")
    return None


def _build_failed(report: UvReport, asked: Asked) -> TykkyError | None:
    match = _BUILD.search(report.text)
    if match is None or _GIT.search(report.text) or _FETCH.search(report.text):
        return None
    what = _plain(match["what"])
    said = report.causes[-1] if report.causes else ""
    if "[stderr]" not in said and "[stdout]" not in said:
        return ResolveError(f"{what} cannot be read as a Python project", output="\n".join(report.causes))
    return build_failed(what, re.sub(r"^\[std(?:err|out)\]$", "", said, flags=re.M), asked)


def _git_failed(report: UvReport, asked: Asked) -> TykkyError | None:
    if _GIT.search(report.text) is None:
        return None
    found = _URL.search(report.text)
    said = report.causes[-1].partition("--- stderr")[2] or report.causes[-1]
    reference = re.search(r"failed to fetch (branch or tag|commit|ref\w*) `(?P<name>[^`]+)`", report.text)
    url = found.group().removeprefix("git+").partition("#")[0] if found else "a git repository"
    return git_failed(url, reference["name"] if reference else None, said)


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


def _unknown(report: UvReport, asked: Asked) -> TykkyError | None:
    names = list(dict.fromkeys(match["name"] for match in _NOT_FOUND.finditer(report.text)))
    if not names:
        return None
    return unknown(names, asked, _explanation(report))


def _unsatisfiable(report: UvReport, asked: Asked) -> TykkyError | None:
    if not report.error.startswith("No solution found"):
        return None
    return unsatisfiable(asked, _explanation(report), _advice(report, asked))


def _explanation(report: UvReport) -> str:
    """Return uv's chain of reasons, at most 15 lines."""
    return shortened("\n".join(report.causes))


def _advice(report: UvReport, asked: Asked) -> Iterable[str]:
    for match in dict.fromkeys(m.groups() for m in _PYTHON.finditer(report.text)):
        yield python_advice(*match)
    for hint in report.hints:
        if "pre-release" in hint.lower():
            yield f'{one_line(hint).partition(" (try:")[0]}: set prerelease = "allow" in [pypi]'
        elif "--python-version" in hint:
            continue  # said above, in words of the spec
        elif "--no-binary" in hint or "--no-build" in hint:
            yield f"{one_line(hint).partition(' (i.e.')[0]}: see no-binary and only-binary in [pypi]"
        else:
            yield one_line(hint)


def _plain(requirement: str) -> str:
    """`bad==1.0` -> `bad 1.0`; a URL stays."""
    return requirement.replace("==", " ", 1)
