"""Wheels, an sdist and a local directory that stand in the way of each other and of `tests.channel.nasty`."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.channel.nasty import MINOR, TAG
from tests.wheelmaker import make_project, make_sdist, make_wheel
from tykky.digests import source_fingerprint
from tykky.lock.model import Package

_EXTENDED = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
_ODD = ("with space", 'dou"ble', "qu'ote", "comma,comma", "ünïcode", "st*r", "#hash", "$HOME", "-dash", "trailing ")


def _data(name: str, version: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{name}-{version}.data/{path}": content for path, content in files.items()}


def _wheel(
    name: str, version: str, files: Mapping[str, str | bytes], *programs: str, executables: Iterable[str] = ()
) -> Any:
    points = {"console_scripts": dict.fromkeys(programs, f"{name}:main")} if programs else {}

    def make(house: Path) -> Package:
        wheel = make_wheel(house, name, version, files=files, entry_points=points, executables=executables)
        return _locked(name, version, wheel)

    return make


def _locked(name: str, version: str, wheel: Path) -> Package:
    content = wheel.read_bytes()
    return Package(
        name=name.lower().replace("_", "-").replace(".", "-"),
        version=version,
        kind="pypi",
        platform="linux-64",
        url=wheel.as_uri(),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        source="wheel",
    )


def _sdist(version: str) -> Callable[[Path], Package]:
    def make(house: Path) -> Package:
        files = {"built/__init__.py": f"VERSION = {version!r}\n", f"built/of_{version[0]}.py": "x = 1\n"}
        archive = make_sdist(house, "built", version, files=files)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        return Package(
            name="built", version=version, kind="pypi", platform="linux-64", source="sdist",
            url=archive.as_uri(), sha256=digest, size=archive.stat().st_size,
        )  # fmt: skip

    return make


def _directory(version: str) -> Callable[[Path], Package]:
    def make(house: Path) -> Package:
        project = make_project(house / f"local-{version}", "local", version, files={"local.py": f"V = {version!r}\n"})
        return Package(
            name="local", version=version, kind="pypi", platform="linux-64", source="directory",
            path=project.name, tree=source_fingerprint(project),
        )  # fmt: skip

    return make


# name=variant -> what makes it in a directory; variants of one name never stand side by side.
WHEELS: Mapping[str, Callable[[Path], Package]] = {
    # the same files, and the same module and console script, in several wheels
    "dup-a=1": _wheel("dup_a", "1.0", {"dup/__init__.py": "WHO = 'a'\n", "dup/x.py": "x = 1\n", "dup_a.py": ""}, "dup"),
    "dup-a=2": _wheel("dup_a", "2.0", {"dup/__init__.py": "WHO = 'a2'\n", "dup_a.py": ""}),
    "dup-b=1": _wheel("dup_b", "1.0", {"dup/__init__.py": "WHO = 'b'\n", "dup/x.py": "x = 2\n", "dup_b.py": ""}, "dup"),
    "dup-c=1": _wheel("dup_c", "1.0", {"dup/x.py": "x = 3\n", "dup_c.py": "", "dup/y.py": ""}, "dup", "dup-c"),
    "dup-c=2": _wheel("dup_c", "2.0", {"dup/x/__init__.py": "x = 3\n", "dup_c.py": ""}),
    # namespace packages, with and without a file that both have
    "ns-a=1": _wheel("ns_a", "1.0", {"pep420/of_a.py": "", "pkgutil_ns/__init__.py": _EXTENDED, "pkgutil_ns/a.py": ""}),
    "ns-b=1": _wheel("ns_b", "1.0", {"pep420/of_b.py": "", "pkgutil_ns/__init__.py": _EXTENDED, "pkgutil_ns/b.py": ""}),
    "ns-b=2": _wheel("ns_b", "2.0", {"pep420/sub/of_b.py": "", "pkgutil_ns/__init__.py": f"{_EXTENDED}# 2\n"}),
    # over conda's packages `hidden` and `switch`
    "hider=1": _wheel("hider", "1.0", {"hidden.py": "WHO = 'pypi'\n", **_data("hider", "1.0", {
        "data/share/tree": "a file over a directory\n", "data/share/lnk/g": "a directory over a link\n"})}, "hidden"),
    "hider=2": _wheel("hider", "2.0", {
        "hidden2.py": "x = 2\n", "hidden.py": "print 'python 2'\n", **_data("hider", "2.0", {
        "data/share/tree/x": "a file over a directory\n", "data/share/lnk": "a file over a link\n"})}),
    "hider=3": _wheel("hider", "3.0", {"hidden2/__init__.py": "", **_data("hider", "3.0", {
        "data/share/tree/x/y": "pypi\n", "data/share/tree/x/z": "a file\n", "data/share/tree/more": "\n"})}),
    "switch=p1": _wheel("switch", "1.0", {"switch/__init__.py": "", "switch/a.py": "x = 1\n"}, "sw"),
    "switch=p2": _wheel("switch", "2.0", {"switch/__init__.py": "", "switch/c.py": "x = 1\n"}),
    "over-clobber=1": _wheel("over_clobber", "1.0", {
        "clob/__init__.py": "WHO = 'pypi'\n", **_data("over_clobber", "1.0", {
        "data/share/clobber.txt": "pypi\n"})}, "clob"),
    "over-python=1": _wheel("over_python", "1.0", {"README.txt": "over python's own\n"}),
    # what stands elsewhere than in site-packages
    "data=1": _wheel("data", "1.0", {"data.py": "", **_data("data", "1.0", {
        "data/share/data/d": "1\n", "data/lib64/data.so": "1\n", "headers/data.h": "1\n",
        "scripts/data": "#!python\nprint(1)\n", "scripts/sh": "#!/bin/sh\n"})}),
    "data=2": _wheel("data", "2.0", {"data.py": "", **_data("data", "2.0", {
        "data/share/data": "2\n", "data/lib/data.so": "2\n", "scripts/data": "#!/bin/sh\n"})}),
    "headers=1": _wheel("headers", "1.0", {
        "headers.py": "", **_data("headers", "1.0", {f"data/include/python{MINOR}/headers.h": "1\n"})}),
    "more-headers=1": _wheel("more_headers", "1.0", _data("more_headers", "1.0", {
        f"data/include/python{MINOR}/more.h": "1\n"})),
    "path=1": _wheel("path", "1.0", {"path.pth": "import sys\n", "path/__init__.py": "", "path/empty/__init__.py": ""}),
    "path=2": _wheel("path", "2.0", {"path.pth": "./path\n", "path.py": "", "path-odd.junk": "x\n"}),
    "odd=p1": _wheel("oddw", "1.0", {f"oddw/{name}": "x\n" for name in _ODD}),
    "odd=p2": _wheel("oddw", "2.0", {f"oddw/{name}/{name}": "x\n" for name in _ODD}),
    # files alone tell nothing: another version, the same bytes; a bit; bytecode that came along
    "twin=1": _wheel("twin", "1.0", {"twin.py": "x = 1\n"}),
    "twin=2": _wheel("twin", "2.0", {"twin.py": "x = 1\n"}),
    "bit=1": _wheel("bit", "1.0", {"bit/run": "#!/bin/sh\n"}, executables=["bit/run"]),
    "bit=2": _wheel("bit", "2.0", {"bit/run": "#!/bin/sh\n"}),
    "pyc=1": _wheel("pyc", "1.0", {"pyc.py": "x = 1\n", f"__pycache__/pyc.{TAG}.pyc": "none\n",
                                   f"__pycache__/left.{TAG}.pyc": "none\n", "bad.py": "print 'python 2'\n"}),
    "pyc=2": _wheel("pyc", "2.0", {"pyc/__init__.py": "x = 1\n", "pyc/__pycache__/note": "none\n", "bad.py": "x\n"}),
    # spellings
    "Spelt.Name=1": _wheel("Spelt.Name", "1.0+local.1", {"spelt.py": "x = 1\n"}),
    "Spelt.Name=2": _wheel("spelt_name", "1.0.post1", {"spelt.py": "x = 1\n"}),
    # built here
    "built=1": _sdist("1.0"),
    "built=2": _sdist("2.0"),
    "local=1": _directory("1.0"),
    "local=2": _directory("2.0"),
}  # fmt: skip
BULK_WHEELS: Mapping[str, Callable[[Path], Package]] = {
    "bulk=1": _wheel("bulk", "1.0", {"bulk.py": "x = 1\n", "bulk.bin": random.Random(2).randbytes(3 << 20)}),
}
