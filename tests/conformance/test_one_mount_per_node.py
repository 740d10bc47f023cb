"""One set of mounts per session, environment and generation: who shares it, who never does, and when it goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.conformance import left
from tests.conformance.cases import Case, everyday, prepared, skip_unless_possible
from tests.conformance.conftest import MANY, Bench
from tests.conformance.test_running_jobs import switch
from tests.living import programs_naming
from tykky.runtime.kept import Kept, is_used, kept, let_go

MOUNTS = 'import os; print(os.stat("/proc/self/ns/mnt").st_ino)'
STAY = "import os, sys; print(os.stat('/proc/self/ns/mnt').st_ino, flush=True); sys.stdin.read()"
until = partial(left.until, seconds=30)
FOREVER = 3600  # seconds; no keeper of such an environment ends because nobody uses it

CASES = [
    *(pytest.param(case, id=case.name) for case in everyday() if case.name == "namespace-shared"),
    *(
        pytest.param(case, id=case.name, marks=pytest.mark.hosts)
        for case in prepared()
        if case.name == "user-namespace-shared"
    ),
]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Launches that share mounts."""
    skip_unless_possible(request.param)
    return request.param


@pytest.fixture
def place(bench: Bench, kind: str) -> Path:
    """An environment directory with three images."""
    return bench.environment(kind=kind, idle=FOREVER)


def mounts(bench: Bench, place: Path, *before: object, **environ: str) -> str:
    """Launch, and return the number of the mount namespace that the program saw."""
    return bench.run(*before, place / "bin" / "python", "-c", MOUNTS, env=bench.environ(**environ)).stdout.strip()


def keepers(bench: Bench) -> list[Kept]:
    return list(kept(bench.place / "home" / "run" / "tykky"))


def keep(bench: Bench, place: Path) -> Kept:
    """Launch, and return what is kept from then on."""
    file = bench.keep(place)
    return next(one for one in keepers(bench) if one.file == file)


