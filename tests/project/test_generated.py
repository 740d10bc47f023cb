"""The pages that are made from the code: that a change of the code shows, and how a page reads."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from tools import exit_code_page, generate, spec_pages
from tykky.cli.main import VERBS
from tykky.errors import TykkyError


class Wheels(Struct, rename="kebab"):
    """Round things."""

    spare_wheels: Annotated[int, Meta(ge=0, le=4, description="in the back <or on top>")] = 1
    material: Literal["rubber", "wood"] = "rubber"


class Cart(Struct):
    """A whole cart."""

    wheels: Wheels
    name: str
    tags: tuple[str, ...] = ()
    load: dict[str, str | int] = {}
    owner: str | None = None


def test_a_model_becomes_tables() -> None:
    page = spec_pages._page("cart.toml", "cart.schema.json", Cart)
    assert page.endswith(
        """
| key | type | default | meaning |
|---|---|---|---|
| `name` | string | *required* |  |
| `tags` | array of strings |  |  |
| `load` | table of string or integer |  |  |
| `owner` | string |  |  |

## `[wheels]`

Round things.

| key | type | default | meaning |
|---|---|---|---|
| `spare-wheels` | integer | `1` | in the back &lt;or on top>; at least 0, at most 4 |
| `material` | `rubber`, `wood` | `"rubber"` |  |
"""
    )


def test_every_exit_code_is_explained_once() -> None:
    table = exit_code_page.exit_codes_page().partition("## Launchers")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    codes = [int(row[0].strip("| ")) for row in rows]
    assert codes == sorted(set(codes))
    assert {kind.exit_code for kind in exit_code_page._classes(TykkyError)} <= set(codes)
    assert all(row[2].strip("| ") for row in rows)


def test_the_readme_gets_its_table_of_verbs() -> None:
    text = f"before\n{generate.BEGIN}old\n{generate.END}after\n"
    written = generate.readme(text)
    assert written.startswith(f"before\n{generate.BEGIN}| verb |")
    assert written.endswith(f"{generate.END}after\n")
    assert all(f"[`{verb}`]" in written for verb in VERBS)
    assert generate.readme(written) == written


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(SystemExit) as refused:
        generate.readme("# Tykky\n")
    assert str(refused.value) == (
        "README.md has lost its marks '<!-- verbs: made by `make schemas` -->' and '<!-- end of verbs -->'"
    )
