"""Conda packages that stand in each other's way: what layers over layers can get wrong, in a channel of its own.

`NASTY` maps `name=variant` to a package; variants of one name never stand side by side. What each of them shows is said
beside it. `slim_python` is an interpreter of a few files: a venv of the Python that runs the tests.
"""

from __future__ import annotations

import os
import random
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tests.channel.distributions import made_up, noarch_package
from tests.channel.package import PLACEHOLDER, CondaPackage, File, Link, script, text
from tests.channel.python import interpreter
from tykky.lock.model import Package

MINOR = ".".join(map(str, sys.version_info[:2]))
SITE = f"lib/python{MINOR}/site-packages"
TAG = sys.implementation.cache_tag
EXTENSION = str(sysconfig.get_config_var("EXT_SUFFIX"))
# Everything that some program between the lock and the mount might take for something else.
ODD_NAMES = (
    "with space",
    'dou"ble',
    "qu'ote",
    "new\nline",
    "back\\slash",
    "\\",
    "tail\\",
    "-dash",
    "st*r",
    "br[a]cket",
    "#hash",
    "ünïcode",
    "$HOME",
    "a -> b",
    "\ttab",
    "trailing ",
    "=c 0 0 0 0 0",
)


def slim_python() -> CondaPackage:
    """Return this machine's Python as a package `python` that has its standard library where it is (PEP 405)."""
    source = interpreter()
    executable = File(source.executable.read_bytes(), 0o755)
    home = f"home = {source.prefix / 'bin'}\ninclude-system-site-packages = false\nversion = {source.version}\n"
    return CondaPackage(
        "python",
        source.version,
        "hslim_0_cpython",
        files={
            f"bin/python{MINOR}": executable,
            "bin/python3": Link(f"python{MINOR}"),
            "bin/python": Link(f"python{MINOR}"),
            "pyvenv.cfg": text(home),
            f"{SITE}/README.txt": text("for packages\n"),
            f"lib/python{MINOR}/of_python.py": text("WHO = 'python'\n"),
        },
    )


def _extension() -> File:
    """Return a real compiled module."""
    import markupsafe._speedups

    return File(Path(markupsafe._speedups.__file__).read_bytes(), 0o755)


def _package(
    name: str, version: str, files: Mapping[str, str | File | Link], *depends: str, build: str = "0"
) -> CondaPackage:
    made = {path: text(item) if isinstance(item, str) else item for path, item in files.items()}
    return CondaPackage(name, version, build, subdir="linux-64", files=made, depends=depends)


def _noarch(
    name: str, version: str, modules: Mapping[str, str], *points: str, kind: Literal["conda", "tar.bz2"] = "conda"
) -> CondaPackage:
    return noarch_package(made_up(name, version, modules, entry_points=points), format=kind)


def _clobbers() -> dict[str, CondaPackage]:
    """Three packages with shared paths; b needs a. Data, a module with its bytecode, a program."""

    def files(who: str) -> dict[str, str | File | Link]:
        module = f"{SITE}/clob"
        return {
            "share/clobber.txt": f"{who}\n",
            f"share/clobber-{who}.txt": f"{who}\n",
            f"{module}/__init__.py": f"WHO = {who!r}\n",
            f"{module}/of_{who.replace('.', '_')}.py": "def f(): return ('shared', 'constants', 1.5)\n",
            "bin/clob": script(f"#!{PLACEHOLDER}/bin/python\nprint({who!r})\n"),
        }

    pair = {"share/deep/pair.txt": "x\n"}
    return {
        "clobber-a=1": _package("clobber-a", "1", {**files("a1"), **pair}),
        "clobber-a=2": _package("clobber-a", "2", {**files("a2"), "share/only-a2/x": "x\n"}),
        "clobber-b=1": _package("clobber-b", "1", {**files("b1"), "share/deep/pair.txt": "b\n"}, "clobber-a"),
        "clobber-b=2": _package("clobber-b", "2", {"share/clobber.txt": "b2\n", "bin/clob": "no program\n"}),
        "clobber-c=1": _package("clobber-c", "1", {**files("c1"), "share/clobber.txt": Link("clobber-c1.txt")}),
    }


