"""MPI programs whose ranks are launched one by one: they find one another, and through shared memory.

The ranks' library is the host's, as on clusters: Debian's Open MPI and MPICH. mpi4py lies in the topmost image.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.channel.python import interpreter
from tests.conformance import cluster as slurms
from tests.conformance.cases import Case, prepared, skip_unless_possible
from tests.conformance.cluster import Cluster
from tests.conformance.conftest import KINDS as KINDS_OF_ENVIRONMENTS
from tests.conformance.conftest import Bench
from tests.conformance.left import left, until
from tests.conformance.stage import PREFIX, Images, host_python

pytestmark = pytest.mark.cluster
CASES = [pytest.param(case, id=case.name) for case in prepared() if case.mount != "joined"]
MPI4PY = Path("/opt/tykky-mpi4py")  # tests/hosts/setup.sh

# A word goes round, a mebibyte goes to the next one, all add up, and the first reads in the last one's memory. Who does
# not finalize ends when all others are done, too: its end would take messages back that they have not read.
RING = """
import ctypes, json, os, sys
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, size = world.rank, world.size
after, before = (rank + 1) % size, (rank - 1) % size
word = [rank] if rank == 0 else [*world.recv(source=before), rank]
world.send(word, dest=after)
if rank == 0:
    word = world.recv(source=before)
given, taken = bytearray([rank + 1]) * 2**20, bytearray(2**20)
for _ in range(20):
    world.Sendrecv(given, dest=after, recvbuf=taken, source=before)

class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]

mine = ctypes.create_string_buffer(b"secret%d" % rank)
theirs = world.allgather((os.getpid(), ctypes.addressof(mine)))
there = ctypes.create_string_buffer(7)
call = ctypes.CDLL(None, use_errno=True).process_vm_readv
to, source = Piece(ctypes.addressof(there), 7), Piece(theirs[after][1], 7)
read = call(theirs[after][0], ctypes.byref(to), 1, ctypes.byref(source), 1, 0)
world.barrier()
print(json.dumps({
    "library": MPI.Get_library_version().split()[0], "rank": rank, "size": size,
    "word": word, "sum": world.allreduce(rank),
    "taken": taken == bytearray([before + 1]) * 2**20, "reads": read == 7 and there.raw == b"secret%d" % after,
    "executable": sys.executable, "node": os.environ.get("SLURMD_NODENAME"),
}) + "\\n", end="", flush=True)
if os.environ.get("MPI4PY_RC_FINALIZE") == "0":
    import time
    met = os.path.join(os.path.dirname(__file__), "met")
    os.makedirs(os.path.join(met, str(rank)))
    while len(os.listdir(met)) < size:
        time.sleep(0.02)
"""

# Two ranks play ping-pong with eight bytes, as osu_latency does: the fastest of 40 rounds, in microseconds one way.
# Between rounds they take a breath, so that others on a busy machine do not decide it.
LATENCY = """
import time
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, other, data, rounds = world.rank, 1 - world.rank, bytearray(8), []
for _ in range(40):
    world.barrier()
    begun = time.perf_counter()
    for _ in range(200):
        if rank == 0:
            world.Send(data, other)
        world.Recv(data, other)
        if rank == 1:
            world.Send(data, other)
    rounds.append((time.perf_counter() - begun) / 400 * 1e6)
    time.sleep(0.002)
if rank == 0:
    print(min(rounds))
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """An MPI library: mpi4py's word for it, who starts its ranks, and variables.

    `memory` leaves shared memory alone to it, `tcp` the network, `alone` nothing. `apart` is for ranks in several user
    namespaces: UCX does not see that they are, and gives up when it cannot open what another rank has open or read its
    memory. `nodes` is for two nodes on one machine, which it takes for one.

    Debian's MPICH hangs at times when it finalizes after talking over TCP, bare interpreters too: a rank that has
    closed its connections waits without answering those who are about to (pmodels/mpich mended it in pull request
    6596).
    """

    name: str
    mpirun: tuple[str, ...]
    srun: str
    environ: dict[str, str]
    memory: dict[str, str]
    alone: dict[str, str]
    tcp: dict[str, str]
    apart: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)


