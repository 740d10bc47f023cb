"""Requirements of the plainest kind, which are most of them: `numpy`, `numpy>=2,<3`, `dask[array] == 2024.*`.

`packaging` reads every requirement there can be, and takes long to import; a lock of such as these need not wait for
that. What is read here means the same to both, and what is not is packaging's to read or to refuse (PEP 508, 440).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RELEASE = r"[0-9]+(?:\.[0-9]+)*"
_CLAUSE = rf"(?:[=!]= *{_RELEASE}(?:\.\*)?|[<>]=? *{_RELEASE}|~= *{_RELEASE}\.[0-9]+)"
_PLAIN = re.compile(
    rf"(?P<name>{_NAME}) *(?:\[ *(?P<extras>{_NAME}(?: *, *{_NAME})*) *\])? *(?P<clauses>{_CLAUSE}(?: *, *{_CLAUSE})*)?"
)


class PlainRequirement(Struct, frozen=True):
    """A name, extras and clauses such as `>=2`. To who reads it, it is as a `packaging.requirements.Requirement`."""

    name: str
    extras: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()

    @property
    def url(self) -> None:
        """It has none, and comes from an index."""
        return

    @property
    def marker(self) -> None:
        """It has none, and holds everywhere."""
        return

    @property
    def specifier(self) -> SpecifierSet:
        """The versions that it takes."""
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(",".join(self.clauses))

    def __str__(self) -> str:
        extras = f"[{','.join(sorted(self.extras))}]" if self.extras else ""
        return f"{self.name}{extras}{','.join(sorted(self.clauses))}"


def plain_requirement(text: str) -> PlainRequirement | None:
    """Return the requirement, taken apart, or None if it is not of the plainest kind or none at all."""
    found = _PLAIN.fullmatch(text)
    if found is None:
        return None
    clauses = tuple(clause.replace(" ", "") for clause in (found["clauses"] or "").split(",") if clause)
    if len({clause.rstrip("0123456789.*") for clause in clauses}) < len(clauses):
        return None  # of two clauses that say the same, packaging keeps one
    extras = (found["extras"] or "").replace(" ", "").split(",") if found["extras"] else ()
    return PlainRequirement(found["name"], tuple(extras), clauses)
