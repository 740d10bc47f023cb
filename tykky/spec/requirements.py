"""Requirements as people write them in the spec, taken apart.

PyPI: PEP 508 (`numpy>=2; python_version < "3.13"`, `name @ git+https://…`) and paths of local directories and
archives (`./local[extra]`). Conda: a name and a version spec, which together make a MatchSpec. Nothing here
imports rattler (110 ms): versions are checked with a small grammar, the resolver has the last word.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, TypeAlias, Union
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from tykky.spec.model import CondaRequirement
from tykky.spec.names import canonical_name
from tykky.spec.plain import PlainRequirement, plain_requirement

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.requirements import Requirement

URL_SCHEMES = frozenset({"https", "http", "file", "git+https", "git+http", "git+ssh", "git+file"})

# `./x`, `../x`, `.`, `/abs/x`: what pip takes for a path too, where a bare `x` is a name.
_LOCAL = re.compile(
    r"(?P<path>(?:\.{1,2}(?=[/\[;\s]|$)|/).*?)\s*(?:\[(?P<extras>[^\[\]]*)\])?\s*(?:;\s*(?P<marker>.*))?",
    re.DOTALL,
)
# Compiled where they are used first: no spec has need of all of them.
_EXTRA = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CONDA_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_CONDA_BUILD = r"[A-Za-z0-9_.+*]+|\^[^\s\[\]=,'\"]*\$"
_CONDA_ATOM = r"\s*(?:(?P<op>===?|!=|<=|>=|~=|=|<|>)\s*)?(?P<version>[A-Za-z0-9_.+!*-]*)\s*"
_CONDA_VERSION = (
    r"\*|(?:\d+!)?[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*[_-]*"
    r"(?:\+[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*[_-]*)?(?:\.?\*)?"
)


class BadRequirement(ValueError):
    """The text is no requirement; the message says why, to a person, without repeating the text."""


class LocalRequirement(Struct, frozen=True):
    """A directory or archive of one's own: a path relative to tykky.toml, or absolute."""

    path: str
    extras: tuple[str, ...] = ()
    marker: Marker | None = None

    @property
    def name(self) -> str | None:
        """The distribution's name, where the file name tells it (wheels and sdists)."""
        filename = posixpath.basename(self.path)
        from packaging.utils import InvalidSdistFilename, parse_sdist_filename, parse_wheel_filename

        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[0])
        try:
            return str(parse_sdist_filename(filename)[0])
        except InvalidSdistFilename:
            return None

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.path}{extras}{marker}"


NamedRequirement: TypeAlias = Union["Requirement", PlainRequirement]
PypiRequirement: TypeAlias = Union["Requirement", PlainRequirement, LocalRequirement]


def split_url(text: str) -> SplitResult | None:
    """Return the parts of a URL, or None where it has none that can be told apart (`http://[`)."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def parse_pypi(text: str) -> PypiRequirement:
    """Return one requirement of `[pypi] dependencies`, taken apart; raise `BadRequirement`."""
    text = text.strip()
    if text.startswith("-"):
        raise BadRequirement("options of pip do not belong here")
    if text.startswith("~"):
        raise BadRequirement("'~' is not expanded; write the whole path")
    if local := _LOCAL.fullmatch(text):
        return _local(local)
    return parse_named(text)


def parse_named(text: str) -> NamedRequirement:
    """Return one PEP 508 requirement (no path), taken apart; raise `BadRequirement`."""
    text = text.strip()
    if not text:
        raise BadRequirement("must not be empty")
    if _LOCAL.fullmatch(text):
        raise BadRequirement("a path cannot stand here")
    if plain := plain_requirement(text):
        return plain
    from packaging.requirements import InvalidRequirement, Requirement  # with a parser, for the few that need one

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise BadRequirement(_why(text, str(error))) from None
    if requirement.url is not None:
        _check_url(requirement.url)
    return requirement


def canonical_pypi(requirement: PypiRequirement) -> str:
    """Return the one text for all ways to write the requirement: PEP 503 name, sorted extras and specifiers."""
    if isinstance(requirement, LocalRequirement):
        path = posixpath.normpath(requirement.path)
        path = path if path.startswith(("/", "..")) or path == "." else f"./{path}"
        return str(LocalRequirement(path, requirement.extras, requirement.marker))
    extras = ",".join(sorted(canonical_name(extra) for extra in requirement.extras))
    text = canonical_name(requirement.name) + (f"[{extras}]" if extras else "")
    if requirement.url is not None:
        text += f" @ {requirement.url}"
    elif isinstance(requirement, PlainRequirement):
        text += ",".join(sorted(requirement.clauses))
    elif requirement.specifier:
        text += ",".join(sorted(map(str, requirement.specifier)))
    return text + (f" ; {requirement.marker}" if requirement.marker else "")


def conda_match_spec(name: str, requirement: str | CondaRequirement) -> str:
    """Return the MatchSpec of one conda requirement: `conda-forge::gdal >=3.9,<4 *mpi*`."""
    if isinstance(requirement, str):
        requirement = CondaRequirement(version=requirement)
    version = re.sub(r"\s+", "", requirement.version)
    text = name.lower()
    if version != "*" or requirement.build:
        text += f" {version}"
    if requirement.build:
        text += f" {requirement.build}"
    if requirement.channel is None:
        return text
    if "://" in requirement.channel:  # the colon of a URL must not be taken for the end of a channel
        return f'{text}[channel="{requirement.channel}"]'
    return f"{requirement.channel}::{text}"


def conda_name(match_spec: str) -> str:
    """Return the package's name in a MatchSpec that `conda_match_spec` made."""
    return re.split(r"[ \[]", match_spec, maxsplit=1)[0].rpartition("::")[2]


