"""Kept bytecode: what it depends on, and that damage is a miss."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from tykky.layers.bytecode_cache import BytecodeCache


def make(root: Path) -> Path:
    (root / "pkg" / "__pycache__").mkdir(parents=True)
    (root / "pkg" / "a.py").write_text("A = 1\n")
    (root / "pkg" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"bytecode of a")
    return root


def cache(tmp_path: Path) -> BytecodeCache:
    return BytecodeCache(tmp_path / "cache", "3.11.2 cpython-311 a70d0d0a", "/tykky/demo")


PYC = "pkg/__pycache__/a.cpython-311.pyc"


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    root, kept = make(tmp_path / "one"), cache(tmp_path)
    key = kept.key(root, ["pkg/a.py"])
    assert not kept.restore(key, root)
    kept.keep(key, root, [PYC, "pkg/__pycache__/gone.pyc"])
    other = make(tmp_path / "two")
    (other / PYC).unlink()
    (other / "pkg" / "__pycache__").rmdir()
    assert kept.restore(key, other)
    assert (other / PYC).read_bytes() == b"bytecode of a"
    assert sorted(p.name for p in kept.directory.iterdir()) == [".new", key]
    assert list((kept.directory / ".new").iterdir()) == []


def test_the_key_names_all_that_counts(tmp_path: Path) -> None:
    root, kept = make(tmp_path / "one"), cache(tmp_path)
    key = kept.key(root, ["pkg/a.py"])
    assert dataclasses.replace(kept, compiler="3.11.9").key(root, ["pkg/a.py"]) != key
    assert dataclasses.replace(kept, prefix="/tykky/other").key(root, ["pkg/a.py"]) != key
    (root / "pkg" / "a.py").write_text("A = 2\n")
    assert kept.key(root, ["pkg/a.py"]) != key


def test_damage_is_a_miss(tmp_path: Path) -> None:
    root, kept = make(tmp_path / "one"), cache(tmp_path)
    key = kept.key(root, ["pkg/a.py"])
    kept.keep(key, root, [PYC])
    whole = (kept.directory / key).read_bytes()
    for damaged in (whole[:-4], b"", b"nonsense"):
        (kept.directory / key).write_bytes(damaged)
        assert not kept.restore(key, root)


def test_what_a_killed_build_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    root, kept = make(tmp_path / "one"), cache(tmp_path)
    (kept.directory / ".new").mkdir(parents=True)
    dies = (
        "import os, sys; from pathlib import Path; from tykky.layers.bytecode_cache import BytecodeCache;"
        "Path.replace = lambda path, target: os.kill(os.getpid(), 9);"
        "c = BytecodeCache(Path(sys.argv[1]), 'x', '/p'); c.keep('k', Path(sys.argv[2]), [sys.argv[3]])"
    )
    killed = subprocess.run([sys.executable, "-c", dies, kept.directory, root, PYC], check=False)
    assert killed.returncode == -9
    assert len(list((kept.directory / ".new").iterdir())) == 1
    kept.keep("another", root, [PYC])
    assert sorted(p.name for p in kept.directory.rglob("*")) == [".new", "another"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    root = make(tmp_path / "one")
    (tmp_path / "cache").write_text("a file is in the way")
    kept = cache(tmp_path)
    kept.keep(kept.key(root, ["pkg/a.py"]), root, [PYC])
