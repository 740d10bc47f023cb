"""Dask, Snakemake, submitit and joblib as they come from PyPI, in environments that `tykky build` made of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance import cluster as slurms
from tests.conformance.cases import Case, prepared, skip_unless_possible
from tests.conformance.cluster import Cluster
from tests.conformance.conftest import Bench
from tests.conformance.left import left, until
from tests.conformance.stage import host_python

pytestmark = [pytest.mark.workflows, pytest.mark.timeout(900)]
# Joined is shared here: each session and each step makes its own mounts.
CASES = [pytest.param(case, id=case.name) for case in prepared() if case.mount != "joined"]
KINDS = ("venv", "conda")
PACKAGES = (
    "dask",
    "distributed",
    "dask-jobqueue==0.9.*",
    "snakemake==9.*",
    "snakemake-executor-plugin-slurm==2.*",
    "submitit==1.5.*",
    "joblib",
    "loky",
    "numpy",
)
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """One way to launch."""
    skip_unless_possible(request.param)
    return request.param


@pytest.fixture(scope="session")
def built(ground: Path, conda_channel: Path) -> Callable[[str], Path]:
    """Give the environment directory of a kind, locked and built once: root's, for everybody, as a site has it."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = _build(ground / f"workflows-{kind}", kind, conda_channel)
        return made[kind]

    return get


def _build(folder: Path, kind: str, channel: Path) -> Path:
    folder.mkdir()
    wanted = f"dependencies = {json.dumps(PACKAGES)}\n"
    conda = f'[conda]\nchannels = ["{channel.as_uri()}"]\n[conda.dependencies]\npython = "{MINOR}.*"\n[pypi]\n'
    head = conda if kind == "conda" else f'[pypi]\npython = "{host_python()}"\n'
    (folder / "tykky.toml").write_text(f'[environment]\nname = "{kind}"\nplatforms = ["linux-64"]\n{head}{wanted}')
    # The settings of who runs the tests stay outside; certificates do not.
    given = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG") or key.startswith("SSL_")}
    given |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder.parent / "cache"), "TMPDIR": tempfile.gettempdir()}
    for words in (["lock"], ["build", "--prefix", str(folder / "P")]):
        argv = [sys.executable, "-m", "tykky", *words]
        done = subprocess.run(argv, cwd=folder, env=given, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return folder / "P"


@dataclass(frozen=True, slots=True)
class Desk:
    """A case, its user's directory to work in, and the environment directory; perhaps a cluster."""

    bench: Bench
    place: Path
    cluster: Cluster | None = None

    @property
    def python(self) -> Path:
        return self.place / "bin" / "python"

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of a launch. The site's Apptainer is on PATH."""
        plain = self.bench.environ()
        apptainer = self.bench.case.programs.get("apptainer")
        path = plain["PATH"] if apptainer is None else f"{Path(apptainer).parent}:{plain['PATH']}"
        slurm = {} if self.cluster is None else self.cluster.environ(userns=self.bench.case.userns)
        return self.bench.environ(**{"PATH": path, **slurm, **more})

    def file(self, name: str, text: str) -> Path:
        """Write a file of the case's user."""
        path = self.bench.place / name
        path.write_text(text)
        self.bench.case.own(path)
        return path

    def run(self, *argv: object, **options: object) -> str:
        """Run a program to its end, in a session of its own, and return what it printed."""
        given = {"env": self.environ(), "start_new_session": True, "timeout": 240, **options}
        return self.bench.run(*argv, **given).stdout

    def program(self, text: str, *words: object) -> dict[str, object]:
        """Run a program of the environment that prints JSON in its last line."""
        out = self.run(self.python, self.file("program.py", text), *words)
        return json.loads(out.splitlines()[-1])  # type: ignore[no-any-return]

    def nothing_left(self) -> None:
        """Wait until no process of this place is there, and see that there is no mount."""
        until(lambda: not left(self.bench.place))
        assert str(self.bench.place) not in Path("/proc/self/mountinfo").read_text()


@contextmanager
def started(
    desk: Desk, argv: Sequence[str | bytes], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own, which ends with the test."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": subprocess.DEVNULL}
    options = {"env": desk.environ(), "cwd": desk.bench.place, "start_new_session": True}
    with subprocess.Popen(argv, **options, **quiet) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, bench: Bench, built: Callable[[str], Path]) -> Desk:
    """A place to work at, for each kind of environment."""
    return Desk(bench, built(request.param))


