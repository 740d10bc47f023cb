"""What must hold in a lock beyond the types of its model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

from msgspec import Struct

from tykky.lock.model import Lock, Package, Parent
from tykky.spec.requirements import URL_SCHEMES, split_url

if TYPE_CHECKING:
    from tykky.toml.positions import KeyPath

# Names, versions and builds become file names: one component, not hidden, no way up.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
_SUBDIR = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# What nearly all URLs look like; it spares a thousand of them the full look.
_PLAIN_URL = re.compile(r"(?:https?|file)://[A-Za-z0-9._/+!~-]*/[A-Za-z0-9_][A-Za-z0-9._+!~-]*")
_PREFIX = re.compile(r"/tykky/[a-z0-9-]+")
_ABSOLUTE = re.compile(r"/[^\0-\x1f\x7f]*")
_CONDA_SUFFIXES = (".conda", ".tar.bz2")
# What every interpreter of uv's list is, but for a few that only unpack with zstandard.
INTERPRETER_SUFFIXES = (".tar.gz", ".tgz")


class Finding(Struct, frozen=True):
    """One thing wrong, and where."""

    path: KeyPath
    message: str


def check_lock(lock: Lock) -> list[Finding]:
    """Return everything that is wrong with a lock whose types are right."""
    found: list[Finding] = []
    platforms: set[str] = set()
    for index, platform in enumerate(lock.platform):
        if platform.name in platforms:
            found.append(Finding(("platform", index, "name"), f"{platform.name!r} is listed twice"))
        platforms.add(platform.name)
    minors = {platform.name: platform.python for platform in lock.platform}
    seen: set[tuple[str, str, str]] = set()
    for index, package in enumerate(lock.package):
        path = ("package", index)
        identity = (package.kind, package.name, package.platform)
        if identity in seen:
            message = f"{package.kind} package {package.name} is locked twice for {package.platform}"
            found.append(Finding((*path, "name"), message))
        seen.add(identity)
        if package.platform not in platforms:
            message = f"{package.name} is for {package.platform!r}, which is no [[platform]] of this lock"
            found.append(Finding((*path, "platform"), message))
        found += [Finding((*path, *finding.path), finding.message) for finding in _package(package)]
        minor = minors.get(package.platform)
        if package.kind == "python" and minor is not None and not package.version.startswith(f"{minor}."):
            message = f"{package.name} {package.version} is locked for {package.platform}, whose python is {minor}"
            found.append(Finding((*path, "version"), message))
    found += _manifests(lock, platforms)
    if lock.parent is not None:
        found += [Finding(("parent", *finding.path), finding.message) for finding in _parent(lock.parent)]
    return found


def _manifests(lock: Lock, platforms: set[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, manifest in enumerate(lock.image_manifest):
        path = ("image-manifest", index, "platform")
        if manifest.platform in seen:
            yield Finding(path, f"the image is locked twice for {manifest.platform}")
        elif manifest.platform not in platforms:
            yield Finding(path, f"it is for {manifest.platform!r}, which is no [[platform]] of this lock")
        seen.add(manifest.platform)
    if lock.image is not None and lock.image_manifest:
        yield Finding(("image-manifest",), "the image is a file ([image]) and one of a registry")


def _parent(parent: Parent) -> Iterator[Finding]:
    """A parent's prefix and images become mounts, its packages are installed again where they share files with ours."""
    if not _PREFIX.fullmatch(parent.prefix):
        yield Finding(("prefix",), f"{parent.prefix!r} is not a prefix such as '/tykky/base'")
    if not parent.name.isprintable():
        yield Finding(("name",), f"{parent.name!r} is not a name")
    for key, path in (("path", parent.path), ("interpreter", parent.interpreter)):
        if path is not None and not _ABSOLUTE.fullmatch(path):
            yield Finding((key,), f"{path!r} is not an absolute path")
    if not parent.layer:
        yield Finding((), f"{parent.name} has no layer")
    for index, layer in enumerate(parent.layer):
        if not _ABSOLUTE.fullmatch(layer.image):
            yield Finding(("layer", index, "image"), f"{layer.image!r} is not an absolute path")
    for index, package in enumerate(parent.package):
        if package.platform != parent.platform:
            message = f"{package.name} is for {package.platform!r}, the parent for {parent.platform!r}"
            yield Finding(("package", index, "platform"), message)
        yield from (Finding(("package", index, *f.path), f.message) for f in _package(package))


