"""Invariant 3 for environments that extend others: what a child shows is what a fresh build of all of it would show."""

from __future__ import annotations

import pytest

from tests.history.world import Wanted, World, difference
from tests.sample import sampled
from tykky.environment.directory import EnvironmentDirectory

# The parent's packages, then what the child holds, build after build. A child adds and replaces.
CONDA = {
    "packages of both kinds are added": ("same=1 p:twin=1", "same=1 p:twin=1 deep=1 p:ns-a=1"),
    "nothing but extends": ("same=1 p:twin=1", "same=1 p:twin=1"),
    "the parent has no wheels": ("same=1", "same=1 p:twin=1"),
    "a path of the parent's is shared": ("clobber-b=1 p:twin=1", "clobber-a=1 clobber-b=1 p:twin=1"),
    "replaced, with what becomes empty": ("deep=1 same=1", "deep=2 same=1b p:twin=1"),
    "step by step, and back": (
        "same=1 switch=c1 p:twin=1",
        "same=1 switch=c1 p:twin=1 deep=1",
        "same=2 switch=c2 p:twin=2 deep=1",
        "same=1 switch=c1 p:twin=1 deeper=1 p:data=1",
        "same=1 switch=c1 p:twin=1",
    ),
    "a wheel over the parent's conda module": ("clobber-a=1 p:twin=1", "clobber-a=1 p:twin=1 p:over-clobber=1"),
    "activation of both": ("active=1 p:twin=1", "active=1 watcher=1 p:twin=1"),
}
VENV = {
    "one more wheel": ("p:twin=1", "p:twin=1 p:data=1"),
    "shared programs and modules": (
        "p:dup-a=1 p:twin=1",
        "p:dup-a=1 p:dup-b=1 p:twin=1",
        "p:dup-a=2 p:dup-b=1 p:twin=1",
    ),
    "what is built here": ("p:twin=1", "p:twin=1 p:built=1 p:local=1", "p:twin=2 p:built=2 p:local=1"),
}
CASES = [(True, name) for name in CONDA] + [(False, name) for name in VENV]


@pytest.mark.parametrize(("based_on_conda", "case"), sampled(CASES, 3))
def test_a_child_shows_what_a_fresh_build_would(world: World, based_on_conda: bool, case: str) -> None:
    base, *steps = (Wanted.of(line, based_on_conda=based_on_conda) for line in (CONDA | VENV)[case])
    parent, child = world.place(), world.place()
    world.build(parent, base)
    before = EnvironmentDirectory(parent).record()
    for how in ("best", "delta", "rebuild"):
        for wanted in steps:
            world.build_source(child, world.extended(wanted, parent), how)  # type: ignore[arg-type]
            assert difference(world.look(child), world.fresh(wanted)) == []
            record = EnvironmentDirectory(child).record()
            own = [layer for layer in record.layers if not layer.image.startswith("/")]
            assert [layer.key for layer in record.layers[: -len(own) or None]] == [x.key for x in before.layers]
            assert (record.name, record.prefix) == ("child", before.prefix)
    world.forget(child)
    world.forget(parent)


def test_a_child_of_a_child(world: World) -> None:
    lines = ("same=1 deep=1 p:twin=1", "same=1 deep=1 p:twin=1 p:data=1", "same=2 deep=1 p:twin=1 p:data=2 spaces=1")
    places = [world.place() for _ in lines]
    world.build(places[0], Wanted.of(lines[0]))
    for above, place, line in zip(places, places[1:], lines[1:], strict=False):
        world.build_source(place, world.extended(Wanted.of(line), above))
        assert difference(world.look(place), world.fresh(Wanted.of(line))) == []
    record = EnvironmentDirectory(places[2]).record()
    assert [layer.kind for layer in record.layers] == ["conda", "pypi", "delta", "delta"]
    assert [layer.image.startswith("/") for layer in record.layers] == [True, True, True, False]


def test_the_parent_may_have_grown_by_deltas(world: World) -> None:
    parent, child = world.place(), world.place()
    world.build(parent, Wanted.of("same=1 deep=1 p:twin=1"))
    world.build(parent, Wanted.of("same=2 deep=1 p:twin=1 p:data=1"), "delta")
    wanted = Wanted.of("same=2 deep=1 p:twin=1 p:data=1 p:ns-a=1")
    world.build_source(child, world.extended(wanted, parent))
    assert difference(world.look(child), world.fresh(wanted)) == []
    again = world.place()
    world.build(again, Wanted.of("same=2 deep=1 p:twin=1 p:data=1"))
    other = world.place()
    world.build_source(other, world.extended(wanted, again))
    keys = [EnvironmentDirectory(place).record().layers[-1].key for place in (child, other)]
    assert keys[0] == keys[1], "the same content below, so the same layer"
