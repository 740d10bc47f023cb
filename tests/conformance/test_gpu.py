"""On the host's root, a GPU's devices and its driver's libraries are found as by any program of the host.

No GPU is needed for that: a device node and a library that the host's loader knows by its cache are what matters.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.cases import Case
from tests.conformance.conftest import Bench

SAMPLED = True

DEVICE = Path("/dev/nvidia0")
LIBRARIES = Path("/usr/local/lib/tykky-gpu-test")
LISTED = Path("/etc/ld.so.conf.d/tykky-gpu-test.conf")
DRIVER = "libcuda.so.1"
NULL = os.makedev(1, 3)  # what is behind the device of the tests
LOAD = f"""
import ctypes, json, os
library = ctypes.CDLL("{DRIVER}")
maps = [line.split()[-1] for line in open("/proc/self/maps") if "/{DRIVER}" in line]
device = os.open("{DEVICE}", os.O_RDWR)
variable = os.environ.get("LD_LIBRARY_PATH")
print(json.dumps([sorted(set(maps)), os.fstat(device).st_rdev, os.write(device, b"x"), variable]))
"""


@pytest.fixture(scope="module")
def driver() -> Iterator[None]:
    """A node's GPU as far as the loader and the file system know, of one test process at a time: gone afterwards."""
    if os.getuid() != 0:
        pytest.skip("only root can make a device and tell the host's loader of a library")
    if shutil.which("patchelf") is None:
        pytest.skip("patchelf is not on this machine: tests/hosts/setup.sh installs it")
    conf = os.open(LISTED.parent, os.O_RDONLY)
    fcntl.flock(conf, fcntl.LOCK_EX)
    if DEVICE.exists() or DRIVER.encode() in subprocess.check_output(["ldconfig", "-p"]):
        os.close(conf)
        pytest.skip("this host has a driver of its own")
    some = next(Path("/usr/lib").glob("*/libutil.so.1"))
    try:
        LIBRARIES.mkdir()
        shutil.copy(some, LIBRARIES / DRIVER)
        subprocess.run(["patchelf", "--set-soname", DRIVER, LIBRARIES / DRIVER], check=True)
        LISTED.write_text(f"{LIBRARIES}\n")
        subprocess.run(["ldconfig"], check=True)
        os.mknod(DEVICE, stat.S_IFCHR | 0o666, NULL)
        DEVICE.chmod(0o666)
        yield
    finally:
        DEVICE.unlink(missing_ok=True)
        LISTED.unlink(missing_ok=True)
        shutil.rmtree(LIBRARIES, ignore_errors=True)
        subprocess.run(["ldconfig"], check=True)
        os.close(conf)


@pytest.fixture
def gpu(case: Case, request: pytest.FixtureRequest) -> None:
    """A GPU, for the cases of prepared hosts: it takes root."""
    if case.user is None:
        pytest.skip("a matter of prepared hosts, where an ordinary user launches")
    request.getfixturevalue("driver")


@pytest.mark.parametrize("kind", ["venv", "conda"])
def test_the_drivers_library_and_the_device_are_found(bench: Bench, gpu: None, kind: str):
    """By the host's ld.so.cache: no option, no variable, whatever the interpreter's own libraries are."""
    place = bench.environment(kind=kind)
    done = bench.run(place / "bin" / "python", "-c", LOAD)
    assert json.loads(done.stdout) == [[str(LIBRARIES / DRIVER)], NULL, 1, None]


def test_a_program_that_is_linked_to_the_driver_starts(bench: Bench, gpu: None, kind: str):
    """The loader itself finds it, before any code of ours or the program's."""
    place = bench.environment(kind=kind)
    program = bench.place / "linked"
    shutil.copy("/usr/bin/true", program)
    subprocess.run(["patchelf", "--add-needed", DRIVER, program], check=True)
    bench.case.own(program)
    text = "import subprocess, sys; print(subprocess.run(sys.argv[1:]).returncode)"
    assert bench.run(place / "bin" / "python", "-c", text, program).stdout == "0\n"