def _package(package: Package) -> Iterator[Finding]:
    if not _NAME.fullmatch(package.name):
        yield Finding(("name",), f"{package.name!r} is not a package name")
    if not _VERSION.fullmatch(package.version):
        yield Finding(("version",), f"{package.version!r} is not a version of {package.name}")
    yield from _origin(package)
    yield from {"conda": _conda, "pypi": _pypi, "python": _interpreter}[package.kind](package)


def _origin(package: Package) -> Iterator[Finding]:
    if package.url is None and package.path is None:
        yield Finding((), f"{package.name} has neither url nor path")
    elif package.url is not None and package.path is not None:
        yield Finding(("path",), f"{package.name} has both url and path")
    elif package.url is not None:
        yield from _url(package, package.url)
    elif package.path is not None and ("\0" in package.path or not package.path):
        yield Finding(("path",), f"{package.path!r} is not a path")


def _url(package: Package, url: str) -> Iterator[Finding]:
    if _PLAIN_URL.fullmatch(url):
        return
    parts = split_url(url)
    if parts is None or parts.scheme not in URL_SCHEMES or re.search(r"[\0- ]", url):
        yield Finding(("url",), f"{url!r} is not a URL that {package.name} can be fetched from")
        return
    filename = unquote(parts.path.rpartition("/")[2])
    if filename in ("", ".", "..") or "/" in filename or "\0" in filename:
        yield Finding(("url",), f"{url!r} does not end in a file name")


def _conda(package: Package) -> Iterator[Finding]:
    for field, value in (("build", package.build), ("channel", package.channel), ("subdir", package.subdir)):
        if not value:
            yield Finding((), f"conda package {package.name} has no {field}")
    if package.build and not _VERSION.fullmatch(package.build) and not _NAME.fullmatch(package.build):
        yield Finding(("build",), f"{package.build!r} is not a build of {package.name}")
    if package.subdir and not _SUBDIR.fullmatch(package.subdir):
        yield Finding(("subdir",), f"{package.subdir!r} is not a subdir of a channel")
    if package.sha256 is None:
        yield Finding((), f"conda package {package.name} has no sha256")
    place = _place(package)
    if place and not place.endswith(_CONDA_SUFFIXES):
        yield Finding(("url",), f"{package.url or package.path!r} is no conda package ({' or '.join(_CONDA_SUFFIXES)})")


def _pypi(package: Package) -> Iterator[Finding]:
    if package.source == "git":
        if package.commit is None or not _COMMIT.fullmatch(package.commit):
            yield Finding(("commit",), f"{package.name} comes from git and has no commit of 40 hexadecimal digits")
    elif package.source == "directory":
        if package.path is None:
            yield Finding((), f"{package.name} comes from a directory and has no path")
        if package.tree is None:
            yield Finding((), f"{package.name} comes from a directory and has no fingerprint (tree)")
    elif package.sha256 is None:
        yield Finding((), f"{package.name} has no sha256")
    place = _place(package)
    if package.source == "wheel" and place and not place.endswith(".whl"):
        yield Finding((), f"{package.name} is a wheel by its source, but not by its file name")
    subdirectory = package.subdirectory
    if subdirectory is not None and (subdirectory.startswith("/") or ".." in subdirectory.split("/")):
        yield Finding(("subdirectory",), f"{subdirectory!r} leads out of the source of {package.name}")


def _interpreter(package: Package) -> Iterator[Finding]:
    if package.name != "cpython":
        yield Finding(("name",), f"{package.name!r} is no interpreter that tykky can use; cpython is")
    if package.path is not None:
        yield Finding(("path",), f"{package.name} has a path; an interpreter has a url")
    if package.sha256 is None:
        yield Finding((), f"{package.name} has no sha256")
    if package.url and not _place(package).endswith(INTERPRETER_SUFFIXES):
        suffixes = " or ".join(INTERPRETER_SUFFIXES)
        yield Finding(("url",), f"{package.url!r} is no archive of an interpreter ({suffixes})")


def _place(package: Package) -> str:
    """Return what stands before the query and fragment of a package's URL, or its local path, or nothing."""
    return package.path or re.split(r"[?#]", package.url or "", maxsplit=1)[0]
