"""A private Slurm of four nodes on this machine: its own configuration, ports, munge socket and spool.

Two nodes are as usual; on the other two no user namespaces can be made, in no job step. Slurm ends what a step left
behind either by control group, as most sites have it, or by who started whom.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.cases import AS_USER

OPEN, CLOSED = ("n0", "n1"), ("c0", "c1")
FREEZER = Path("/sys/fs/cgroup/freezer")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scancel", "squeue", "sinfo")
_CONF = """\
ClusterName=tykky-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=2
MpiDefault=none
NodeName=n[0-1] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]},{ports[2]}] CPUs=4 RealMemory=4000
NodeName=c[0-1] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[3]},{ports[4]}] CPUs=4 RealMemory=4000
PartitionName=open Nodes=n[0-1] Default=YES
PartitionName=closed Nodes=c[0-1]
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Slurm that runs: the file by which its programs find it."""

    conf: Path

    def environ(self, *, userns: bool) -> dict[str, str]:
        """Return the variables that send jobs to the nodes with or without user namespaces."""
        partition = "open" if userns else "closed"
        names = ("SLURM_PARTITION", "SBATCH_PARTITION")
        return {"SLURM_CONF": str(self.conf)} | dict.fromkeys(names, partition)

    def ask(self, *argv: str) -> str:
        """Run one of Slurm's programs as root and return what it printed."""
        given = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(argv, env=given, cwd="/", check=True, stdout=subprocess.PIPE, text=True).stdout


def skip_unless_possible(proctrack: str) -> None:
    """Skip where there can be no such cluster, and say why."""
    if os.getuid() != 0:
        pytest.skip("only root can start a Slurm whose jobs run as other users")
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine: tests/hosts/setup.sh installs Slurm")
    if proctrack == "cgroup" and not FREEZER.is_dir():
        pytest.skip("Slurm 22.05 without systemd needs the freezer of version 1 control groups")


@contextmanager
def cluster(folder: Path, proctrack: str) -> Iterator[Cluster]:
    """Start a Slurm that keeps its files in `folder`, which every user may pass; end its jobs and all of it."""
    _configure(folder, proctrack)
    with ExitStack() as ends:

        def daemon(name: str, argv: Sequence[object]) -> None:
            ends.enter_context(_daemon(folder, name, argv))

        munge = folder / "munge"
        options = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        words = [f"--{option}={munge / name}" for option, name in options.items()]
        daemon("munged", ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "-F", *words])
        _until((munge / "socket").exists)
        daemon("slurmctld", ["slurmctld", "-D"])
        for node in OPEN:
            daemon(node, ["slurmd", "-D", "-N", node])
        for node in CLOSED:
            daemon(node, [sys.executable, "-I", AS_USER, "--no-userns", "root", "slurmd", "-D", "-N", node])
        if proctrack == "cgroup":
            ends.callback(_remove_groups)
        made = Cluster(folder / "slurm.conf")
        _until(lambda: _states(made) == {"idle"})
        ends.callback(_end_jobs, made)
        yield made


def _configure(folder: Path, proctrack: str) -> None:
    (folder / "state").mkdir()
    munge = folder / "munge"
    munge.mkdir()
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o600)
    for path in (munge, munge / "key"):
        shutil.chown(path, "munge", "munge")
    text = _CONF.format(
        host=socket.gethostname().partition(".")[0], folder=folder, ports=_ports(5), proctrack=proctrack
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "cgroup.conf").write_text("CgroupMountpoint=/sys/fs/cgroup\nCgroupPlugin=cgroup/v1\n")


def _ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _daemon(folder: Path, name: str, argv: Sequence[object]) -> Iterator[None]:
    given: Mapping[str, str] = {"PATH": os.environ["PATH"], "SLURM_CONF": str(folder / "slurm.conf"), "HOME": "/root"}
    with (folder / f"{name}.out").open("wb") as log:
        running = subprocess.Popen(
            [str(word) for word in argv],
            env=given,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _states(made: Cluster) -> set[str]:
    with suppress(subprocess.CalledProcessError):
        return set(made.ask("sinfo", "--noheader", "--format=%T").split())
    return set()


def _end_jobs(made: Cluster) -> None:
    jobs = made.ask("squeue", "--noheader", "--format=%i").split()
    if jobs:
        made.ask("scancel", *jobs)
        _until(lambda: not made.ask("squeue", "--noheader"))


def _remove_groups() -> None:
    for node in (*OPEN, *CLOSED):
        for folder, _, _ in os.walk(FREEZER / f"slurm_{node}", topdown=False):
            with suppress(OSError):  # not empty: somebody else's
                Path(folder).rmdir()


def _until(what: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not what():
        assert time.monotonic() < limit, "Slurm does not come up, or does not end its jobs"
        time.sleep(0.1)
