"""Spec to lock: what is asked in which order, and what may move. Decisions only: the resolvers note what they hear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tykky.errors import ResolveError, ToolError
from tykky.lock.asked import requirements_of
from tykky.lock.model import LOCK_VERSION, Lock, LockedPlatform, Package
from tykky.progress import Reporter, Silent
from tykky.resolve.ports import CondaRequest, PypiAsked, PypiRequest, PythonRequest
from tykky.resolve.solve import Ports, Question, Upgrade, ask, resolve
from tykky.runtime.interpreter import Interpreter
from tykky.spec.model import Environment, Spec
from tykky.spec.read import parse_spec


def conda(name: str, version: str, platform: str = "linux-64", provides: tuple[str, ...] = ()) -> Package:
    return Package(name, version, "conda", platform, url=f"https://x/{name}.conda", sha256="a" * 64, provides=provides)


def pypi(name: str, version: str, platform: str = "linux-64", **more: str) -> Package:
    return Package(name, version, "pypi", platform, url=f"https://x/{name}.whl", sha256="b" * 64, **more)  # type: ignore[arg-type]


@dataclass
class Pythons:
    """A list of interpreters whose newest is 3.12.9."""

    heard: list[PythonRequest] = field(default_factory=list)

    def choose(self, request: PythonRequest, reporter: Reporter) -> Package:
        self.heard.append(request)
        version = {None: "3.12.9"}.get(request.minor, f"{request.minor}.9")
        return cpython(version, request.platform)


def cpython(version: str, platform: str = "linux-64") -> Package:
    url = f"https://example.org/cpython-{version}.tar.gz"
    return Package("cpython", version, "python", platform, url=url, sha256="ab" * 32)


@dataclass
class Answer:
    packages: tuple[Package, ...]

    def read(self, reporter: Reporter) -> tuple[Package, ...]:
        return self.packages


@dataclass
class Resolvers:
    """Both resolvers in one: answers what it was given and keeps what it heard."""

    conda_answer: tuple[Package, ...] = ()
    pypi_answer: tuple[Package, ...] = ()
    conda_heard: list[CondaRequest] = field(default_factory=list)
    pypi_heard: list[PypiRequest] = field(default_factory=list)
    host: tuple[str, ...] = ("3.11.2",)
    at_work: list[str] = field(default_factory=list)
    pythons: Pythons = field(default_factory=Pythons)

    def identify(self) -> str:
        return "fake 1.0"

    def resolve(self, request: CondaRequest, reporter: Reporter) -> tuple[Package, ...]:
        self.conda_heard.append(request)
        return tuple(p for p in self.conda_answer if p.platform == request.platform)

    @contextlib.contextmanager
    def ask(self, request: PypiRequest) -> Iterator[PypiAsked]:
        self.pypi_heard.append(request)
        self.at_work.append(request.platform)
        yield Answer(tuple(p for p in self.pypi_answer if p.platform == request.platform))
        self.at_work.remove(request.platform)

    def interpreter(self, wanted: str | None) -> Interpreter:
        for version in self.host:
            if wanted is None or version.startswith(wanted):
                return Interpreter(Path("/usr/bin/python"), version, "00")
        raise ToolError(f"no Python {wanted} on PATH")

    def ports(self) -> Ports:
        return Ports(
            conda=lambda: self,
            pypi=lambda: self,
            provides=tuple,
            virtual_packages=lambda platform, overrides: ("__glibc=2.31",),
            interpreter=self.interpreter,
            managed_python=lambda: self.pythons,
            reporter=Silent(),
        )


def spec(text: str) -> Spec:
    return parse_spec(f'[environment]\nname = "x"\n{text}', "tykky.toml")


def locked(
    of: Spec, *packages: Package, python: str | None = "3.11", platforms: tuple[str, ...] = ("linux-64",)
) -> Lock:
    entries = tuple(LockedPlatform(name, python) for name in platforms)
    return Lock(LOCK_VERSION, requirements_of(of), platform=entries, package=packages)


BOTH = spec('[conda]\n[conda.dependencies]\npython = "3.12.*"\nnumpy = "*"\n[pypi]\ndependencies = ["cowsay"]\n')


def test_conda_is_asked_first_and_what_it_brings_is_given_to_pypi() -> None:
    numpy = conda("numpy", "2.1.0", provides=("numpy==2.1.0",))
    resolvers = Resolvers((conda("python", "3.12.4"), numpy), (pypi("cowsay", "6.1"),))
    lock = resolve(Question(BOTH, Path("/base")), resolvers.ports())
    (heard,) = resolvers.pypi_heard
    assert heard.python == "3.12.4"
    assert heard.provided == (numpy,)
    assert heard.interpreter is None
    assert heard.glibc == "2.31"
    assert lock.platform == (LockedPlatform("linux-64", "3.12", ("__glibc=2.31",)),)
    assert [p.name for p in lock.package] == ["python", "numpy", "cowsay"]


def test_pypi_without_a_python_is_refused_with_the_two_ways_out() -> None:
    resolvers = Resolvers((conda("zlib", "1"),))
    with pytest.raises(ResolveError) as caught:
        resolve(Question(BOTH, Path("/base")), resolvers.ports())
    assert str(caught.value) == "[pypi] needs a Python, and nothing in [conda] brings one"
    assert caught.value.hint == "run 'tykky add --conda python', or remove [conda] to use the host's Python"


def test_locked_versions_are_preferred_unless_they_may_move() -> None:
    text = '[pypi]\ndependencies = ["a", "b"]\n'
    previous = locked(spec(text), pypi("a", "1"), pypi("b", "1"))
    for upgrade, kept in (
        (Upgrade(), ["a", "b"]),
        (Upgrade(all=True), []),
        (Upgrade(names=frozenset({"a"})), ["b"]),
    ):
        resolvers = Resolvers()
        resolve(Question(spec(text), Path("/base"), previous, upgrade=upgrade), resolvers.ports())
        assert [p.name for p in resolvers.pypi_heard[0].preferred] == kept


def test_a_git_commit_stays_only_while_its_requirement_reads_as_before() -> None:
    before = spec('[pypi]\ndependencies = ["a @ git+https://x/a@v1", "b @ git+https://x/b"]\n')
    after = spec('[pypi]\ndependencies = ["a @ git+https://x/a@v2", "b @ git+https://x/b"]\n')
    previous = locked(before, pypi("a", "1", source="git"), pypi("b", "1", source="git"))
    resolvers = Resolvers()
    resolve(Question(after, Path("/base"), previous), resolvers.ports())
    assert [p.name for p in resolvers.pypi_heard[0].preferred] == ["b"]


def test_the_minor_version_of_an_unnamed_python_stays() -> None:
    text = '[pypi]\ndependencies = ["a"]\n'
    resolvers = Resolvers(host=("3.13.1", "3.11.9"))
    resolve(Question(spec(text), Path("/base"), locked(spec(text), pypi("a", "1"))), resolvers.ports())
    assert resolvers.pypi_heard[0].python == "3.11"


def test_a_lock_can_be_made_where_the_interpreter_is_not() -> None:
    resolvers = Resolvers(host=())
    lock = resolve(Question(spec('[pypi]\npython = "3.13"\ndependencies = ["a"]\n'), Path("/base")), resolvers.ports())
    assert resolvers.pypi_heard[0].interpreter is None
    assert lock.platform[0].python == "3.13"


def test_other_platforms_keep_their_place() -> None:
    two = parse_spec(
        '[environment]\nname = "x"\nplatforms = ["linux-64", "linux-aarch64"]\n[pypi]\ndependencies = ["a"]\n', "f"
    )
    old = pypi("a", "1", "linux-aarch64")
    previous = locked(two, pypi("a", "1"), old, platforms=("linux-64", "linux-aarch64"))
    resolvers = Resolvers(pypi_answer=(pypi("a", "2"), pypi("a", "2", "linux-aarch64")))
    lock = resolve(Question(two, Path("/base"), previous, ("linux-64",), Upgrade(all=True)), resolvers.ports())
    assert lock.package == (pypi("a", "2"), old)


def test_a_platform_that_was_never_locked_cannot_be_left_out() -> None:
    two = parse_spec('[environment]\nname = "x"\nplatforms = ["linux-64", "linux-aarch64"]\n[pypi]\n', "f")
    with pytest.raises(ResolveError) as caught:
        resolve(Question(two, Path("/base"), None, ("linux-64",)), Resolvers().ports())
    assert str(caught.value) == "linux-aarch64 was never locked, so --platform cannot leave it out"


MANAGED = spec('[pypi]\nmanaged-python = true\ndependencies = ["cowsay"]\n')


def test_the_managed_interpreter_is_locked_and_its_exact_version_given_to_pypi() -> None:
    resolvers = Resolvers(host=("3.12.1",))
    lock = resolve(Question(MANAGED, Path("/p")), resolvers.ports())
    assert lock.packages("linux-64", "python") == (cpython("3.12.9"),)
    assert lock.locked_platform("linux-64") == LockedPlatform("linux-64", "3.12")
    (heard,) = resolvers.pypi_heard
    assert (heard.python, heard.interpreter) == ("3.12.9", Path("/usr/bin/python"))
    assert resolvers.pythons.heard == [PythonRequest("linux-64", None, None)]


def test_without_a_python_of_that_version_on_the_host_the_question_is_asked_all_the_same() -> None:
    resolvers = Resolvers(host=("3.11.2",))
    resolve(Question(MANAGED, Path("/p")), resolvers.ports())
    assert (resolvers.pypi_heard[0].python, resolvers.pypi_heard[0].interpreter) == ("3.12.9", None)


@pytest.mark.parametrize(
    ("extra", "environment", "upgrade", "asked", "version"),
    [
        ("", "", Upgrade(), None, "3.12.4"),
        ('python = "3.12"', "", Upgrade(), None, "3.12.4"),
        ("", "", Upgrade(names=frozenset({"numpy"})), None, "3.12.4"),
        ("", "", Upgrade(names=frozenset({"cpython"})), "3.12", "3.12.9"),
        ("", "", Upgrade(all=True), "3.12", "3.12.9"),
        ('python = "3.13"', "", Upgrade(), "3.13", "3.13.9"),
        ("", 'exclude-newer = "2026-01-01"', Upgrade(), "3.12", "3.12.9"),
    ],
)
def test_the_locked_interpreter_stays_while_it_serves(
    extra: str, environment: str, upgrade: Upgrade, asked: str | None, version: str
) -> None:
    resolvers = Resolvers()
    before = locked(MANAGED, cpython("3.12.4"), python="3.12")
    now = parse_spec(f'[environment]\nname = "x"\n{environment}\n[pypi]\nmanaged-python = true\n{extra}\n', "t")
    lock = resolve(Question(now, Path("/p"), before, upgrade=upgrade), resolvers.ports())
    assert lock.packages("linux-64", "python") == (cpython(version),)
    assert [request.minor for request in resolvers.pythons.heard] == ([] if asked is None else [asked])


def test_an_interpreter_that_is_no_longer_wanted_goes() -> None:
    before = locked(MANAGED, cpython("3.11.4"))
    lock = resolve(Question(spec('[pypi]\ndependencies = ["cowsay"]\n'), Path("/p"), before), Resolvers().ports())
    assert lock.packages("linux-64", "python") == ()


def test_all_platforms_are_asked_before_the_first_answer_is_read() -> None:
    two = msgspec.structs.replace(BOTH, environment=Environment(name="x", platforms=("linux-64", "linux-aarch64")))
    resolvers = Resolvers(tuple(conda("python", "3.12.4", name) for name in two.environment.platforms))
    with ask(Question(two, Path("/base")), resolvers.ports()):
        assert resolvers.at_work == ["linux-64", "linux-aarch64"]
    assert resolvers.at_work == []
