"""What a stack shows, from manifests alone."""

from __future__ import annotations

from collections.abc import Iterable

from tests.layers.manifests import manifest, package
from tykky.layers.merged import directories, merge, merged_programs, top_names


def seen(*layers: tuple[Iterable[str], Iterable[str]]) -> dict[str, int]:
    """Return the visible files and their layers; a layer is its files and its whiteouts."""
    return dict(merge([manifest(files, whiteouts=whiteouts) for files, whiteouts in layers]).files)


def test_the_topmost_of_a_path_is_seen() -> None:
    assert seen((["a", "b/c"], []), (["b/c", "d"], [])) == {"a": 0, "b/c": 1, "d": 1}


def test_a_whiteout_hides_a_file_or_a_whole_directory_of_lower_layers_only() -> None:
    assert seen((["a", "b/c", "b/d/e", "bc"], []), (["f"], ["a", "b"]), (["b/x"], [])) == {"bc": 0, "f": 1, "b/x": 2}


def test_a_file_hides_a_directory_and_a_directory_a_file() -> None:
    assert seen((["a/b/c", "a/d", "x"], []), (["a"], [])) == {"x": 0, "a": 1}
    assert seen((["a", "x"], []), (["a/b/c"], [])) == {"x": 0, "a/b/c": 1}
    assert seen((["a/b", "x"], []), (["a"], []), (["a/c"], [])) == {"x": 0, "a/c": 2}


def test_an_upper_layer_comes_back_after_a_whiteout() -> None:
    assert seen((["a"], []), ([], ["a"]), (["a"], [])) == {"a": 2}


def test_names_that_begin_alike_are_not_below_one_another() -> None:
    assert seen((["ab/c", "a.b/c"], []), ([], ["a"])) == {"ab/c": 0, "a.b/c": 0}


def test_packages_come_go_and_are_replaced() -> None:
    merged = merge(
        [
            manifest(["a", "b"], packages=[package("one", "a", version="1"), package("two", "b")]),
            manifest(["a2"], packages=[package("one", "a2", version="2")], whiteouts=["a"]),
            manifest(["c"], packages=[package("three", "c")], removed=[("conda", "two")], whiteouts=["b"]),
        ]
    )
    assert {name: (p.version, merged.origin[name]) for name, p in merged.packages.items()} == {
        ("conda", "one"): ("2", 1),
        ("conda", "three"): ("1", 2),
    }
    assert merged.files == {"a2": 1, "c": 2}


def test_a_package_that_is_removed_and_installed_by_one_layer_is_there() -> None:
    merged = merge(
        [manifest(packages=[package("one")]), manifest(packages=[package("one")], removed=[("conda", "one")])]
    )
    assert merged.origin == {("conda", "one"): 1}


def test_claims_and_what_nobody_claims() -> None:
    merged = merge([manifest(["a", "b", "c"], packages=[package("one", "a", "b"), package("two", "b", kind="pypi")])])
    assert merged.claims() == {"a": [("conda", "one")], "b": [("conda", "one"), ("pypi", "two")]}
    assert merged.shared() == {"c"}


def test_programs_are_those_that_are_seen_and_can_be_started() -> None:
    layers = [
        manifest(["bin/a", "bin/b", "bin/c"], programs=["a", "b", "c"]),
        manifest(["bin/b", "bin/d"], programs=["d"], whiteouts=["bin/c"]),  # b has lost the bit
    ]
    assert merged_programs(layers, merge(layers).files) == ("a", "d")


def test_names_of_directories_and_at_the_top() -> None:
    assert directories(["a/b/c", "d", "a/e"]) == {"a", "a/b"}
    assert top_names(["bin/a", "bin/b", "pyvenv.cfg"]) == ("bin", "pyvenv.cfg")
