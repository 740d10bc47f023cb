"""What one site, and one user, has set: `site.toml`, and where Tykky's cache is.

Three files are read, the later wins key by key, and mirrors are merged:

    /etc/tykky/site.toml                          the host's administrators
    $TYKKY_SITE                                   a site's own place, e.g. set by its module file
    ${XDG_CONFIG_HOME:-~/.config}/tykky/site.toml  the user

An example:

    store = "~/tykky/store"
    stores = ["/appl/tykky/store"]

    [mirrors]
    "https://conda.anaconda.org/conda-forge" = "https://mirror.example.org/conda-forge"
    "https://pypi.org/simple" = "file:///appl/pypi/simple"

    [runtime]
    backends = ["apptainer"]

    [programs]
    squashfuse = "/usr/libexec/apptainer/bin/squashfuse_ll"

    [build]
    scratch = "/local_scratch"
    script-network = false

    [python]
    downloads = "/appl/python/downloads.json"
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tykky.errors import Problem, SiteError
from tykky.toml import KeyPath, convert, dotted, parse, read_text

SYSTEM_FILE = Path("/etc/tykky/site.toml")

Backend = Literal["namespace", "apptainer"]
AbsolutePath = Annotated[
    str,
    Meta(pattern=r"^/[^\0]*$(?!\n)", description="an absolute path", extra={"rule": "write an absolute path"}),
]
StorePath = Annotated[
    str,
    Meta(
        pattern=r"^(?:~/|/)[^\0]*$(?!\n)",
        description="the user's directory of images, which gets every new one; an absolute path, or one below ~/",
        extra={"rule": "write an absolute path, or one below ~/"},
    ),
]

_URL = re.compile(r"(?:https?|file)://\S+")


class _Table(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A table of site.toml: frozen, and strict about its keys."""


class Runtime(_Table, frozen=True):
    """Which backends may start programs here, in the order of trial."""

    backends: Annotated[tuple[Backend, ...], Meta(min_length=1)] = ("namespace", "apptainer")


class Programs(_Table, frozen=True):
    """Programs that are not on everybody's PATH."""

    apptainer: AbsolutePath | None = None
    squashfuse: AbsolutePath | None = None
    mksquashfs: AbsolutePath | None = None


class Build(_Table, frozen=True):
    """Where images are made, and what `[build] post-install` scripts may do."""

    scratch: Annotated[
        AbsolutePath | None, Meta(description="fast, local to the node, and can hold a tree of many files")
    ] = None
    script_network: Annotated[bool, Meta(description="whether post-install scripts may reach the network")] = True


class Python(_Table, frozen=True):
    """Where interpreters that uv manages come from."""

    downloads: Annotated[
        str | None,
        Meta(description="URL or absolute path of a list to use instead of uv's own, in the format of uv's"),
    ] = None


class Settings(_Table, frozen=True):
    """A whole `site.toml`, or several of them merged."""

    store: StorePath | None = None
    stores: Annotated[
        tuple[AbsolutePath, ...],
        Meta(description="directories of images that are only read, in the order of asking"),
    ] = ()
    # URL prefix of a channel or index -> URL prefix to ask in its place
    mirrors: dict[str, str] = {}
    runtime: Runtime = msgspec.field(default_factory=Runtime)
    programs: Programs = msgspec.field(default_factory=Programs)
    build: Build = msgspec.field(default_factory=Build)
    python: Python = msgspec.field(default_factory=Python)