@contextmanager
def staying(
    bench: Bench, place: Path, text: str = STAY, *before: object, stderr: int | None = None, **environ: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program that says in which mount namespace it is, and ends when its input does."""
    given = bench.environ(**environ)
    with bench.start(*before, place / "bin" / "python", "-c", text, env=given, stderr=stderr) as running:
        yield running, running.stdout.readline().strip()
        running.stdin.close()


def served(one: Kept) -> bool:
    """Say whether a server of these mounts lives."""
    return any(Path(f"/proc/{server}/ns/mnt").exists() for server in one.servers)


def alive(process: int) -> bool:
    return Path(f"/proc/{process}/ns/mnt").exists()


def test_later_launches_see_the_mounts_of_the_first(bench: Bench, place: Path):
    first = mounts(bench, place)
    until(lambda: bool(keepers(bench)))
    assert {mounts(bench, place) for _ in range(3)} == {first}
    assert len(keepers(bench)) == 1


def test_a_hundred_and_twenty_eight_at_once_make_one_set(bench: Bench, place: Path):
    running = [bench.start(place / "bin" / "python", "-c", STAY) for _ in range(128)]
    try:
        assert len({process.stdout.readline() for process in running}) == 1
        assert programs_naming(place).count("squashfuse_ll") == 3
    finally:
        assert [process.communicate()[1] for process in running] == [None] * 128
    assert {process.returncode for process in running} == {0}


def test_two_sessions_two_steps_two_environments_two_generations(bench: Bench, kind: str, place: Path):
    other = bench.environment("Q", kind, idle=FOREVER)
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
    with ExitStack() as stack:

        def look(where: Path, *before: object, **environ: str) -> str:
            return stack.enter_context(staying(bench, where, STAY, *before, **environ))[1]

        # All at the same time: the number of a mount namespace that is gone may be given to the next.
        seen = [
            look(place),
            look(other),
            look(place, **step),
            look(place, **{**step, "SLURM_STEP_ID": "1"}),
            look(place, **{**step, "SLURMD_NODENAME": "n1"}),
            look(place, PBS_JOBID="7[1].server"),
            look(place, LSB_JOBID="7", LSB_JOBINDEX="2"),
            look(place, "setsid", "--wait"),
        ]
        until(lambda: len(keepers(bench)) == 8)
        switch(bench, place, 2, layers=2)
        seen.append(look(place))
        assert len(set(seen)) == len(seen) == 9
        until(lambda: len(keepers(bench)) == 9)
        assert mounts(bench, place) == seen[-1]
        assert mounts(bench, other) == seen[1]


def test_two_users_never_share(bench: Bench, place: Path):
    """Not even with one private directory's name: a user does not believe what is another's."""
    if bench.case.user is None:
        pytest.skip("needs a second user")
    mine = keep(bench, place)
    assert mounts(bench, place) == mounts(bench, place)
    done = subprocess.run(
        [place / "bin" / "python", "-c", f"import os; print(os.getuid()); {MOUNTS}"],
        env=bench.environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    user, seen = done.stdout.split()
    assert user == "0"
    assert seen != mounts(bench, place)
    assert [one.keeper for one in keepers(bench)] == [mine.keeper]
    let_go(place, {})  # root's, in /tmp


def test_another_group_means_another_mount(bench: Bench, place: Path):
    """In a user namespace one group has its number: the one of who made it."""
    if bench.case.user is None:
        pytest.skip("needs the prepared user, who is in a second group")
    keep(bench, place)
    text = "import os; print(os.getgid() == os.stat('.').st_gid)"
    (bench.place / "shared").mkdir()
    shutil.chown(bench.place / "shared", group="tykky-more")
    command = f'cd {bench.place}/shared && exec {place}/bin/python -c "{text}"'
    assert bench.run("sg", "tykky-more", "-c", command).stdout == "True\n"


def test_a_private_mount_can_be_forced(bench: Bench, place: Path):
    mounts(bench, place, TYKKY_MOUNT="private")
    assert keepers(bench) == []
    shared = mounts(bench, place, TYKKY_MOUNT="shared")
    until(lambda: bool(keepers(bench)))
    assert mounts(bench, place, TYKKY_MOUNT="private") != shared
    done = bench.run(place / "bin" / "python", env=bench.environ(TYKKY_MOUNT="none"), check=False)
    assert (done.returncode, done.stderr) == (125, "tykky: TYKKY_MOUNT is none, which is neither shared nor private\n")


def test_the_keeper_is_killed(bench: Bench, place: Path):
    """Programs have the mounts; new launches make new ones at once."""
    one = keep(bench, place)
    text = f"{STAY}; import thing; print(thing.where)"
    with staying(bench, place, text) as (running, seen):
        os.kill(one.keeper, signal.SIGKILL)
        until(lambda: not alive(one.keeper))
        other = mounts(bench, place)
        assert other != seen
        until(lambda: bool(keepers(bench)))
        assert mounts(bench, place) == other
        assert running.communicate()[0] == "middle\n"
    until(lambda: not served(one))
    assert len(list(one.file.parent.glob("kept-*"))) == 1


def test_a_launch_that_looked_before_the_keeper_was_killed(bench: Bench, place: Path):
    """The namespaces can be entered for a moment longer, by the holder's descriptors."""
    one = keep(bench, place)
    held = Path(f"/proc/{one.holder}/fd")
    users = (f"--user={held}/4",) if Path("/proc/self/ns/user").stat().st_ino != (held / "4").stat().st_ino else ()
    os.kill(one.keeper, signal.SIGKILL)
    until(lambda: not alive(one.keeper))
    bench.run("nsenter", "--preserve-credentials", f"--mount={held}/5", *users, "--", "/bin/sh", "-c", "exit 0")
    until(lambda: not alive(one.holder) and not served(one))


def test_keepers_are_killed_while_many_launch(bench: Bench, place: Path):
    """Whatever a launch was about to do, its program runs and tells what it found."""
    text = "import thing; print(thing.where)"
    running = []
    for _ in range(6):
        bench.run(place / "bin" / "python", "-c", "pass")
        until(lambda: any(alive(one.keeper) for one in keepers(bench)))
        running += [bench.start(place / "bin" / "python", "-c", text) for _ in range(8)]
        for one in keepers(bench):
            with suppress(ProcessLookupError):
                os.kill(one.keeper, signal.SIGKILL)
        running += [bench.start(place / "bin" / "python", "-c", text) for _ in range(8)]
    assert [process.communicate(timeout=60)[0] for process in running] == ["middle\n"] * 96


def test_the_launch_that_makes_the_mounts_is_killed(bench: Bench, place: Path):
    """Others that wait for it do not wait for ever, and make them."""
    for wait in (0.003, 0.01, 0.02, 0.03, 0.05):
        script = 'echo $$; exec "$0" -c pass'
        with bench.start("setsid", "--wait", "/bin/sh", "-c", script, place / "bin" / "python") as first:
            process = int(first.stdout.readline())
            time.sleep(wait)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            first.communicate(timeout=60)
    for _ in range(3):
        assert bench.run(place / "bin" / "python", "-c", "import thing; print(thing.where)").stdout == "middle\n"
    until(lambda: sum(served(one) for one in keepers(bench)) <= 1)


def test_what_launches_left_that_were_killed(bench: Bench, place: Path):
    one = keep(bench, place)
    gone = [one.file.with_name(name) for name in ("table.4194305", "table.4194305.said", "probe2-namespace.4194305")]
    stays = one.file.with_name(f"table.{os.getpid()}")
    for file in (*gone, stays):
        file.write_text("")
    os.kill(one.keeper, signal.SIGKILL)
    until(lambda: not alive(one.keeper))  # or the next launch joins still
    mounts(bench, place)
    until(lambda: not any(file.exists() for file in gone))
    assert stays.exists()


def test_the_holder_is_killed(bench: Bench, place: Path):
    """New launches make new mounts at once, and the keeper ends soon."""
    one = keep(bench, place)
    with staying(bench, place) as (_, seen):
        os.kill(one.holder, signal.SIGKILL)
        until(lambda: not alive(one.holder))
        assert mounts(bench, place) != seen
    until(lambda: not alive(one.keeper) and not served(one))


def test_the_listing_of_site_packages_stays_known(bench: Bench, place: Path):
    """A start of Python lists it three times: what several images have in it is asked of their servers once."""
    servers = keep(bench, place).servers
    # (Of the topmost image that has it, overlayfs opens it each time.)
    bottom = next(one for one in servers if Path(f"/proc/{one}/cmdline").read_bytes().endswith(b"/points/0\0"))
    where = "next(path for path in sys.path if 'site-packages' in path)"

    def asked(times: int) -> int:
        before = answers(bottom)
        bench.run(place / "bin" / "python", "-c", f"import os, sys; [os.listdir({where}) for _ in range({times})]")
        return answers(bottom) - before

    asked(1)
    until(lambda: asked(200) < asked(0) + 200)  # it takes four requests to list it


def answers(server: int) -> int:
    """Return how often a server has read: once for each request."""
    lines = Path(f"/proc/{server}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("syscr")).split()[1])


def test_a_server_is_killed(bench: Bench, kind: str, place: Path):
    """Who needs it gets an error instead of an answer; new launches do not join."""
    one = keep(bench, place)
    text = f"{STAY}; print(open(next(path for path in sys.path if 'site-packages' in path) + '/thing.py').read())"
    with staying(bench, place, text, stderr=subprocess.PIPE) as (running, seen):
        for server in one.servers:
            os.kill(server, signal.SIGKILL)
        until(lambda: not served(one))
        assert mounts(bench, place) != seen
        _, said = running.communicate(timeout=60)
    if kind == "venv":
        assert running.returncode == 1
        assert "OSError: [Errno 107] Transport endpoint is not connected" in said
    else:  # an interpreter whose own image is gone cannot say anything
        assert (running.returncode, said) == (-signal.SIGBUS, "")


def test_a_session_ends(bench: Bench, place: Path):
    """The keeper ends with the session's leader, and takes servers and mounts along."""
    script = f"{place}/bin/python -c '{MOUNTS}' && read x"
    with bench.start("setsid", "--wait", "/bin/sh", "-c", script) as session:
        assert session.stdout.readline()
        until(lambda: bool(keepers(bench)))
        (one,) = keepers(bench)
        assert served(one)
        session.communicate()
    until(lambda: not served(one) and not alive(one.keeper))
    assert list(one.file.parent.glob("*-*-*")) == []
    until(lambda: programs_naming(place) == [])  # what held the namespaces has its name until it is `sleep`


def test_a_session_without_its_leader(bench: Bench, place: Path):
    """`nohup job &` and good night: the first of the user's processes on the way down to the launch takes its place."""
    launch = f"{place}/bin/python -c '{MOUNTS}'"
    # The second shell starts when the leader is gone.
    late = f"while [ -e /proc/$1/ns/mnt ]; do sleep 0.05; done; {launch}; read x; {launch}; read x"
    script = 'exec 3<&0; sh -c "$0" sh $$ <&3 &'
    with bench.start("setsid", "--wait", "/bin/sh", "-c", script, late) as session:
        first = session.stdout.readline()
        until(lambda: bool(keepers(bench)))
        (one,) = keepers(bench)
        print(file=session.stdin, flush=True)
        assert session.stdout.readline() == first != ""
        assert alive(one.keeper)
        print(file=session.stdin, flush=True)
    let_go(place, bench.environ())  # who adopts orphans may be of this user too
    until(lambda: not served(one) and not alive(one.keeper))


def test_a_step_ends(bench: Bench, place: Path):
    """Tasks of one step share, though each is a session of its own; the step's daemon is whose end counts."""
    daemon = bench.place / "slurmstepd"
    task = f"setsid --wait {place}/bin/python -c '{MOUNTS}'"
    daemon.write_text(f"#!/bin/sh\n{task}\nread x\n{task}\nread x\n")
    daemon.chmod(0o755)
    environ = bench.environ(SLURM_JOB_ID="8", SLURM_STEP_ID="0")
    with bench.start(daemon, env=environ) as step:
        first = step.stdout.readline()
        until(lambda: bool(keepers(bench)))
        print(file=step.stdin, flush=True)
        assert step.stdout.readline() == first
        (one,) = keepers(bench)
        assert alive(one.keeper)
        step.communicate()
    until(lambda: not served(one) and not alive(one.keeper))


def test_what_nobody_uses_goes(bench: Bench, kind: str):
    place = bench.environment(kind=kind, idle=2)
    with ExitStack() as stack:
        # One after the other, but never none: on a busy machine the keeper might be gone before the next one comes.
        with staying(bench, place) as (_, seen):
            until(lambda: bool(keepers(bench)))
            (one,) = keepers(bench)
            assert stack.enter_context(staying(bench, place))[1] == seen
        time.sleep(5)
        assert alive(one.keeper)
    until(lambda: not served(one) and not alive(one.keeper))


def test_the_directory_can_be_removed(bench: Bench, place: Path):
    """By its user, with the host's rm; the disk has its room again."""
    one = keep(bench, place)
    bench.run("rm", "-rf", place)
    assert not place.exists()
    until(lambda: not served(one) and not alive(one.keeper))


def test_the_directory_is_another(bench: Bench, kind: str, place: Path):
    """Moved, and another one in its place: each shows its own."""
    other = bench.environment("Q", kind, count=1, idle=FOREVER)
    keep(bench, place)
    show = "import thing, sys; print(thing.where, sys.executable)"
    place.rename(bench.place / "R")
    other.rename(place)
    assert bench.run(place / "bin" / "python", "-c", show).stdout == f"bottom {place}/bin/python\n"
    moved = bench.place / "R" / "bin" / "python"
    assert bench.run(moved, "-c", show).stdout == f"middle {moved}\n"


def test_a_thousand_launches_leave_nothing(bench: Bench, place: Path, many: int):
    one = keep(bench, place)

    def state() -> tuple[list[str], int, int]:
        (now,) = keepers(bench)
        files = [file.name for file in now.file.parent.iterdir() if not file.name.startswith("used-")]
        open_files = len(os.listdir(f"/proc/{now.keeper}/fd"))
        return sorted(files), open_files, len(Path("/proc/self/mountinfo").read_text().splitlines())

    def as_ever() -> bool:
        # (For a moment the keeper's child has its name, until it is `sleep`, and the first launch's table is there.)
        named = ["sh", "sh", *["squashfuse_ll"] * len(one.servers)]
        return programs_naming(place) == named and not list(one.file.parent.glob("table.*"))

    until(lambda: has_listed(one) and as_ever())
    before = state()
    bench.run("/bin/sh", "-c", MANY, place, many, timeout=600)
    until(as_ever)
    assert state() == before


@pytest.mark.parametrize(
    "line",
    [(1, "/nowhere/nsenter"), (2, "/elsewhere"), (3, "0 7"), (0, "1 yes 1"), (0, ""), (0, "x y z"), (0, "-1 no")],
)
def test_a_file_that_is_odd_means_a_private_mount(bench: Bench, place: Path, line: tuple[int, str]):
    one = keep(bench, place)
    lines = one.file.read_text().splitlines()
    lines[line[0]] = line[1]
    with one.file.open("r+") as file:  # the same file, which the keeper has open
        file.truncate(0)
        file.write("\n".join(lines) + "\n")
    done = bench.run(place / "bin" / "python", "-c", "import thing; print(thing.where)")
    assert (done.stdout, done.stderr) == ("middle\n", "")


def test_a_claim_that_was_left_behind(bench: Bench, place: Path):
    """Of a launch that was killed while it made the mounts: the next one makes them."""
    one = keep(bench, place)
    os.kill(one.keeper, signal.SIGKILL)
    one.file.unlink()
    guard = one.file.with_name(one.file.name.replace("kept-", "guard-", 1))
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    guard.write_text(f"{dead.pid}\n")
    bench.case.own(guard)
    keep(bench, place)
    until(lambda: not guard.exists())


def test_no_keeper_holds_what_the_caller_opened(bench: Bench, place: Path):
    """Also where only bash can close it: whoever reads sees the end of file when the program ends."""
    read, write = os.pipe()
    high = 77
    os.dup2(write, high)
    os.set_inheritable(high, True)
    argv = bench.argv(place / "bin" / "python", "-c", "pass")
    done = subprocess.run(argv, env=bench.environ(), cwd=bench.place, close_fds=False, check=False)
    assert done.returncode == 0
    os.close(high)
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)
    until(lambda: bool(keepers(bench)))


@pytest.mark.parametrize(
    "how", [("/bin/sh", "-c", 'ulimit -t 3600; exec "$@"', "sh"), ("nice", "-n", "5")], ids=["cpu", "nice"]
)
def test_who_must_not_serve_others(bench: Bench, place: Path, how: tuple[str, ...]):
    """Servers of a launch that has little time would be slow for all, or die; but it may join."""
    mounts(bench, place, *how)
    time.sleep(1)
    assert keepers(bench) == []
    keep(bench, place)
    assert mounts(bench, place, *how) == mounts(bench, place)


def test_within_another_environment(bench: Bench, place: Path):
    """What runs there shares too, and not with what runs outside."""
    outer = bench.environment("outer", "conda", idle=FOREVER)
    outside = mounts(bench, place)
    until(lambda: bool(keepers(bench)))
    argv = [str(place / "bin" / "python"), "-c", MOUNTS]
    text = (
        "import subprocess, time, pathlib\n"
        f"run = pathlib.Path({str(bench.place / 'home' / 'run' / 'tykky')!r})\n"
        f"for _ in range(3):\n    print(subprocess.check_output({argv!r}, text=True), end='', flush=True)\n"
        "    until = time.monotonic() + 30\n"
        "    while not list(run.glob('kept-*-inside-*')) and time.monotonic() < until: time.sleep(0.02)\n"
    )
    inside = bench.run(outer / "bin" / "python", "-c", text).stdout.split()
    assert len(inside) == 3
    assert len(set(inside)) == 1
    assert inside[0] != outside


def has_listed(one: Kept) -> bool:
    """Say whether the keeper is done with its start: it has had site-packages listed, by a Python in the mounts."""
    children = Path(f"/proc/{one.keeper}/task/{one.keeper}/children").read_text().split()
    try:
        return any(Path(f"/proc/{child}/comm").read_text() == "sleep\n" for child in children)
    except OSError:  # that one has ended meanwhile
        return False


def test_letting_go(bench: Bench, place: Path):
    """Idle mounts are gone at once; programs keep theirs."""
    if bench.case.user is not None:
        pytest.skip("each user's own keepers alone")
    one = keep(bench, place)
    until(lambda: has_listed(one) and not is_used(one))
    assert let_go(place, bench.environ()) == 1
    assert not served(one)
    other = keep(bench, place)
    with staying(bench, place) as (running, seen):
        assert is_used(other)
        assert let_go(place, bench.environ()) == 1
        assert served(other)
        assert mounts(bench, place) != seen
        running.communicate()
        assert running.returncode == 0
    until(lambda: not served(other))


def test_letting_go_of_what_has_lost_its_holder(bench: Bench, place: Path):
    """The other process ends all the same, and the mounts with it."""
    if bench.case.user is not None:
        pytest.skip("each user's own keepers alone")
    one = keep(bench, place)
    until(lambda: has_listed(one) and not is_used(one))
    os.kill(one.keeper, signal.SIGSTOP)  # it would find out
    os.kill(one.holder, signal.SIGKILL)
    until(lambda: not alive(one.holder))
    assert let_go(place, bench.environ()) == 1
    assert not served(one)
    until(lambda: not alive(one.keeper))
    assert list(one.file.parent.glob("*-*-*")) == []


def test_what_the_host_mounts_later(bench: Bench, place: Path):
    """A file system that arrives shows in kept mounts too, and its unmounting is not held up."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    late = bench.place / "late"
    late.mkdir()
    python = " ".join(f"'{word}'" for word in bench.argv(place / "bin" / "python"))
    show = f'{python} -c "import os; print(os.path.exists(\\"{late}/file\\"), os.stat(\\"/proc/self/ns/mnt\\").st_ino)"'
    script = (
        f"set -e; {show}; until ls {bench.place}/home/run/tykky/kept-* >/dev/null 2>&1; do sleep 0.1; done; {show}\n"
        f"mount -t tmpfs none {late}; touch {late}/file; chmod 755 {late}; {show}; umount {late}; {show}\n"
    )
    argv = ["unshare", "--mount", "--propagation", "shared", "/bin/sh", "-c", script]
    done = subprocess.run(argv, env=bench.environ(), cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    seen = [line.split() for line in done.stdout.splitlines()]
    assert [there for there, _ in seen] == ["False", "False", "True", "False"]
    assert len({number for _, number in seen}) == 1


def test_a_lone_image(bench: Bench, kind: str):
    """Without an overlay, nobody outside may look at what is mounted; a directory made anew is noticed all the same."""
    place = bench.environment("L", kind, count=1, idle=FOREVER)
    one = keep(bench, place)
    with staying(bench, place) as (_, seen):
        assert mounts(bench, place) == seen
        time.sleep(3)  # the keeper has looked
        assert alive(one.keeper)
    place.rename(bench.place / "M")
    shutil.copytree(bench.place / "M", place, symlinks=True)
    bench.case.own(place)
    with staying(bench, place) as (running, other):
        assert other != seen
        running.communicate()
    assert bench.run(place / "bin" / "python", "-c", "import thing; print(thing.where)").stdout == "bottom\n"
