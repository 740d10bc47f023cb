"""Normalising a staged tree: relocatable scripts, true records, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tykky.errors import ArtifactError
from tykky.layers.tree import (
    make_scripts_relocatable,
    matching,
    relocatable_script,
    remove_matching,
    replace_file,
    scan,
    true_record,
)

BIN = b"/tykky/demo/bin"


def test_a_plain_shebang_becomes_relocatable() -> None:
    content = relocatable_script(b"#!/tykky/demo/bin/python3.11\nprint('x')\n", [BIN])
    assert content is not None
    assert content.startswith(b"#!/bin/sh\n''':'\n")
    assert content.endswith(b"'''\nprint('x')\n")


def test_options_of_the_shebang_are_kept() -> None:
    content = relocatable_script(b"#!/tykky/demo/bin/python -sE\npass\n", [BIN])
    assert content is not None
    assert b'exec "$d/python" -sE "$0" "$@"' in content


def test_uvs_own_header_is_replaced() -> None:
    header = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
' '''
"""
    content = relocatable_script(header + b"import sys\n", [BIN])
    assert content is not None
    assert b"realpath" not in content
    assert content.endswith(b"'''\nimport sys\n")


@pytest.mark.parametrize(
    "other",
    [
        b"#!/bin/bash\necho hi\n",
        b"#!/usr/bin/env python3\npass\n",
        b"#!/usr/bin/python3\npass\n",
        b"\x7fELF....",
        b"#!\n",
        b"#!/bin/sh\necho python\n",
    ],
)
def test_other_files_are_left_alone(other: bytes) -> None:
    assert relocatable_script(other, [BIN]) is None


def test_the_header_runs_the_python_beside_the_script_and_keeps_arguments(tmp_path: Path) -> None:
    program = b"#!/old/bin/python\nimport sys, json; print(json.dumps([sys.executable, sys.argv]))\n"
    bin_directory = tmp_path / "a b" / "bin"
    bin_directory.mkdir(parents=True)
    (bin_directory / "python").symlink_to(sys.executable)
    script = bin_directory / "tool"
    content = relocatable_script(program, [b"/old/bin"])
    assert content is not None
    script.write_bytes(content)
    script.chmod(0o755)
    link = tmp_path / "linked tool"
    link.symlink_to(script)
    for called in (script, link):
        done = subprocess.run([called, "", "x y", "a\nb"], capture_output=True, text=True, check=True)
        import json

        executable, argv = json.loads(done.stdout)
        assert argv[1:] == ["", "x y", "a\nb"]
        assert Path(executable).samefile(sys.executable)
    relative = subprocess.run(["./tool"], cwd=bin_directory, capture_output=True, text=True, check=True)
    assert "tool" in relative.stdout
    by_sh = subprocess.run(["sh", "tool"], cwd=bin_directory, capture_output=True, text=True, check=True)
    assert "tool" in by_sh.stdout


def test_rewriting_leaves_the_caches_inode_alone(tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    cached.write_bytes(b"#!/tykky/demo/bin/python\npass\n")
    cached.chmod(0o755)
    (tmp_path / "bin").mkdir()
    os.link(cached, tmp_path / "bin" / "tool")
    changed = make_scripts_relocatable(tmp_path / "bin", [BIN])
    assert list(changed) == ["tool"]
    assert cached.read_bytes() == b"#!/tykky/demo/bin/python\npass\n"
    assert (tmp_path / "bin" / "tool").stat().st_mode & 0o777 == 0o755


def test_replace_file_keeps_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("a")
    path.chmod(0o640)
    replace_file(path, b"b")
    assert path.read_bytes() == b"b"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_record_is_made_true_again() -> None:
    before = (
        "pkg/__init__.py,sha256=abc,3\n"
        "../../../bin/tool,sha256=old,9\n"
        "pkg-1.dist-info/REQUESTED,,\n"
        "pkg-1.dist-info/RECORD,,\n"
    )
    after = true_record(before, {"../../../bin/tool": b"new"}, ["pkg-1.dist-info/REQUESTED"])
    assert after == (
        "../../../bin/tool,sha256=EVB6Di9eadXfpApiob17buV-a82FxnybhDGzb_8hxDc,3\n"
        "pkg-1.dist-info/RECORD,,\n"
        "pkg/__init__.py,sha256=abc,3\n"
    )


def test_scan_names_what_no_package_may_hold(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    os.mkfifo(tmp_path / "lib" / "pipe")
    with pytest.raises(ArtifactError) as caught:
        scan(tmp_path)
    assert str(caught.value) == "lib/pipe is neither file, directory nor symlink"


def test_scan_is_sorted_and_complete(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_text("12")
    (tmp_path / "a").symlink_to("nowhere")
    assert [(e.path, e.kind, e.size) for e in scan(tmp_path)] == [
        ("a", "symlink", 0),
        ("b", "directory", 0),
        ("b/file", "file", 2),
    ]


def test_excluded_paths_go(tmp_path: Path) -> None:
    for name in ("lib/x.a", "lib/deep/y.a", "lib/z.so", "share/doc/readme"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    removed = remove_matching(tmp_path, ["**/*.a", "share/doc"])
    assert sorted(removed) == ["lib/deep/y.a", "lib/x.a", "share/doc"]
    assert [e.path for e in scan(tmp_path) if e.kind == "file"] == ["lib/z.so"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*.a", ["x.a"]),
        ("**/*.a", ["x.a", "lib/x[1].a", "lib/deep/y.a"]),
        ("lib/**", ["lib/x[1].a", "lib/deep", "lib/deep/y.a"]),
        ("./lib//deep/", ["lib/deep"]),
        ("lib/x[[]1].a", ["lib/x[1].a"]),
        ("b[12]", ["b1", "b2"]),
        ("b[!12]", ["b]"]),
        ("b[]]", ["b]"]),
        ("b[z-a]", []),
        ("[b", []),
        ("n?w*", ["new\nline"]),
        ("$(touch pwned)", ["$(touch pwned)"]),
        ("../*", []),
    ],
)
def test_a_pattern_is_compared_with_names(pattern: str, matched: list[str]) -> None:
    paths = ["x.a", "lib", "lib/x[1].a", "lib/deep", "lib/deep/y.a", "b1", "b2", "b]", "new\nline", "$(touch pwned)"]
    assert matching(paths, [pattern]) == matched


def test_excluding_never_leads_out_of_the_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    tree = tmp_path / "tree"
    (tree / "lib").mkdir(parents=True)
    (tree / "away").symlink_to(outside)
    (tree / "lib" / "up").symlink_to("..")
    assert remove_matching(tree, ["../**", "away/*", "lib/up/*"]) == []
    assert remove_matching(tree, ["**"]) == ["away", "lib"]
    assert (outside / "keep").exists()
