"""Invariant 3: whatever way an environment took, it shows what a fresh build of its lock shows.

`TYKKY_HISTORIES=500 pytest tests/history` takes more and other ways than the default run.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings, target
from hypothesis import strategies as st

from tests.channel.nasty import NASTY
from tests.history.wheels import WHEELS
from tests.history.world import Wanted, World, difference
from tykky.environment.choice import How

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
    """One build. `changes` maps a package to the number of a variant, 0 to leave it out."""

    changes: Mapping[str, int]
    how: How = "delta"
    flatten: bool = False


def held(steps: Sequence[Step], *, based_on_conda: bool, **more: tuple[str, ...]) -> Wanted:
    """Return what is wanted after the steps."""
    chosen: dict[str, int] = {}
    for step in steps:
        chosen |= step.changes
    conda, pypi = set(), set()
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
    return st.builds(Step, changes, how, st.sampled_from([False] * 5 + [True]))


def histories(names: Iterable[str]) -> st.SearchStrategy[list[Step]]:
    first = steps_of(names, 9).map(lambda step: Step(step.changes))
    return st.tuples(first, st.lists(steps_of(names, 3), min_size=1, max_size=4)).map(lambda pair: [pair[0], *pair[1]])


def take(world: World, steps: Sequence[Step], *, based_on_conda: bool, **more: tuple[str, ...]) -> None:
    """Take the steps; after each of them everything must be as in a fresh build."""
    prefix = world.place()
    deltas = 0
    for number in range(1, len(steps) + 1):
        wanted = held(steps[:number], based_on_conda=based_on_conda, **more)
        step = steps[number - 1]
        built = world.build(prefix, wanted, step.how, flatten=step.flatten)
        deltas += built.record.layers[-1].kind == "delta"
        different = difference(world.look(prefix), world.fresh(wanted))
        assert not different, f"after step {number} ({', '.join(layer.kind for layer in built.record.layers)}):\n" + (
            "\n".join(different)
        )
    target(float(deltas))
    world.forget(prefix)


def profile(count: int) -> settings:
    return settings(
        max_examples=HISTORIES or count,
        derandomize=not HISTORIES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@profile(4)
@given(histories(VARIANTS), st.sampled_from([(), (), ("**/*.junk",)]))
def test_of_conda_and_pypi_packages(world: World, steps: list[Step], exclude: tuple[str, ...]) -> None:
    take(world, steps, based_on_conda=True, exclude=exclude)


@profile(6)
@given(histories(PYPI), st.sampled_from([(), (), ("**/*.junk",)]))
def test_of_a_venv(world: World, steps: list[Step], exclude: tuple[str, ...]) -> None:
    take(world, steps, based_on_conda=False, exclude=exclude)
