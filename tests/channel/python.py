"""A conda package of the Python interpreter that is on this machine.

The interpreter's own installation (`sys.base_prefix`) is repacked so that it runs at any prefix. CPython finds
its standard library by the landmark `lib/pythonX.Y/os.py` relative to the executable (`Modules/getpath.py`), so
only three things are bound to the old place: a run-time search path for libpython in the executable, text in
sysconfig's data, and, with Debian's interpreter, its own installation schemes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.channel.package import PLACEHOLDER, CondaPackage, File, Link

_ORIGIN = b"$ORIGIN/../lib"
# Debian's `site` (frozen into the executable, so it cannot be patched as a file) knows no site-packages.
_DEBIAN_SITECUSTOMIZE = b"""\
import os, site, sys

_packages = os.path.join(sys.prefix, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")
if _packages not in sys.path and sys.prefix == sys.base_prefix:
    site.addsitedir(_packages)
    site.getsitepackages = lambda prefixes=None: [_packages]
"""
_SKIPPED_TOP = {
    "__pycache__",
    "site-packages",
    "dist-packages",
    "test",
    "idlelib",
    "turtledemo",
    "lib2to3",
    "tkinter",
}
_SKIPPED_TOP |= {"EXTERNALLY-MANAGED", "sitecustomize.py", "_distutils_system_mod.py"}
_SKIPPED_NAMES = {"__pycache__", "tests", "test"}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An installed CPython: where it is and what it is."""

    executable: Path
    prefix: Path
    version: str  # 3.11.7
    soname: str | None  # libpython3.11.so.1.0, if it is linked to one

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def stdlib(self) -> Path:
        """The directory of the standard library."""
        return self.prefix / "lib" / f"python{self.minor}"

    @property
    def next_minor(self) -> str:
        """`3.12`: the first minor version that this one's packages do not serve."""
        major, minor = self.minor.split(".")
        return f"{major}.{int(minor) + 1}"


def interpreter(executable: str = sys.executable) -> Interpreter:
    """Return what `executable` (perhaps in a venv) is an interpreter of."""
    ask = (
        "import json,platform,sys,sysconfig;v=sysconfig.get_config_var;"
        "print(json.dumps([sys.base_prefix, platform.python_version(),"
        "v('INSTSONAME') if v('Py_ENABLE_SHARED') else None]))"
    )
    prefix, version, soname = json.loads(subprocess.check_output([executable, "-I", "-c", ask]))
    minor = ".".join(version.split(".")[:2])
    found = (Path(prefix) / "bin" / f"python{minor}").resolve()
    # Debian's is linked statically though a shared library may be configured.
    soname = soname if soname and (Path(prefix) / "lib" / soname).exists() else None
    return Interpreter(found, Path(prefix), version, soname)


def python_package(source: Interpreter) -> CondaPackage:
    """Return `source` as the conda package `python`."""
    minor = source.minor
    files: dict[str, File | Link] = {
        f"bin/python{minor}": File(_unbound(_stripped(source.executable), source.prefix), 0o755),
        "bin/python3": Link(f"python{minor}"),
        "bin/python": Link(f"python{minor}"),
        f"lib/python{minor}/site-packages/README.txt": File(b"for packages\n"),
    }
    if source.soname is not None:
        files[f"lib/{source.soname}"] = File(_stripped(source.prefix / "lib" / source.soname), 0o755)
        files[f"lib/libpython{minor}.so"] = Link(source.soname)
    files |= _tree(source.stdlib, f"lib/python{minor}", source)
    if b"dist-packages" in (source.stdlib / "site.py").read_bytes():
        files[f"lib/python{minor}/sitecustomize.py"] = File(_DEBIAN_SITECUSTOMIZE)
    headers = source.prefix / "include" / f"python{minor}"
    if headers.is_dir():
        files |= _tree(headers, f"include/python{minor}", source)
    return CondaPackage(
        "python",
        source.version,
        f"h{_digest(files)}_0_cpython",
        files=files,
        # As conda-forge's python has it: only packages built for cp311 may stand beside it.
        depends=("__glibc >=2.17",),
        constrains=(f"python_abi {minor}.* *_cp{minor.replace('.', '')}",),
        license="Python-2.0",
    )


def foreign_python_package(source: Interpreter, subdir: str) -> CondaPackage:
    """Return a `python` of the same version for another architecture: good for locks, it cannot run."""
    note = f"no interpreter for {subdir} is on the machine that made this channel\n"
    return CondaPackage(
        "python",
        source.version,
        "hforeign_0_cpython",
        subdir=subdir,
        files={f"lib/python{source.minor}/README.txt": File(note.encode())},
        depends=("__glibc >=2.17",),
        constrains=(f"python_abi {source.minor}.* *_cp{source.minor.replace('.', '')}",),
        license="Python-2.0",
    )


def python_abi_package(source: Interpreter) -> CondaPackage:
    """Return `python_abi`, an empty noarch package whose build string names the ABI."""
    tag = f"cp{source.minor.replace('.', '')}"
    return CondaPackage(
        "python_abi",
        source.minor,
        f"8_{tag}",
        8,
        "noarch",
        "generic",
        constrains=(f"python {source.minor}.* *_cpython",),
    )


def _tree(root: Path, under: str, source: Interpreter) -> dict[str, File | Link]:
    found: dict[str, File | Link] = {}
    for folder, directories, names in os.walk(root):
        here = Path(folder)
        skipped = _SKIPPED_TOP if here == root else _SKIPPED_NAMES
        directories[:] = sorted(d for d in directories if d not in skipped)
        for name in sorted(names):
            static = name.endswith((".a", ".o")) or (here.name.startswith("config-") and name.endswith(".so"))
            if name in skipped or static or name.endswith(".pyc"):
                continue
            path = here / name
            if not path.exists():  # a dangling link of a distribution
                continue
            found[f"{under}/{path.relative_to(root)}"] = _file(path, source)
    return found


def _file(path: Path, source: Interpreter) -> File:
    """Return a file as it will be packed; links are followed, for they may leave the tree (Debian's do)."""
    mode = 0o755 if os.access(path, os.X_OK) else 0o644
    if path.suffix == ".so":
        return File(_stripped(path), mode)
    data = path.read_bytes()
    if path.name.startswith("_sysconfigdata") or path.parent.name.startswith("config-"):
        return _with_placeholder(data, mode, source.prefix)
    if path == source.stdlib / "sysconfig.py":
        # Debian's interpreter installs below local/ and dist-packages unless it is in a venv.
        data = data.replace(b'if sys.base_prefix != sys.prefix or hasattr(sys, "real_prefix"):', b"if True:")
    return File(data, mode)


def _with_placeholder(data: bytes, mode: int, prefix: Path) -> File:
    """Return text with every mention of the old prefix replaced by the placeholder."""
    # /usr is also the head of paths that are the compiler's, such as /usr/src: only what moves is replaced.
    pattern = rb"(?<![\w./-])" + re.escape(os.fsencode(prefix)) + rb"(?=/(?:lib|include|bin|share)\b|['\"\s]|$)"
    replaced, count = re.subn(pattern, PLACEHOLDER.encode(), data, flags=re.MULTILINE)
    return File(replaced, mode, PLACEHOLDER if count else None)


def _unbound(data: bytes, prefix: Path) -> bytes:
    """Return the executable looking for libpython beside itself instead of in `prefix`.

    The string in the dynamic section is overwritten in place, so nothing moves.
    """
    old = os.fsencode(prefix / "lib")
    if old + b"\0" not in data:
        return data
    return data.replace(old + b"\0", _ORIGIN + b"\0" * (len(old) - len(_ORIGIN) + 1))


def _stripped(path: Path) -> bytes:
    """Return a shared object without its debugging symbols, where binutils are installed."""
    strip = shutil.which("strip")
    if strip is None:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / path.name
        done = subprocess.run([strip, "--strip-debug", "-o", target, path], capture_output=True, check=False)
        return target.read_bytes() if done.returncode == 0 else path.read_bytes()


def _digest(files: dict[str, File | Link]) -> str:
    state = hashlib.sha256()
    for path, item in sorted(files.items()):
        state.update(path.encode() + b"\0" + (item.data if isinstance(item, File) else item.target.encode()) + b"\0")
    return state.hexdigest()[:7]
