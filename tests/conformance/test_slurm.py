"""Launchers in job steps of a real Slurm: the right program on the right node, and nothing left when a step ends."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance import cluster as slurms
from tests.conformance.cases import Case, prepared, skip_unless_possible
from tests.conformance.cluster import Cluster
from tests.conformance.conftest import Bench
from tests.conformance.left import left, until

pytestmark = pytest.mark.cluster
# Joined is shared here: each step makes its own mounts.
CASES = [pytest.param(case, id=case.name) for case in prepared() if case.mount != "joined"]

WHO = """
import json, os, sys, thing
names = ("SLURMD_NODENAME", "SLURM_PROCID", "SLURM_STEP_ID", "SLURM_ARRAY_TASK_ID")
found = {name: os.environ.get(name) for name in names}
mounts = os.stat("/proc/self/ns/mnt").st_ino
print(json.dumps(found | {"executable": sys.executable, "prefix": sys.prefix, "uid": os.getuid(), "mounts": mounts}))
"""
# Nobody ends before all are there: the number of a mount namespace that is gone may be given to the next.
MEET = """
import os, sys, time
here, count = sys.argv[1], int(sys.argv[2])
os.close(os.open(f"{here}/{os.environ['SLURM_STEP_ID']}.{os.environ['SLURM_PROCID']}", os.O_CREAT))
until = time.monotonic() + 60
while len(os.listdir(here)) < count and time.monotonic() < until:
    time.sleep(0.02)
"""
STAY = """
import os, signal, sys, time
def say(number, frame):
    open(f"{sys.argv[1]}/{signal.Signals(number).name}", "w").close()
signal.signal(signal.SIGUSR1, say)
open(f"{sys.argv[1]}/up", "w").close()
while True:
    time.sleep(3600)
"""


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """One way to launch."""
    skip_unless_possible(request.param)
    return request.param


@pytest.fixture(scope="module", params=["cgroup", "linuxproc"])
def cluster(request: pytest.FixtureRequest, ground: Path) -> Iterator[Cluster]:
    """A Slurm, for each way in which it finds what a step left behind."""
    slurms.skip_unless_possible(request.param)
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=ground))
    folder.chmod(0o755)
    with slurms.cluster(folder, request.param) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Site:
    """A case's environment directory, and the cluster to launch it on."""

    bench: Bench
    cluster: Cluster
    place: Path
    python: Path

    @property
    def shares(self) -> bool:
        """Whether launches of one step on one node share mounts."""
        return self.bench.case.backend == "namespace" and self.bench.case.mount == "shared"

    def environ(self, **more: str) -> dict[str, str]:
        return self.bench.environ(**self.cluster.environ(userns=self.bench.case.userns), **more)

    def run(self, *argv: object, **more: str) -> str:
        """Run a program as the case's user, with this cluster, and return what it printed."""
        return self.bench.run(*argv, env=self.environ(**more)).stdout

    def file(self, name: str, text: str) -> Path:
        """Write a file of the case's user."""
        path = self.bench.place / name
        path.write_text(text)
        self.bench.case.own(path)
        return path

    def folder(self, name: str) -> Path:
        """Make a directory of the case's user."""
        path = self.bench.place / name
        path.mkdir()
        self.bench.case.own(path)
        return path

    def sbatch(self, script: str, *options: str) -> str:
        """Submit a script, wait until it ends well, and return what it printed."""
        file, out = self.file("job.sh", script), self.bench.place / "out-%a"
        self.run("sbatch", "--wait", f"--output={out}", *options, file)
        found = sorted(self.bench.place.glob("out-*"))
        text = "".join(one.read_text() for one in found)
        for one in found:
            one.unlink()
        return text

    def submit(self, script: str, *options: str) -> str:
        """Submit a script, and return the number of its job."""
        out = self.bench.place / "out"
        return self.run("sbatch", "--parsable", f"--output={out}", *options, self.file("job.sh", script)).strip()

    def left(self) -> dict[int, str]:
        """Return the processes that have to do with this place."""
        return left(self.bench.place)


@pytest.fixture
def site(cluster: Cluster, bench: Bench, kind: str) -> Site:
    """An environment directory with three images, on the cluster. No keeper ends because nobody uses it."""
    place = bench.environment(kind=kind, idle=3600)
    return Site(bench, cluster, place, place / "bin" / "python")


def answers(text: str) -> list[dict[str, object]]:
    """Read the lines that programs printed; in a job's file, srun says between them that it waits for nodes."""
    return [json.loads(line) for line in text.splitlines() if not line.startswith("srun: ")]


