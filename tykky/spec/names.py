"""The one spelling of a Python distribution's name (PEP 503).

`packaging.utils` has it too, and with it the tags of every platform: importing those takes longer than anything else
that has to be done before a resolver is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from packaging.utils import NormalizedName


def canonical_name(name: str) -> NormalizedName:
    """Return the name in lower case, with one hyphen for each run of `-`, `_` and `.`."""
    text = name.lower().replace("_", "-").replace(".", "-")
    while "--" in text:
        text = text.replace("--", "-")
    return cast("NormalizedName", text)
