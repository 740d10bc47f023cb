"""Small wheels and source trees that the tests make themselves: same arguments, same bytes.

    wheel = make_wheel(directory, "cowsay", "6.1", files={"cowsay.py": "def moo(): ..."})
    sdist = make_sdist(directory, "cowsay", "6.1")

Source trees carry their own build backend (`backend-path`), so that building them needs no network.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)


def make_wheel(
    directory: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str | bytes] = {},
    requires: Iterable[str] = (),
    entry_points: Mapping[str, Mapping[str, str]] = {},
    extras: Mapping[str, Iterable[str]] = {},
    tag: str = "py3-none-any",
    build: str | None = None,
    requires_python: str | None = None,
    executables: Iterable[str] = (),
    modes: Mapping[str, int] = {},
) -> Path:
    """Write a wheel and return its path.

    `files` maps a path in site-packages to its content (default: a module with `__version__`); a path may be
    hostile, and `modes` may give any member any `st_mode` (a link's content is its target). `entry_points` maps
    a group to names and targets; `extras` maps an extra to its requirements. Members named in `executables` get
    mode 0755.
    """
    module = name.replace("-", "_").replace(".", "_").lower()
    info = f"{module}-{version}.dist-info"
    members = {path: _encoded(content) for path, content in files.items()}
    if not members:
        members = {f"{module}.py": f'__version__ = "{version}"\n'.encode()}
    members[f"{info}/METADATA"] = _metadata(name, version, requires, extras, requires_python)
    pure = "true" if tag.endswith("-any") else "false"
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: wheelmaker\nRoot-Is-Purelib: {pure}\n{_tag_lines(tag)}"
    ).encode()
    if entry_points:
        members[f"{info}/entry_points.txt"] = _ini(entry_points)
    record = "".join(f"{_cell(path)},{_record_digest(content)},{len(content)}\n" for path, content in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    number = "" if build is None else f"-{build}"
    path = directory / f"{module}-{version}{number}-{tag}.whl"
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            entry = zipfile.ZipInfo(member, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            default = stat.S_IFREG | (0o755 if member in set(executables) else 0o644)
            entry.external_attr = modes.get(member, default) << 16
            archive.writestr(entry, content)
    return path


def make_project(
    directory: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str | bytes] = {},
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    fail: str | None = None,
    build_requires: Iterable[str] = (),
) -> Path:
    """Write a source tree that builds with its own backend, and return `directory`.

    The wheel holds `files` (default: a module with `__version__`) and `<module>_built.json`, which records the config
    settings, SOURCE_DATE_EPOCH and Python of the build, and whether it could see `builder` and `pytest`. With `fail`
    ("metadata" or "wheel") the backend prints two lines and dies at that hook.
    """
    module = name.replace("-", "_").lower()
    sources = files or {f"{module}.py": f'__version__ = "{version}"\n'}
    recipe = {
        "name": name,
        "module": module,
        "version": version,
        "requires": list(requires),
        "requires_python": requires_python,
        "files": sorted(sources),
        "fail": fail,
    }
    needs = json.dumps(list(build_requires))
    tree = {
        **{path: _encoded(content) for path, content in sources.items()},
        "pyproject.toml": (
            f'[build-system]\nrequires = {needs}\nbuild-backend = "backend"\nbackend-path = ["backend"]\n'
        ).encode(),
        "backend/backend.py": _BACKEND.encode(),
        "recipe.json": json.dumps(recipe, indent=1).encode(),
    }
    for path, content in tree.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return directory


def make_sdist(
    directory: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str | bytes] = {},
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    fail: str | None = None,
    build_requires: Iterable[str] = (),
    extra_members: Iterable[tarfile.TarInfo] = (),
) -> Path:
    """Write a source distribution of `make_project`'s tree and return its path.

    `extra_members` are tar headers to add as they are (links, devices, paths that escape).
    """
    import tempfile

    module = name.replace("-", "_").lower()
    top = f"{module}-{version}"
    raw = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(fileobj=raw, mode="w") as archive:
        tree = make_project(
            Path(scratch),
            name,
            version,
            files=files,
            requires=requires,
            requires_python=requires_python,
            fail=fail,
            build_requires=build_requires,
        )
        (tree / "PKG-INFO").write_bytes(_metadata(name, version, requires, {}, requires_python, old=True))
        for path in sorted(p for p in tree.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(f"{top}/{path.relative_to(tree).as_posix()}")
            content = path.read_bytes()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for entry in extra_members:
            archive.addfile(entry, io.BytesIO(b"\0" * entry.size))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{top}.tar.gz"
    path.write_bytes(gzip.compress(raw.getvalue(), mtime=0))
    return path


def _encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _tag_lines(tag: str) -> str:
    pythons, abis, platforms = tag.split("-")
    return "".join(
        f"Tag: {python}-{abi}-{platform}\n"
        for python in pythons.split(".")
        for abi in abis.split(".")
        for platform in platforms.split(".")
    )


def _metadata(
    name: str,
    version: str,
    requires: Iterable[str],
    extras: Mapping[str, Iterable[str]],
    requires_python: str | None,
    *,
    old: bool = False,
) -> bytes:
    # Metadata before 2.2 says nothing reliable about an sdist: resolvers have to ask its backend.
    lines = [f"Metadata-Version: {'1.2' if old else '2.1'}", f"Name: {name}", f"Version: {version}"]
    if requires_python is not None:
        lines.append(f"Requires-Python: {requires_python}")
    if not old:
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, needs in extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {requirement} ; extra == "{extra}"' for requirement in needs]
    return ("\n".join(lines) + "\n").encode()


def _record_digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def _cell(path: str) -> str:
    """Return a path as RECORD, which is CSV, has it."""
    return '"{}"'.format(path.replace('"', '""')) if set(path) & set('",\r\n') else path


def _ini(groups: Mapping[str, Mapping[str, str]]) -> bytes:
    blocks = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in groups.items()
    ]
    return "\n".join(blocks).encode()


_BACKEND = '''\
"""A build backend of the standard library alone: copies the files that recipe.json names into a wheel."""
import base64, hashlib, importlib.util, io, json, os, sys, tarfile, zipfile

RECIPE = json.load(open("recipe.json"))
INFO = "{module}-{version}.dist-info".format(**RECIPE)


def _fail(hook):
    if RECIPE["fail"] == hook:
        print("backend: compiling the kernel module", file=sys.stderr)
        print("backend: fatal error: mpi.h: No such file or directory", file=sys.stderr)
        sys.exit(3)


def _metadata():
    lines = ["Metadata-Version: 2.1", "Name: " + RECIPE["name"], "Version: " + RECIPE["version"]]
    if RECIPE["requires_python"]:
        lines.append("Requires-Python: " + RECIPE["requires_python"])
    lines += ["Requires-Dist: " + r for r in RECIPE["requires"]]
    return ("\\n".join(lines) + "\\n").encode()


def _wheel():
    return b"Wheel-Version: 1.0\\nGenerator: backend\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    _fail("metadata")
    os.mkdir(os.path.join(directory, INFO))
    for name, content in (("METADATA", _metadata()), ("WHEEL", _wheel())):
        with open(os.path.join(directory, INFO, name), "wb") as file:
            file.write(content)
    return INFO


def build_wheel(directory, config_settings=None, metadata_directory=None):
    _fail("metadata")
    _fail("wheel")
    built = {
        "settings": config_settings or {},
        "epoch": os.environ.get("SOURCE_DATE_EPOCH"),
        "python": sys.version.split()[0],
        "sees": [name for name in ("builder", "pytest") if importlib.util.find_spec(name)],
    }
    members = {path: open(path, "rb").read() for path in RECIPE["files"]}
    members[RECIPE["module"] + "_built.json"] = json.dumps(built, sort_keys=True).encode()
    members[INFO + "/METADATA"] = _metadata()
    members[INFO + "/WHEEL"] = _wheel()
    record = ""
    for path, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\\n" % (path, digest, len(content))
    members[INFO + "/RECORD"] = (record + INFO + "/RECORD,,\\n").encode()
    name = "{module}-{version}-py3-none-any.whl".format(**RECIPE)
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path, content in members.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), content)
    return name


def build_sdist(directory, config_settings=None):
    name = "{module}-{version}".format(**RECIPE)
    with tarfile.open(os.path.join(directory, name + ".tar.gz"), "w:gz") as archive:
        for path in ["pyproject.toml", "recipe.json", "backend/backend.py", *RECIPE["files"]]:
            archive.add(path, name + "/" + path)
        info = tarfile.TarInfo(name + "/PKG-INFO")
        info.size = len(_metadata())
        archive.addfile(info, io.BytesIO(_metadata()))
    return name + ".tar.gz"
'''