def test_four_ranks_on_two_nodes(site: Site):
    """Those of one node share mounts where launches share at all; those of two never do, though here is one machine."""
    program, meet = site.file("who.py", MEET + WHO), site.folder("meet")
    found = answers(site.run("srun", "-N2", "-n4", "--ntasks-per-node=2", site.python, program, meet, 4))
    assert sorted(str(one["SLURM_PROCID"]) for one in found) == ["0", "1", "2", "3"]
    assert {one["executable"] for one in found} == {str(site.python)}
    assert {one["prefix"] for one in found} == {str(site.place)}
    by_node: dict[object, set[object]] = {}
    for one in found:
        by_node.setdefault(one["SLURMD_NODENAME"], set()).add(one["mounts"])
    nodes = slurms.OPEN if site.bench.case.userns else slurms.CLOSED
    assert {node: len(mounts) for node, mounts in by_node.items()} == dict.fromkeys(nodes, 1 if site.shares else 2)
    assert len(set.union(*by_node.values())) == (2 if site.shares else 4)
    until(lambda: not site.left())


def test_two_steps_at_once_on_two_nodes(site: Site):
    """A step and a node: one set of mounts where launches share at all. Two of either: two sets."""
    program, meet = site.file("who.py", MEET + WHO), site.folder("meet")
    step = f"srun -N2 -n4 --ntasks-per-node=2 --overcommit --overlap {site.python} {program} {meet} 8"
    found = answers(site.sbatch(f"#!/bin/sh\n{step} &\n{step} &\nwait\n", "-N2", "--ntasks-per-node=2"))
    sets: dict[tuple[object, object], set[object]] = {}
    for one in found:
        sets.setdefault((one["SLURM_STEP_ID"], one["SLURMD_NODENAME"]), set()).add(one["mounts"])
    nodes = slurms.OPEN if site.bench.case.userns else slurms.CLOSED
    assert sorted(sets) == [(step, node) for step in ("0", "1") for node in nodes]
    each = 1 if site.shares else 2
    assert [len(mounts) for mounts in sets.values()] == [each] * 4
    assert len(set().union(*sets.values())) == 4 * each
    until(lambda: not site.left())


def test_what_srun_hands_on_from_where_it_was_typed(site: Site):
    """In a container, or in another job: what names things that are not on the node does no harm."""
    stale = {"APPTAINER_CONTAINER": "/gone.sif", "SINGULARITY_NAME": "gone", "APPTAINER_WRITABLE_TMPFS": "1"}
    gone = {"APPTAINER_CACHEDIR": "/gone", "APPTAINERENV_HOME": "/gone", "XDG_SESSION_ID": "7"}
    code = "import json, os, sys; print(json.dumps([sys.executable, dict(os.environ)]))"
    python, environ = json.loads(
        site.run("srun", "-n1", site.python, "-c", code, TMPDIR="/gone/with/it", **stale, **gone)
    )
    assert python == str(site.python)
    assert gone.items() <= environ.items()
    left_over = stale if site.bench.case.backend == "namespace" else {}
    assert {name: environ[name] for name in stale if name in environ} == left_over
    until(lambda: not site.left())


def test_a_script_that_calls_python_and_one_that_is_python(site: Site):
    shell = answers(site.sbatch(f"#!/bin/sh\n{site.python} -c '{WHO}'\n{site.place}/bin/tool >/dev/null\n"))
    python = answers(site.sbatch(f"#!{site.python}\n#SBATCH --ntasks=2\n{WHO}"))
    assert [one["executable"] for one in shell + python] == [str(site.python)] * 2
    assert [one["SLURM_STEP_ID"] for one in shell + python] == [None, None]
    until(lambda: not site.left())


def test_srun_from_inside(site: Site):
    """The program of a batch script starts steps with its own interpreter, on the other node too."""
    file = site.file("who.py", WHO)
    text = f"""#!{site.python}
import subprocess, sys
for _ in range(2):
    subprocess.run(["srun", "-N2", "-n2", sys.executable, "{file}"], check=True)
"""
    found = answers(site.sbatch(text, "-N2", "-n2"))
    assert len(found) == 4
    assert {one["executable"] for one in found} == {str(site.python)}
    assert sorted(str(one["SLURM_STEP_ID"]) for one in found) == ["0", "0", "1", "1"]
    assert len({one["SLURMD_NODENAME"] for one in found}) == 2
    until(lambda: not site.left())


def test_an_array(site: Site):
    found = answers(site.sbatch(f"#!{site.python}\n{WHO}", "--array=0-3"))
    assert [one["SLURM_ARRAY_TASK_ID"] for one in found] == ["0", "1", "2", "3"]
    assert {one["executable"] for one in found} == {str(site.python)}
    until(lambda: not site.left())


