"""Reproducible bytecode: the bytes depend on the package's files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tykky.layers import bytecode
from tykky.layers.tree import scan

SOURCE = '''
"""Doc."""
NAMES = {"alpha", "beta", "gamma"} - frozenset({"beta"})
def check(x): return x in {"alpha", "beta", "gamma", "delta"}
class C:
    alpha = beta = "shared text that is used twice"
    other = "shared text that is used twice"
'''


def compiled(root: Path, jobs: int, batches: tuple[tuple[str, ...], ...]) -> dict[str, bytes]:
    request = {"root": str(root), "prefix": "/tykky/demo", "jobs": jobs, "batches": batches}
    subprocess.run(
        [sys.executable, "-s", "-S", Path(bytecode.__file__).with_name("compile_worker.py")],
        input=json.dumps(request),
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "0"},
        stdout=subprocess.DEVNULL,
    )
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.pyc")}


def make_tree(root: Path, names: list[str]) -> None:
    for name in names:
        path = root / "lib/python3.11/site-packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE + f"ME = {name!r}\n")


def test_the_same_bytes_whatever_the_order_processes_and_company(tmp_path: Path) -> None:
    names = [f"pkg{i}/m{j}.py" for i in range(4) for j in range(5)]
    make_tree(tmp_path / "a", names)
    make_tree(tmp_path / "b", [*names, "zother/__init__.py", "aother/x.py"])
    results = []
    for root, jobs, flip in ((tmp_path / "a", 1, False), (tmp_path / "b", 4, True)):
        work = bytecode.sources(scan(root), {}).batches
        results.append(compiled(root, jobs, work[::-1] if flip else work))
    assert len(results[0]) == 20
    assert {name: results[1][name] for name in results[0]} == results[0]


def test_bytecode_names_the_final_path_and_is_never_checked(tmp_path: Path) -> None:
    make_tree(tmp_path, ["pkg/__init__.py"])
    (data,) = compiled(tmp_path, 1, bytecode.sources(scan(tmp_path), {}).batches).values()
    assert int.from_bytes(data[4:8], "little") == 0b01  # PEP 552: hash-based, unchecked
    assert b"/tykky/demo/lib/python3.11/site-packages/pkg/__init__.py" in data
    assert str(tmp_path).encode() not in data


def test_files_that_are_no_python_are_left_without_bytecode(tmp_path: Path) -> None:
    make_tree(tmp_path, ["pkg/good.py"])
    (tmp_path / "lib/python3.11/site-packages/pkg/bad.py").write_text("print 'python 2'\n")
    found = compiled(tmp_path, 2, bytecode.sources(scan(tmp_path), {}).batches)
    assert [name.rpartition("/")[2].split(".")[0] for name in found] == ["good"]


def test_a_batch_is_one_directory_of_one_package(tmp_path: Path) -> None:
    make_tree(tmp_path, ["ns/a.py", "ns/b.py", "ns/sub/c.py"])
    base = "lib/python3.11/site-packages"
    owner = {f"{base}/ns/a.py": "pypi:one", f"{base}/ns/b.py": "pypi:two", f"{base}/ns/sub/c.py": "pypi:one"}
    compiled = bytecode.sources(scan(tmp_path), owner)
    assert sorted(compiled.batches) == [(f"{base}/ns/a.py",), (f"{base}/ns/b.py",), (f"{base}/ns/sub/c.py",)]
    assert compiled.by_package() == {
        "pypi:one": [f"{base}/ns/a.py", f"{base}/ns/sub/c.py"],
        "pypi:two": [f"{base}/ns/b.py"],
    }


def test_packages_own_bytecode_is_stale(tmp_path: Path) -> None:
    make_tree(tmp_path, ["pkg/__init__.py"])
    cache = tmp_path / "lib/python3.11/site-packages/pkg/__pycache__"
    cache.mkdir()
    (cache / "__init__.cpython-311.pyc").write_bytes(b"old")
    assert bytecode.stale_bytecode(scan(tmp_path)) == [
        "lib/python3.11/site-packages/pkg/__pycache__/__init__.cpython-311.pyc"
    ]
