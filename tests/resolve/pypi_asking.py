"""Asking a PyPI resolver in a test: a home, a cache and a project directory of the test's own."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tykky.access import Access
from tykky.lock.model import Package
from tykky.process import Commands, clean_environ
from tykky.progress import Silent
from tykky.resolve.ports import PypiRequest, PypiResolver

UV = Path(sys.executable).with_name("uv")
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
PLATFORM = "linux-64" if platform.machine() == "x86_64" else "linux-aarch64"


class Notebook(Silent):
    """A reporter that remembers warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@dataclass
class Asking:
    """One resolver (`kind`: uv or pip-tools), one cache, one project directory."""

    kind: str
    root: Path
    index: str
    notebook: Notebook = field(default_factory=Notebook)

    @property
    def base(self) -> Path:
        path = self.root / "project"
        path.mkdir(exist_ok=True)
        return path

    def resolver(self, **access: Any) -> PypiResolver:
        reach = Access(self.root / "cache", **access)
        # No second tries: a test that wants a failure wants it now.
        environ = {"UV_HTTP_RETRIES": "0"}
        commands = Commands(environ=clean_environ(environ), log=self.root / "log")
        if self.kind == "uv":
            from tykky.resolve.pypi.uv import UvResolver

            return UvResolver(reach, UV, commands)
        from tykky.resolve.pypi.piptools import PipToolsResolver

        return PipToolsResolver(reach, commands)

    def request(self, *requirements: str, **more: Any) -> PypiRequest:
        settings: dict[str, Any] = {
            "platform": PLATFORM,
            "python": PYTHON,
            "base": self.base,
            "interpreter": Path(sys.executable),
            "index_url": self.index,
            **more,
        }
        return PypiRequest(requirements=requirements, **settings)

    def __call__(self, *requirements: str, access: dict[str, Any] | None = None, **more: Any) -> tuple[Package, ...]:
        with self.resolver(**(access or {})).ask(self.request(*requirements, **more)) as asked:
            return asked.read(self.notebook)


def versions(packages: tuple[Package, ...]) -> dict[str, str]:
    """Return name and version of each package."""
    return {package.name: package.version for package in packages}


def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a HOME of its own, with no settings in it, and no proxies."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NETRC", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return home
