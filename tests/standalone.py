"""Archives like those of python-build-standalone, made of the Python that runs the tests, and lists of them for uv.

No archive of the real project can be had in a test that may not use the network. These have its layout (one directory
`python/`), its traces of the machine it was built on (`/install`, clang) and its bundled pip. The program is real.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.channel.package import PLACEHOLDER, File, Link, Member
from tests.channel.python import Interpreter, python_package

RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"
MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
_SCRIPT = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python%s" "$0" "$@"
' '''
import sys
print(sys.executable, *sys.argv[1:])
"""
_OLD_SCRIPT = b"#!/install/bin/python%s\nimport sys\nprint(sys.executable, *sys.argv[1:])\n"
_SYSCONFIG = {
    "AR": "/tools/llvm/bin/llvm-ar",
    "CC": "clang -pthread",
    "CONFIG_ARGS": "'--prefix=/install' 'CC=clang'",
    "CXX": "/usr/bin/x86_64-linux-gnu-g++ -pthread",
    "INCLUDEPY": "/install/include/python%s",
    "LDFLAGS": "-L/install/lib -L/tools/install/lib",
    "LIBDIR": "/install/lib",
    "prefix": "/install",
}


def standalone_files(source: Interpreter, release: str = "3.0.0") -> dict[str, File | Link]:
    """Return the files below `python/`: the interpreter's, and what such builds add. `release` only marks them."""
    minor = source.minor
    files = {path: _unplaced(item) for path, item in python_package(source).files.items()}
    lib = f"lib/python{minor}"
    site = f"{lib}/site-packages"
    sysconfig = {name: value.replace("%s", minor) for name, value in _SYSCONFIG.items()}
    text = "# system configuration generated and used by the sysconfig module\nbuild_time_vars = "
    for path in [path for path in files if path.startswith(f"{lib}/_sysconfigdata_")]:
        have = _variables(files[path])
        files[path] = File(f"{text}{json.dumps({**have, **sysconfig}, indent=4, sort_keys=True)}".encode())
    record = "pip/__init__.py,,\npip-20.0.dist-info/RECORD,,\n../../../bin/pip,,\n../../../bin/pip3,,\n"
    return files | {
        "bin/pip": File(_SCRIPT % minor.encode(), 0o755),
        "bin/pip3": File(_SCRIPT % minor.encode(), 0o755),
        f"bin/pydoc{minor}": File(_SCRIPT % minor.encode(), 0o755),
        "bin/pydoc3": Link(f"pydoc{minor}"),
        f"bin/2to3-{minor}": File(_OLD_SCRIPT % minor.encode(), 0o755),
        f"bin/python{minor}-config": File(b'#!/bin/sh\nprefix="/install"\necho "$prefix"\n', 0o755),
        f"{lib}/EXTERNALLY-MANAGED": File(b"[externally-managed]\nError=no\n"),
        f"{lib}/release.py": File(f"RELEASE = {release!r}\n".encode()),
        "lib/pkgconfig/python3.pc": File(b"prefix=/install\nlibdir=${prefix}/lib\n"),
        f"{site}/pip/__init__.py": File(b'__version__ = "20.0"\n'),
        f"{site}/pip-20.0.dist-info/RECORD": File(record.encode()),
        f"{site}/pip-20.0.dist-info/METADATA": File(b"Metadata-Version: 2.1\nName: pip\nVersion: 20.0\n"),
        "share/terminfo/x/xterm": File(b"terminal"),
    }


def _unplaced(item: File | Link) -> File | Link:
    if isinstance(item, File) and item.placeholder is not None:
        return File(item.data.replace(PLACEHOLDER.encode(), b"/install"), item.mode)
    return item


def _variables(item: File | Link) -> dict[str, object]:
    assert isinstance(item, File)
    names: dict[str, dict[str, object]] = {}
    exec(item.data, names)
    return names["build_time_vars"]


def archive(files: Mapping[str, File | Link], extra: Sequence[Member] = (), top: str = "python") -> bytes:
    """Return a .tar.gz. `extra` are members as they are, below no directory."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for path, item in sorted(files.items()):
            info, data = item.member(f"{top}/{path}")
            tar.addfile(info, io.BytesIO(data))
        for member in extra:
            info, data = member.member()
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def file_name(version: str, day: str, platform: str = "linux-64") -> str:
    """Return an archive's name below the releases, as a path."""
    name = f"cpython-{version}+{day}-{MACHINES[platform]}-unknown-linux-gnu-install_only_stripped.tar.gz"
    return f"{day}/{name}"


def entry(
    version: str, url: str, data: bytes | None, platform: str = "linux-64", prerelease: str = ""
) -> tuple[str, dict[str, object]]:
    """Return a key and a value of a downloads JSON in uv's format."""
    major, minor, patch = (int(part) for part in version.split("."))
    machine = MACHINES[platform]
    return f"cpython-{version}{prerelease}-linux-{machine}-gnu", {
        "name": "cpython",
        "arch": {"family": machine, "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": prerelease,
        "url": url,
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        "variant": None,
        "build": None,
    }


def write(root: Path, path: str, data: bytes) -> Path:
    """Write a file below `root`, with the directories it needs."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
