"""What a spec asks for, as a lock records it: the same for all ways to write it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from tykky.lock.model import Requirements
from tykky.spec.model import Conda, Pypi, Spec
from tykky.spec.requirements import canonical_pypi, conda_match_spec, parse_named, parse_pypi

_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")
_DEFAULTS = Pypi()


def requirements_of(spec: Spec) -> Requirements:
    """Return what the spec asks for, normalised and sorted: the same for all ways to write it.

    Settings at their default are None; credentials in the URL of an index are left out, since this goes into
    git. Raises nothing for a spec that `read_spec` gave.
    """
    pypi = spec.pypi or Pypi()
    requirements = Requirements(
        pypi=_sorted(canonical_pypi(parse_pypi(text)) for text in pypi.dependencies),
        pypi_constraints=_sorted(canonical_pypi(parse_named(text)) for text in pypi.constraints),
        pypi_overrides=_sorted(canonical_pypi(parse_named(text)) for text in pypi.overrides),
        index_url=None if pypi.index_url is None else _index(pypi.index_url),
        extra_index_url=tuple(map(_index, pypi.extra_index_url)),
        find_links=_sorted(map(_index, pypi.find_links)),
        prerelease=None if pypi.prerelease == _DEFAULTS.prerelease else pypi.prerelease,
        no_binary=_sorted(pypi.no_binary),
        only_binary=_sorted(pypi.only_binary),
        python=pypi.python,
        managed_python=pypi.managed_python,
        exclude_newer=spec.environment.exclude_newer,
        extends=spec.environment.extends,
        extends_policy=None if spec.environment.extends_policy == "pinned" else spec.environment.extends_policy,
        image=None if spec.runtime.image == "host" else spec.runtime.image,
    )
    return requirements if spec.conda is None else _with_conda(requirements, spec.conda)


def _with_conda(requirements: Requirements, conda: Conda) -> Requirements:
    return msgspec.structs.replace(
        requirements,
        conda=_sorted(conda_match_spec(name, wanted) for name, wanted in conda.dependencies.items()),
        conda_constraints=_sorted(conda_match_spec(name, wanted) for name, wanted in conda.constraints.items()),
        channels=conda.channels,
        channel_priority=None if conda.channel_priority == "strict" else conda.channel_priority,
        virtual_packages=_sorted(f"{name}={version}" for name, version in conda.virtual_packages.items()),
    )


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(texts))


def _index(url: str) -> str:
    return _PASSWORD.sub("", url).rstrip("/")