@dataclass(frozen=True, slots=True)
class Site:
    """The merged settings. `origins` has, per dotted key that is set, the file that set it (for `tykky doctor`)."""

    settings: Settings = field(default_factory=Settings)
    origins: Mapping[str, Path] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @property
    def store(self) -> Path | None:
        """The user's own store of images, if there is one."""
        return None if self.settings.store is None else Path(self.settings.store)

    @property
    def stores(self) -> tuple[Path, ...]:
        """Stores of images that are only read, in the order of asking."""
        return tuple(Path(path) for path in self.settings.stores)

    @property
    def mirrors(self) -> Mapping[str, str]:
        """URL prefix -> URL prefix to ask in its place."""
        return self.settings.mirrors

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The backends that may be used, in the order of trial."""
        return self.settings.runtime.backends

    @property
    def scratch(self) -> Path | None:
        """The directory in which images are made, if the site names one."""
        return None if self.settings.build.scratch is None else Path(self.settings.build.scratch)

    @property
    def script_network(self) -> bool:
        """Whether `post-install` scripts may reach the network."""
        return self.settings.build.script_network

    @property
    def python_downloads(self) -> str | None:
        """URL or path of the list of interpreters, if the site names one."""
        return self.settings.python.downloads

    def program(self, name: Literal["apptainer", "squashfuse", "mksquashfs"]) -> Path | None:
        """Return the path of a program, if the site names one."""
        path: str | None = getattr(self.settings.programs, name)
        return None if path is None else Path(path)


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
    if merged.get("store", "").startswith("~/"):
        merged["store"] = _below_home(merged["store"], environ, origins["store"])
    return Site(msgspec.convert(merged, Settings), MappingProxyType(origins), files)


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return Tykky's cache: `$TYKKY_CACHE`, else `tykky` in `${XDG_CACHE_HOME:-~/.cache}`. It is made if missing.

    Raises `SiteError` if there is nowhere to put it, or if others could put files into it.
    """
    if chosen := environ.get("TYKKY_CACHE"):
        if not chosen.startswith("/"):
            raise SiteError("TYKKY_CACHE", [Problem(f"{chosen!r} is not an absolute path")])
        path = Path(chosen)
    else:
        base = _user_directory(environ, "XDG_CACHE_HOME", ".cache")
        if base is None:
            message = "neither TYKKY_CACHE nor XDG_CACHE_HOME nor HOME says where it is"
            raise SiteError("cache directory", [Problem(message)], hint="set TYKKY_CACHE to a directory of your own")
        path = base / "tykky"
    _check_own(path)
    return path


def _files(environ: Mapping[str, str], system: Path) -> Iterator[Path]:
    if _is_there(system):
        yield system
    if named := environ.get("TYKKY_SITE"):
        yield Path(named)
    user = _user_directory(environ, "XDG_CONFIG_HOME", ".config")
    if user is not None and _is_there(path := user / "tykky" / "site.toml"):
        yield path


def _below_home(path: str, environ: Mapping[str, str], file: Path) -> str:
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise SiteError(str(file), [Problem(f"{path!r} is below HOME, which is not set", where="store")])
    return f"{home}/{path.removeprefix('~/')}"


def _is_there(path: Path) -> bool:
    """Say whether there is a file to read; one that cannot be looked at is: reading it will say why."""
    try:
        return path.exists()
    except OSError:
        return True


def _user_directory(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """Return a base directory of the user; a relative path counts as unset (XDG Base Directory, "Basics")."""
    chosen, home = environ.get(variable, ""), environ.get("HOME", "")
    if chosen.startswith("/"):
        return Path(chosen)
    return Path(home) / below_home if home.startswith("/") else None


def _read(path: Path) -> dict[str, Any]:
    """Return the values of one file, checked."""
    text = read_text(path, SiteError, missing="TYKKY_SITE names a file that is not there")
    document = parse(text, str(path), SiteError)
    settings = convert(document, Settings, SiteError)
    problems = [document.problem(key, message) for key, message in _wrong(settings)]
    if problems:
        raise SiteError(str(path), problems)
    return document.values


def _wrong(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    for url, mirror in settings.mirrors.items():
        for text in (url, mirror):
            if not _URL.fullmatch(text):
                yield ("mirrors", url), f"{text!r} is not a URL of https, http or file"
    downloads = settings.python.downloads
    if downloads is not None and not (_URL.fullmatch(downloads) or downloads.startswith("/")):
        yield ("python", "downloads"), f"{downloads!r} is neither a URL of https, http or file nor an absolute path"
    lists: dict[KeyPath, tuple[str, ...]] = {
        ("runtime", "backends"): settings.runtime.backends,
        ("stores",): settings.stores,
    }
    for key, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (*key, index), f"{value!r} is listed twice"


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


def _check_own(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except FileExistsError:
        raise _cache_error(path, "is not a directory") from None
    except OSError as failure:
        raise _cache_error(path, f"cannot be made: {(failure.strerror or str(failure)).lower()}") from None
    if status.st_uid != os.geteuid():
        raise _cache_error(path, f"belongs to another user (uid {status.st_uid})")
    if status.st_mode & 0o002:
        raise _cache_error(path, "can be written by everybody")
    if not os.access(path, os.W_OK | os.X_OK):
        raise _cache_error(path, "cannot be written")


def _cache_error(path: Path, message: str) -> SiteError:
    return SiteError(str(path), [Problem(message)], hint="set TYKKY_CACHE to a directory of your own")
