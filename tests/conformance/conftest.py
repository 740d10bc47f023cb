"""The suite runs once per backend; with `-m hosts`, once per kind of real host."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.conformance.cases import Case, everyday, prepared, skip_unless_possible
from tests.conformance.stage import Images, lay_out, make_images
from tests.living import until

# Joining begins with a launch that makes the mounts to join, and prepared hosts have Apptainers of both kinds.
_THOROUGH = ("namespace-shared", "user-namespace-shared", "apptainer")


def _param(case: Case, *marks: pytest.MarkDecorator) -> ParameterSet:
    thorough = (pytest.mark.thorough,) if case.name in _THOROUGH else ()
    return pytest.param(case, id=case.name, marks=(*marks, *thorough))


CASES = [
    *(_param(case) for case in everyday()),
    *(_param(case, pytest.mark.hosts) for case in prepared()),
]


# The ways to launch that are left to thorough runs in modules that say they are SAMPLED. A module may name others.
_SECOND = ("namespace-joined", "user-namespace-joined", "user-apptainer")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep private mounts, and Apptainer without user namespaces, where a module is content with a sample."""
    for item in items:
        sampled = getattr(item.module, "SAMPLED", ()) if isinstance(item, pytest.Function) else ()
        if sampled and hasattr(item, "callspec"):
            case = item.callspec.params.get("case")
            if isinstance(case, Case) and case.name in (_SECOND if sampled is True else sampled):
                item.add_marker(pytest.mark.thorough)


