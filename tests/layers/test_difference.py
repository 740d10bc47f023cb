"""What of a changed tree becomes a layer, and what it hides."""

from __future__ import annotations

from tykky.layers.difference import DIRECTORY, State, changed, stale_bytecode, whiteouts


def tree(**files: str) -> dict[str, State]:
    """Return a tree of files (path -> content) with the directories above them."""
    found: dict[str, State] = {}
    for path, content in files.items():
        parent = path.rpartition("/")[0]
        while parent:
            found[parent] = DIRECTORY
            parent = parent.rpartition("/")[0]
        found[path] = State("file", content, False)
    return found


BEFORE = tree(**{"a/one": "1", "a/two": "2", "a/deep/three": "3", "b": "4"})


def test_what_is_new_or_other_is_kept() -> None:
    after = BEFORE | tree(**{"a/one": "changed", "c/new": "5"}) | {"b": State("file", "4", True)}
    assert changed(BEFORE, after) == ["a/one", "b", "c", "c/new"]
    assert changed(BEFORE, BEFORE) == []


def test_a_directory_that_goes_is_hidden_by_one_whiteout() -> None:
    assert whiteouts(BEFORE, tree(b="4"), []) == ("a",)
    assert whiteouts(BEFORE, tree(**{"a/one": "1", "b": "4"}), []) == ("a/deep", "a/two")


def test_what_the_layer_has_instead_hides_by_itself() -> None:
    after = tree(a="a file now", b="4")
    assert whiteouts(BEFORE, after, ["a"]) == ()
    after = tree(**{"a/one": "1", "a/two": "2", "a/deep": "no directory", "b/in": "x"})
    assert whiteouts(BEFORE, after, ["a/deep", "b", "b/in"]) == ()


def test_a_directory_that_began_anew() -> None:
    after = tree(**{"a/new": "5", "b": "4"})
    assert whiteouts(BEFORE, after, ["a/new"]) == ("a/deep", "a/one", "a/two")


PYTHON = tree(**{"p/x.py": "x", "p/__pycache__/x.c-1.pyc": "X", "p/__pycache__/x.c-1.opt-1.pyc": "O", "p/data": "d"})


def test_bytecode_goes_with_its_source() -> None:
    after = {path: state for path, state in PYTHON.items() if path != "p/x.py"}
    assert stale_bytecode(PYTHON, after) == ["p/__pycache__/x.c-1.opt-1.pyc", "p/__pycache__/x.c-1.pyc"]
    assert whiteouts(PYTHON, after, []) == ("p/__pycache__", "p/x.py")


def test_bytecode_of_a_changed_source_is_replaced_or_goes() -> None:
    after = PYTHON | tree(**{"p/x.py": "changed"})
    assert whiteouts(PYTHON, after, ["p/x.py"]) == ("p/__pycache__",)
    assert whiteouts(PYTHON, after, ["p/x.py", "p/__pycache__", "p/__pycache__/x.c-1.pyc"]) == (
        "p/__pycache__/x.c-1.opt-1.pyc",
    )


def test_bytecode_whose_source_became_a_link_goes() -> None:
    after = PYTHON | {"p/x.py": State("symlink", "y.py", False)}
    assert whiteouts(PYTHON, after, ["p/x.py"]) == ("p/__pycache__",)


def test_bytecode_that_a_source_would_find_goes_when_the_source_comes() -> None:
    before = tree(**{"p/__pycache__/x.c-1.pyc": "an orphan"})
    after = before | tree(**{"p/x.py": "new"})
    assert whiteouts(before, after, ["p/x.py"]) == ("p/__pycache__",)


def test_other_bytecode_stays() -> None:
    after = PYTHON | tree(**{"p/data": "changed", "p/z.py": "new"})
    assert stale_bytecode(PYTHON, after) == []
    assert whiteouts(PYTHON, after, ["p/data", "p/z.py"]) == ()
