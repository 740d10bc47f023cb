"""What pip's output means when it fails. pip does not say why an index gave nothing, so the index is asked again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tykky.errors import FetchError, ResolveError, TykkyError
from tykky.process import Finished, tail
from tykky.resolve.pypi.download import answers
from tykky.resolve.pypi.question import DEFAULT_INDEX
from tykky.resolve.pypi.trouble import (
    Asked,
    answered,
    build_failed,
    git_failed,
    one_line,
    python_advice,
    refused,
    shortened,
    unknown,
    unsatisfiable,
)
from tykky.resolve.pypi.urls import redacted, without_credentials
from tykky.spec.names import canonical_name

_NO_EXTRA = re.compile(r"(?P<name>\S+) \S+ does not provide the extra '(?P<extra>[^']+)'")
_NOTHING = re.compile(r"No matching distribution found for (?P<what>[^\n]+)")
_FOUND = re.compile(r"satisfies the requirement [^\n]*\(from versions: (?P<versions>[^)]*)\)")
_WANTED_BY = re.compile(r"satisfies the requirement (?P<what>\S+) \(from (?P<parent>[^)]+)\) \(from versions")
_OTHER_PYTHON = re.compile(r"(?P<version>\S+) Requires-Python (?P<needs>[^;\n]+)")
_CONFLICT = re.compile(r"The conflict is caused by:\n(?P<reasons>.*?)\n\n", re.S)
_HTTP = re.compile(r"HTTP error (?P<code>\d+) \w+ Error: (?P<words>[^\n]*?) for url: (?P<url>\S+)")
_SAID = re.compile(r"\[\d+ lines? of output\]\n(?P<said>.*?)\n\s*\[end of output\]", re.S)
_SOURCE = re.compile(
    r"(?:Downloading|Using cached|Processing) (?:\S*/)?(?P<name>[^/\s]+?)-(?P<version>\d[^-/\s]*)\.(?:tar\.gz|zip)"
)
_GIT = re.compile(
    r"Running command git (?:clone|fetch|checkout|rev-parse)|git (?:clone|checkout|fetch)[^\n]*did not run"
)
_CLONING = re.compile(r"Cloning (?P<url>\S+)(?: \(to revision (?P<reference>[^)]+)\))?")


@dataclass(frozen=True, slots=True)
class PipWarning:
    """One warning; `extra` is (package, extra) if it says that a package has no such extra."""

    text: str
    extra: tuple[str, str] | None = None


def pip_warnings(stderr: str) -> Iterator[PipWarning]:
    """Return pip's warnings."""
    for line in redacted(stderr).splitlines():
        _, found, text = line.partition("WARNING: ")
        if found:
            match = _NO_EXTRA.match(text)
            yield PipWarning(text, (match["name"], match["extra"]) if match else None)


def pip_error(finished: Finished, asked: Asked) -> TykkyError:
    """Return the error that says what pip's failure means for the user."""
    text = redacted(f"{finished.stdout}\n{finished.stderr}\n")
    for translate in (_http, _git_failed, _backend, _conflict, _nothing_found):
        if (error := translate(text, asked)) is not None:
            return error
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "pip failed without saying why")
    return ResolveError(f"pip: {one_line(last.removeprefix('ERROR: '))}", output=tail(text))


def _http(text: str, asked: Asked) -> TykkyError | None:
    match = _HTTP.search(text)
    return None if match is None else answered(match["url"], f"{match['code']} {match['words']}".strip())


def _git_failed(text: str, asked: Asked) -> TykkyError | None:
    cloning = _CLONING.search(text)
    if cloning is None or _GIT.search(text) is None:
        return None
    said = _SAID.search(text)
    return git_failed(cloning["url"], cloning["reference"], said["said"] if said else text)


def _backend(text: str, asked: Asked) -> TykkyError | None:
    said = _SAID.search(text)
    if "metadata-generation-failed" not in text or said is None:
        return None
    sources = list(_SOURCE.finditer(text))
    what = f"{sources[-1]['name']} {sources[-1]['version']}" if sources else "a package"
    return build_failed(what, "\n".join(line.strip() for line in said["said"].splitlines()), asked)


def _conflict(text: str, asked: Asked) -> TykkyError | None:
    match = _CONFLICT.search(text)
    if match is None:
        return None
    reasons = "\n".join(line.strip() for line in match["reasons"].splitlines())
    return unsatisfiable(asked, shortened(reasons), ())


def _nothing_found(text: str, asked: Asked) -> TykkyError | None:
    match = _NOTHING.search(text)
    if match is None:
        return None
    what = match["what"].strip()
    name = canonical_name(re.match(r"[\w.-]+", what).group())  # type: ignore[union-attr]
    if other := _OTHER_PYTHON.search(text):
        advice = python_advice(f"{name}=={other['version']}", other["needs"].strip())
        return unsatisfiable(asked, f"{name} {other['version']} needs Python {other['needs'].strip()}", [advice])
    found = _FOUND.search(text)
    if found is not None and found["versions"] != "none":
        return unsatisfiable(asked, f"{what} is asked for, but there is only {name} {found['versions']}", ())
    if any(stub.name == name for stub in asked.stubs):
        return unsatisfiable(asked, f"{what} is asked for", ())
    if (trouble := _ask_indexes(name, asked)) is not None:
        return trouble
    parent = _WANTED_BY.search(text)
    return unknown([name], asked, f"{parent['parent']} needs {parent['what']}" if parent else what)


def _ask_indexes(name: str, asked: Asked) -> FetchError | None:
    """Return why an index gives nothing for `name`, or None if each of them answers."""
    environ = asked.environ or {}
    for index in (asked.request.index_url or DEFAULT_INDEX, *asked.request.extra_index_url):
        status, error = answers(f"{asked.access.mirrored(index).rstrip('/')}/{name}/", environ)
        if status is not None and status.startswith(("401", "403")):
            return refused(without_credentials(index), status)
        if error is not None:
            return error
    return None
