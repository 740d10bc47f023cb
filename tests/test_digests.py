"""Identities: one canonical form, fingerprints of what a program can see."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tykky.digests import canonical_json, document_key, file_fingerprint, file_sha256, tree_fingerprint

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values))
def test_the_order_of_keys_does_not_count(document: dict[str, object]) -> None:
    turned = dict(reversed(list(document.items())))
    assert document_key(document) == document_key(turned)  # type: ignore[arg-type]


def test_the_canonical_form() -> None:
    assert canonical_json({"b": [1, True, None], "a": "ü"}) == '{"a":"ü","b":[1,true,null]}'.encode()
    assert document_key({}) == hashlib.sha256(b"{}").hexdigest()


def test_a_float_has_no_canonical_form() -> None:
    with pytest.raises(TypeError):
        canonical_json({"a": [1.5]})  # type: ignore[list-item]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    assert len(file_fingerprint(path)) == 32


def make(root: Path) -> Path:
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_text("x")
    (root / "l").symlink_to("d/f")
    return root


def test_times_and_links_do_not_count_in_a_tree(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1"), make(tmp_path / "2")
    os.utime(two / "d" / "f", (1, 1))
    os.link(two / "d" / "f", tmp_path / "elsewhere")
    assert tree_fingerprint(one) == tree_fingerprint(two)


@pytest.mark.parametrize("change", ["content", "mode", "target", "name", "empty"])
def test_what_a_program_can_see_counts(tmp_path: Path, change: str) -> None:
    one, two = make(tmp_path / "1"), make(tmp_path / "2")
    match change:
        case "content":
            (two / "d" / "f").write_text("y")
        case "mode":
            (two / "d" / "f").chmod(0o755)
        case "target":
            (two / "l").unlink()
            (two / "l").symlink_to("d")
        case "name":
            (two / "d" / "f").rename(two / "d" / "g")
        case "empty":
            (two / "d" / "empty").mkdir()
    assert tree_fingerprint(one) != tree_fingerprint(two)
