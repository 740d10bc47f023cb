"""A real Slurm, two nodes on one machine: tasks of a step share, two steps do not, and all is gone with the step."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.cases import USER, prepared, skip_unless_possible
from tests.conformance.conftest import Bench
from tests.conformance.test_one_mount_per_node import FOREVER, keepers, served, until
from tests.living import programs_naming

pytestmark = pytest.mark.cluster

# Each task says where it is and waits for all of them; then it says what it sees of the others.
_TASK = """
import os, pathlib, sys, time
place, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
name = "-".join(os.environ[name] for name in ("SLURM_STEP_ID", "SLURMD_NODENAME", "SLURM_PROCID"))
(place / name).write_text(str(os.stat("/proc/self/ns/mnt").st_ino))
until = time.monotonic() + 60
while len(list(place.iterdir())) < count and time.monotonic() < until:
    time.sleep(0.05)
"""


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The variables by which srun finds a cluster of two nodes on this machine."""
    skip_unless_possible(_CASE)
    for program in ("munged", "slurmctld", "slurmd", "srun"):
        if shutil.which(program, path="/usr/sbin:/usr/bin") is None:
            pytest.skip(f"{program} is not on this machine (Debian: slurmctld slurmd slurm-client munge)")
    folder = Path(tempfile.mkdtemp(prefix="tykky-slurm-"))
    folder.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: object) -> None:
        with (folder / "log").open("ab") as log:
            started.append(subprocess.Popen(list(map(str, argv)), stdout=log, stderr=log, start_new_session=True))

    try:
        munge = _munge(folder)
        start("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground", *munge)
        conf = _configuration(folder)
        until((folder / "munge" / "socket").exists)
        for argv in (("slurmctld", "-D"), ("slurmd", "-D", "-N", "n0"), ("slurmd", "-D", "-N", "n1")):
            start("env", f"SLURM_CONF={conf}", f"/usr/sbin/{argv[0]}", *argv[1:])
        environ = {"SLURM_CONF": str(conf)}
        until(lambda: _nodes(environ).count("idle") == 2)
        yield environ
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _munge(folder: Path) -> list[str]:
    place = folder / "munge"
    place.mkdir()
    (place / "key").write_bytes(os.urandom(1024))
    (place / "key").chmod(0o600)
    subprocess.run(["chown", "-R", "munge:munge", place], check=True)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    return [f"--{option}={place / name}" for option, name in files.items()]


def _configuration(folder: Path) -> Path:
    host = socket.gethostname()
    ports = [_port() for _ in range(3)]
    (folder / "state").mkdir()
    lines = {
        "ClusterName": "test",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge/socket",
        "CredType": "cred/munge",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "SlurmdParameters": "config_overrides",  # more processors than this machine may have
        "ReturnToService": 2,
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": f"{folder}/spool-%n",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": f"{folder}/slurmd-%n.pid",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": f"{folder}/slurmd-%n.log",
    }
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    for number in range(2):
        text += f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[number + 1]} CPUs=4\n"
        (folder / f"spool-n{number}").mkdir()
    conf = folder / "slurm.conf"
    conf.write_text(text + "PartitionName=all Nodes=n[0-1] Default=YES State=UP\n")
    return conf


def _nodes(environ: dict[str, str]) -> list[str]:
    argv = ["sinfo", "-N", "-h", "-o", "%T"]
    done = subprocess.run(argv, env=os.environ | environ, capture_output=True, text=True, check=False)
    return done.stdout.split()


(_CASE,) = (case for case in prepared() if case.name == "user-namespace-shared")


@pytest.fixture(params=[pytest.param(_CASE, id=_CASE.name)])
def case(request: pytest.FixtureRequest) -> object:
    """The ordinary user."""
    skip_unless_possible(request.param)
    return request.param


def test_a_step_shares_and_takes_its_mounts_along(bench: Bench, slurm: dict[str, str]):
    place = bench.environment(idle=FOREVER)
    seen = bench.place / "seen"
    seen.mkdir()
    shutil.chown(seen, USER)
    task = bench.place / "task.py"
    task.write_text(_TASK)
    step = f"srun -N2 -n4 --overcommit --overlap {place}/bin/python {task} {seen} 8"
    script = f"#!/bin/sh\n{step} &\n{step} &\nwait\nsleep 3600\n"
    (bench.place / "job.sh").write_text(script)
    environ = bench.environ(**slurm)
    job = bench.run(
        "sbatch", "--parsable", "-N2", "-n4", "-o", bench.place / "out", bench.place / "job.sh", env=environ
    )
    number = job.stdout.strip()
    try:
        limit = time.monotonic() + 90
        while len(list(seen.iterdir())) < 8 and time.monotonic() < limit:
            time.sleep(0.05)
        found = {file.name: file.read_text() for file in seen.iterdir()}
        assert len(found) == 8, (bench.place / "out").read_text()
        # A step and a node: one set of mounts. Two of either: two sets.
        by_step: dict[str, set[str]] = {}
        for name, mounts in found.items():
            by_step.setdefault(name.rpartition("-")[0], set()).add(mounts)
        assert sorted(by_step) == ["0-n0", "0-n1", "1-n0", "1-n1"]
        assert [len(mounts) for mounts in by_step.values()] == [1, 1, 1, 1]
        assert len(set().union(*by_step.values())) == 4
        # The steps end, the job does not.
        until(lambda: not keepers(bench))
        until(lambda: programs_naming(place) == [])
    finally:
        bench.run("scancel", number, env=environ)


def test_a_cancelled_job_leaves_nothing(bench: Bench, slurm: dict[str, str]):
    place = bench.environment(idle=FOREVER)
    script = f"#!/bin/sh\n{place}/bin/python -c 'pass'\nexec {place}/bin/python -c 'import time; time.sleep(3600)'\n"
    (bench.place / "job.sh").write_text(script)
    environ = bench.environ(**slurm)
    argv = ["sbatch", "--parsable", "-n1", "-o", bench.place / "out", bench.place / "job.sh"]
    number = bench.run(*argv, env=environ).stdout.strip()
    until(lambda: len(keepers(bench)) == 1)
    (one,) = keepers(bench)
    assert served(one)
    bench.run("scancel", number, env=environ)
    until(lambda: not served(one) and programs_naming(place) == [])
