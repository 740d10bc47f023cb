"""Everything in some TOML values that a model does not take.

The model is read through `msgspec.inspect`, so that it stays the only truth. What a pattern means in words
stands in the model too: `Meta(pattern=…, extra={"rule": "use lower case letters …"})`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

from tykky.toml.document import dotted

if TYPE_CHECKING:
    # At run time it is imported only for a file that has problems.
    from msgspec import inspect

    from tykky.toml.positions import KeyPath

# TOML's types in the words of messages. A bool is an int to Python, a date-time a date: the narrow first.
_TYPE_WORDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (str, "str"),
    (int, "int"),
    (float, "float"),
    (list, "array"),
    (dict, "table"),
    (datetime.datetime, "date-time"),
    (datetime.date, "date"),
    (datetime.time, "time"),
)
_ACCEPTED = {
    "StrType": ("str",),
    "BoolType": ("bool",),
    "IntType": ("int",),
    "FloatType": ("float", "int"),
    "DictType": ("table",),
    "StructType": ("table",),
    "ListType": ("array",),
    "VarTupleType": ("array",),
    "NoneType": (),  # TOML has no null
}


class Mismatch(Struct, frozen=True):
    """One value that the model does not take."""

    path: KeyPath
    message: str
    suggestion: str | None = None


def mismatches(values: object, model: type) -> list[Mismatch]:
    """Return all that is wrong; empty exactly when msgspec would convert the values."""
    return list(_Check(model).value(values, _shape(model), ()))


@cache
def _shape(model: type) -> inspect.Type:
    from msgspec import inspect

    return inspect.type_info(model)


class _Check:
    """Walks values and model together. `kind` is always the model's type at `path`."""

    def __init__(self, root: type) -> None:
        self._root = root

    def value(self, value: object, kind: inspect.Type, path: KeyPath) -> Iterator[Mismatch]:
        from msgspec import inspect

        kind, rule = _member(kind, value), None
        while isinstance(kind, inspect.Metadata):  # a type with its own may stand in another's
            rule = (kind.extra or {}).get("rule", rule)
            kind = _member(kind.type, value)
        if _type_word(value) not in _accepted(kind):
            yield _wrong_type(value, kind, path)
        elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
            yield from self._struct(value, kind, path)
        elif isinstance(kind, inspect.DictType) and isinstance(value, dict):
            for key, item in value.items():
                yield from self.value(key, kind.key_type, (*path, key))
                yield from self.value(item, kind.value_type, (*path, key))
        elif isinstance(kind, inspect.VarTupleType | inspect.ListType) and isinstance(value, list):
            if kind.min_length and len(value) < kind.min_length:
                yield Mismatch(path, "must not be empty")
            for index, item in enumerate(value):
                yield from self.value(item, kind.item_type, (*path, index))
        elif isinstance(kind, inspect.LiteralType):
            yield from _literal(value, kind.values, path)
        elif isinstance(kind, inspect.StrType) and isinstance(value, str):
            yield from _text(value, kind, path, rule)
        elif isinstance(kind, inspect.IntType) and isinstance(value, int):
            yield from _number(value, kind, path)

    def _struct(self, value: dict[str, object], kind: inspect.StructType, path: KeyPath) -> Iterator[Mismatch]:
        fields = {field.encode_name: field for field in kind.fields}
        if kind.cls.__struct_config__.forbid_unknown_fields:
            for key in value:
                if key not in fields:
                    yield Mismatch((*path, key), "unknown key", self._meant(key, fields))
        for key, field in fields.items():
            if key in value:
                yield from self.value(value[key], field.type, (*path, key))
            elif field.required:
                what = "table" if "table" in _accepted(field.type) else "key"
                yield Mismatch((*path, key), f"this {what} is missing")

    def _meant(self, key: str, fields: Iterable[str]) -> str | None:
        """Return the key that was meant: a similar one of this table, or the same one of another table."""
        key = key.replace("_", "-")
        elsewhere = [dotted(path) for path in _keys(_shape(self._root)) if path[-1] == key]
        return _nearest(key, fields) or (elsewhere[0] if len(elsewhere) == 1 else None)


def _text(value: str, kind: inspect.StrType, path: KeyPath, rule: str | None) -> Iterator[Mismatch]:
    if kind.min_length and len(value) < kind.min_length:
        yield Mismatch(path, "must not be empty")
    elif kind.max_length is not None and len(value) > kind.max_length:
        yield Mismatch(path, f"is {len(value)} characters long, at most {kind.max_length} are allowed")
    elif kind.pattern is not None and not re.search(kind.pattern, value):
        yield Mismatch(path, f"{value!r} is not allowed: {rule or 'it must match ' + kind.pattern}")


def _number(value: int, kind: inspect.IntType, path: KeyPath) -> Iterator[Mismatch]:
    if kind.ge is not None and value < kind.ge:
        yield Mismatch(path, f"{value} is too small, the least is {kind.ge}")
    elif kind.le is not None and value > kind.le:
        yield Mismatch(path, f"{value} is too large, the most is {kind.le}")


def _literal(value: object, choices: Sequence[object], path: KeyPath) -> Iterator[Mismatch]:
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        yield Mismatch(path, f"{value!r} is not one of {listed}", _nearest(str(value), map(str, choices)))


def _wrong_type(value: object, kind: inspect.Type, path: KeyPath) -> Mismatch:
    accepted, got = _accepted(kind), _type_word(value)
    message = f"expected {' or '.join(accepted)}, got {got}"
    if "str" in accepted and got not in ("array", "table"):
        message += "; put the value in quotes"
    return Mismatch(path, message)


def _member(kind: inspect.Type, value: object) -> inspect.Type:
    """Return the member of a union that takes values of this type; the union itself if none does."""
    from msgspec import inspect

    if isinstance(kind, inspect.UnionType):
        return next((member for member in kind.types if _type_word(value) in _accepted(member)), kind)
    return kind


def _accepted(kind: inspect.Type) -> tuple[str, ...]:
    """Return the words of the TOML types that a type of the model takes."""
    from msgspec import inspect

    if isinstance(kind, inspect.Metadata):
        return _accepted(kind.type)
    if isinstance(kind, inspect.UnionType):
        return tuple(word for member in kind.types for word in _accepted(member))
    if isinstance(kind, inspect.LiteralType):
        return tuple(dict.fromkeys(_type_word(choice) for choice in kind.values))
    return _ACCEPTED[type(kind).__name__]


def _keys(kind: inspect.Type, at: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every key of the model."""
    from msgspec import inspect

    if isinstance(kind, inspect.Metadata):
        yield from _keys(kind.type, at)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from _keys(member, at)
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield (*at, field.encode_name)
            yield from _keys(field.type, (*at, field.encode_name))


def _type_word(value: object) -> str:
    return next(word for kind, word in _TYPE_WORDS if isinstance(value, kind))


def _nearest(word: str, choices: Iterable[str]) -> str | None:
    close = get_close_matches(word, choices, n=1)
    return close[0] if close else None