KINDS = [
    Kind(
        "openmpi",
        ("mpirun.openmpi", "--oversubscribe", "-n"),
        "pmix",
        {},
        memory={"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,vader"},
        alone={"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"},
        tcp={"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,tcp"},
    ),
    Kind(
        "mpich",
        ("mpirun.mpich", "-n"),
        "pmi2",
        {"LD_LIBRARY_PATH": str(MPI4PY / "mpich")},
        memory={"UCX_TLS": "self,posix,sysv"},
        alone={"UCX_TLS": "self"},
        tcp={"UCX_TLS": "self,tcp"},
        apart={"UCX_POSIX_USE_PROC_LINK": "n", "UCX_TLS": "^cma,tcp"},
        nodes={"UCX_TLS": "self,tcp", "MPI4PY_RC_FINALIZE": "0"},
    ),
]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """One way to launch."""
    skip_unless_possible(request.param)
    return request.param


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A library that is here."""
    found: Kind = request.param
    if not (MPI4PY / "site-packages" / "mpi4py").is_dir():
        pytest.skip(f"there is no mpi4py in {MPI4PY}: tests/hosts/setup.sh installs it")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text().strip() != "0":
        pytest.skip("this kernel's Yama lets no process read another's memory (kernel.yama.ptrace_scope)")
    if shutil.which(found.mpirun[0]) is None:
        pytest.skip(f"{found.mpirun[0]} is not on this machine: tests/hosts/setup.sh installs it")
    return found


@pytest.fixture(scope="module")
def cluster(ground: Path) -> Iterator[Cluster]:
    """A Slurm."""
    slurms.skip_unless_possible("linuxproc")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=ground))
    folder.chmod(0o755)
    with slurms.cluster(folder, "linuxproc") as made:
        yield made


@pytest.fixture(scope="module", params=KINDS_OF_ENVIRONMENTS)
def images_with_mpi(ground: Path, images: Callable[[str], Images], request: pytest.FixtureRequest) -> Images:
    """The three images of an environment, and one with mpi4py on top."""
    below = images(request.param)
    place = ground / f"mpi-{request.param}"
    tree = place / PREFIX.lstrip("/") / "lib" / f"python{interpreter().minor}" / "site-packages"
    shutil.copytree(MPI4PY / "site-packages", tree)
    image = ground / f"{request.param}-mpi.sqfs"
    argv = ["mksquashfs", place, image, "-noappend", "-no-progress", "-quiet", "-all-root", "-comp", "lz4"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    image.chmod(0o644)
    return replace(below, files=(*below.files, image))


@dataclass(frozen=True, slots=True)
class Ranks:
    """An environment directory with mpi4py, and the library to run ranks with."""

    bench: Bench
    kind: Kind
    python: Path
    program: Path

    def run(self, *before: object, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the program with the words before it that start its ranks."""
        kind = self.kind
        apart = {} if in_one_namespace(self.bench.case) else kind.apart
        given = self.bench.environ(MPI4PY_MPIABI=kind.name, **(kind.environ | apart | more))
        return self.bench.run(*before, self.python, self.program, env=given, check=check)


@pytest.fixture
def ranks(kind: Kind, bench: Bench, images_with_mpi: Images) -> Iterator[Ranks]:
    """An environment directory with mpi4py."""
    place = replace(bench, images=lambda _: images_with_mpi).environment(count=4)
    program = bench.place / "ring.py"
    program.write_text(RING)
    bench.case.own(program)
    yield Ranks(bench, kind, place / "bin" / "python", program)
    if bench.case.backend == "apptainer":
        # Of ranks that mpirun kills with signal 9, Apptainer's own servers stay.
        for process in left(bench.place):
            os.kill(process, signal.SIGKILL)
    until(lambda: not left(bench.place))


def in_one_namespace(case: Case) -> bool:
    """Say whether the ranks of a node are in one user namespace: else the kernel lets none read another's memory."""
    return not case.userns or (case.backend == "namespace" and case.mount == "shared")


