"""Every setting with its value and where it comes from, for `tykky doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tykky.site.offer import Site
from tykky.toml.document import dotted

if TYPE_CHECKING:
    from tykky.toml.positions import KeyPath


class Setting(Struct, frozen=True):
    """One key of site.toml, its value in the terms of TOML (None: not set), and its file (None: the default)."""

    key: str
    value: Any
    origin: Path | None


def settings_table(site: Site) -> tuple[Setting, ...]:
    """Return all settings, in the order of the model; of a table of names or URLs each entry, or the table if empty."""
    values = msgspec.to_builtins(_whole(site.settings))
    return tuple(Setting(key, value, site.origins.get(key)) for key, value in _rows(values, ()))


def _whole(settings: msgspec.Struct) -> dict[str, Any]:
    """Return the values of a table under their keys, defaults too (which encoding it would leave out)."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        found[field.encode_name] = _whole(value) if isinstance(value, msgspec.Struct) else value
    return found


def _rows(table: Mapping[str, Any], at: KeyPath) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _rows(value, (*at, key))
        else:
            yield dotted((*at, key)), value
