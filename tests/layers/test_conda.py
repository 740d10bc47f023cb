"""The conda layer's own decisions: order of scripts, records without a host."""

from __future__ import annotations

import json

from tykky.layers.activation import changed_variables
from tykky.layers.conda import in_order, true_meta
from tykky.lock.model import Package


def package(name: str, *depends: str) -> Package:
    return Package(name, "1", "conda", "linux-64", depends=depends)


def test_dependencies_come_before_their_dependents() -> None:
    packages = [package("app", "lib >=1", "tool"), package("tool", "lib"), package("lib", "__glibc >=2.17")]
    assert [p.name for p in in_order(packages)] == ["lib", "tool", "app"]


def test_a_cycle_is_cut() -> None:
    names = [p.name for p in in_order([package("python", "pip"), package("pip", "python"), package("a", "python")])]
    assert sorted(names) == ["a", "pip", "python"]
    assert names.index("a") > names.index("python") or names[0] == "a"


def test_a_record_tells_nothing_of_the_host() -> None:
    record = {
        "name": "zlib",
        "files": ["lib/libz.so"],
        "extracted_package_dir": "/home/me/cache/zlib",
        "package_tarball_full_path": "/home/me/cache/zlib.conda",
        "link": {"source": "/home/me/cache/zlib", "type": 1},
        "requested_spec": "zlib",
    }
    assert json.loads(true_meta(json.dumps(record).encode())) == {"name": "zlib", "files": ["lib/libz.so"]}


def test_the_patch_of_activation() -> None:
    before = {"PATH": "/p/bin:/usr/bin:/bin", "CONDA_PREFIX": "/p"}
    after = {
        "PATH": "/p/libexec:/p/bin:/usr/bin:/bin",
        "CONDA_PREFIX": "/p",
        "GDAL_DATA": "/p/share/gdal",
        "BASH_FUNC_helper%%": "() { :; }",
        "SHLVL": "2",
        "PWD": "/",
    }
    assert changed_variables(before, after) == {"GDAL_DATA": "/p/share/gdal", "PATH": "/p/libexec"}
