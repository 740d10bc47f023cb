"""Spec to lock: what to ask, in which order, and how the answers become one lock.

Conda is asked first, because it brings the interpreter and may already hold what PyPI requirements name; then PyPI,
with Python's version and conda's distributions as givens. Each platform is asked on its own.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field

from tykky.errors import ResolveError, ToolError
from tykky.lock.asked import requirements_of
from tykky.lock.model import LOCK_VERSION, Lock, LockedPlatform, Package, Parent, Resolvers
from tykky.progress import Reporter
from tykky.resolve.parent import conda_given, own, pypi_given
from tykky.resolve.ports import (
    CondaRequest,
    CondaResolver,
    PypiAsked,
    PypiRequest,
    PypiResolver,
    PythonChooser,
    PythonRequest,
)
from tykky.runtime.interpreter import Interpreter, minor_of
from tykky.spec.model import CondaRequirement, Spec
from tykky.spec.names import canonical_name
from tykky.spec.requirements import conda_match_spec

DEFAULT_GLIBC = "2.28"  # EL8, the oldest system that supercomputers of 2026 still run


class Upgrade(Struct, frozen=True):
    """Which locked versions may move: none, all, or those named."""

    all: bool = False
    names: frozenset[str] = frozenset()

    def keeps(self, package: Package) -> bool:
        """Return whether the resolver should prefer the locked version."""
        return not self.all and canonical_name(package.name) not in self.names


class Ports(Struct, frozen=True):
    """Where the answers come from. The resolvers are made when they are needed: their libraries are heavy."""

    conda: Callable[[], CondaResolver]
    pypi: Callable[[], PypiResolver]
    provides: Callable[[Sequence[Package]], tuple[Package, ...]]
    virtual_packages: Callable[[str, dict[str, str]], tuple[str, ...]]
    interpreter: Callable[[str | None], Interpreter]
    managed_python: Callable[[], PythonChooser]
    reporter: Reporter


class Question(Struct, frozen=True):
    """What to resolve. `platforms` may be fewer than the spec's: the others keep their place in the lock.

    `parent` is the environment to add to, where the spec extends one.
    """

    spec: Spec
    base: Path
    previous: Lock | None = None
    platforms: tuple[str, ...] = ()
    upgrade: Upgrade = field(default_factory=Upgrade)
    parent: Parent | None = None

    @property
    def may_replace(self) -> bool:
        """Whether packages of the parent may be replaced."""
        return self.spec.environment.extends_policy == "upgrade"


class Asked(Struct, frozen=True):
    """A question that resolvers are at work on: what each platform has of it already, and what is still to be read."""

    question: Question
    reporter: Reporter
    parts: tuple[_Part, ...]

    def lock(self) -> Lock:
        """Wait for the answers; return the lock that answers the spec.

        Raises `ResolveError` if nothing does, `FetchError` if an index cannot be read.
        """
        spec, parent = self.question.spec, self.question.parent
        used = next(part for part in self.parts if part.was_asked).resolvers()
        packages: list[Package] = []
        for part in self.parts:
            packages.extend(part.known)
            if part.pypi is not None:
                packages.extend(own(part.pypi.read(self.reporter), parent))
        return Lock(
            lock_version=LOCK_VERSION,
            requirements=requirements_of(spec),
            resolvers=used,
            platform=tuple(part.entry for part in self.parts),
            parent=parent,
            package=tuple(packages),
        )


class _Part(Struct, frozen=True):
    """One platform: its entry of the lock, the packages that are known, and who is at work on the others."""

    entry: LockedPlatform
    known: tuple[Package, ...]
    was_asked: bool = False
    conda_by: str | None = None
    pypi_by: Callable[[], str] | None = None
    pypi: PypiAsked | None = None

    def resolvers(self) -> Resolvers:
        """Return who answers."""
        return Resolvers(conda=self.conda_by, pypi=None if self.pypi_by is None else self.pypi_by())


@contextlib.contextmanager
def ask(question: Question, ports: Ports) -> Iterator[Asked]:
    """Ask for the lock that answers a spec. conda has answered when the block begins, PyPI is at work in it.

    Raises `ResolveError` if nothing does, `FetchError` if a channel cannot be read.
    """
    spec = question.spec
    _check_parent(question)
    asked = question.platforms or spec.environment.platforms
    with contextlib.ExitStack() as at_work:
        parts = [
            _ask_for(question, name, ports, at_work) if name in asked else _kept(question, name)
            for name in spec.environment.platforms
        ]
        yield Asked(question, ports.reporter, tuple(parts))


def resolve(question: Question, ports: Ports) -> Lock:
    """Return the lock that answers the spec. Raises what `ask` and `Asked.lock` raise."""
    with ask(question, ports) as asked:
        return asked.lock()


def _check_parent(question: Question) -> None:
    """Raise `ResolveError` if the spec asks for what this parent cannot bear."""
    parent, spec = question.parent, question.spec
    if parent is None:
        return
    if spec.environment.platforms != (parent.platform,):
        asked = ", ".join(spec.environment.platforms)
        raise ResolveError(
            f"{parent.name} ({parent.path}) is for {parent.platform}, the spec is for {asked}",
            hint=f'write platforms = ["{parent.platform}"] into [environment]: images are of one platform',
        )
    if spec.conda is not None and not any(p.kind == "conda" for p in parent.package):
        raise ResolveError(
            f"{parent.name} ({parent.path}) has no conda packages, so none can be added to it",
            hint="take [conda] out and ask for PyPI packages, or extend an environment that has conda packages",
        )


def _kept(question: Question, platform: str) -> _Part:
    previous = question.previous
    entry = previous.locked_platform(platform) if previous is not None else None
    if previous is None or entry is None:
        raise ResolveError(
            f"{platform} was never locked, so --platform cannot leave it out",
            hint="run 'tykky lock' once without --platform",
        )
    return _Part(entry, previous.packages(platform))


def _ask_for(question: Question, platform: str, ports: Ports, at_work: contextlib.ExitStack) -> _Part:
    spec = question.spec
    parent = question.parent
    conda: tuple[Package, ...] = ()
    virtual: tuple[str, ...] = () if parent is None else parent.virtual_packages
    conda_by: str | None = None
    if spec.conda is not None:
        virtual = ports.virtual_packages(platform, spec.conda.virtual_packages)
        conda_resolver = ports.conda()
        conda_by = conda_resolver.identify()
        with _told_of_the_parent(question):
            conda = own(conda_resolver.resolve(conda_request(question, platform, virtual), ports.reporter), parent)
    managed = _managed(question, platform, ports)
    python, interpreter = _python(question, platform, (*conda, *managed), ports)
    minor = minor_of(python) if python else None
    entry = LockedPlatform(name=platform, python=minor, virtual_packages=virtual)
    if spec.pypi is None or not spec.pypi.dependencies:
        return _Part(entry, (*conda, *managed), was_asked=True, conda_by=conda_by)
    assert python is not None
    conda = ports.provides(conda)
    resolver = ports.pypi()
    request = pypi_request(question, platform, python, interpreter, conda, virtual)
    return _Part(
        entry,
        (*conda, *managed),
        was_asked=True,
        conda_by=conda_by,
        pypi_by=resolver.identify,
        pypi=at_work.enter_context(resolver.ask(request)),
    )


@contextlib.contextmanager
def _told_of_the_parent(question: Question) -> Iterator[None]:
    """Say with a failure that packages of the parent were to stay, if they were."""
    try:
        yield
    except ResolveError as error:
        if question.parent is not None and not question.may_replace:
            hint = (
                f"what {question.parent.name} has stays as it is; "
                'extends-policy = "upgrade" in [environment] lets it be replaced'
            )
            error.hint = f"{error.hint}; {hint}" if error.hint else hint
        raise


def _managed(question: Question, platform: str, ports: Ports) -> tuple[Package, ...]:
    """Return the interpreter that goes into the image, if the spec wants it there: the locked one while it serves."""
    spec = question.spec
    if spec.pypi is None or not spec.pypi.managed_python:
        return ()
    request = PythonRequest(platform, _wanted_python(question, platform), spec.environment.exclude_newer)
    for locked in _preferred(question, platform, "python"):
        if minor_of(locked.version) == request.minor and not _newly_excluded(question):
            return (locked,)
    return (ports.managed_python().choose(request, ports.reporter),)


def _newly_excluded(question: Question) -> bool:
    """Whether `exclude-newer` is not what it was: what was locked may be too new now."""
    previous = question.previous
    return previous is not None and previous.requirements.exclude_newer != question.spec.environment.exclude_newer


def _wanted_python(question: Question, platform: str) -> str | None:
    """Return what the spec says under `pypi.python`, else the minor version that is locked."""
    assert question.spec.pypi is not None
    wanted = question.spec.pypi.python
    if wanted is not None or question.previous is None:
        return wanted
    entry = question.previous.locked_platform(platform)
    return entry.python if entry is not None else None


def _python(
    question: Question, platform: str, brought: Sequence[Package], ports: Ports
) -> tuple[str | None, Interpreter | None]:
    """Return the version the environment's Python will have, and a host's interpreter of it outside of conda.

    `brought` are the packages that may hold the interpreter.
    """
    spec = question.spec
    if question.parent is not None:
        return _python_of(question.parent, ports)
    managed = next((p.version for p in brought if p.kind == "python"), None)
    if managed is not None:
        # The host's may not be there: it is only asked for the metadata of what is no wheel.
        with contextlib.suppress(ToolError):
            return managed, ports.interpreter(minor_of(managed))
        return managed, None
    if spec.conda is not None:
        python = next((p.version for p in brought if p.name == "python"), None)
        if python is None and spec.pypi is not None and spec.pypi.dependencies:
            raise ResolveError(
                "[pypi] needs a Python, and nothing in [conda] brings one",
                hint="run 'tykky add --conda python', or remove [conda] to use the host's Python",
            )
        return python, None
    if spec.pypi is None:
        return None, None
    wanted = _wanted_python(question, platform)
    try:
        found = ports.interpreter(wanted)
    except ToolError:
        # A lock may be made where the interpreter is not: wheels say in their metadata all that uv has to know.
        if wanted is None or minor_of(wanted) is None:
            raise
        return wanted, None
    return found.version if wanted is None else (minor_of(wanted) or found.version), found


def _python_of(parent: Parent, ports: Ports) -> tuple[str | None, Interpreter | None]:
    """Return the version of a parent's Python, and a host's interpreter of it where it has none of its own."""
    brought = (p.version for p in parent.package if (p.kind, p.name) in (("conda", "python"), ("python", "cpython")))
    version = next(brought, parent.python)
    if version is None:
        raise ResolveError(
            f"{parent.name} ({parent.path}) has no Python for [pypi] packages",
            hint="extend an environment that has one",
        )
    # The host's may not be there: it is only asked for the metadata of what is no wheel.
    if parent.interpreter is not None:
        there = os.access(parent.interpreter, os.X_OK)
        return version, Interpreter(Path(parent.interpreter), version, magic="") if there else None
    with contextlib.suppress(ToolError):
        return version, ports.interpreter(minor_of(version))
    return version, None


def conda_request(question: Question, platform: str, virtual: tuple[str, ...]) -> CondaRequest:
    """Return what to ask a conda resolver for one platform."""
    spec = question.spec
    assert spec.conda is not None
    needed: tuple[str, ...] = ()
    given: tuple[Package, ...] = ()
    if question.parent is not None:
        needed, given = conda_given(question.parent, upgrade=question.may_replace)
    return CondaRequest(
        platform=platform,
        channels=spec.conda.channels,
        requirements=(*_match_specs(spec.conda.dependencies), *needed),
        constraints=_match_specs(spec.conda.constraints),
        channel_priority=spec.conda.channel_priority,
        virtual_packages=virtual,
        exclude_newer=spec.environment.exclude_newer,
        preferred=_preferred(question, platform, "conda"),
        given=given,
    )


def _match_specs(requirements: Mapping[str, str | CondaRequirement]) -> tuple[str, ...]:
    return tuple(sorted(conda_match_spec(name, wanted) for name, wanted in requirements.items()))


def pypi_request(
    question: Question,
    platform: str,
    python: str,
    interpreter: Interpreter | None,
    conda: Sequence[Package],
    virtual: Sequence[str],
) -> PypiRequest:
    """Return what to ask a PyPI resolver for one platform. `conda` are the environment's own conda packages."""
    spec = question.spec
    pypi = spec.pypi
    assert pypi is not None
    provided = {p.name: p for p in conda if p.provides}
    constraints: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    preferred = _preferred(question, platform, "pypi")
    if question.parent is not None:
        replaced = {p.name for p in conda}
        theirs = {
            p.name: p for p in question.parent.package if p.kind == "conda" and p.provides and p.name not in replaced
        }
        stays, constraints, wanted = pypi_given(question.parent, pypi.dependencies, upgrade=question.may_replace)
        provided = {**theirs, **provided, **{f"pypi {p.name}": p for p in stays}}
        ours = {p.name for p in preferred}
        preferred += tuple(p for p in question.parent.package if p.kind == "pypi" and p.name not in ours)
    glibc = next((v.partition("=")[2] for v in virtual if v.startswith("__glibc=")), DEFAULT_GLIBC)
    return PypiRequest(
        platform=platform,
        python=python,
        base=question.base,
        requirements=(*pypi.dependencies, *wanted),
        interpreter=interpreter.path if interpreter is not None else None,
        constraints=(*pypi.constraints, *constraints),
        overrides=pypi.overrides,
        index_url=pypi.index_url,
        extra_index_url=pypi.extra_index_url,
        find_links=pypi.find_links,
        prerelease=pypi.prerelease,
        no_binary=pypi.no_binary,
        only_binary=pypi.only_binary,
        no_build_isolation=pypi.no_build_isolation,
        config_settings=pypi.config_settings,
        exclude_newer=spec.environment.exclude_newer,
        glibc=glibc,
        provided=tuple(provided.values()),
        preferred=preferred,
    )


def _preferred(question: Question, platform: str, kind: str) -> tuple[Package, ...]:
    """Return the locked packages that should stay.

    A git package stays only while its requirement reads as before: the lock holds the commit, not the reference that
    was asked for, so `@v1` could not be told from `@v2`.
    """
    previous = question.previous
    if previous is None or question.upgrade.all:
        return ()
    changed = set(previous.requirements.pypi) ^ set(requirements_of(question.spec).pypi)
    moved = {canonical_name(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in changed}
    return tuple(
        p
        for p in previous.packages(platform)
        if p.kind == kind and question.upgrade.keeps(p) and not (p.source == "git" and p.name in moved)
    )