LOCAL = """
import json, multiprocessing, os, sys
from distributed import Client, LocalCluster
def see():
    return [sys.executable, sys.prefix, os.readlink("/proc/self/ns/mnt")]
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        print(repr(cluster.workers[0]), multiprocessing.current_process().name)
        before = client.run(os.getpid)
        nannies = client.run(os.getppid)
        seen = [see(), *client.run(see).values(), *client.run(see, nanny=True).values()]
        total = sum(client.gather(client.map(lambda number: number * number, range(100))))
        client.restart()  # nannies start new workers
        after = client.run(os.getpid)
        seen += client.run(see).values()
        fresh = not set(before.values()) & set(after.values())
    print(json.dumps({"seen": seen, "total": total, "fresh": fresh}))
"""


def test_dask_local_cluster(desk: Desk):
    """Nannies start workers, and start them anew; all are the environment's, in the mounts of the program."""
    found = desk.program(LOCAL)
    seen = found["seen"]
    assert isinstance(seen, list)
    assert seen[0][:2] == [str(desk.python), str(desk.place)]
    assert seen == [seen[0]] * 7
    assert (found["total"], found["fresh"]) == (328350, True)
    desk.nothing_left()


HEAD = """
import os, time
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        busy = client.map(time.sleep, [3600] * 2, pure=False)
        print(os.getpid(), flush=True)
        time.sleep(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_a_killed_dask_takes_its_workers_along(desk: Desk, number: signal.Signals):
    """The program itself is meant: Apptainer's own process, whose child it is there, hands SIGTERM on, not SIGKILL."""
    argv = desk.bench.argv(desk.python, desk.file("head.py", HEAD))
    with started(desk, argv, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        os.kill(int(running.stdout.readline()), number)
        running.wait(60)
        desk.nothing_left()


def test_dask_scheduler_and_worker_are_console_scripts(desk: Desk):
    """Three launches in sessions of their own; a signal to the first process of each ends it and all below it."""
    where = desk.bench.place / "scheduler.json"
    ask = f"""
import json, os, sys
from distributed import Client
with Client(scheduler_file={str(where)!r}) as client:
    client.wait_for_workers(1, timeout=60)
    see = lambda: [sys.executable, sys.prefix, sys.argv[0]]
    print(json.dumps([list(client.run(see).values()), client.run_on_scheduler(see)]))
"""
    dask = desk.place / "bin" / "dask"
    words = ("--host=127.0.0.1", "--no-dashboard", "--scheduler-file", where)
    with started(desk, desk.bench.argv(dask, "scheduler", "--port=0", *words)) as scheduler:
        until(where.exists)
        with started(desk, desk.bench.argv(dask, "worker", *words)) as worker:
            ((below,), above) = json.loads(desk.run(desk.python, "-c", ask).splitlines()[-1])
            for running in (worker, scheduler):
                desk.bench.end(running, signal.SIGTERM)
            desk.nothing_left()
    assert below[:2] == above[:2] == [str(desk.python), str(desk.place)]
    assert above[2] == str(dask)


LOKY = """
import json, os, signal, sys
import joblib, loky, numpy
def who(number, array):
    assert isinstance(array, numpy.memmap) == (number >= 0)
    return [sys.executable, sys.prefix, os.readlink("/proc/self/ns/mnt"), float(array.sum())]
def die():
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    big = numpy.ones(300_000)
    mine = who(-1, big)
    seen = []
    for backend in ("loky", "multiprocessing"):
        seen += joblib.Parallel(2, backend=backend)(joblib.delayed(who)(number, big) for number in range(4))
    try:
        loky.get_reusable_executor(2).submit(die).result()
    except loky.process_executor.TerminatedWorkerError:
        seen.append(loky.get_reusable_executor(2).submit(who, -1, big).result())
    print(json.dumps({"mine": mine, "seen": seen}))
"""


def test_joblib_and_loky(desk: Desk):
    """Large arrays are passed through memory maps; a pool whose worker was killed is followed by a new one."""
    found = desk.program(LOKY)
    mine = found["mine"]
    assert isinstance(mine, list)
    assert [mine[0], mine[1], mine[3]] == [str(desk.python), str(desk.place), 300_000]
    assert found["seen"] == [mine] * 9
    desk.nothing_left()


SNAKEFILE = """
import sys
localrules: all, total
rule all:
    input: "total.txt"
rule part:
    output: "part-{number}.txt"
    shell: "python part.py >{output}"
rule script:
    output: "script.txt"
    script: "script.py"
rule total:
    input: "script.txt", expand("part-{number}.txt", number=[1, 2])
    output: "total.txt"
    run:
        with open(output[0], "w") as total:
            for name in input:
                total.write(open(name).read())
            print(sys.executable, file=total)
"""
PART = 'import os, sys; print(sys.executable, os.environ.get("SLURM_JOB_ID"))'
SCRIPT = """
import sys
import yte
with open(snakemake.output[0], "w") as output:
    print(sys.executable, file=output)
"""


def snakemake(desk: Desk, *words: str, environ: dict[str, str] | None = None) -> list[list[str]]:
    """Run a workflow of shell commands, a script and inline code; return the words of each line that they wrote."""
    desk.file("Snakefile", SNAKEFILE)
    desk.file("part.py", PART)
    desk.file("script.py", SCRIPT)
    desk.run(desk.place / "bin" / "snakemake", "--latency-wait=20", *words, env=environ or desk.environ())
    return [line.split() for line in (desk.bench.place / "total.txt").read_text().splitlines()]


def test_snakemake_on_one_machine(desk: Desk):
    python = str(desk.python)
    assert snakemake(desk, "--cores=2") == [[python], [python, "None"], [python, "None"], [python]]
    desk.nothing_left()


SUBMITIT = """
import json, os, sys
import submitit
def see(number):
    if number < 0:
        raise ValueError("below nothing")
    return [number, sys.executable, sys.prefix, os.environ.get("SLURM_JOB_ID", "none")]
if __name__ == "__main__":
    executor = submitit.AutoExecutor(folder="log", cluster=sys.argv[1])
    executor.update_parameters(timeout_min=5, slurm_array_parallelism=2)
    one = executor.submit(see, 0)
    many = executor.map_array(see, [1, 2, 3])
    bad = executor.submit(see, -1)
    seen = [job.result() for job in [one, *many]]
    error = bad.exception()
    print(json.dumps({"seen": seen, "jobs": [job.job_id for job in many], "error": str(error)}))
"""


def submitit(desk: Desk, cluster: str) -> list[str]:
    """Submit a job, an array and one that fails; return in which jobs the first four ran."""
    found = desk.program(SUBMITIT, cluster)
    seen = found["seen"]
    assert isinstance(seen, list)
    assert [one[:3] for one in seen] == [[number, str(desk.python), str(desk.place)] for number in range(4)]
    assert "ValueError: below nothing" in str(found["error"])
    return [one[3] for one in seen]


def test_submitit_on_one_machine(desk: Desk):
    assert len(submitit(desk, "local")) == 4
    desk.nothing_left()


# --- on a Slurm ---


@pytest.fixture(scope="module")
def cluster(ground: Path) -> Iterator[Cluster]:
    """A Slurm that ends what a step left behind as this machine lets it."""
    proctrack = "cgroup" if slurms.FREEZER.is_dir() else "linuxproc"
    slurms.skip_unless_possible(proctrack)
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=ground))
    folder.chmod(0o755)
    with slurms.cluster(folder, proctrack) as made:
        yield made


