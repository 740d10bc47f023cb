"""A channel over HTTP on loopback, with switches for everything that can go wrong with a server."""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.serving import serving


@dataclass
class Switches:
    """What the server does wrong. `only` limits status, hang, truncate and corrupt to matching paths."""

    only: str = "*"
    status: int | None = None  # answer every request with this status
    times: int | None = None  # how often `status` is answered before all is well again
    hang: bool = False  # accept and never answer
    truncate: bool = False  # announce the full length, send half of it
    corrupt: bool = False  # send the right length with the last byte changed
    basic: tuple[str, str] | None = None  # user and password
    bearer: str | None = None
    ranges: bool = True  # answer range requests

    def still(self) -> bool:
        """Return whether `status` is to be answered once more, and count it."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0

    def fault(self, path: str) -> bool:
        """Return whether the faults apply to `path`."""
        return fnmatch.fnmatch(path, self.only)


@dataclass
class Served:
    """A running server: its URL, its switches, the requests it has had (`GET /linux-64/repodata.json`)."""

    url: str = ""
    switches: Switches = field(default_factory=Switches)
    requests: list[str] = field(default_factory=list)
    sent: int = 0  # bytes of bodies
    released: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    served: Served

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.requests.append(f"{self.command} {path}")
        switches = self.served.switches
        faulty = switches.fault(path)
        if not self._allowed(switches):
            self._send(401, b"who are you\n", {"WWW-Authenticate": 'Basic realm="channel"'}, body=body)
            return
        if faulty and switches.hang:
            self.served.released.wait(60)
            self.close_connection = True
            return
        if faulty and switches.status is not None and switches.still():
            self._send(switches.status, b"as the switch says\n", {}, body=body)
            return
        file = self.root / path.lstrip("/")
        if not file.is_file() or ".." in Path(path).parts:
            self._send(404, b"not here\n", {}, body=body)
            return
        self._send_file(file.read_bytes(), switches, faulty=faulty, body=body)

    def _allowed(self, switches: Switches) -> bool:
        given = self.headers.get("Authorization")
        if switches.basic is not None:
            return given == "Basic " + base64.b64encode(":".join(switches.basic).encode()).decode()
        return switches.bearer is None or given == f"Bearer {switches.bearer}"

    def _send_file(self, data: bytes, switches: Switches, *, faulty: bool, body: bool) -> None:
        if faulty and switches.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 0xFF])
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted and switches.ranges and any(wanted.groups()):
            first, last = wanted.groups()
            start = int(first) if first else max(0, len(data) - int(last))
            stop = min(len(data), int(last) + 1) if first and last else len(data)
            headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", "Accept-Ranges": "bytes"}
            self._send(206, data[start:stop], headers, body=body)
            return
        headers = {"Accept-Ranges": "bytes"} if switches.ranges else {}
        self._send(200, data, headers, body=body, cut=faulty and switches.truncate)

    def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool, cut: bool = False) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.served.sent += self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True


@contextlib.contextmanager
def serve(root: Path) -> Iterator[Served]:
    """Serve the files below `root` on a free port of 127.0.0.1 until the block ends."""
    served = Served()
    with serving(_Handler, root=root, served=served) as address:
        served.url = f"http://{address}"
        try:
            yield served
        finally:
            served.released.set()
