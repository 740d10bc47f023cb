"""The two questions a resolver answers, and the two interfaces every resolver has.

Decisions about *what* to ask are made in `resolve.plan`; a resolver only answers for one platform at a time.
All resolvers of a kind pass the same contract tests (`tests/resolve/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tykky.access import Access
from tykky.lock.model import Package
from tykky.progress import Reporter

__all__ = ["Access", "CondaRequest", "CondaResolver", "PypiRequest", "PypiResolver", "PythonChooser", "PythonRequest"]


@dataclass(frozen=True, slots=True)
class CondaRequest:
    """What one platform wants from conda channels. Requirements are MatchSpec strings (`gdal >=3.9`).

    `given` are packages that are there already, whether a channel still has them or not: they may be chosen.
    """

    platform: str
    channels: tuple[str, ...]
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    channel_priority: str = "strict"
    virtual_packages: tuple[str, ...] = ()  # `name=version`
    exclude_newer: str | None = None
    preferred: tuple[Package, ...] = ()  # kept where they still satisfy
    given: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True)
class PypiRequest:
    """What one platform wants from Python package indexes. Requirements are PEP 508 strings or local paths.

    `python` is the full or minor version the environment will have; `interpreter` is a host interpreter of that
    minor version, if there is one (needed only to build sdists while resolving). `provided` are packages (conda's, and
    those of a parent environment) whose distributions satisfy requirements at exactly their version and are never
    installed again.
    """

    platform: str
    python: str
    base: Path  # relative paths in requirements start here
    requirements: tuple[str, ...]
    interpreter: Path | None = None
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    prerelease: str = "if-necessary-or-explicit"
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    no_build_isolation: tuple[str, ...] = ()
    config_settings: Mapping[str, Mapping[str, str | tuple[str, ...]]] = field(default_factory=dict)
    exclude_newer: str | None = None
    glibc: str = "2.28"
    provided: tuple[Package, ...] = ()
    preferred: tuple[Package, ...] = ()


class CondaResolver(Protocol):
    """Chooses conda packages."""

    def identify(self) -> str:
        """Return the program and its version, e.g. `rattler 0.28.0`."""
        ...

    def resolve(self, request: CondaRequest, reporter: Reporter) -> tuple[Package, ...]:
        """Return one package per artifact, sorted by name.

        Raises `ResolveError` when nothing satisfies the request and `FetchError` when a channel cannot be read.
        """
        ...


class PypiResolver(Protocol):
    """Chooses artifacts from Python package indexes."""

    def identify(self) -> str:
        """Return the program and its version, e.g. `uv 0.13.9`."""
        ...

    def resolve(self, request: PypiRequest, reporter: Reporter) -> tuple[Package, ...]:
        """Return one package per artifact, sorted by name, without those that conda provides.

        Raises `ResolveError` when nothing satisfies the request and `FetchError` when an index cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class PythonRequest:
    """The interpreter one platform wants in its image: a minor version (`3.12`), or None for the newest stable one."""

    platform: str
    minor: str | None = None
    exclude_newer: str | None = None


class PythonChooser(Protocol):
    """Chooses interpreters that somebody built for any host of a platform."""

    def choose(self, request: PythonRequest, reporter: Reporter) -> Package:
        """Return the interpreter's archive as a package of kind `python`.

        Raises `ResolveError` when there is none, `FetchError` when a list or an archive cannot be read.
        """
        ...
