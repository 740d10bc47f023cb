"""What must hold in a spec beyond the types of its model."""

from __future__ import annotations

import datetime
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from tykky.spec.image_reference import BadReference, is_reference, parse_reference
from tykky.spec.model import Build, Conda, CondaRequirement, Environment, Pypi, Runtime, Spec
from tykky.spec.names import canonical_name
from tykky.spec.requirements import (
    BadRequirement,
    LocalRequirement,
    PypiRequirement,
    check_conda_build,
    check_conda_name,
    check_conda_version,
    parse_named,
    parse_pypi,
    split_url,
)

if TYPE_CHECKING:
    from tykky.toml.positions import KeyPath

# Compiled where they are used first: no spec has need of all of them.
_DISTRIBUTION = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_MINOR_VERSION = r"3\.\d+"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_VIRTUAL_NAME = r"__[a-z0-9_]+"
# Empty takes a virtual package away; `1=x86_64_v3` has a build, as that of __archspec is written.
_VIRTUAL_VERSION = r"(?:[A-Za-z0-9_.]+(?:=[A-Za-z0-9_.]+)?)?"
_PARENT_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
_INDEX_SCHEMES = ("https", "http", "file")


class Finding(Struct, frozen=True):
    """One thing wrong. In `message`, `{line}` stands for the line of `other`, a second place it is about."""

    path: KeyPath
    message: str
    suggestion: str | None = None
    other: KeyPath | None = None


def check_spec(spec: Spec) -> list[Finding]:
    """Return everything that is wrong with a spec whose types are right."""
    found = [*_environment(spec.environment), *_build(spec.build), *_runtime(spec.runtime)]
    if spec.conda is not None:
        found += _conda(spec.conda)
    if spec.pypi is not None:
        found += _pypi(spec.pypi)
    return [*found, *_interpreter(spec), *_root(spec)]


def _environment(table: Environment) -> Iterator[Finding]:
    yield from _repeated(table.platforms, ("environment", "platforms"))
    if table.exclude_newer is not None:
        try:
            datetime.datetime.fromisoformat(table.exclude_newer)
        except ValueError:
            message = f"{table.exclude_newer!r} is not a date of the calendar"
            yield Finding(("environment", "exclude-newer"), message)
    if table.extends is None:
        if table.extends_policy != "pinned":
            yield Finding(
                ("environment", "extends-policy"), "it says how to extend an environment, and there is no extends"
            )
        return
    if "/" in table.extends or table.extends.startswith("~"):
        if re.search(r"[\0-\x1f\x7f:]", table.extends):
            yield Finding(("environment", "extends"), f"{table.extends!r} is not a path of an environment directory")
    elif not re.fullmatch(_PARENT_NAME, table.extends):
        message = f"{table.extends!r} is neither a path (with a slash in it) nor the name of an environment"
        yield Finding(("environment", "extends"), message)


def _interpreter(spec: Spec) -> Iterator[Finding]:
    """Python comes from one place: conda, the host, or uv."""
    if spec.pypi is None:
        return
    if spec.environment.extends is not None:
        for key, is_set in (("python", spec.pypi.python is not None), ("managed-python", spec.pypi.managed_python)):
            if is_set:
                message = "Python comes from the extended environment (environment.extends, line {line}); take this out"
                yield Finding(("pypi", key), message, other=("environment", "extends"))
        return
    conda = next((name for name in spec.conda.dependencies if name.lower() == "python"), None) if spec.conda else None
    python = spec.pypi.python
    if conda is not None:
        for key, is_set in (("python", python is not None), ("managed-python", spec.pypi.managed_python)):
            if is_set:
                message = "Python comes from [conda] already (conda.dependencies.python, line {line}); keep one of them"
                yield Finding(("pypi", key), message, other=("conda", "dependencies", conda))
    elif spec.conda is not None and spec.pypi.managed_python:
        message = "with [conda] the interpreter comes from conda; add python to conda.dependencies instead"
        yield Finding(("pypi", "managed-python"), message)
    if python is None:
        return
    if not python.startswith("/"):
        if not re.fullmatch(_MINOR_VERSION, python):
            message = f"{python!r} is neither a minor version such as '3.12' nor an absolute path"
            yield Finding(("pypi", "python"), message)
    elif spec.pypi.managed_python:
        message = "an interpreter that uv manages has no path; give a minor version such as '3.12'"
        yield Finding(("pypi", "python"), message)


