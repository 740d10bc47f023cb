"""Invariant 3: whatever way an environment took, it shows what a fresh build of its lock shows.

`TYKKY_HISTORIES=500 pytest tests/history` takes more and other ways than the default run.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.channel.nasty import NASTY
from tests.history.wheels import WHEELS
from tests.history.world import Wanted, World, difference
from tykky.environment.choice import How
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.rollback import roll_back

# The test's own variable: the fixture `home` takes away all that begin with TYKKY_, so it is read before.
HISTORIES = int(os.environ.get("TYKKY_HISTORIES", "0"))


def _variants(names: Iterable[str], mark: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[mark + name.partition("=")[0]].append(name)
    return dict(found)


CONDA = _variants(NASTY, "")
PYPI = _variants(WHEELS, "p:")
VARIANTS = {**CONDA, **PYPI}


@dataclass(frozen=True)
class Step:
    """One build. `changes` maps a package to the number of a variant, 0 to leave it out.

    With `back`, the environment is first rolled back by so many generations, as far as there are any.
    """

    changes: Mapping[str, int]
    how: How = "delta"
    flatten: bool = False
    back: int = 0


def held(steps: Sequence[Step], *, based_on_conda: bool, **more: Any) -> Wanted:
    """Return what is wanted after the steps."""
    chosen: dict[str, int] = {}
    for step in steps:
        chosen |= step.changes
    conda: set[str] = set()
    pypi: set[str] = set()
    for name, number in chosen.items():
        variants = [None, *VARIANTS[name]]
        variant = variants[number % len(variants)]
        if variant is not None:
            (pypi if name in PYPI else conda).add(variant)
    if "switch" in {n.partition("=")[0] for n in conda}:  # a resolver does not lock one distribution twice
        pypi -= {"switch=p1", "switch=p2"}
    return Wanted(based_on_conda, frozenset(conda if based_on_conda else ()), frozenset(pypi), **more)


def steps_of(names: Iterable[str], size: int) -> st.SearchStrategy[Step]:
    changes = st.dictionaries(st.sampled_from(sorted(names)), st.integers(0, 5), min_size=1, max_size=size)
    how = st.sampled_from(["delta"] * 6 + ["best", "rebuild"])
    return st.builds(Step, changes, how, st.sampled_from([False] * 5 + [True]), st.sampled_from([0, 0, 0, 1, 2]))


def histories(names: Iterable[str]) -> st.SearchStrategy[list[Step]]:
    first = steps_of(names, 9).map(lambda step: Step(step.changes))
    return st.tuples(first, st.lists(steps_of(names, 3), min_size=1, max_size=4)).map(lambda pair: [pair[0], *pair[1]])


def take(world: World, wanted: Sequence[Wanted], steps: Sequence[Step]) -> list[str]:
    """Take the steps; after each of them everything must be as in a fresh build. Returns the kind of the top layers."""
    prefix = world.place()
    directory = EnvironmentDirectory(prefix)
    holds: dict[int, Wanted] = {}
    kinds = []
    for step, goal in zip(steps, wanted, strict=True):
        if step.back and holds:
            chosen = sorted(holds)[max(0, len(holds) - 1 - step.back)]
            roll_back(directory, chosen, lambda record, names: None)
            assert_same(world, prefix, holds[chosen])
        built = world.build(prefix, goal, step.how, flatten=step.flatten)
        holds[built.record.number] = goal
        kinds.append([layer.kind for layer in built.record.layers if layer.kind != "script"][-1])
        assert_same(world, prefix, goal)
    world.forget(prefix)
    return kinds


def assert_same(world: World, prefix: Path, wanted: Wanted) -> None:
    """Nothing that a program could tell differs from a fresh build."""
    different = difference(world.look(prefix), world.fresh(wanted))
    layers = ", ".join(layer.kind for layer in EnvironmentDirectory(prefix).record().layers)
    assert not different, f"{wanted} of {layers}:\n" + "\n".join(different)


def profile(count: int) -> settings:
    return settings(
        max_examples=HISTORIES or count,
        derandomize=not HISTORIES,
        database=None,
        deadline=None,
        # Shrinking takes minutes: with TYKKY_HISTORIES there is time for it.
        phases=[Phase.generate, Phase.shrink] if HISTORIES else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def goals(steps: Sequence[Step], **more: Any) -> list[Wanted]:
    return [held(steps[:number], **more) for number in range(1, len(steps) + 1)]


@pytest.mark.timeout(0 if HISTORIES else 300)
@profile(3)
@given(histories(VARIANTS), st.sampled_from([(), (), ("**/*.junk",)]))
def test_of_conda_and_pypi_packages(world: World, steps: list[Step], exclude: tuple[str, ...]) -> None:
    take(world, goals(steps, based_on_conda=True, exclude=exclude), steps)


@pytest.mark.timeout(0 if HISTORIES else 300)
@profile(4)
@given(histories(PYPI), st.sampled_from([(), (), ("**/*.junk",)]))
def test_of_a_venv(world: World, steps: list[Step], exclude: tuple[str, ...]) -> None:
    take(world, goals(steps, based_on_conda=False, exclude=exclude), steps)
