"""Editors and debuggers: `P/bin/python` as an editor's interpreter, debugpy, gdb and py-spy on a running program."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.lab import Lab, lab, labs, outside, script

__all__ = ["lab", "labs", "outside"]

pytestmark = [pytest.mark.workflows, pytest.mark.network, pytest.mark.timeout(600)]

_ASKED = """
import json, sys, sysconfig
wide, packages = sys.maxsize > 2**32, sysconfig.get_path("purelib")
print(json.dumps([sys.executable, sys.prefix, sys.version_info[:2], wide, packages]))
"""
_WAITING = """
import os, sys
def waiting_here():
    print(os.getpid(), flush=True)
    sys.stdin.read()
waiting_here()
"""


def test_what_an_editor_asks_of_its_interpreter(lab: Lab):
    """VS Code runs a script with it, looks for packages where that says, and calls pip as a module."""
    python = lab.program("python")
    asked = script(lab.bench.place / "asked.py", _ASKED)
    executable, prefix, version, wide, packages = json.loads(lab.run(python, "-I", asked).stdout)
    assert (executable, prefix, wide) == (str(python), str(lab.place), True)
    library = f"{lab.place}/lib/python{version[0]}.{version[1]}/site-packages"
    assert packages == library
    assert lab.run(python, "-m", "pip", "--version").stdout.startswith("pip ")
    assert library in lab.run(python, "-m", "pip", "--version").stdout
    listed = json.loads(lab.run(python, "-m", "pip", "list", "--format", "json").stdout)
    assert {"debugpy", "ipykernel", "jupyterlab"} <= {package["name"] for package in listed}


class Adapter:
    """A client of the Debug Adapter Protocol, as an editor is one."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.stream = self.socket.makefile("rwb")
        self.number = 0
        self.seen: list[dict[str, Any]] = []

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, command: str, **arguments: object) -> int:
        self.number += 1
        request = {"seq": self.number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self.stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.stream.flush()
        return self.number

    def until(self, kind: str, **wanted: object) -> dict[str, Any]:
        """Return the first message of this kind with these values, once it has come; messages may overtake others."""
        while True:
            for number, message in enumerate(self.seen):
                if message["type"] == kind and all(message.get(key) == value for key, value in wanted.items()):
                    return self.seen.pop(number)
            length = 0
            while line := self.stream.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            assert length, "the adapter is gone"
            self.seen.append(json.loads(self.stream.read(length)))

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Return the body of the answer to a request."""
        answer = self.until("response", request_seq=self.send(command, **arguments))
        assert answer["success"], answer
        body: dict[str, Any] = answer.get("body") or {}
        return body


def test_debugpy_stops_at_a_breakpoint(lab: Lab):
    program = script(
        lab.bench.place / "program.py",
        """\
        import sys
        def double(value):
            result = value * 2
            return result
        print(double(21), sys.executable, flush=True)
        """,
    )
    port = _free_port()
    words = ["-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client", program]
    with lab.start(lab.program("python"), *words, stdout=subprocess.PIPE) as running:
        try:
            _wait_for(port, running)
            adapter = Adapter(port)
            adapter.ask("initialize", adapterID="test", pathFormat="path", clientID="test")
            attached = adapter.send("attach", justMyCode=True)
            adapter.until("event", event="initialized")
            places = adapter.ask("setBreakpoints", source={"path": str(program)}, breakpoints=[{"line": 4}])
            assert [place["verified"] for place in places["breakpoints"]] == [True]
            adapter.ask("configurationDone")
            adapter.until("response", request_seq=attached)
            thread = adapter.until("event", event="stopped")["body"]["threadId"]
            frame = adapter.ask("stackTrace", threadId=thread)["stackFrames"][0]
            assert (frame["name"], frame["line"], frame["source"]["path"]) == ("double", 4, str(program))
            assert adapter.ask("evaluate", expression="result + 1", frameId=frame["id"])["result"] == "43"
            adapter.ask("continue", threadId=thread)
            adapter.until("event", event="terminated")
            adapter.close()  # debugpy's own process waits for that, with the program's output open
            out, _ = running.communicate(timeout=60)
        finally:
            running.kill()
    assert out == f"42 {lab.program('python')}\n"


def test_debugpy_attaches_to_a_running_program(lab: Lab):
    """By its number, as an editor's list of processes offers it, where both are in the same mounts."""
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not on this machine")
    port = _free_port()
    with _waiting(lab) as pid:
        words = ["-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--pid", pid]
        done = lab.run(lab.program("python"), *words, check=False)
        if _alone(lab) or lab.bench.case.backend == "apptainer":
            # gdb, which it calls, would have to enter the program's mounts.
            assert done.returncode != 0
            assert f"Code injection into PID={pid} failed" in done.stderr
            return
        assert done.returncode == 0, done.stderr
        adapter = Adapter(port)
        adapter.ask("initialize", adapterID="test", pathFormat="path", clientID="test")
        attached = adapter.send("attach", justMyCode=True)
        adapter.until("event", event="initialized")
        adapter.ask("configurationDone")
        adapter.until("response", request_seq=attached)
        (thread, *_) = adapter.ask("threads")["threads"]
        adapter.ask("pause", threadId=thread["id"])
        adapter.close()


def test_py_spy_of_the_environment(lab: Lab):
    """It may look into programs that share its user namespace; the launch of one with private mounts has its own."""
    with _waiting(lab) as pid:
        done = lab.run(lab.program("py-spy"), "dump", "--pid", pid, check=False)
    if _alone(lab):
        assert done.returncode != 0
        assert "Permission Denied" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "waiting_here" in done.stdout


def test_py_spy_from_outside(lab: Lab, outside: Path):
    """Whoever owns the program may look into it from outside, whatever it is mounted with."""
    with _waiting(lab) as pid:
        done = lab.run(outside / "bin" / "py-spy", "dump", "--pid", pid, check=False)
    assert done.returncode == 0, done.stderr
    assert "waiting_here" in done.stdout


def test_gdb_on_a_running_program(lab: Lab):
    """From outside gdb may not enter the program's mounts; told where they are to be seen, it need not."""
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not on this machine")
    with _waiting(lab) as pid:
        words = ["-nx", "-batch", "-iex", f"set sysroot /proc/{pid}/root", "-p", pid, "-ex", "call (int) getpid()"]
        done = lab.run("gdb", *words, "-ex", "detach", check=False)
        assert f"$1 = {pid}\n" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def _alone(lab: Lab) -> bool:
    """Say whether each launch has a user namespace of its own, in which it may not look into another."""
    case = lab.bench.case
    return case.user is not None and case.userns and (case.backend == "apptainer" or case.mount == "private")


@contextmanager
def _waiting(lab: Lab) -> Iterator[int]:
    """Start a program that waits in a function; give its process number, which under Apptainer is not the launch's."""
    program = script(lab.bench.place / "waiting.py", _WAITING)
    with lab.start(lab.program("python"), program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        try:
            yield pid
        finally:
            running.communicate(timeout=60)
        assert running.returncode == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, running: subprocess.Popen[str]) -> None:
    """Wait until somebody listens there, without connecting: debugpy takes one client."""
    wanted = re.compile(rf"^\s*\d+: 0100007F:{port:04X} \S+ 0A ", re.M)
    until = time.monotonic() + 120
    while not wanted.search(Path("/proc/net/tcp").read_text()):
        assert time.monotonic() < until and running.poll() is None
        time.sleep(0.05)
