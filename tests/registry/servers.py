"""Registries on loopback: Debian's own one, and one of a few lines with switches for what goes wrong with registries.

with serve() as registry:
    registry.put("root", "1", image)
    registry.fault("/v2/root/manifests/", 500)
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.registry.images import Stored
from tests.serving import serving

# Whom a registry that is not public knows, and the line of its htpasswd file: bcrypt, the one kind it takes.
ADA = "ada:of-the-test"
_HTPASSWD = "ada:$2b$04$myG2fCg6jCtGNaYZneaJF.f76E/n9w02P2YccyyYfAnsFelCkktNC\n"
UNPACKED = Path("/opt/docker-registry/usr/bin/docker-registry")  # tests/hosts/setup.sh


@dataclass
class Registry:
    """What the server has. `requests` are the paths that were asked for, `tokens` what tokens were asked with.

    With `credentials` a token is given for those only, without `wants_token` everything to anybody.
    """

    address: str = ""  # host:port
    manifests: dict[tuple[str, str], Stored] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, int | bytes] = field(default_factory=dict)
    wants_token: bool = False
    realm: str | None = None
    credentials: tuple[str, str] | None = None
    elsewhere: str | None = None  # where files are, by a redirect
    requests: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    given: int = 0
    expired: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)  # files that come only when they are released
    holding: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def put(self, name: str, tag: str, stored: Stored) -> None:
        """Have an image or index under a tag."""
        for one in (stored, *stored.manifests):
            self.manifests[name, one.digest] = one
            self.files |= one.files
        self.manifests[name, tag] = stored

    def fault(self, path: str, what: int | bytes) -> None:
        """Answer requests below `path` with a status, or with these bytes."""
        self.faults[path] = what


class _Handler(BaseHTTPRequestHandler):
    registry: Registry

    def do_GET(self) -> None:
        registry = self.registry
        registry.requests.append(self.path)
        registry.authorizations.append(self.headers.get("Authorization"))
        path = urlsplit(self.path).path
        fault = next((what for start, what in registry.faults.items() if path.startswith(start)), None)
        if isinstance(fault, int):
            self._answer(fault, b"{}")
        elif path == "/token":
            self._token()
        elif registry.wants_token and not self._known():
            realm = registry.realm or f"http://{registry.address}/token"
            self.send_response(401)
            name = re.sub(r"/(manifests|blobs|tags)/.*", "", path.removeprefix("/v2/"))
            challenge = f'Bearer realm="{realm}",service="a registry",scope="repository:{name}:pull"'
            self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._serve(path, fault)

    def _serve(self, path: str, fault: bytes | None) -> None:
        registry = self.registry
        if found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", path):
            stored = registry.manifests.get((found[1], found[2]))
            if stored is None:
                self._answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
            else:
                self._answer(200, stored.body if fault is None else fault, stored.media_type)
        elif found := re.fullmatch(r"(?:/elsewhere)?/v2/(.+)/blobs/([^/]+)", path):
            if registry.elsewhere and not path.startswith("/elsewhere"):
                self.send_response(307)
                self.send_header("Location", f"{registry.elsewhere}/elsewhere{path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if found[2] in registry.held:
                registry.holding.set()
                registry.release.wait(60)
            content = registry.files.get(found[2])
            self._answer(404 if content is None else 200, (content or b"") if fault is None else fault)
        elif found := re.fullmatch(r"/v2/(.+)/tags/list", path):
            tags = [tag for name, tag in registry.manifests if name == found[1] and ":" not in tag]
            self._answer(200 if tags else 404, json.dumps({"name": found[1], "tags": tags}).encode())
        else:
            self._answer(404, b"{}")

    def _token(self) -> None:
        registry = self.registry
        asked = parse_qs(urlsplit(self.path).query)
        assert asked["service"] == ["a registry"]
        registry.scopes.append(asked["scope"][0])
        if registry.credentials is not None:
            expected = base64.b64encode(":".join(registry.credentials).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {expected}":
                self._answer(401, b"{}")
                return
        registry.given += 1
        self._answer(200, json.dumps({"token": f"token-{registry.given}"}).encode())

    def _known(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        given = {f"token-{number + 1}" for number in range(self.registry.given)} - self.registry.expired
        return token in given or self.path.startswith("/elsewhere")

    def _answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked was killed
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve() -> Iterator[Registry]:
    """Run an empty registry until the block ends."""
    registry = Registry()
    with serving(_Handler, registry=registry) as registry.address:
        yield registry


@dataclass(frozen=True)
class RealRegistry:
    """Debian's docker-registry, as it runs; with `public` false, for ADA alone."""

    address: str
    public: bool = True

    def push(self, name: str, tag: str, stored: Stored) -> None:
        """Push an image or index by the registry's own API."""
        root = f"http://{self.address}/v2/{name}"
        for one in (*stored.manifests, stored):
            for digest, content in one.files.items():
                place = self._send("POST", f"{root}/blobs/uploads/", b"").headers["Location"]
                place = place if "://" in place else f"http://{self.address}{place}"
                self._send(
                    "PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content, "application/octet-stream"
                )
            reference = tag if one is stored else one.digest
            self._send("PUT", f"{root}/manifests/{reference}", one.body, one.media_type)

    def _send(self, method: str, url: str, body: bytes, kind: str | None = None) -> urllib.request.addinfourl:
        headers = {} if kind is None else {"Content-Type": kind}
        if not self.public:
            headers["Authorization"] = f"Basic {base64.b64encode(ADA.encode()).decode()}"
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        # Not through a proxy of whoever runs the tests.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer  # type: ignore[no-any-return]


@contextlib.contextmanager
def real_registry(folder: Path, *, public: bool = True) -> Iterator[RealRegistry]:
    """Run Debian's registry with its files in `folder`; skip where it is not."""
    program = shutil.which("docker-registry") or (str(UNPACKED) if UNPACKED.exists() else None)
    if program is None:
        pytest.skip("there is no docker-registry on PATH or at the place of tests/hosts/setup.sh")
    configuration = folder / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {json.dumps(str(folder / 'files'))}}}}}\n"
        "http: {addr: '127.0.0.1:0'}\n"
    )
    if not public:
        (folder / "htpasswd").write_text(_HTPASSWD)
        with configuration.open("a") as file:
            file.write(f"auth: {{htpasswd: {{realm: tests, path: {json.dumps(str(folder / 'htpasswd'))}}}}}\n")
    server = subprocess.Popen([program, "serve", configuration], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        assert server.stderr is not None
        said = b""
        while not (found := re.search(rb"listening on (127\.0\.0\.1:\d+)", said)):
            line = server.stderr.readline()
            assert line, said
            said += line
        drain = threading.Thread(target=server.stderr.read, daemon=True)
        drain.start()
        yield RealRegistry(found[1].decode(), public)
    finally:
        server.terminate()
        server.wait(30)
