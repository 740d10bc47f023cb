"""One stage for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.stage import Stage
from tests.crash.warm import Warm


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Where the scenes are."""
    root = tmp_path_factory.mktemp("stage")
    warm = Warm(root / "said")
    yield Stage(root, warm)
    warm.close()