@pytest.fixture(scope="session")
def ground() -> Iterator[Path]:
    """A directory that every user may pass through: pytest's own is private."""
    made = Path(tempfile.mkdtemp(prefix="tykky-conformance-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def images(ground: Path) -> Callable[[str], Images]:
    """Give the images of a kind of environment, made once."""
    made: dict[str, Images] = {}

    def get(kind: str) -> Images:
        if kind not in made:
            folder = ground / f"images-{kind}"
            folder.mkdir()
            made[kind] = make_images(kind, folder)
        return made[kind]

    return get


@dataclass(frozen=True, slots=True)
class Bench:
    """A case, a place of its user's to work in, and environments to launch."""

    case: Case
    place: Path
    images: Callable[[str], Images]

    def environment(
        self, name: str = "P", kind: str = "venv", count: int = 3, *, launched: bool = True, **launch: object
    ) -> Path:
        """Lay out an environment directory of the case's user, with the site's programs in its launch."""
        made = lay_out(self.place / name, self.images(kind), count, programs=self.case.programs, **launch)
        self.case.own(made)
        if self.case.mount == "joined" and launched:
            self.keep(made)
        return made

    def keep(self, place: Path) -> Path:
        """Launch, and wait for the keeper that this starts; return the file by which launches find it."""
        before = set(self.kept())
        self.run(place / "bin" / "python", "-c", "pass")
        limit = time.monotonic() + 30
        while not (found := set(self.kept()) - before):
            assert time.monotonic() < limit, f"no keeper: {surroundings(self.place / 'home' / 'run' / 'tykky')}"
            time.sleep(0.01)
        (file,) = found
        return file

    def kept(self) -> list[Path]:
        """Return the files of keepers in this case's private directory."""
        return list((self.place / "home" / "run" / "tykky").glob("kept-*"))

    def argv(self, *argv: object) -> list[str | bytes]:
        """Return the command line as the case's user."""
        return self.case.argv(argv)

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of a launch."""
        return self.case.environ(self.place / "home", **more)

    def run(self, *argv: object, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a program as the case's user and return what it printed."""
        given = {"cwd": self.place, "env": self.environ(), "stdin": subprocess.DEVNULL, "timeout": 120, **options}
        if "input" in options:
            del given["stdin"]
        done = subprocess.run(
            self.argv(*argv), capture_output=True, encoding="utf-8", errors="surrogateescape", check=False, **given
        )
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *argv: object, **options: object) -> subprocess.Popen[str]:
        """Start a program as the case's user; its input and output are pipes of text."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.argv(*argv), **{"cwd": self.place, "env": self.environ(), **pipes, **options})

    def end(self, running: subprocess.Popen[str] | subprocess.Popen[bytes], number: int) -> None:
        """Send a program the signal that it shall end by, and wait for that.

        Under Apptainer again each second: its starter has room for two signals, those of its own making among them, and
        forgets what comes meanwhile (Master of internal/app/starter/master_linux.go, until 1.4.5 and later).
        """
        running.send_signal(number)
        for _ in range(30):
            try:
                running.wait(30 if self.case.backend == "namespace" else 1)
                return
            except subprocess.TimeoutExpired:
                assert self.case.backend == "apptainer"
                running.send_signal(number)
        raise AssertionError(f"{running.args} does not end by {signal.Signals(number).name}")


@contextmanager
def below_srv(bench: Bench, *names: str) -> Iterator[Path]:
    """Give a directory of the case's user below /srv, with these in it; its own name has a space."""
    try:
        made = Path(tempfile.mkdtemp(prefix="tykky test-", dir="/srv"))
    except OSError as error:
        pytest.skip(f"nothing can be made in /srv: {error.strerror}")
    for name in names:
        (made / name).mkdir()
    bench.case.own(made)
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def surroundings(private: Path) -> str:
    """Return what launches look at before they make mounts for others, and how far they got."""
    leader = Path(f"/proc/{os.getsid(0)}/stat")
    return (
        f"session {os.getsid(0)} led by {leader.read_text() if leader.exists() else 'nobody'}, "
        f"nice {os.getpriority(os.PRIO_PROCESS, 0)}, processor time {resource.getrlimit(resource.RLIMIT_CPU)}, "
        f"root changed {time.time() - Path('/').stat().st_mtime:.1f} s ago, {sorted(map(str, private.glob('*')))}"
    )


@pytest.fixture(autouse=True, scope="session")
def serving_others() -> None:
    """Be one who may make mounts for others, however the tests are started: in a session of this pid namespace, with
    the usual priority and without a limit of processor time."""
    if os.getsid(0) == 0:
        os.setsid()
    if os.getpriority(os.PRIO_PROCESS, 0) > 0 and os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """One way to launch."""
    skip_unless_possible(request.param)
    return request.param


@pytest.fixture
def bench(case: Case, ground: Path, images: Callable[[str], Images]) -> Iterator[Bench]:
    """A place to work in, gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix=f"{case.name}-", dir=ground))
    (place / "home" / "run").mkdir(parents=True, mode=0o700)
    case.own(place)
    if case.user is not None:
        place.chmod(0o755)
    yield Bench(case, place, images)
    # Not rmtree: keepers make and remove files of their own meanwhile.
    until(lambda: subprocess.run(["rm", "-rf", place], check=False).returncode == 0, 10)


# The two kinds of environment: whose interpreter is the host's, and (in thorough runs) who bring their own.
KINDS = ["venv", pytest.param("conda", marks=pytest.mark.thorough)]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of environment, for tests that lay out their own."""
    kind: str = request.param
    return kind


@pytest.fixture
def environment(bench: Bench, kind: str) -> Path:
    """An environment directory with three images."""
    return bench.environment(kind=kind)


# $0 is P, and $1 the number of launches; of a shell's script and, every other time, of Python.
MANY = """
i=0
while [ "$i" -lt "$1" ]; do
    "$0/bin/extra" >/dev/null && "$0/bin/python" -I -S -c pass || exit
    i=$((i + 2))
done
"""


@pytest.fixture(params=[40, pytest.param(1000, marks=pytest.mark.thorough)])
def many(request: pytest.FixtureRequest) -> int:
    """How many launches it takes to see what each of them leaves behind."""
    number: int = request.param
    return number


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The usual umask, whatever the caller's is: other users read what is made here."""
    before = os.umask(0o022)
    yield
    os.umask(before)
