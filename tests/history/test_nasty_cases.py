"""Invariant 3, case by case: what once went wrong, or easily could. Each line of a case is one build."""

from __future__ import annotations

import pytest

from tests.channel import CondaPackage, text
from tests.channel.nasty import put
from tests.history.test_history_does_not_show import Step, assert_same, take
from tests.history.world import Wanted, World
from tests.sample import sampled
from tykky.environment.directory import EnvironmentDirectory
from tykky.errors import BuildError

# All stand beside `twin`, so that there is a PyPI layer before and after.
CONDA = {
    "three packages have one path, and one after the other goes": (
        "clobber-a=1 clobber-b=1 clobber-c=1",
        "clobber-a=2 clobber-c=1",
        "clobber-c=1 clobber-b=2",
    ),
    "a package that others overwrite comes": ("clobber-b=1 same=1", "clobber-a=1 clobber-b=1 same=1b"),
    "a wheel hides modules, data and a program of conda packages, and goes": (
        "clobber-a=1 clobber-b=1 p:over-clobber=1",
        "clobber-a=1 clobber-b=1",
        "clobber-a=2 p:over-clobber=1",
    ),
    "a wheel has a file over a directory, a directory over a link, and goes": ("hidden=1 p:hider=1", "hidden=1"),
    "a path is a file, a directory, a link, a file below": (
        "shape=file linked=link",
        "shape=dir linked=dir",
        "shape=link linked=link",
        "shape=shallow",
    ),
    "deep directories become empty, one package after the other": ("deep=1 deeper=1", "deeper=1", "deep=2"),
    "a bit is lost, the files of another version are the same": (
        "bits=on same=1",
        "bits=off same=2",
        "bits=on same=1b",
    ),
    "names that mean something elsewhere go and come": ("odd=1 p:odd=p1", "odd=2 p:odd=p2", "odd=3"),
    "namespaces, with and without a file of their own": (
        "spaces=1 p:ns-a=1 p:ns-b=1",
        "spaces=2 p:ns-b=2",
        "spaces=1 p:ns-a=1",
    ),
    "from conda to PyPI and back": ("switch=c1", "p:switch=p1", "switch=c2"),
    "entry points and shipped bytecode": ("points=1 cached=1 p:pyc=1", "points=2 cached=2 p:pyc=2"),
    "activation comes, changes, sees another one, goes": (
        "active=1 watcher=1",
        "active=2 watcher=1",
        "active=3 watcher=2",
    ),
    "data of wheels beside the interpreter": ("p:data=1 p:path=1 p:bit=1", "p:data=2 p:path=2 p:bit=2"),
}
VENV = {
    "modules and programs of several wheels": (
        "p:dup-a=1 p:dup-b=1 p:dup-c=1",
        "p:dup-a=2 p:dup-b=1",
        "p:dup-a=2 p:dup-c=2",
        "p:dup-a=1",
    ),
    "wheels that share a program come one by one": ("p:dup-b=1", "p:dup-a=1 p:dup-b=1"),
    "data, also through lib64": ("p:data=1 p:path=1", "p:data=2 p:path=2", "p:data=1"),
    "spellings, and what is built here": (
        "p:Spelt.Name=1 p:built=1 p:local=1",
        "p:Spelt.Name=2 p:built=2 p:local=2",
        "p:built=1",
    ),
}
# File and directory at one path, in packages of two kinds: no delta can do it, and none must try.
ENTANGLED = {
    "the same, and what is hidden changes": ("hidden=1 p:hider=2", "hidden=2 p:hider=2"),
    "a wheel without bytecode over a module that has some": ("hidden=2", "hidden=2 p:hider=2"),
    "a wheel's directory over what becomes a file": ("hidden=1 p:hider=3", "hidden=3 p:hider=3"),
}


def wanted(lines: tuple[str, ...], **more: bool) -> list[Wanted]:
    return [Wanted.of(f"{line} p:twin=1", **more) for line in lines]


def steps(lines: tuple[str, ...]) -> list[Step]:
    return [Step({}) for _ in lines]


@pytest.mark.parametrize("lines", sampled([(lines,) for lines in CONDA.values()], every=4), ids=CONDA)
def test_by_deltas(world: World, lines: tuple[str, ...]) -> None:
    assert set(take(world, wanted(lines), steps(lines))[1:]) == {"delta"}


