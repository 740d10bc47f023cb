"""Runs `tykky` in a child of a process that has imported it already: a verb costs what it does, not its start.

    python -m tests.ready 5     answers requests on the stream socket with this number until its other end is closed

A request is a length and as much JSON, and comes with three descriptors, which are the program's 0, 1 and 2. The answer
is a line with the program's number, and when it has ended one with its status, as `subprocess` counts.

The child has the words, directory, variables and mask of the request, nothing of the tests', and none of its threads.
What only a start of its own shows (that a verb imports what it needs, what an interpreter reads once) is seen where
`Starter` starts one: the first time for each verb, and whenever a variable asks for it.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tykky.cli.main import leave

_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "RICH_", "COLUMNS", "LINES", "TERM", "MAX_WIDTH")
_LENGTH = 8  # bytes


@dataclass
class Starter:
    """Runs command lines of Tykky for one worker; the process that is ready for them is started when it is needed."""

    _seen: set[str] = field(default_factory=set)
    _link: socket.socket | None = None
    _variables: dict[str, str] = field(default_factory=dict)

    def run(self, words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end; return its status and what it printed. Its standard input is empty."""
        argv = [sys.executable, "-m", "tykky", *words]
        verb = words[0] if words else ""
        if verb not in self._seen or (self._link is not None and at_start(environ) != self._variables):
            self._seen.add(verb)
            return subprocess.run(
                argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        link = self._link or self._start(environ)
        try:
            out, err, status = _ask(link, words, cwd, environ)
        except BaseException:  # a timeout, say: what may still be answered is for nobody
            link.close()
            self._link = None
            raise
        return subprocess.CompletedProcess(argv, status, out, err)

    def _start(self, environ: Mapping[str, str]) -> socket.socket:
        self._link, theirs = socket.socketpair()
        argv = [sys.executable, "-m", "tests.ready", str(theirs.fileno())]
        with theirs:
            # It ends when this process closes its end of the socket, or ends itself.
            subprocess.Popen(
                argv,
                cwd=Path(__file__).parents[1],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._variables = at_start(environ)
        return self._link


def at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are read once, when an interpreter or a library starts."""
    return {name: value for name, value in environ.items() if name.startswith(_READ_AT_START)}


def _ask(link: socket.socket, words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> tuple[str, str, int]:
    mask = os.umask(0)
    os.umask(mask)
    request = {"words": list(words), "cwd": os.fspath(cwd), "environ": dict(environ), "umask": mask}
    body = json.dumps(request).encode()
    (out, out_end), (err, err_end), nothing = os.pipe(), os.pipe(), os.open(os.devnull, os.O_RDONLY)
    given = [nothing, out_end, err_end]
    with open(out, "rb") as out_file, open(err, "rb") as err_file:
        try:
            socket.send_fds(link, [len(body).to_bytes(_LENGTH, "big")], given)
        finally:
            for descriptor in given:
                os.close(descriptor)
        link.sendall(body)
        process = _number(link)
        try:
            printed = _read(out_file, err_file)
            return *(_text(printed[file]) for file in (out_file, err_file)), _number(link)
        except BaseException:
            os.kill(process, signal.SIGKILL)
            raise


def _number(link: socket.socket) -> int:
    """Read a line."""
    line = b""
    while not line.endswith(b"\n"):
        more = link.recv(1)
        assert more, "the process that was ready for command lines has ended"
        line += more
    return int(line)


def _read(*files: IO[bytes]) -> dict[IO[bytes], bytes]:
    """Read pipes to their ends, whichever has something."""
    found = dict.fromkeys(files, b"")
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, 1 << 16)
                found[key.fileobj] += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
    return found


def _text(printed: bytes) -> str:
    """Return it as `subprocess` does with text=True."""
    return printed.decode().replace("\r\n", "\n").replace("\r", "\n")


def prepare() -> None:
    """Import Tykky, and what its verbs import only when they need it; compile the templates of launches."""
    import tykky

    for module in pkgutil.walk_packages(tykky.__path__, "tykky."):
        if not module.name.endswith(("__main__", "_worker")):  # programs of their own
            importlib.import_module(module.name)
    for name in ("jinja2.ext", "rattler", "rich.progress"):
        importlib.import_module(name)
    from tykky.runtime.model import Launch, Stack
    from tykky.runtime.render import render_launch, render_launcher

    render_launcher()
    render_launch(Launch(Stack("/tykky/none", ("one", "two")), name="none"))
    gc.freeze()  # no child need look at it again


def _serve(link: socket.socket) -> None:
    """Answer requests until there are no more."""
    while True:
        start, descriptors, _, _ = socket.recv_fds(link, _LENGTH, 3)
        if not start:
            return
        while len(start) < _LENGTH:
            start += link.recv(_LENGTH - len(start))
        body = b""
        while len(body) < int.from_bytes(start, "big"):
            body += link.recv(1 << 16)
        # A copy of what other threads do may wait for ever.
        assert len(os.listdir("/proc/self/task")) == 1
        child = os.fork()
        if child == 0:
            link.close()
            _become(json.loads(body), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(BrokenPipeError):
            link.sendall(f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        with suppress(BrokenPipeError):
            link.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be a process that was started with all this. Does not return."""
    for number, (name, descriptor) in enumerate(zip(("stdin", "stdout", "stderr"), descriptors, strict=True)):
        os.dup2(descriptor, number)
        os.close(descriptor)
        old = getattr(sys, name)  # it thinks that it is what was there before: a file, where there is a pipe now
        how = {"encoding": old.encoding, "errors": old.errors, "line_buffering": old.line_buffering}
        stream = io.TextIOWrapper(open(number, "wb" if number else "rb", closefd=False), **how)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    time.tzset()
    tempfile.tempdir = None  # what TMPDIR said before
    sys.argv[1:] = request["words"]
    leave(_status())


def _status() -> int:
    """Run the command line and return its exit status."""
    from tykky.cli.main import main

    try:
        main()
    except SystemExit as leave:
        return int(leave.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    prepare()
    _serve(socket.socket(fileno=int(sys.argv[1])))
