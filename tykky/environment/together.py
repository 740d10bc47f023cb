"""Which environments can be shown in one mount, and what they are: `tykky run A --with B`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tykky.environment.directory import EnvironmentDirectory, GenerationRecord
from tykky.errors import EnvironmentDirectoryError, UsageError
from tykky.runtime.model import Binds
from tykky.spec.model import Spec
from tykky.spec.read import parse_spec


@dataclass(frozen=True, slots=True)
class Member:
    """One environment to show. `path` is its directory as it was named, made absolute; `real` is without links.

    `owner` is the uid of who published its generation: it runs with what that user trusted.
    """

    path: Path
    real: Path
    record: GenerationRecord
    spec: Spec
    owner: int


def read_member(path: Path) -> Member:
    """Return the environment at `path`, as it is now. Raises `EnvironmentDirectoryError` if there is none."""
    directory = EnvironmentDirectory(path.absolute())
    record = directory.record()
    if not record.spec:
        raise EnvironmentDirectoryError(
            f"{path} was published by {record.made_by}, which recorded no spec: it cannot be combined",
            hint="run 'tykky build' with the spec and lock it was made from",
        )
    spec = parse_spec(record.spec, f"{path}: recorded tykky.toml")
    owner = (directory.generations / str(record.number)).stat().st_uid
    return Member(directory.path, Path(os.path.realpath(path)), record, spec, owner)


def check_together(members: Sequence[Member], binds: Binds) -> None:
    """Raise `UsageError` if these environments cannot be shown in one mount; the first one's surroundings count.

    `binds` are the directories of the host that its programs see.
    """
    for number, one in enumerate(members):
        if one.spec.runtime.image != "host":
            raise UsageError(
                f"{one.path} has a root of its own ({one.spec.runtime.image}): it cannot be combined with others",
                hint="only environments on the host's root can be combined",
            )
        if number and binds.hides(os.fspath(one.real)):
            raise UsageError(
                f"{one.path} lies in a directory that this site does not show to programs",
                hint="'no-bind' in site.toml names it; 'bind' there shows a directory in it all the same",
            )
        for other in members[:number]:
            _check_pair(other, one)


def _check_pair(first: Member, second: Member) -> None:
    if first.real == second.real:
        raise UsageError(f"{second.path} is {first.path} itself", hint="name another environment with --with")
    if first.real in second.real.parents or second.real in first.real.parents:
        inner, outer = (second, first) if first.real in second.real.parents else (first, second)
        raise UsageError(
            f"{inner.path} lies in {outer.path}, where the tree of that one is shown",
            hint="build it elsewhere",
        )
    if first.record.prefix == second.record.prefix:
        hint = "give one of them another name in [environment] of its tykky.toml, and build it"
        for child, parent in ((first, second), (second, first)):
            if child.record.parent and Path(os.path.realpath(child.record.parent)) == parent.real:
                hint = f"{child.path} extends {parent.path}, and has all of it"
        if first.record.parent and second.record.parent:
            hint = "both extend another one, whose prefix they have: ask for what both add in one tykky.toml"
        raise UsageError(
            f"{first.path} and {second.path} both have the prefix {first.record.prefix}: one mount shows one of them",
            hint=hint,
        )
