"""Pools of the standard library: what their workers run in, and what is left when somebody ends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.left import left, until
from tests.conformance.test_running_jobs import switch

SAMPLED = True

OTHERS = ("fork", "forkserver")
METHODS = ("spawn", *OTHERS)

# What a process sees: its interpreter, by every name that a library looks at to start another one, and its tree.
SEE = """
import multiprocessing.spawn, os, sys
def see(number):
    import thing
    names = (sys.executable, multiprocessing.spawn.get_executable())
    return [*map(os.fsdecode, names), sys.prefix, thing.where, os.readlink("/proc/self/ns/mnt"), sys._base_executable]
"""
POOLS = f"""{SEE}
import concurrent.futures, json
from multiprocessing import shared_memory
def fill(name):
    block = shared_memory.SharedMemory(name=name)
    block.buf[0] = 7
    block.close()
    return see(0)
def all_of(method):
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool, context.Manager() as manager:
        values = manager.list([see(0)])
        pool.apply(values.append, (see(1),))
        yield from [*values, pool.apply(see, (2,))]
    block = shared_memory.SharedMemory(create=True, size=1)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        yield pool.submit(fill, block.name).result()
    assert block.buf[0] == 7
    block.close()
    block.unlink()
if __name__ == "__main__":
    print(json.dumps([see(0), {{method: list(all_of(method)) for method in {METHODS}}}]))
"""


def file(bench: Bench, name: str, text: str) -> Path:
    """Write a program of the case's user."""
    path = bench.place / name
    path.write_text(text)
    path.chmod(0o755)
    bench.case.own(path)
    return path


def test_workers_of_every_kind_see_what_their_parent_sees(bench: Bench, kind: str):
    """The same interpreter by each of its names, in the same mounts."""
    place = bench.environment(kind=kind)
    python = f"{place}/bin/python"
    done = bench.run(python, file(bench, "pools.py", POOLS))
    assert done.stderr == ""
    parent, workers = json.loads(done.stdout)
    assert parent[:4] == [python, python, str(place), "middle"]
    assert workers == {method: [parent] * 4 for method in METHODS}


MAIN = f"""{SEE}
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(see, (0,)) == see(0)
    print(see(0)[0])
"""


@pytest.mark.parametrize("way", ["program", "module", "shebang", "env"])
def test_a_worker_finds_the_main_program_again(bench: Bench, environment: Path, way: str):
    """`spawn` imports it once more, by its path or by its name; it is found whichever way it was started."""
    python = environment / "bin" / "python"
    interpreter = "/usr/bin/env python" if way == "env" else str(python)
    script = file(bench, "main.py", f"#!{interpreter}\n{MAIN}")
    words = {"program": [python, script], "module": [python, "-m", "main"]}
    given = bench.environ(PATH=f"{environment}/bin:{bench.environ()['PATH']}") if way == "env" else bench.environ()
    done = bench.run(*words.get(way, [script]), env=given)
    assert (done.stdout, done.stderr) == (f"{environment}/bin/python\n", "")


# One method in a program, and `fork` by the main thread alone: a copy of what other threads do may wait for ever.
LATER = f"""{SEE}
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    pool = context.Pool(1, maxtasksperchild=None if sys.argv[1] == "fork" else 1)
    assert pool.apply(see, (0,))[3] == "bottom"
    print("up", flush=True)
    input()
    print(*[pool.apply(see, (number,))[3] for number in range(2)], context.Pool(1).apply(see, (0,))[3])
"""


@pytest.mark.parametrize("method", METHODS)
def test_workers_that_start_after_an_update_are_of_their_parents_generation(bench: Bench, kind: str, method: str):
    """Of an old pool whose workers are renewed, and of a new one; `forkserver` started before the update."""
    place = bench.environment(kind=kind)
    switch(bench, place, 2, layers=1)
    with bench.start(place / "bin" / "python", file(bench, "later.py", LATER), method) as running:
        assert running.stdout.readline() == "up\n"
        switch(bench, place, 3, layers=2)
        (place / ".tykky" / "layers" / f"{kind}-0.sqfs").unlink()
        found, _ = running.communicate("\n")
    assert (running.returncode, found.split()) == (0, ["bottom"] * 3)


BUSY = """
import concurrent.futures, multiprocessing, os, sys, time
def work(number):
    open(f"{sys.argv[1]}/{number}", "w").close()
    time.sleep(3600)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as first, context.Pool(2) as second:
        third = second.map_async(work, range(2, 4))
        list(first.map(work, range(2)))
"""
ORPHANS = """
import multiprocessing, os, sys, time
def work(method):
    here = sys.argv[1]
    open(f"{here}/{method}", "w").close()
    while not os.path.exists(f"{here}/go"):
        time.sleep(0.02)
    try:
        import thing
        found = thing.where
    except (ImportError, OSError):
        found = "gone"
    with open(f"{here}/{method}.new", "w") as file:
        file.write(found)
    os.rename(f"{here}/{method}.new", f"{here}/{method}.seen")
    time.sleep(3600)
if __name__ == "__main__":
    for method in sys.argv[2:]:
        multiprocessing.get_context(method).Process(target=work, args=(method,)).start()
    while len(os.listdir(sys.argv[1])) < len(sys.argv[2:]):
        time.sleep(0.02)
    print(os.getpid(), flush=True)
    time.sleep(3600)
"""


@contextmanager
def started(bench: Bench, place: Path, text: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a program in a session of its own; give it and the directory that is its first argument."""
    here = bench.place / "here"
    here.mkdir()
    bench.case.own(here)
    argv = (place / "bin" / "python", file(bench, "program.py", text), here, *words)
    nothing = subprocess.DEVNULL
    with bench.start(*argv, stdin=nothing, stderr=nothing, start_new_session=True) as running:
        try:
            yield running, here
        finally:
            to_all(running, signal.SIGKILL)


def to_all(running: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to all of a process group, as a terminal does."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, number)


@pytest.mark.parametrize("method", ["spawn", *(pytest.param(one, marks=pytest.mark.thorough) for one in OTHERS)])
def test_ctrl_c_ends_pools_and_leaves_nothing(bench: Bench, method: str):
    place = bench.environment(launched=False)
    with started(bench, place, BUSY, method) as (running, here):
        until(lambda: len(list(here.iterdir())) == 4)
        to_all(running, signal.SIGINT)
        if bench.case.backend == "apptainer":
            # It hands signals of the group on once more, and two of them stop Python's own clearing up.
            with suppress(subprocess.TimeoutExpired):
                running.wait(5)
            to_all(running, signal.SIGINT)
        assert running.wait(60) != 0
        until(lambda: not left(bench.place))
    assert str(bench.place) not in Path("/proc/self/mountinfo").read_text()


def test_workers_outlive_a_killed_parent(bench: Bench):
    """As in any installation: they go on, can import what they have not yet, and leave nothing when they end.

    Not so with Apptainer, which takes the mounts away with the first program: they can import nothing more.
    """
    place = bench.environment(launched=False)
    with started(bench, place, ORPHANS, *METHODS) as (running, here):
        os.kill(int(running.stdout.readline()), signal.SIGKILL)
        assert running.wait(60) != 0
        (here / "go").touch()
        until(lambda: len(list(here.glob("*.seen"))) == len(METHODS))
        seen = {one.read_text() for one in here.glob("*.seen")}
        assert seen == {"gone" if bench.case.backend == "apptainer" else "middle"}
        to_all(running, signal.SIGKILL)
        until(lambda: not left(bench.place))
