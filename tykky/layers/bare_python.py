"""An interpreter like the environment's that runs where the environment is not: what makes a delta mounts nothing.

Three sources, the cheapest first:

* a Python from conda runs where rattler's cache has its package unpacked: CPython finds its standard library beside
  the executable (`Modules/getpath.py`), and what other packages bring (libssl, libffi, …) is loaded only by modules
  that neither the byte-compiler nor uv's questions about its layout import;
* one that does not start alone (PyPy is a package that `python` depends on) is linked into the scratch directory, with
  all it depends on;
* one that uv manages runs from the unpacked archive, kept in `<cache>/pythons/<sha256>`.

It serves for compiling and for what uv asks of an interpreter, whose answers are paths relative to its prefix. It has
none of the environment's packages, so nothing can be built against it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tykky.errors import FetchError, ToolError
from tykky.layers import conda_packages, managed
from tykky.layers.workshop import Workshop
from tykky.lock.model import Package
from tykky.process import CommandFailed

# What the byte-compiler and uv's questions import: a cache that somebody thinned out may lack one of them.
_PROBE = """
import contextlib, enum, functools, gc, importlib.util, json, os, platform, re, runpy, site, struct, subprocess, sys
import sysconfig, typing, warnings
sysconfig.get_config_vars()
print(sys.prefix)
"""


def bare_python(packages: Sequence[Package], platform: str, workshop: Workshop, *, fetch: bool) -> str | None:
    """Return the program of an interpreter like the one that `packages`, all of an environment, have; None: mount it.

    With `fetch`, what the cache has not is got. There is none if it cannot be had, or does not start here. Raises
    `ArtifactError` for an archive that is not what the lock says.
    """
    noted = workshop.scratch / "bare-python"  # each kind of packages asks
    if noted.is_symlink():
        return os.fspath(noted.readlink())
    try:
        found = _bare_python(packages, platform, workshop, fetch=fetch)
    except FetchError as error:
        workshop.reporter.note(f"the environment is mounted for its interpreter: {error.reason}")
        return None
    if found is not None:
        noted.symlink_to(found)
    return found


def _bare_python(packages: Sequence[Package], platform: str, workshop: Workshop, *, fetch: bool) -> str | None:
    own = [package for package in packages if package.kind == "python"]
    if own:
        return _unpacked(own[0], workshop, fetch=fetch)
    conda = {package.name: package for package in packages if package.kind == "conda"}
    python = conda.get("python")
    if python is None:
        return None
    if not conda_packages.is_cached(python, workshop.access):
        if not fetch:
            return None
        conda_packages.fetch_and_check([python], workshop.access, workshop.reporter)
        _link([python], workshop.scratch / "python-alone", platform, workshop)
    alone = conda_packages.unpacked(python, workshop.access) / "bin" / "python"
    return _starting(alone, workshop) or (_linked(python, conda, platform, workshop) if fetch else None)


def _unpacked(python: Package, workshop: Workshop, *, fetch: bool) -> str | None:
    """Return the program of a managed Python; one that somebody thinned out is unpacked again."""
    minor = ".".join(python.version.split(".")[:2])
    for _ in range(2 if fetch else 1):
        root = managed.unpacked(python, workshop, fetch=fetch)
        found = None if root is None else _starting(root / "bin" / f"python{minor}", workshop)
        if found is not None or root is None:
            return found
        if fetch:
            managed.remove_unpacked(root)
    return None


def _linked(python: Package, conda: dict[str, Package], platform: str, workshop: Workshop) -> str | None:
    """Return the program of a Python that is linked with all it depends on."""
    root = workshop.scratch / "python-whole"
    if not root.exists():
        needed = _with_dependencies(python, conda)
        conda_packages.fetch_and_check(needed, workshop.access, workshop.reporter)
        _link(needed, root, platform, workshop)
    return _starting(root / "bin" / "python", workshop)


def _with_dependencies(package: Package, packages: dict[str, Package]) -> list[Package]:
    found = {package.name: package}
    waiting = [package]
    while waiting:
        for dependency in waiting.pop().depends:
            name = dependency.split()[0]
            if name in packages and name not in found:
                found[name] = packages[name]
                waiting.append(packages[name])
    return [found[name] for name in sorted(found)]


def _link(packages: Sequence[Package], root: Path, platform: str, workshop: Workshop) -> None:
    """Link packages for the place where they are; what the package cache had not, it has then."""
    conda_packages.link(packages, root, os.fspath(root), workshop.access, platform, workshop.reporter)


def _starting(program: Path, workshop: Workshop) -> str | None:
    """Return a program if it is an interpreter that starts, with all that is wanted of it; None if not."""
    try:
        said = workshop.commands.run([program, "-I", "-B", "-c", _PROBE]).stdout.strip()
    except (CommandFailed, ToolError, OSError):
        return None
    return os.fspath(program) if os.path.realpath(said) == os.path.realpath(program.parents[1]) else None
