"""What conda provides, shown to a PyPI resolver as wheels that hold a name and a version and nothing else.

Such a stub is given as a constraint with a URL (`numpy @ file:///…/numpy-2.1.0-py3-none-any.whl`): whenever anything
asks for numpy, this is the only candidate. It has no dependencies, because conda has installed those, and no extras:
resolvers only warn of an extra that is not there, and what it needs is conda's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from tykky.lock.model import Package

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Stub:
    """A distribution inside a conda package, and the wheel that stands for it."""

    name: NormalizedName
    version: Version
    wheel: Path

    @property
    def constraint(self) -> str:
        """The line of a constraints file that makes this the only candidate."""
        return f"{self.name} @ {self.wheel.as_uri()}"


def write_stubs(provided: Iterable[Package], directory: Path, *, marked: bool = False) -> tuple[Stub, ...]:
    """Write the stubs into `directory`, where equal ones of other locks are used again; sorted by name.

    With `marked` the wheels have the version `marked_version`. A distribution whose version is not a PEP 440 version
    cannot satisfy any requirement and is left out.
    """
    found: dict[NormalizedName, Version] = {}
    for entry in sorted(entry for package in provided for entry in package.provides):
        name, _, version = entry.partition("==")
        try:
            found[canonicalize_name(name)] = Version(version)
        except InvalidVersion:
            continue
    return tuple(
        Stub(name, version, _write(directory, name, marked_version(version) if marked else version))
        for name, version in sorted(found.items())
    )


def marked_version(version: Version) -> Version:
    """Return a version that no index has and that every requirement takes for `version` (PEP 440: local versions).

    For pip, which does not apply a constraint with a URL to a requirement with extras. A version that is local already
    stays: `==1.0+cu124` must find it, and no other index than the one it is of has it.
    """
    return version if version.local else Version(f"{version}+conda")


def _write(directory: Path, name: NormalizedName, version: Version) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    path = directory / f"{stem}-py3-none-any.whl"
    if path.exists():
        return path
    members = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": ("Wheel-Version: 1.0\nGenerator: tykky\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    }
    record = f"{stem}.dist-info/RECORD"
    members[record] = "".join(f"{member},,\n" for member in [*members, record])
    import zipfile  # for few locks: most stubs are there

    directory.mkdir(parents=True, exist_ok=True)
    with (
        NamedTemporaryFile(dir=directory, prefix=".stub-", delete=False) as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member, _EPOCH), text)
    Path(file.name).replace(path)
    return path
