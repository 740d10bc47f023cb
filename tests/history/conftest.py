"""One world for all tests of a worker: fresh builds and caches are dear."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.history.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The channel, the wheels, the caches, and what fresh builds showed."""
    root: Path = tmp_path_factory.mktemp("world")
    return World(root)
