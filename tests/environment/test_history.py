"""The list of generations, and which layer gives what."""

from __future__ import annotations

from pathlib import Path

from tests.environment.stacks import layer, make, package
from tykky.environment.history import history
from tykky.environment.rollback import roll_back
from tykky.environment.tree import branches

BASE = layer("a", {"lib/x": 10, "lib/y": 20, "bin/z": 5}, [package("x", "1", "lib/x"), package("y", "1", "lib/y")])
DELTA = layer("b", {"lib/x": 12}, [package("x", "2", "lib/x")], removed=(("pypi", "y"),), whiteouts=("lib/y",))


def test_each_is_compared_with_the_one_before(tmp_path: Path) -> None:
    make(tmp_path / "env", BASE)
    directory = make(tmp_path / "env", BASE, DELTA)
    second, first = history(directory)
    assert (second.number, second.current, first.current) == (2, True, False)
    assert first.changes is not None
    assert [c.name for c in first.changes.added] == ["x", "y"]
    assert second.changes is not None
    assert [(c.name, c.before, c.after) for c in second.changes.changed] == [("x", "1", "2")]
    assert [c.name for c in second.changes.removed] == ["y"]
    assert (first.new_bytes, second.new_bytes) == (256, 256)


def test_after_a_rollback_the_star_moves(tmp_path: Path) -> None:
    make(tmp_path / "env", BASE)
    directory = make(tmp_path / "env", BASE, DELTA)
    roll_back(directory, None, lambda record, names: None)
    assert [(entry.number, entry.current) for entry in history(directory)] == [(2, False), (1, True)]


def test_damage_is_told_and_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "env"
    for number in range(4):
        directory = make(path, BASE, layer(f"c{number}"))
    directory.store.image(layer("c1").key).unlink()
    (directory.generations / "3" / "environment.json").write_text("{")
    directory.store.image(layer("c3").key).with_suffix(".manifest").unlink()
    fourth, third, second, first = history(directory)
    assert first.problem is None
    assert second.problem == f"{layer('c1').key}.sqfs is missing"
    assert second.changes is not None, "its manifest still says what it holds"
    assert third.record is None
    assert third.problem is not None
    assert third.problem.startswith(f"{directory.generations}/3/environment.json is damaged: ")
    assert fourth.changes is None
    assert fourth.problem == f"{layer('c3').key}.manifest is missing"


def test_bytes_live_and_dead(tmp_path: Path) -> None:
    record = make(tmp_path / "env", BASE, DELTA).record()
    base, delta = branches(record.layers, [BASE, DELTA])
    assert ([p.name for p in base.packages], [p.name for p in delta.packages]) == ([], ["x"])
    assert (base.live, base.dead, base.files) == (5, 30, 1)
    assert (delta.live, delta.dead, delta.files, delta.hides) == (12, 0, 1, 1)
    assert delta.removed == (("pypi", "y"),)
