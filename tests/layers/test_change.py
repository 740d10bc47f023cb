"""What has to be installed, and what has to go."""

from __future__ import annotations

from collections.abc import Iterable

from tests.layers.manifests import manifest, package
from tykky.layers.change import Change, Moves, contested, difference, entangled, moves, whiteouts
from tykky.layers.merged import Merged, merge
from tykky.store.images import PackagePaths


def stack(*packages: PackagePaths, more: Iterable[str] = ()) -> Merged:
    """Return one layer of conda's packages and one of PyPI's on top."""
    layers = []
    for kind in ("conda", "pypi"):
        some = [p for p in packages if p.kind == kind]
        layers.append(manifest([*more, *(path for p in some for path in p.paths)], packages=some))
    return merge(layers)


def names(found: Iterable[tuple[str, str]]) -> list[str]:
    return sorted(name for _, name in found)


def conda(*chosen: str) -> list[tuple[str, str]]:
    return [("conda", name) for name in chosen]


def test_the_difference_is_one_of_identities() -> None:
    installed = {(p.kind, p.name): p for p in (package("same"), package("other"), package("gone"))}
    wanted = {("conda", "same"): "same-1", ("conda", "other"): "other-2", ("pypi", "new"): "x", ("pypi", "same"): "y"}
    change = difference(installed, wanted)
    assert change == Change((("conda", "other"), ("pypi", "new"), ("pypi", "same")), (("conda", "gone"),))
    assert difference(installed, {name: p.identity for name, p in installed.items()}) == Change((), ())


def test_every_package_is_installed_gone_or_kept() -> None:
    merged = stack(package("a"), package("b"), package("c"))
    found = Moves.of(merged, conda("a", "new"), conda("b"))
    assert (names(found.install), names(found.gone), names(found.kept)) == (["a", "new"], ["a", "b"], ["c"])


def test_who_shared_a_path_with_what_goes_is_installed_again_and_so_on() -> None:
    merged = stack(package("a", "x"), package("b", "x", "y"), package("c", "y"), package("d", "z"))
    found = moves(merged, Change((), tuple(conda("a"))))
    assert (names(found.install), names(found.gone), names(found.kept)) == (["b", "c"], ["a", "b", "c"], ["d"])


def test_conda_packages_come_to_light_when_a_wheel_goes_but_not_the_other_way_round() -> None:
    merged = stack(package("below", "x"), package("above", "x", kind="pypi"))
    assert names(moves(merged, Change((), (("pypi", "above"),))).install) == ["below"]
    assert names(moves(merged, Change((), (("conda", "below"),))).install) == []


def test_kept_packages_of_the_same_kind_are_contested() -> None:
    merged = stack(package("a", "x"), package("b", "y"), package("w", "x", kind="pypi"))
    found = Moves.of(merged, conda("new"), conda("b"))
    assert contested(merged, found, {"conda": ["x", "y"], "pypi": []}) == {("conda", "a")}
    assert contested(merged, found, {"conda": [], "pypi": ["x"]}) == {("pypi", "w")}


def gone(merged: Merged, *removed: str, staged: Iterable[str] = ()) -> tuple[str, ...]:
    return whiteouts(merged, Moves.of(merged, (), conda(*removed)), staged)


def test_what_goes_is_hidden_and_directories_left_empty_go_as_a_whole() -> None:
    merged = stack(package("a", "d/e/f", "d/e/g", "d/h/i", "top"), package("b", "d/h/j"))
    assert gone(merged, "a") == ("d/e", "d/h/i", "top")
    assert gone(merged, "a", "b") == ("d", "top")


def test_what_is_claimed_by_others_or_was_not_seen_is_not_hidden() -> None:
    merged = stack(package("a", "x", "y"), package("b", "x"), package("w", "y", kind="pypi"))
    assert gone(merged, "a") == ()


def test_what_the_delta_has_itself_needs_no_whiteout() -> None:
    merged = stack(package("a", "d/old", "file", "dir/below/x", "same"), package("b", "kept"))
    assert gone(merged, "a", staged=["d/new", "file/now/a-directory", "dir", "same"]) == ("d/old",)


def test_files_of_nobody_keep_their_directory() -> None:
    assert gone(stack(package("a", "bin/a"), more=["bin/python"]), "a") == ("bin/a",)


def tangle(merged: Merged, *staged: PackagePaths, removed: Iterable[tuple[str, str]] = ()) -> str | None:
    installed = [(p.kind, p.name) for p in staged]
    return entangled(merged, Moves.of(merged, installed, removed), staged)


def test_a_file_and_a_directory_at_one_path_are_entangled() -> None:
    merged = stack(package("dir", "x/y/z"), package("file", "f"), package("old", "o/p"), package("w", "o", kind="pypi"))
    assert tangle(merged, package("new", "x/y")) == "x/y"
    assert tangle(merged, package("new", "f/a/b", kind="pypi")) == "f"
    assert tangle(merged, package("one", "n"), package("two", "n/m", kind="pypi")) == "n"
    assert tangle(merged, removed=[("pypi", "w")]) == "o"
    assert tangle(merged, removed=[("conda", "old")]) == "o"


def test_a_path_may_change_its_kind_and_neighbours_do_not_count() -> None:
    merged = stack(package("dir", "x/y/z"), package("f", "a/file"), package("w", "x2", kind="pypi"))
    assert tangle(merged, package("dir", "x/y", version="2")) is None
    assert tangle(merged, package("new", "x", "a/b/c"), removed=[("conda", "dir")]) is None


def test_a_module_without_bytecode_over_one_with_is_entangled() -> None:
    below = package("below", "m.py", "d/n.py", "d/__pycache__/n.cpython-311.pyc")
    assert tangle(stack(below), package("w", "d/n.py", kind="pypi")) == "d/n.py"
    assert tangle(stack(below), package("w", "d/n.py", "d/__pycache__/n.cpython-311.pyc", kind="pypi")) is None
    assert tangle(stack(below), package("w", "m.py", kind="pypi")) is None