def check(ranks: Ranks, text: str, size: int) -> list[dict[str, object]]:
    """Find that all ranks met, and got what was sent."""
    found = sorted((json.loads(line) for line in text.splitlines()), key=lambda one: one["rank"])
    assert [one["rank"] for one in found] == list(range(size))
    assert {one["size"] for one in found} == {size}
    assert found[0]["word"] == list(range(size))
    assert {one["sum"] for one in found} == {size * (size - 1) // 2}
    assert all(one["taken"] for one in found)
    assert {one["executable"] for one in found} == {str(ranks.python)}
    assert {one["library"] for one in found} == {{"openmpi": "Open", "mpich": "MPICH"}[ranks.kind.name]}
    return found


def test_mpirun(ranks: Ranks):
    check(ranks, ranks.run(*ranks.kind.mpirun, 4).stdout, 4)


def test_mpirun_of_a_script(ranks: Ranks):
    """A shell between mpirun and the launcher changes nothing."""
    argv = [*ranks.kind.mpirun, 2, "/bin/sh", "-c", '"$0" "$@"; exit $?']
    found = check(ranks, ranks.run(*argv).stdout, 2)
    assert {one["reads"] for one in found} == {in_one_namespace(ranks.bench.case)}


def test_srun(ranks: Ranks, cluster: Cluster):
    found = check(ranks, ranks.run(*srun(ranks, 1, 3), **on(ranks, cluster)).stdout, 3)
    assert {one["reads"] for one in found} == {in_one_namespace(ranks.bench.case)}


def test_srun_on_two_nodes(ranks: Ranks, cluster: Cluster):
    if ranks.kind.name == "openmpi":
        pytest.skip("Slurm's part for PMIx does not start steps over two nodes that are one machine")
    found = check(ranks, ranks.run(*srun(ranks, 2, 4), **on(ranks, cluster), **ranks.kind.nodes).stdout, 4)
    assert len({one["node"] for one in found}) == 2


def test_ranks_of_a_node_use_its_memory(ranks: Ranks, cluster: Cluster):
    """With nothing but shared memory they meet; with nothing at all they do not, so that says something."""
    kind = ranks.kind
    check(ranks, ranks.run(*kind.mpirun, 2, **kind.memory).stdout, 2)
    check(ranks, ranks.run(*srun(ranks, 1, 2), **on(ranks, cluster), **kind.memory).stdout, 2)
    assert ranks.run(*kind.mpirun, 2, check=False, **kind.alone).returncode != 0


def test_what_mpich_does_not_see_by_itself(ranks: Ranks):
    """That its ranks are in several user namespaces. If this fails, docs/how-to/run-mpi-programs.md asks too much."""
    if not ranks.kind.apart or in_one_namespace(ranks.bench.case):
        pytest.skip("these ranks need no variable")
    ignorant = replace(ranks, kind=replace(ranks.kind, apart={}))
    done = ignorant.run("timeout", "30", *ranks.kind.mpirun, 2, check=False)
    assert done.returncode != 0
    assert "UCX  ERROR" in done.stdout + done.stderr


@pytest.mark.parametrize("starter", ["mpirun", "srun"])
def test_latency(ranks: Ranks, cluster: Cluster, starter: str):
    """A message takes what it takes between ranks of the bare interpreter: through shared memory, not the network."""
    program = ranks.bench.place / "latency.py"
    program.write_text(LATENCY)
    ranks.bench.case.own(program)
    bare = {"PYTHONPATH": str(MPI4PY / "site-packages")}

    def latency(python: Path, **environ: str) -> float:
        one = replace(ranks, python=python, program=program)
        if starter == "mpirun":
            return float(one.run(*ranks.kind.mpirun, 2, **environ).stdout)
        return float(one.run(*srun(ranks, 1, 2), **on(ranks, cluster), **environ).stdout)

    ours, bares = latency(ranks.python), latency(host_python(), **bare)
    network = latency(host_python(), **bare, **ranks.kind.tcp)
    assert ours < 3 * bares < network, (ours, bares, network)


def srun(ranks: Ranks, nodes: int, tasks: int) -> list[str]:
    """Return the words that start ranks as a job step."""
    return ["srun", f"--mpi={ranks.kind.srun}", f"-N{nodes}", f"-n{tasks}"]


def on(ranks: Ranks, cluster: Cluster) -> dict[str, str]:
    """Return the variables that lead to the cluster."""
    return cluster.environ(userns=ranks.bench.case.userns)
