"""Read the files that say what a site offers, merge them, and remember which file said what."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from tykky.errors import Problem, SiteError
from tykky.site.model import Settings
from tykky.site.offer import Site
from tykky.site.owners import uid_of
from tykky.site.places import user_directory
from tykky.toml.document import dotted, parse, read_text
from tykky.toml.strict import convert

if TYPE_CHECKING:
    from tykky.toml.positions import KeyPath

SYSTEM_FILE = Path("/etc/tykky/site.toml")


def load_site(environ: Mapping[str, str], *, system: Path = SYSTEM_FILE) -> Site:
    """Return the settings of this host, site and user, merged.

    Raises `SiteError` for a file that cannot be used, and for `TYKKY_SITE` naming one that is not there.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, Path] = {}
    files = tuple(_files(environ, system))
    for path in files:
        values = _read(path)
        for key in _leaves(values):
            origins[dotted(key)] = path
        merged = _merged(merged, values)
    if "store" in merged:
        merged["store"] = _at_home(merged["store"], "store", environ, origins)
    for name, path in merged.get("environments", {}).items():
        merged["environments"][name] = _at_home(path, dotted(("environments", name)), environ, origins)
    settings = msgspec.convert(merged, Settings) if merged else Settings()
    trusted = frozenset(uid_of(owner) for owner in settings.trust.owners)
    return Site(settings, MappingProxyType(origins), files, trusted)


def _files(environ: Mapping[str, str], system: Path) -> Iterator[Path]:
    if _is_there(system):
        yield system
    if named := environ.get("TYKKY_SITE"):
        yield Path(named)
    user = user_directory(environ, "XDG_CONFIG_HOME", ".config")
    if user is not None and _is_there(path := user / "tykky" / "site.toml"):
        yield path


def _at_home(path: str, key: str, environ: Mapping[str, str], origins: Mapping[str, Path]) -> str:
    if not path.startswith("~/"):
        return path
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise SiteError(str(origins[key]), [Problem(f"{path!r} is below HOME, which is not set", where=key)])
    return f"{home}/{path.removeprefix('~/')}"


def _is_there(path: Path) -> bool:
    """Say whether there is a file to read; one that cannot be looked at is: reading it will say why."""
    try:
        return path.exists()
    except OSError:
        return True


def _read(path: Path) -> dict[str, Any]:
    """Return the values of one file, checked."""
    from tykky.site.checks import wrong

    text = read_text(path, SiteError, missing="TYKKY_SITE names a file that is not there")
    _check_writers(path)
    document = parse(text, str(path), SiteError)
    settings = convert(document, Settings, SiteError)
    problems = [document.problem(key, message) for key, message in wrong(settings)]
    if problems:
        raise SiteError(str(path), problems)
    return document.values


def _check_writers(path: Path) -> None:
    """Raise `SiteError` for a file that everybody can write: it names programs that are run."""
    if path.stat().st_mode & stat.S_IWOTH:
        raise SiteError(str(path), [Problem("can be written by everybody")], hint=f"chmod o-w {shlex.quote(str(path))}")


def _leaves(table: Mapping[str, Any], at: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*at, key))
        else:
            yield (*at, key)


def _merged(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        below = low.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