def _conda(table: Conda) -> Iterator[Finding]:
    yield from _repeated(table.channels, ("conda", "channels"))
    for index, channel in enumerate(table.channels):
        yield from _channel(channel, ("conda", "channels", index))
    for key, requirements in (("dependencies", table.dependencies), ("constraints", table.constraints)):
        path = ("conda", key)
        for name, requirement in requirements.items():
            yield from _conda_requirement(name, requirement, (*path, name))
        yield from _same_names(requirements, path, str.lower)
    for name, version in table.virtual_packages.items():
        place = ("conda", "virtual-packages", name)
        if not re.fullmatch(_VIRTUAL_NAME, name):
            yield Finding(place, "a virtual package's name begins with two underscores: __glibc, __cuda")
        elif not re.fullmatch(_VIRTUAL_VERSION, version):
            yield Finding(place, f"{version!r} is not the version of a virtual package, such as '2.28'")


def _conda_requirement(name: str, requirement: str | CondaRequirement, path: KeyPath) -> Iterator[Finding]:
    yield from _refused(check_conda_name, name, path)
    if isinstance(requirement, str):
        yield from _refused(check_conda_version, requirement, path)
        return
    yield from _refused(check_conda_version, requirement.version, (*path, "version"))
    if requirement.build is not None:
        yield from _refused(check_conda_build, requirement.build, (*path, "build"))
    if requirement.channel is not None:
        yield from _channel(requirement.channel, (*path, "channel"))


def _channel(channel: str, path: KeyPath) -> Iterator[Finding]:
    if not channel or re.search(r"[\s\"'\[\]\\]", channel):
        yield Finding(path, f"{channel!r} is neither the name nor the URL of a channel")


def _pypi(table: Pypi) -> Iterator[Finding]:
    yield from _pypi_requirements(table.dependencies, ("pypi", "dependencies"), parse_pypi)
    for key, texts in (("constraints", table.constraints), ("overrides", table.overrides)):
        yield from _pypi_requirements(texts, ("pypi", key), parse_named)
    for index, text in enumerate(table.constraints):
        if re.match(r"[^;@]*\[", text):
            yield Finding(("pypi", "constraints", index), f"{text!r}: a constraint cannot ask for extras")
    if table.index_url is not None:
        yield from _index(table.index_url, ("pypi", "index-url"))
    for index, url in enumerate(table.extra_index_url):
        yield from _index(url, ("pypi", "extra-index-url", index))
    for index, place in enumerate(table.find_links):
        if not place.strip():
            yield Finding(("pypi", "find-links", index), "must not be empty")
    for key, names in (("no-binary", table.no_binary), ("only-binary", table.only_binary)):
        yield from _distributions(names, ("pypi", key), all_word=True)
    yield from _distributions(table.no_build_isolation, ("pypi", "no-build-isolation"))
    yield from _same_names(table.config_settings, ("pypi", "config-settings"), canonical_name)


def _pypi_requirements(
    texts: tuple[str, ...], path: KeyPath, parse: Callable[[str], PypiRequirement]
) -> Iterator[Finding]:
    seen: list[tuple[int, str, PypiRequirement]] = []
    for index, text in enumerate(texts):
        place = (*path, index)
        try:
            requirement = parse(text)
        except BadRequirement as error:
            yield Finding(place, f"{text!r} is not a requirement: {error}")
            continue
        for earlier, earlier_text, other in seen:
            if _clash(requirement, other):
                message = f"{text!r} is the same package as {earlier_text!r} in line {{line}}; keep one of them"
                yield Finding(place, message, other=(*path, earlier))
                break
        seen.append((index, text, requirement))


def _clash(one: PypiRequirement, other: PypiRequirement) -> bool:
    """Say whether both ask for the same package at the same time: with two markers, only one may hold."""
    if one.marker is not None and other.marker is not None and str(one.marker) != str(other.marker):
        return False
    if isinstance(one, LocalRequirement) and isinstance(other, LocalRequirement):
        return posixpath.normpath(one.path) == posixpath.normpath(other.path)
    return one.name is not None and other.name is not None and _same(one.name, other.name)


def _same(one: str, other: str) -> bool:
    return canonical_name(one) == canonical_name(other)