def check_conda_name(name: str) -> None:
    """Raise `BadRequirement` if this can be no conda package."""
    if re.fullmatch(_CONDA_NAME, name):
        return
    if "::" in name:
        channel, _, package = name.rpartition("::")
        raise BadRequirement(f'write the channel on the right: {package} = {{ channel = "{channel}" }}')
    if (bare := re.match(r"([A-Za-z0-9_.-]+)(?:\s*[=<>!~]|\s+\d)", name)) is not None:
        raise BadRequirement(f'write the version on the right: {bare.group(1)} = "…"')
    raise BadRequirement("a conda package's name has letters, digits, '.', '_' and '-'")


def check_conda_version(version: str) -> None:
    """Raise `BadRequirement` if this can be no conda version spec (`>=3.9,<4`, `3.12.*`, `1.2|1.4`, `*`)."""
    if not version.strip():
        raise BadRequirement('must not be empty; "*" takes any version')
    if re.fullmatch(r"[^\s,|<>=!~]+\s+[^\s,|<>=!~]+", version.strip()):
        raise BadRequirement('write the build apart: { version = "…", build = "…" }')
    depth = 0
    for part in re.split(r"([,|])", version):
        if part in (",", "|"):
            continue
        atom = part.strip()
        opened = len(atom) - len(atom.lstrip("( "))
        depth += atom[:opened].count("(")
        closed = len(atom) - len(atom.rstrip(") "))
        depth -= atom[len(atom) - closed :].count(")")
        _check_conda_atom(atom[opened : len(atom) - closed])
        if depth < 0:
            break
    if depth != 0:
        raise BadRequirement("the parentheses do not match")


def check_conda_build(build: str) -> None:
    """Raise `BadRequirement` if this can be no pattern of a build string (`*mpi*`, `py312_0`)."""
    if not re.fullmatch(_CONDA_BUILD, build):
        raise BadRequirement("a build has letters, digits, '_', '.', '+' and '*'")


def _check_conda_atom(atom: str) -> None:
    token = re.fullmatch(_CONDA_ATOM, atom)
    if token is None or token["op"] == "===":
        raise BadRequirement("is not a conda version such as '>=3.9,<4', '3.12.*' or '*'")
    version = token["version"]
    if not version:
        raise BadRequirement(f"a version is missing after {token['op']!r}" if token["op"] else "a version is missing")
    # A hyphen is a separator like the underscore, and rattler takes one of them in a version, not both.
    if not re.fullmatch(_CONDA_VERSION, version) or ("_" in version and "-" in version):
        raise BadRequirement(f"{version!r} is not a conda version")
    if version == "*" and token["op"]:
        raise BadRequirement(f"'*' takes any version; leave out {token['op']!r}")


def _local(match: re.Match[str]) -> LocalRequirement:
    from packaging.markers import InvalidMarker, Marker
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    path = match["path"].strip()
    extras = [extra.strip() for extra in (match["extras"] or "").split(",") if extra.strip()]
    for extra in extras:
        if not re.fullmatch(_EXTRA, extra):
            raise BadRequirement(f"{extra!r} is no name of an extra")
    try:
        marker = Marker(match["marker"]) if match["marker"] is not None else None
    except InvalidMarker as error:
        raise BadRequirement(_first_line(str(error))) from None
    if path.endswith(".whl"):
        try:
            parse_wheel_filename(posixpath.basename(path))
        except InvalidWheelFilename:
            raise BadRequirement("a wheel's file name has name, version and tags, joined by '-'") from None
    return LocalRequirement(path, tuple(sorted({canonical_name(extra) for extra in extras})), marker)


def _check_url(url: str) -> None:
    parts = split_url(url)
    if parts is None:
        raise BadRequirement(f"{url!r} is no URL")
    if not parts.scheme:
        raise BadRequirement(f"{url!r} is no URL; of a local directory write the path alone: ./{url.lstrip('./')}")
    if parts.scheme not in URL_SCHEMES:
        schemes = ", ".join(sorted(URL_SCHEMES))
        raise BadRequirement(f"a URL that begins with '{parts.scheme}:' cannot be used (these can: {schemes})")
    if not parts.netloc and not parts.scheme.endswith("file"):
        raise BadRequirement(f"{url!r} names no host")


def _why(text: str, message: str) -> str:
    if re.match(r"(?:git\+|[a-z]+://)", text):
        return f"write the package's name before a URL: name @ {text}"
    if (single := re.match(r"[\w.-]+\s*(?<![=<>!~])=\s*(?P<version>[^=\s][^\s;]*)", text)) is not None:
        return f"write '=={single['version']}' for exactly this version"
    if (bare := re.match(r"([\w.-]+)\s+(\d[\w.*]*)", text)) is not None:
        return f"write an operator before the version: {bare[1]}=={bare[2]}"
    if "/" in text and re.fullmatch(r"[\w./-]+", text):
        return f"write './{text}' for a local path"
    return _first_line(message)


def _first_line(message: str) -> str:
    line = message.splitlines()[0].replace("LEFT_BRACKET", "'['").replace("RIGHT_BRACKET", "']'")
    return line[:1].lower() + line[1:]