def _shapes() -> dict[str, CondaPackage]:
    """A path that is a file, a directory, a link, and things beside it."""
    return {
        "shape=file": _package("shape", "1", {"share/shape": "a file\n"}),
        "shape=dir": _package("shape", "2", {"share/shape/deep/er/file": "x\n", "share/shape/top": "y\n"}),
        "shape=link": _package("shape", "3", {"share/shape": Link("other"), "share/other/deep/er/file": "x\n"}),
        "shape=shallow": _package("shape", "4", {"share/shape/deep": "a file where a directory was\n"}),
        "shape=none": _package("shape", "5", {"share/unrelated": "x\n"}),
        "linked=link": _package("linked", "1", {"lib/real/f": "f\n", "lib/alias": Link("real")}),
        "linked=dir": _package("linked", "2", {"lib/alias/f": "g\n", "lib/alias/g": Link("f")}),
        "deep=1": _package("deep", "1", {"share/d1/d2/d3/d4/file": "x\n", "share/d1/e": "x\n"}),
        "deep=2": _package("deep", "2", {"share/d1/e": "x\n"}),
        "deeper=1": _package("deeper", "1", {"share/d1/d2/d3/other": "x\n"}),
        "bits=on": _package("bits", "1", {"bin/bits": script("#!/bin/sh\n"), "share/bits": script("#!/bin/sh\n")}),
        "bits=off": _package("bits", "2", {"bin/bits": "#!/bin/sh\n", "share/bits": "#!/bin/sh\n"}),
        "odd=1": _package("odd", "1", {**{f"share/{n}": "o\n" for n in ODD_NAMES}, "share/odd/d/e": "e\n"}),
        "odd=2": _package("odd", "2", {f"share/odd/{n}/{n}": Link(f"to {n}") for n in ODD_NAMES}),
        "odd=3": _package("odd", "3", {f"bin/{n}": script("#!/bin/sh\n") for n in ODD_NAMES if "\n" not in n}),
    }


def _pythons() -> dict[str, CondaPackage]:
    """Modules: noarch with entry points, shipped bytecode, namespaces, what a wheel will hide or be instead."""
    extended = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    stale = File(b"no bytecode\n")
    return {
        "points=1": _noarch("points", "1.0", {"points.py": "def main(): ...\n"}, "points = points:main"),
        "points=2": _noarch("points", "2.0", {"points.py": "def main(): ...\n", "points_more.py": "x = 1\n"},
                            "points = points:main", "points2 = points:main", kind="tar.bz2"),
        "switch=c1": _noarch("switch", "1.0", {"switch/__init__.py": "", "switch/a.py": "x = 1\n"}, "sw = switch:main"),
        "switch=c2": _noarch("switch", "2.0", {"switch/__init__.py": "", "switch/b.py": "x = 1\n"}),
        "hidden=1": _package("hidden", "1", {f"{SITE}/hidden.py": "WHO = 'conda'\n", f"{SITE}/hidden2.py": "x = 1\n",
                                             "bin/hidden": script("#!/bin/sh\necho conda\n"),
                                             "share/tree/x/y": "conda\n", "share/tree/x/z/z": "conda\n",
                                             "share/lnk": Link("lnk-target"), "share/lnk-target/f": "f\n"}),
        "hidden=2": _package("hidden", "2", {f"{SITE}/hidden.py": "WHO = 'c2'\n", f"{SITE}/hidden2/__init__.py": "",
                                             "share/tree/x": "a file\n", "share/lnk/f": "f\n"}),
        "hidden=3": _package("hidden", "3", {f"{SITE}/hidden.py": "print 'python 2'\n", "share/tree": "a file\n"}),
        "spaces=1": _package("spaces", "1", {f"{SITE}/pep420/of_conda.py": "x = 1\n",
                                             f"{SITE}/pkgutil_ns/__init__.py": extended,
                                             f"{SITE}/pkgutil_ns/of_conda.py": "x = 1\n"}),
        "spaces=2": _package("spaces", "2", {f"{SITE}/pep420/__init__.py": "",
                                             f"{SITE}/pkgutil_ns/__init__.py": f"# other\n{extended}"}),
        "cached=1": _package("cached", "1", {f"{SITE}/cached.py": "x = 1\n",
                                             f"{SITE}/__pycache__/cached.{TAG}.pyc": stale,
                                             f"{SITE}/__pycache__/gone.{TAG}.pyc": stale,
                                             f"{SITE}/sourceless.pyc": stale}),
        "cached=2": _package("cached", "2", {f"{SITE}/cached/__init__.py": "x = 1\n",
                                             f"{SITE}/cached/__pycache__/data.txt": "no bytecode at all\n"}),
        "compiled=1": _package("compiled", "1", {f"{SITE}/compiled/__init__.py": "from compiled._speedups import *\n",
                                                 f"{SITE}/compiled/_speedups{EXTENSION}": _extension()}),
        "compiled=2": _package("compiled", "2", {f"{SITE}/compiled/__init__.py": "from compiled._fast import *\n",
                                                 f"{SITE}/compiled/_fast{EXTENSION}": _extension()}),
        "same=1": _package("same", "1", {"share/same": "same\n", f"{SITE}/same.py": "x = 1\n"}),
        "same=1b": _package("same", "1", {"share/same": "same\n", f"{SITE}/same.py": "x = 1\n"}, build="1"),
        "same=2": _package("same", "2", {"share/same": "same\n", f"{SITE}/same.py": "x = 1\n"}),
        "junk=1": _package("junk", "1", {"share/junk/a.junk": "x\n", "share/junk/b/c.junk": "x\n", "share/kept": ""}),
        "junk=2": _package("junk", "2", {"share/junk/a.junk": "x\n", "share/junk/b/c.txt": "x\n"}),
    }  # fmt: skip


