"""What conda provides, shown to a PyPI resolver as wheels that hold a name and a version and nothing else.

Such a stub is given as a constraint with a URL (`numpy @ file:///…/numpy-2.1.0-py3-none-any.whl`): whenever anything
asks for numpy, this is the only candidate. It has no dependencies, because conda has installed those, and no extras:
resolvers only warn of an extra that is not there, and what it needs is conda's business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from tykky.lock.model import Package
from tykky.spec.names import canonical_name

if TYPE_CHECKING:
    from packaging.utils import NormalizedName
    from packaging.version import Version

_EPOCH = (1980, 1, 1, 0, 0, 0)
# A version that is its own normal form (PEP 440), as nearly all are.
_N = r"(?:0|[1-9][0-9]*)"
_PLAIN_VERSION = re.compile(rf"{_N}(?:\.{_N})*(?:(?:a|b|rc){_N})?(?:\.post{_N})?(?:\.dev{_N})?")


class Stub(Struct, frozen=True):
    """A distribution inside a conda package, its version in normal form, and the wheel that stands for it."""

    name: NormalizedName
    version: str
    url: str

    @property
    def constraint(self) -> str:
        """The line of a constraints file that makes this the only candidate."""
        return f"{self.name} @ {self.url}"


def write_stubs(provided: Iterable[Package], directory: Path, *, marked: bool = False) -> tuple[Stub, ...]:
    """Write the stubs into `directory`, where equal ones of other locks are used again; sorted by name.

    With `marked` the wheels have the version `marked_version`. A distribution whose version is not a PEP 440 version
    cannot satisfy any requirement and is left out.
    """
    found: dict[NormalizedName, str] = {}
    for entry in sorted(entry for package in provided for entry in package.provides):
        name, _, version = entry.partition("==")
        if (normal := _normal(version)) is not None:
            found[canonical_name(name)] = normal
    if not found:
        return ()
    directory.mkdir(parents=True, exist_ok=True)
    place, there = directory.as_uri(), {entry.name for entry in os.scandir(directory)}
    stubs = []
    for name, version in sorted(found.items()):
        shown = _marked(version) if marked else version
        wheel = f"{name.replace('-', '_')}-{shown}-py3-none-any.whl"
        if wheel not in there:
            _write(directory / wheel, name, shown)
        stubs.append(Stub(name, version, f"{place}/{_quoted(wheel)}"))
    return tuple(stubs)


def _normal(version: str) -> str | None:
    """Return the version in normal form, or None if it is none."""
    if _PLAIN_VERSION.fullmatch(version):
        return version
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(version))
    except InvalidVersion:
        return None


def _quoted(wheel: str) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(os.fsencode(wheel))


def _marked(version: str) -> str:
    from packaging.version import Version

    return str(marked_version(Version(version)))


def marked_version(version: Version) -> Version:
    """Return a version that no index has and that every requirement takes for `version` (PEP 440: local versions).

    For pip, which does not apply a constraint with a URL to a requirement with extras. A version that is local already
    stays: `==1.0+cu124` must find it, and no other index than the one it is of has it.
    """
    return version if version.local else type(version)(f"{version}+conda")


def _write(path: Path, name: str, version: str) -> None:
    import zipfile  # for few locks: most stubs are there
    from tempfile import NamedTemporaryFile

    stem = path.name.removesuffix("-py3-none-any.whl")
    members = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": ("Wheel-Version: 1.0\nGenerator: tykky\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    }
    record = f"{stem}.dist-info/RECORD"
    members[record] = "".join(f"{member},,\n" for member in [*members, record])
    with (
        NamedTemporaryFile(dir=path.parent, prefix=".stub-", delete=False) as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member, _EPOCH), text)
    Path(file.name).replace(path)
