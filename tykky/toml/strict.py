"""Fill a model from TOML values, naming every problem of the file at once.

msgspec converts (fast, strict) and stops at the first problem. Only when it refuses, the values are walked a
second time along the same model (`tykky.toml.mismatch`) to find all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from tykky.toml.document import Document, FileError

if TYPE_CHECKING:
    from tykky.toml.mismatch import Mismatch

T = TypeVar("T")


def convert(document: Document, model: type[T], error: type[FileError], *, hint: str | None = None) -> T:
    """Return the document as a `model`; raise `error` with all its problems."""
    try:
        return msgspec.convert(document.values, model)
    except msgspec.ValidationError as first:
        from tykky.toml.mismatch import Mismatch, mismatches

        found = mismatches(document.values, model) or [Mismatch((), str(first))]
        problems = [document.problem(m.path, m.message, m.suggestion) for m in found]
        raise error(document.file, problems, hint=hint) from None


def without(values: dict[str, Any], found: Iterable[Mismatch]) -> dict[str, Any]:
    """Return the values without those that do not fit, so that later checks can go on with the rest.

    Of an array with a bad element the whole array goes: the indexes of the others must stay true.
    """
    bad: set[tuple[str, ...]] = set()
    for mismatch in found:
        keys: tuple[str, ...] = ()
        for part in mismatch.path:
            if isinstance(part, int):
                break
            keys = (*keys, part)
        bad.add(keys)
    return _pruned(values, (), bad)


def _pruned(table: dict[str, Any], at: tuple[str, ...], bad: set[tuple[str, ...]]) -> dict[str, Any]:
    return {
        key: _pruned(value, (*at, key), bad) if isinstance(value, dict) else value
        for key, value in table.items()
        if (*at, key) not in bad
    }