@pytest.mark.parametrize("lines", sampled([(lines,) for lines in VENV.values()], every=3), ids=VENV)
def test_by_deltas_of_a_venv(world: World, lines: tuple[str, ...]) -> None:
    assert set(take(world, wanted(lines, based_on_conda=False), steps(lines))[1:]) == {"delta"}


def test_the_link_to_the_interpreters_headers_is_there_while_no_package_has_any(world: World) -> None:
    lines = ("p:headers=1", "", "p:headers=1 p:more-headers=1", "p:more-headers=1", "p:path=1")
    assert set(take(world, wanted(lines, based_on_conda=False), steps(lines))[1:]) == {"delta"}


@pytest.mark.parametrize("lines", sampled([(lines,) for lines in ENTANGLED.values()], every=4), ids=ENTANGLED)
def test_by_fresh_layers(world: World, lines: tuple[str, ...]) -> None:
    assert "delta" not in take(world, wanted(lines), steps(lines))


@pytest.mark.thorough
def test_what_is_excluded_stays_away(world: World) -> None:
    lines = ("junk=1 p:path=2", "junk=2 p:path=1", "junk=1")
    exclude = ("**/*.junk",)
    goals = [Wanted.of(f"{line} p:twin=1", exclude=exclude) for line in lines]
    assert take(world, goals, steps(lines))[1:] == ["delta", "delta"]


SCRIPT = r"""
cd "$(dirname "$(dirname "$(readlink -f "$(command -v python)")")")"
found=$(find . | LC_ALL=C sort)
printf '%s\\n' "$found" >listing
mkdir -p empty/directory
printf 'odd\n' >"share/$(printf 'not utf-8 \377\\\n')x"
chmod a-x share/bits 2>/dev/null
rm -rf share/d1
"""


@pytest.mark.parametrize("based_on_conda", sampled([True, False], every=2), ids=["conda", "venv"])
def test_a_script_runs_again_over_what_changed(world: World, based_on_conda: bool) -> None:
    lines = ("bits=on deep=1 p:data=1", "bits=on deep=1 deeper=1 p:data=1", "bits=off p:data=1 p:bit=1")
    goals = [Wanted.of(f"{line} p:twin=1", scripts=(SCRIPT,)) for line in lines]
    if not based_on_conda:
        goals = [Wanted(False, pypi=goal.pypi, scripts=goal.scripts) for goal in goals[1:]]
    assert set(take(world, goals, [Step({}) for _ in goals])[1:]) == {"delta"}


def test_rollback_flatten_and_a_delta_on_the_flat_layer(world: World) -> None:
    goals = wanted(
        ("clobber-a=1 p:dup-a=1", "clobber-a=1 clobber-b=1 p:dup-a=1 p:dup-b=1", "clobber-b=1 p:dup-b=1", "shape=dir")
    )
    ways = [Step({}), Step({}, flatten=True), Step({}), Step({}, back=2)]
    assert take(world, goals, ways)[1:] == ["flat", "delta", "delta"]


@pytest.mark.thorough
def test_a_deep_stack_is_squashed_and_shows_the_same(world: World) -> None:
    names = ["dup-a=1", "dup-b=1", "dup-c=1", "ns-a=1", "ns-b=1", "bit=1", "path=1", "pyc=1", "data=1"]
    goals = [Wanted(False, pypi=frozenset({"twin=1", *names[max(0, n - 4) : n]})) for n in range(len(names))]
    prefix = world.place()
    depths = [len(world.build(prefix, goal, "delta").record.layers) for goal in goals]
    assert depths == [1, 2, 3, 4, 5, 6, 7, 8, 2]
    assert_same(world, prefix, goals[-1])
    world.forget(prefix)


def test_a_file_and_a_directory_of_two_conda_packages_are_refused_by_every_way(world: World) -> None:
    first, second = (
        put(CondaPackage(name, "1", files={path: text("x\n")}), world.root / "channel")
        for name, path in (("has-file", "share/clash"), ("has-directory", "share/clash/x"))
    )
    twin, python = world.package("pypi", "twin=1"), world.package("conda", "python")
    spec = world.source(Wanted()).spec
    prefix = world.place()
    world.carry_out(world.plan(prefix, world.sourced(spec, [python, twin, first])))
    for where in (prefix, world.place()):
        plan = world.plan(where, world.sourced(spec, [python, twin, first, second]))
        with pytest.raises(BuildError) as refused:
            world.carry_out(plan)
        assert refused.value.reason == (
            "'share/clash' is a file or link in has-file and a directory in another conda package"
        )
    assert EnvironmentDirectory(prefix).record().number == 1