@pytest.fixture
def site(desk: Desk, cluster: Cluster) -> Desk:
    """A place to work at on a login node of the cluster."""
    return Desk(desk.bench, desk.place, cluster)


JOBQUEUE = """
import json, os, subprocess, sys
from dask_jobqueue import SLURMCluster
from distributed import Client
def see():
    return [sys.executable, sys.prefix, os.environ["SLURM_JOB_ID"]]
if __name__ == "__main__":
    options = {"cores": 1, "memory": "500MB", "walltime": "00:10:00", "interface": "lo", "log_directory": "log"}
    with SLURMCluster(**options, scheduler_options={"dashboard_address": None}) as cluster, Client(cluster) as client:
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=100)
        total = sum(client.gather(client.map(lambda number: number * number, range(100))))
        script = cluster.job_script()
        with open("job.sh", "w") as file:
            file.write(script)
        job = subprocess.run(["sbatch", "--parsable", "job.sh"], check=True, capture_output=True, text=True).stdout
        client.wait_for_workers(3, timeout=100)
        seen = list(client.run(see).values())
        nannies = list(client.run(see, nanny=True).values())
        subprocess.run(["scancel", job.strip()], check=True)
    print(json.dumps({"seen": seen, "nannies": nannies, "script": script, "job": job.strip(), "total": total}))
"""


