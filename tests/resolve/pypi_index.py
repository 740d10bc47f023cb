"""A package index on loopback, with switches for everything that goes wrong with indexes.

    index.add(make_wheel(scratch, "cowsay", "6.1"))
    index.url                                          # http://127.0.0.1:…/simple
    index.fault("/simple/cowsay/", 500)

Pages follow PEP 503 (HTML) and PEP 691 (JSON, with sizes and upload times), whichever is asked for.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

import pytest

from tests.serving import serving

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
Fault = int | Literal["hang", "drop"]


@dataclass
class _File:
    path: Path
    project: str
    uploaded: str
    requires_python: str | None
    hashes: dict[str, str]


@dataclass
class Index:
    """What the server serves. `requests` lists the paths that were asked for, in order."""

    root: Path
    origin: str = ""
    files: dict[str, _File] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    credentials: tuple[str, str] | None = None
    json: bool = True
    requests: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The index URL, without a slash at the end."""
        return f"{self.origin}/simple"

    def add(
        self,
        artifact: Path,
        *,
        uploaded: str = "2026-01-01T00:00:00Z",
        requires_python: str | None = None,
        hashes: dict[str, str] | None = None,
    ) -> str:
        """Serve a copy of a wheel or sdist and return its URL. `hashes` is what the index claims (default: sha256)."""
        target = self.root / artifact.name
        shutil.copyfile(artifact, target)
        true = {"sha256": hashlib.sha256(target.read_bytes()).hexdigest()}
        stem = artifact.name.removesuffix(".tar.gz")
        project = (stem.rsplit("-", 1)[0] if stem != artifact.name else stem.split("-")[0]).replace("_", "-")
        claimed = true if hashes is None else hashes
        self.files[artifact.name] = _File(target, project.lower(), uploaded, requires_python, claimed)
        return f"{self.origin}/files/{artifact.name}"

    def fault(self, path: str, what: Fault) -> None:
        """Answer requests below `path` with a status, with silence ("hang") or by hanging up ("drop")."""
        self.faults[path] = what


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.index.requests.append(path)
        fault = next((what for start, what in self.index.faults.items() if path.startswith(start)), None)
        if fault == "hang":
            self.index.closing.wait(60)
            return
        if fault == "drop":
            return
        if isinstance(fault, int):
            self._answer(fault, b"the index is unwell", "text/plain")
            return
        if not self._allowed():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        parts = path.strip("/").split("/")
        if len(parts) == 2 and parts[0] == "simple":
            self._project(parts[1])
        elif len(parts) == 2 and parts[0] == "files" and parts[1] in self.index.files:
            self._answer(200, self.index.files[parts[1]].path.read_bytes(), "application/octet-stream")
        else:
            self._answer(404, b"no such page", "text/plain")

    do_HEAD = do_GET

    def _allowed(self) -> bool:
        if self.index.credentials is None:
            return True
        expected = base64.b64encode(":".join(self.index.credentials).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _project(self, project: str) -> None:
        files = {name: file for name, file in self.index.files.items() if file.project == project}
        if not files:
            self._answer(404, b"no such project", "text/plain")
        elif self.index.json and JSON_TYPE in self.headers.get("Accept", ""):
            self._answer(200, _json_page(project, files, self.index.origin), JSON_TYPE)
        else:
            self._answer(200, _html_page(files, self.index.origin), "text/html")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _json_page(project: str, files: dict[str, _File], origin: str) -> bytes:
    entries = [
        {
            "filename": name,
            "url": f"{origin}/files/{quote(name)}",
            "hashes": file.hashes,
            "requires-python": file.requires_python,
            "size": file.path.stat().st_size,
            "upload-time": file.uploaded,
        }
        for name, file in files.items()
    ]
    page = {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": entries}
    return json.dumps(page).encode()


def _html_page(files: dict[str, _File], origin: str) -> bytes:
    lines = ["<!DOCTYPE html><html><body>"]
    for name, file in files.items():
        fragment = "".join(f"#{name}={value}" for name, value in list(file.hashes.items())[:1])
        python = file.requires_python
        needs = "" if python is None else f' data-requires-python="{python.replace(">", "&gt;")}"'
        lines.append(f'<a href="{origin}/files/{quote(name)}{fragment}"{needs}>{name}</a>')
    return "\n".join([*lines, "</body></html>"]).encode()


@contextlib.contextmanager
def serve(root: Path) -> Iterator[Index]:
    """Run an index whose files are kept in `root` until the block ends."""
    root.mkdir(parents=True, exist_ok=True)
    index = Index(root)
    with serving(_Handler, index=index) as address:
        index.origin = f"http://{address}"
        try:
            yield index
        finally:
            index.closing.set()


@pytest.fixture
def pypi_index(tmp_path: Path) -> Iterator[Index]:
    """An empty index."""
    with serve(tmp_path / "index") as index:
        yield index
