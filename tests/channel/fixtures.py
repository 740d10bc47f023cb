"""Pytest fixtures of the channel. `tests/conftest.py` names this module in `pytest_plugins`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.channel.server import Served, serve
from tests.channel.standard import standard_channel


@pytest.fixture(scope="session")
def conda_channel(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The standard channel's directory, made once for all workers of a run. Read it, never write to it."""
    base = tmp_path_factory.getbasetemp()
    # A worker's own directory is below the one that all workers of the run share.
    shared = base if worker_id == "master" else base.parent
    root = shared / "standard-channel"
    with FileLock(shared / "standard-channel.guard"):
        if not root.exists():
            unfinished = shared / "standard-channel.unfinished"
            standard_channel(unfinished)
            unfinished.rename(root)
    return root


@pytest.fixture
def channel_server(conda_channel: Path) -> Iterator[Served]:
    """The standard channel over HTTP, with switches of its own for each test."""
    with serve(conda_channel) as served:
        yield served


@pytest.fixture
def unused_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