def _index(url: str, path: KeyPath) -> Iterator[Finding]:
    parts = split_url(url)
    if parts is None or parts.scheme not in _INDEX_SCHEMES or re.search(r"\s", url) or not (parts.netloc or parts.path):
        yield Finding(path, f"{url!r} is not the URL of an index, such as 'https://pypi.org/simple'")


def _distributions(names: tuple[str, ...], path: KeyPath, *, all_word: bool = False) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if not (re.fullmatch(_DISTRIBUTION, name) or (all_word and name == ":all:")):
            yield Finding((*path, index), f"{name!r} is not the name of a package")


def _build(table: Build) -> Iterator[Finding]:
    for index, script in enumerate(table.post_install):
        if script.startswith("/"):
            message = f"{script!r} is an absolute path; scripts stand beside tykky.toml, so that they go into git"
            yield Finding(("build", "post-install", index), message)
        elif "\0" in script:
            yield Finding(("build", "post-install", index), "a path cannot hold a NUL character")
    for index, pattern in enumerate(table.exclude):
        path = ("build", "exclude", index)
        if not pattern.strip("/."):
            yield Finding(path, "must name something in the prefix" if pattern else "must not be empty")
        elif pattern.startswith("/") or ".." in pattern.split("/"):
            yield Finding(path, f"{pattern!r} leads out of the prefix; patterns start there, as in 'lib/**/*.a'")


def _root(spec: Spec) -> Iterator[Finding]:
    """An image of one's own, and what it shows of the host, the interpreter above all."""
    image, mounts = spec.runtime.image, spec.runtime.mounts
    place: KeyPath = ("runtime", "image")
    if is_reference(image):
        try:
            parse_reference(image)
        except BadReference as why:
            yield Finding(place, f"{image!r} {why}")
    elif "://" in image:
        message = f"{image!r} cannot be used: images of registries are 'docker://…'; of others, name a file made of it"
        yield Finding(place, message)
    elif image != "host" and ("/" not in image or re.search(r"[\0-\x1f\x7f]", image) or image.endswith("/")):
        yield Finding(place, f"{image!r} is neither 'host' nor a path with a slash in it, such as './root.sif'")
    for index, mount in enumerate(mounts):
        at: KeyPath = ("runtime", "mounts", index)
        if image == "host":
            yield Finding(at, "all of the host is seen; mounts are for an image (runtime.image)")
        elif mount != "~" and not mount.startswith(("/", "~/")):
            yield Finding(at, f"{mount!r} is no absolute path; '~' stands for the home directory of who runs a program")
        elif re.search(r"[\0-\x1f\x7f,:]", mount) or {".", ".."} & set(mount.split("/")) or not mount.strip("/"):
            yield Finding(at, f"{mount!r} cannot be mounted: no root, '.', '..', comma, colon or control character")
    yield from _repeated(mounts, ("runtime", "mounts"))
    pypi = spec.pypi
    hosts_own = pypi is not None and not pypi.managed_python and spec.conda is None and spec.environment.extends is None
    if image != "host" and hosts_own:
        message = (
            "Python comes from the host here ([pypi], line {line}), and nothing of the host's is seen in an image; "
            "write managed-python = true into [pypi], or ask for python in [conda]"
        )
        yield Finding(place, message, other=("pypi",))


def _runtime(table: Runtime) -> Iterator[Finding]:
    for name, value in table.environ.items():
        path = ("runtime", "environ", name)
        if not re.fullmatch(_VARIABLE, name):
            message = "the name of a variable has letters, digits and underscores and does not begin with a digit"
            yield Finding(path, message)
        if "\0" in value:
            yield Finding(path, "the value of a variable cannot hold a NUL character")


def _refused(check: Callable[[str], None], text: str, path: KeyPath) -> Iterator[Finding]:
    try:
        check(text)
    except BadRequirement as error:
        why = str(error)
        if why.startswith("is "):
            why = f"{text!r} {why}"
        elif text and repr(text) not in why:
            why = f"{text!r}: {why}"
        yield Finding(path, why)


def _repeated(values: Iterable[str], path: KeyPath) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Finding((*path, index), f"{value!r} is listed twice")
        seen.add(value)


def _same_names(table: Mapping[str, object], path: KeyPath, normal: Callable[[str], str]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name in table:
        if (first := seen.setdefault(normal(name), name)) != name:
            message = f"{name!r} is the same package as {first!r} in line {{line}}; keep one of them"
            yield Finding((*path, name), message, other=(*path, first))
