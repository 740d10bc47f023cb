"""Conda packages of PyPI distributions: real ones, installed here or from a wheel, and small ones made up."""

from __future__ import annotations

import base64
import configparser
import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Literal

from tests.channel.package import PLACEHOLDER, CondaPackage, File, script

_DROPPED = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a wheel puts into site-packages, by relative path, and the console scripts it declares."""

    name: str
    version: str
    files: Mapping[str, File]
    entry_points: tuple[str, ...] = ()  # `name = module:function`


def installed(name: str) -> Distribution:
    """Return a distribution that is installed in the environment that runs the tests."""
    found = metadata.distribution(name)
    files = {}
    for path in found.files or ():
        if ".." in path.parts or path.suffix == ".pyc" or path.name in _DROPPED:
            continue
        place = Path(str(path.locate()))
        files[path.as_posix()] = File(place.read_bytes(), 0o755 if os.access(place, os.X_OK) else 0o644)
    points = (f"{p.name} = {p.value}" for p in found.entry_points if p.group == "console_scripts")
    return Distribution(found.metadata["Name"], found.version, files, tuple(sorted(points)))


def from_wheel(wheel: Path) -> Distribution:
    """Return the distribution in a wheel (without its `.data` directory)."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/") and ".data/" not in n]
        files = {n: File(archive.read(n)) for n in names if PurePosixPath(n).name not in _DROPPED}
    name, version = wheel.name.split("-")[:2]
    declared = next((f.data.decode() for n, f in files.items() if n.endswith(".dist-info/entry_points.txt")), "")
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(declared)
    scripts = parser["console_scripts"] if parser.has_section("console_scripts") else {}
    return Distribution(name, version, files, tuple(sorted(f"{k} = {v}" for k, v in scripts.items())))


def made_up(
    name: str,
    version: str,
    modules: Mapping[str, str],
    *,
    entry_points: Sequence[str] = (),
    requires: Sequence[str] = (),
) -> Distribution:
    """Return a small pure distribution: `modules` are paths in site-packages and their text."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {r}\n" for r in requires)
    files = {path: File(content.encode()) for path, content in modules.items()}
    files[f"{info}/METADATA"] = File(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}".encode()
    )
    files[f"{info}/WHEEL"] = File(b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    if entry_points:
        files[f"{info}/entry_points.txt"] = File("[console_scripts]\n{}\n".format("\n".join(entry_points)).encode())
    return Distribution(name, version, files, tuple(entry_points))


def noarch_package(
    distribution: Distribution,
    *,
    name: str | None = None,
    depends: Sequence[str] = (),
    purls: Sequence[str] | None = None,
    format: Literal["conda", "tar.bz2"] = "conda",
    build_number: int = 0,
    timestamp: int | None = 1_700_000_000_000,
) -> CondaPackage:
    """Return the distribution as `noarch: python`: site-packages/ at the top, scripts made by the linking."""
    return CondaPackage(
        name or distribution.name.lower(),
        distribution.version,
        f"pyhd8ed1ab_{build_number}",
        build_number,
        "noarch",
        "python",
        depends=("python >=3.11", *depends),
        files={f"site-packages/{path}": file for path, file in _recorded(distribution).items()},
        entry_points=distribution.entry_points,
        purls=purls,
        format=format,
        timestamp=timestamp,
    )


def arch_package(
    distribution: Distribution,
    python: str,
    *,
    name: str | None = None,
    depends: Sequence[str] = (),
    subdir: str = "linux-64",
    format: Literal["conda", "tar.bz2"] = "conda",
) -> CondaPackage:
    """Return the distribution built for one minor version of Python, `python` (`3.11`)."""
    major, minor = python.split(".")
    tag = f"cp{major}{minor}"
    site = f"lib/python{python}/site-packages"
    files = {f"{site}/{path}": file for path, file in _recorded(distribution).items()}
    files |= {f"bin/{point.split(' = ')[0]}": _console_script(point, python) for point in distribution.entry_points}
    return CondaPackage(
        name or distribution.name.lower(),
        distribution.version,
        f"py{major}{minor}h{hashlib.sha256(distribution.name.encode()).hexdigest()[:7]}_0",
        subdir=subdir,
        depends=(
            f"python >={python},<{major}.{int(minor) + 1}.0a0",
            f"python_abi {python}.* *_{tag}",
            *depends,
        ),
        files=files,
        format=format,
    )


def _console_script(point: str, python: str) -> File:
    module, _, function = point.split(" = ")[1].partition(":")
    # The shebang a build tool writes when it builds in the placeholder prefix.
    return script(
        f"#!{PLACEHOLDER}/bin/python{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )


def _recorded(distribution: Distribution) -> dict[str, File]:
    """Return the files with the installer's own ones: conda as INSTALLER, and a true RECORD."""
    info = next(path.split("/")[0] for path in distribution.files if ".dist-info/" in path)
    files = dict(distribution.files) | {f"{info}/INSTALLER": File(b"conda\n")}
    lines = [f"{path},{_record_digest(file.data)},{len(file.data)}" for path, file in sorted(files.items())]
    files[f"{info}/RECORD"] = File("\n".join([*lines, f"{info}/RECORD,,", ""]).encode())
    return files


def _record_digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