@pytest.mark.cluster
def test_dask_jobqueue(site: Desk):
    """Workers run in jobs of their own; the script that starts them may be submitted by hand, as it is."""
    found = site.program(JOBQUEUE)
    seen, script = found["seen"], found["script"]
    assert isinstance(seen, list)
    assert isinstance(script, str)
    assert [one[:2] for one in seen] == [[str(site.python), str(site.place)]] * 3
    assert found["job"] in {one[2] for one in seen}
    assert len({one[2] for one in seen}) == 3
    assert sorted(found["nannies"]) == sorted(seen)  # type: ignore[call-overload]
    assert f"\n{site.python} -m distributed.cli.dask_worker tcp://127.0.0.1:" in script
    assert found["total"] == 328350
    site.nothing_left()


RUNNER = """
import json, os, sys
from dask_jobqueue.slurm import SLURMRunner
from distributed import Client
def see():
    return [sys.executable, os.environ["SLURMD_NODENAME"], os.readlink("/proc/self/ns/mnt")]
if __name__ == "__main__":
    with SLURMRunner(scheduler_file="scheduler.json") as runner, Client(runner) as client:
        client.wait_for_workers(runner.n_workers, timeout=100)
        print(json.dumps([see(), client.run_on_scheduler(see), *client.run(see).values()]))
"""


@pytest.mark.cluster
def test_dask_in_the_ranks_of_one_step(site: Desk):
    """Scheduler, client and two workers on two nodes; those of one node share mounts where launches share at all."""
    program = site.file("runner.py", RUNNER)
    out = site.run("srun", "-N2", "-n4", "--ntasks-per-node=2", site.python, program)
    seen = json.loads(next(line for line in out.splitlines() if line.startswith("[[")))
    assert len(seen) == 4
    assert {one[0] for one in seen} == {str(site.python)}
    nodes = {one[1] for one in seen}
    assert nodes == set(slurms.OPEN if site.bench.case.userns else slurms.CLOSED)
    shares = site.bench.case.backend == "namespace" and site.bench.case.mount == "shared"
    assert len({(node, mounts) for _, node, mounts in seen}) == (2 if shares else 4)
    site.nothing_left()


@pytest.mark.cluster
def test_snakemake_with_the_slurm_executor(site: Desk):
    """Each rule is a job, with a step in it; the console script is the wheel's own."""
    assert site.cluster is not None
    # In a job the executor takes every SLURM_ variable away, and srun would look for the cluster in /etc.
    srun = site.file("home/srun", f'#!/bin/sh\nSLURM_CONF={site.cluster.conf} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    words = ["--executor=slurm", "--jobs=3", "--slurm-no-account", "--default-resources", "mem_mb=100", "runtime=5"]
    words += ["--slurm-init-seconds-before-status-checks=1", "--slurm-status-command=squeue"]
    found = snakemake(site, *words, environ=site.environ(PATH=f"{srun.parent}:{site.environ()['PATH']}"))
    python = str(site.python)
    assert [line[0] for line in found] == [python] * 4
    assert len({line[1] for line in found[1:3]} - {"None"}) == 2
    site.nothing_left()


@pytest.mark.cluster
def test_submitit_on_slurm(site: Desk):
    found = submitit(site, "slurm")
    assert len(set(found)) == 4
    assert "none" not in found
    site.nothing_left()
