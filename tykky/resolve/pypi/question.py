"""A request as requirement files: what a resolver is asked, whichever it is.

Local paths become file URLs (the files are written elsewhere than the spec), indexes and direct URLs go through the
mirrors. Index URLs are written into a file, never into an argument list, because they may carry credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from msgspec import Struct, structs

from tykky.access import Access
from tykky.errors import ResolveError
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.provided import Stub
from tykky.resolve.pypi.urls import file_path, is_url, without_credentials
from tykky.spec.names import canonical_name
from tykky.spec.plain import plain_requirement

DEFAULT_INDEX = "https://pypi.org/simple"

_TRAILING_EXTRAS = re.compile(r"\[[^\]]*\]$")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
_GIT_REQUIREMENT = re.compile(r"git\+(?P<place>[^\s#]+)")
_EDITABLE = ("-e ", "-e=", "--editable ", "--editable=")


class Line(Struct, frozen=True):
    """One requirement as a resolver reads it. `path` is the local file or directory it names, if it names one."""

    text: str
    path: Path | None = None
    typed_relative: bool = False


class Question(Struct, frozen=True):
    """The files' texts, and the local paths that the user typed as relative ones.

    `options` are the lines of a requirements file that name indexes and find-links, `lines` its requirements.
    """

    options: tuple[str, ...]
    lines: tuple[str, ...]
    constraints: str
    overrides: str
    portable: frozenset[Path]

    @property
    def requirements(self) -> str:
        """The text of one requirements file."""
        return _text([*self.options, *self.lines])


def pin_references(request: PypiRequest) -> PypiRequest:
    """Return the request with git references replaced by the commits that the previous lock has of them.

    For resolvers that do not remember commits themselves.
    """
    commits = {p.url: p.commit for p in request.preferred if p.source == "git" and p.platform == request.platform}

    def pinned(text: str) -> str:
        found = git_reference(text)
        commit = None if found is None else commits.get(f"git+{found[0]}")
        return text if found is None or commit is None else text.replace(f"@{found[1]}", f"@{commit}", 1)

    return structs.replace(request, requirements=tuple(pinned(text) for text in request.requirements))


def write_question(request: PypiRequest, access: Access, stubs: Iterable[Stub]) -> Question:
    """Return what to ask. Raises `ResolveError` for a requirement that cannot be asked for."""
    lines = {
        what: [parse_line(text, request.base, access) for text in texts]
        for what, texts in (
            ("requirements", request.requirements),
            ("constraints", request.constraints),
            ("overrides", request.overrides),
        )
    }
    provided = [stub.constraint for stub in stubs]
    links = [f"--find-links {_link(place, request.base, access)}" for place in request.find_links]
    return Question(
        options=(*_indexes(request, access), *links),
        lines=tuple(line.text for line in lines["requirements"]),
        constraints=_text([*(line.text for line in lines["constraints"]), *provided]),
        overrides=_text([line.text for line in lines["overrides"]]),
        portable=frozenset(
            line.path for group in lines.values() for line in group if line.path is not None and line.typed_relative
        ),
    )


def parse_line(text: str, base: Path, access: Access) -> Line:
    """Return one requirement for a resolver. Raises `ResolveError` for what no lock can hold."""
    text = text.strip()
    if text.startswith(_EDITABLE):
        place = re.split(r"[ =]", text, maxsplit=1)[1].strip()
        raise ResolveError(
            f"{text!r} cannot be locked: an image is read-only, an editable install could not follow your edits",
            hint=f"write {place!r} to build the project into the image, "
            "or leave it out and name its directory in PYTHONPATH under [runtime.environ]",
        )
    if text.startswith("-"):
        raise ResolveError(
            f"{text!r} is an option, not a requirement",
            hint="options have keys of their own in [pypi]: index-url, find-links, constraints, …",
        )
    if is_url(text):
        return _url_line("", *_marker_split(text), base, access)
    if _looks_like_path(text):
        return _path_line("", *_marker_split(text), base)
    if plain_requirement(text):
        return Line(text)
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ResolveError(
            f"{text!r} is not a requirement: {reason[:1].lower()}{reason[1:]}",
            hint="write it as 'name>=1', 'name @ https://…', 'name @ git+https://…@tag' or './directory'",
        ) from None
    if requirement.url is None:
        return Line(text)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = "" if requirement.marker is None else str(requirement.marker)
    lead = f"{requirement.name}{extras} @ "
    if is_url(requirement.url):
        return _url_line(lead, requirement.url, marker, base, access)
    return _path_line(lead, unquote(requirement.url), marker, base)  # where a URL stands, a space is %20


def git_reference(text: str) -> tuple[str, str] | None:
    """Return repository and reference of a git requirement (`name @ git+https://host/repo@v1#…`).

    None for anything else, also for a git requirement without a reference.
    """
    match = _GIT_REQUIREMENT.search(text)
    if match is None:
        return None
    scheme, _, rest = match["place"].partition("://")
    # An @ before the path is a user name: git+ssh://git@host/repo.
    authority, _, path = rest.partition("/")
    repository, at, reference = path.rpartition("@")
    return (without_credentials(f"{scheme}://{authority}/{repository}"), reference) if at else None


def requirement_name(text: str) -> str | None:
    """Return the normalised name that a requirement asks for, or None if only its artifact knows."""
    if plain := plain_requirement(text):
        return canonical_name(plain.name)
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return canonical_name(Requirement(text).name)
    except InvalidRequirement:
        return None


def cutoff(text: str) -> str:
    """Return an `exclude-newer` as one moment in UTC (RFC 3339), so that no host's time zone counts.

    A date without a time takes in that whole day, so the moment is the midnight after it. A time without a zone is UTC.
    """
    moment = datetime.fromisoformat(text)
    if len(text) == len("2026-11-01"):
        moment += timedelta(days=1)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _indexes(request: PypiRequest, access: Access) -> list[str]:
    extra = [f"--extra-index-url {access.mirrored(url)}" for url in request.extra_index_url]
    return [f"--index-url {access.mirrored(request.index_url or DEFAULT_INDEX)}", *extra]


def _link(place: str, base: Path, access: Access) -> str:
    if is_url(place) and file_path(place) is None:
        return access.mirrored(place)
    directory = file_path(place) if is_url(place) else base / place
    assert directory is not None
    if not directory.is_dir():
        raise ResolveError(
            f"find-links {place!r} is not a directory", hint=f"relative paths start at {base}; this is {directory}"
        )
    return directory.resolve().as_uri()


def _looks_like_path(text: str) -> bool:
    if text.startswith((".", "/", "~")):
        return True
    head = text.partition(";")[0].strip()
    if "@" in head:
        return False
    return "/" in head or _TRAILING_EXTRAS.sub("", head).endswith(_ARCHIVES)


def _marker_split(text: str) -> tuple[str, str]:
    """Split `https://…/x.whl ; marker`. A URL may hold a semicolon, so only one after a space counts."""
    place, _, marker = text.partition(" ;")
    return place.strip(), marker.strip()


def _url_line(lead: str, url: str, marker: str, base: Path, access: Access) -> Line:
    if url.startswith("file:"):
        extras = _TRAILING_EXTRAS.search(url)
        path = file_path(url[: extras.start()] if extras else url)
        assert path is not None
        return _path_line(lead, str(path) + (extras.group() if extras else ""), marker, base)
    vcs, plus, place = url.partition("+")
    if plus and vcs in ("git", "hg", "svn", "bzr"):
        if vcs != "git":
            raise ResolveError(f"{url!r}: only git repositories can be locked", hint="use a release archive's URL")
        return Line(lead + "git+" + access.mirrored(place) + _marked(marker))
    return Line(lead + access.mirrored(url) + _marked(marker))


def _path_line(lead: str, place: str, marker: str, base: Path) -> Line:
    extras = _TRAILING_EXTRAS.search(place)
    plain = (place[: extras.start()] if extras else place).strip()
    typed = Path(plain).expanduser()
    path = (base / typed).resolve()
    if not path.exists():
        raise ResolveError(
            f"requirement {place!r} names {path}, which does not exist", hint=f"relative paths start at {base}"
        )
    if path.is_dir() and not any((path / name).exists() for name in ("pyproject.toml", "setup.py")):
        raise ResolveError(
            f"requirement {place!r} names a directory with neither pyproject.toml nor setup.py",
            hint="name the directory of a Python project, or a wheel",
        )
    text = lead + path.as_uri() + (extras.group() if extras else "") + _marked(marker)
    return Line(text, path, typed_relative=not typed.is_absolute())


def _marked(marker: str) -> str:
    # The space matters: a semicolon right after a URL would be part of it.
    return f" ; {marker}" if marker else ""