def test_no_variables_from_outside(site: Site):
    """With `--export=NONE` a job has a login's variables, and not those of who submitted it."""
    case, run = site.bench.case, site.bench.place / "home" / "run"
    script = (
        "#!/bin/sh\n#SBATCH --export=NONE\n"
        f'[ -z "$MARK" ] && [ -z "$TYKKY_BACKEND" ] || exit 3\n{site.python} -c "import thing" || exit 4\n'
        # So that the case holds, and nothing is left in the user's own directories.
        f"export XDG_RUNTIME_DIR={run} TYKKY_BACKEND={case.backend} TYKKY_MOUNT={case.mount}\n"
        f"{site.python} -c '{WHO}'\n"
        f"SLURM_EXPORT_ENV=ALL srun {site.python} -c '{WHO}'\n"
    )
    found = answers(site.sbatch(script))
    assert [one["executable"] for one in found] == [str(site.python)] * 2
    assert [one["SLURM_STEP_ID"] for one in found] == [None, "0"]
    until(lambda: not site.left())


@pytest.mark.parametrize(("start", "whom"), [("", ["--batch"]), ("srun ", [])], ids=["script", "step"])
def test_cancelled(site: Site, start: str, whom: list[str]):
    """A signal reaches the program; `scancel` ends it, and nothing is left mounted or running."""
    program, here = site.file("stay.py", STAY), site.folder("here")
    job = site.submit(f"#!/bin/sh\nexec {start}{site.python} {program} {here}\n", "--ntasks=1")
    until((here / "up").exists)
    site.run("scancel", *whom, "--signal=USR1", job)
    until((here / "SIGUSR1").exists)
    assert str(program) in " ".join(site.left().values())
    site.run("scancel", job)
    until(lambda: not site.left())
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(site.bench.place) not in mounts


@pytest.mark.parametrize("apart", ["--exact", "--exclusive"])
def test_steps_side_by_side(site: Site, apart: str):
    """Two steps of a job on one node share nothing, and the end of one leaves the other as it was."""
    meet = site.folder("meet")
    short = site.file("short.py", MEET + WHO)
    rest = "import subprocess\nuntil = time.monotonic() + 60\nwhile not os.path.exists(sys.argv[3]): time.sleep(0.02)\n"
    again = "import decimal, thing\nsubprocess.run([sys.executable, '-c', 'import thing'], check=True)\n"
    long = site.file("long.py", f"{MEET}{rest}{again}{WHO}")
    done = site.bench.place / "done"
    step = f"srun {apart} -N1 -n1 -c1 {site.python}"
    found = answers(
        site.sbatch(
            f"#!/bin/sh\n{step} {long} {meet} 2 {done} &\n{step} {short} {meet} 2\ntouch {done}\nwait $! || exit 3\n",
            "-N1",
            "-n2",
        )
    )
    assert sorted(str(one["SLURM_STEP_ID"]) for one in found) == ["0", "1"]
    assert {one["executable"] for one in found} == {str(site.python)}
    assert len({one["mounts"] for one in found}) == 2
    until(lambda: not site.left())


def test_a_step_that_ended_leaves_nothing_while_its_job_goes_on(site: Site):
    ended, end = site.bench.place / "ended", site.bench.place / "end"
    # The script's own shell names the place, so it is told by its number.
    script = (
        f"#!/bin/sh\nsrun -n2 {site.python} -c 'import thing' || exit 3\necho $$ >{ended}.new\nmv {ended}.new {ended}\n"
    )
    job = site.submit(f"{script}while [ ! -e {end} ]; do sleep 0.2; done\n", "-n2")
    until(ended.exists)
    shell = int(ended.read_text())

    def others() -> list[str]:
        # sleep has the script's variables; so has slurmstepd its output file.
        mine = ("sleep", "slurmstepd")
        return [words for number, words in site.left().items() if number != shell and not words.startswith(mine)]

    until(lambda: not others())
    assert site.run("squeue", "--noheader", "--format=%T", f"--job={job}").strip() == "RUNNING"
    end.touch()
    until(lambda: not site.left())


def test_killed_in_the_middle(site: Site):
    """A rank that dies of SIGKILL ends its step with a status, and takes its mounts along."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = site.bench.run("srun", "-n2", site.python, "-c", code, env=site.environ(), check=False)
    assert done.returncode == 128 + 9
    assert isinstance(done, subprocess.CompletedProcess)
    until(lambda: not site.left())