def _activations() -> dict[str, CondaPackage]:
    """Scripts that set variables, see each other's, and come and go."""
    first, variables = "etc/conda/activate.d/a.sh", "etc/conda/env_vars.d/a.json"
    return {
        "active=1": _package("active", "1", {first: 'export ONE="$CONDA_PREFIX/1" PATH="$CONDA_PREFIX/opt:$PATH"\n'}),
        "active=2": _package("active", "2", {first: "export TWO=2\n", variables: '{"NASTY": "a b\\nc", "TWO": "j"}'}),
        "active=3": _package("active", "3", {"share/nothing": "x\n"}),
        "watcher=1": _package("watcher", "1", {"etc/conda/activate.d/b.sh": 'export SEEN="one=$ONE two=$TWO"\n'}),
        "watcher=2": _package("watcher", "2", {
            "etc/conda/activate.d/b.sh": 'export SEEN="$(ls "$CONDA_PREFIX/conda-meta" | wc -l)"\n'}),
    }  # fmt: skip


NASTY: Mapping[str, CondaPackage] = {**_clobbers(), **_shapes(), **_pythons(), **_activations()}

# Not nasty but large: 3 MiB that no compressor makes smaller.
BULK: Mapping[str, CondaPackage] = {
    "bulk=1": _package(
        "bulk", "1", {"share/bulk": File(random.Random(1).randbytes(3 << 20)), "bin/bulk": script("#!\n")}
    )
}


def put(package: CondaPackage, channel: Path) -> Package:
    """Write a package's archive into a channel; return what a lock says of it."""
    archive = package.archive()
    place = channel / package.subdir / package.file_name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(archive)
    record = package.record(archive)
    return Package(
        name=package.name,
        version=package.version,
        kind="conda",
        platform="linux-64",
        url=place.as_uri(),
        sha256=str(record["sha256"]),
        md5=str(record["md5"]),
        size=len(archive),
        depends=tuple(package.depends),
        build=package.build,
        build_number=package.build_number,
        channel=os.fspath(channel.as_uri()),
        subdir=package.subdir,
        noarch=package.noarch,
        timestamp=package.timestamp,
    )
