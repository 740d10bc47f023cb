"""Invariant 3 with packages from the real PyPI: nobody made them for this test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk, desk, record
from tests.history.world import World, difference

__all__ = ["desk"]

STEPS = {
    "at first": ["packaging<24", "six", "click==8.1.*"],
    "add": ["packaging<24", "six", "click==8.1.*", "rich==13.8.*", "pygments"],
    "upgrade, add": ["packaging>=24", "six", "click>=8.2", "rich==13.8.*", "pygments", "attrs", "zope.interface"],
    "downgrade": ["packaging==23.1", "six==1.15.0", "click>=8.2", "rich==12.*", "pygments", "attrs==23.1.0"],
    "a namespace": ["packaging==23.1", "rich==12.*", "pygments", "zope.interface", "zope.event", "attrs"],
    "remove": ["packaging==23.1", "attrs", "zope.event"],
}


@pytest.mark.network
@pytest.mark.timeout(900)
@pytest.mark.thorough
def test_updates_of_real_packages(desk: Desk, tmp_path: Path) -> None:
    world = World(tmp_path)
    env = desk.directory / "env"
    for step, dependencies in STEPS.items():
        listed = ", ".join(f'"{dependency}"' for dependency in dependencies)
        desk.write(f'[environment]\nname = "real"\n[pypi]\npython = "{MINOR}"\ndependencies = [{listed}]\n')
        desk.tykky("lock")
        desk.tykky("build", "--prefix", env, *([] if step == "at first" else ["--delta"]))
        fresh = desk.directory / f"fresh {step}"
        desk.tykky("build", "--prefix", fresh)
        layers = record(env)["layers"]
        assert step == "at first" or layers[-1]["kind"] == "delta"  # type: ignore[index]
        assert len(record(fresh)["layers"]) == 1  # type: ignore[arg-type]
        assert difference(world.look(env), world.look(fresh)) == [], step
