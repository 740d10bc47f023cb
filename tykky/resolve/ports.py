"""The two questions a resolver answers, and the two interfaces every resolver has.

Decisions about *what* to ask are made in `resolve.plan`; a resolver only answers for one platform at a time.
All resolvers of a kind pass the same contract tests (`tests/resolve/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from tykky.access import Access
from tykky.lock.model import Package
from tykky.progress import Reporter

__all__ = [
    "Access",
    "CondaRequest",
    "CondaResolver",
    "PypiAsked",
    "PypiRequest",
    "PypiResolver",
    "PythonChooser",
    "PythonRequest",
]


class CondaRequest(Struct, frozen=True):
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


class PypiRequest(Struct, frozen=True):
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


class PypiAsked(Protocol):
    """A question that a resolver is at work on."""

    def read(self, reporter: Reporter) -> tuple[Package, ...]:
        """Wait for the answer; return one package per artifact, sorted by name, without those that are provided.

        Raises `ResolveError` when nothing satisfies the request and `FetchError` when an index cannot be read.
        """
        ...


class PypiResolver(Protocol):
    """Chooses artifacts from Python package indexes."""

    def identify(self) -> str:
        """Return the program and its version, e.g. `uv 0.13.9`."""
        ...

    def ask(self, request: PypiRequest) -> AbstractContextManager[PypiAsked]:
        """Put a question, and do not wait: the answer is read within the block. What works on it ends with the block.

        Raises `ResolveError` for what cannot be asked.
        """
        ...


class PythonRequest(Struct, frozen=True):
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
