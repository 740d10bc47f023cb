"""The ready examples and the schema: what editors accept and what Tykky accepts is the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from tykky.errors import SiteError
from tykky.site.load import load_site
from tykky.site.model import Policy, Striping
from tykky.site.offer import Site
from tykky.site.table import settings_table

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "sites").glob("*.toml"))
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "schemas" / "tykky-site.schema.json").read_text(encoding="utf-8"))
)


def loaded(text: str, folder: Path) -> Site:
    file = folder / "site.toml"
    file.write_text(text, encoding="utf-8")
    return load_site({"HOME": str(folder)}, system=file)


def example(name: str, folder: Path) -> Site:
    """Load an example; the account that installs software is one that is known here."""
    text = (ROOT / "examples" / "sites" / f"{name}.toml").read_text(encoding="utf-8")
    return loaded(text.replace('owners = ["appl"]', 'owners = ["nobody"]'), folder)


def test_there_are_three() -> None:
    assert [path.stem for path in EXAMPLES] == ["lustre-setuid", "lustre-user-namespaces", "workstation"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_the_schema_and_is_loaded(path: Path, tmp_path: Path) -> None:
    SCHEMA.validate(tomli.loads(path.read_text(encoding="utf-8")))
    assert example(path.stem, tmp_path).files == (tmp_path / "site.toml",)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_is_commented_out_in_an_example_is_right_too(path: Path, tmp_path: Path) -> None:
    text = re.sub(r'(?m)^# (?=\[[a-z]+\]$|[a-z-]+ = |"https?://)', "", path.read_text(encoding="utf-8"))
    assert text != path.read_text(encoding="utf-8")
    SCHEMA.validate(tomli.loads(text))
    loaded(text.replace('owners = ["appl"]', 'owners = ["nobody"]'), tmp_path)


def test_what_the_examples_say(tmp_path: Path) -> None:
    setuid = example("lustre-setuid", tmp_path)
    assert (setuid.backends, setuid.no_bind) == (("apptainer",), ("/boot", "/root"))
    assert setuid.policy == Policy(depth=6, flatten_from=5, flatten="do", gc_grace=30)
    assert setuid.striping == Striping(count=16, size="4M", above="64M")
    assert setuid.environments["pytorch"] == Path("/appl/envs/pytorch")
    namespaces = example("lustre-user-namespaces", tmp_path)
    assert namespaces.backends == ("namespace", "apptainer")
    assert namespaces.program("squashfuse") == Path("/usr/libexec/apptainer/bin/squashfuse_ll")
    workstation = example("workstation", tmp_path)
    assert workstation.store == tmp_path / ".local/share/tykky/store"
    assert (workstation.init.compression_level, workstation.trusted_owners) == (9, frozenset())


def test_the_example_in_the_reference_is_right(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "site.md").read_text(encoding="utf-8")
    after = page.split("An example:\n\n", 1)[1]
    lines = [line for line in after.split("\n| key", 1)[0].splitlines() if not line or line.startswith("    ")]
    text = "\n".join(line[4:] for line in lines)
    SCHEMA.validate(tomli.loads(text))
    assert loaded(text.replace('"appl"', '"nobody"'), tmp_path).backends == ("apptainer",)


REFUSED = [
    'store = "images"',
    'stores = ["~/a"]',
    'environments = { "a/b" = "/a" }',
    'environments = { a = "b" }',
    "mirrors = { a = 1 }",
    "[trust]\nowners = [-1]",
    '[trust]\nowners = [""]',
    "[trust]\nowners = [true]",
    "[policy]\ndepth = 1",
    '[policy]\nflatten = "never"',
    "[runtime]\nbackends = []",
    '[runtime]\nbackends = ["docker"]',
    '[runtime]\nno-bind = ["/usr"]',
    '[runtime]\nno-bind = ["/a/b"]',
    '[runtime]\nbind = ["/a/../b"]',
    '[programs]\napptainer = "apptainer"',
    '[build]\nscratch = "tmp"',
    "[build]\nprocessors = 0",
    '[build]\nmessage = "\\u001b"',
    "[striping]\ncount = -2",
    '[striping]\nsize = "4 MB"',
    '[striping]\npool = ""',
    "[init]\nchannels = []",
    "[init]\ncompression-level = 23",
    "[unknown]",
    "[build]\nunknown = 1",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_does_not_fit_the_schema_either(text: str, tmp_path: Path) -> None:
    with pytest.raises(SiteError):
        loaded(text, tmp_path)
    assert not SCHEMA.is_valid(tomli.loads(text))


def test_the_table_of_settings_has_every_key_of_the_schema(tmp_path: Path) -> None:
    rows = {row.key for row in settings_table(loaded("", tmp_path))}
    assert rows == set(_keys(SCHEMA.schema["$defs"], "Settings"))


def _keys(definitions: dict[str, Any], name: str, at: str = "") -> list[str]:
    found = []
    for key, value in definitions[name]["properties"].items():
        if "$ref" in value:
            found += _keys(definitions, value["$ref"].rsplit("/", 1)[1], f"{key}.")
        else:
            found.append(f"{at}{key}")
    return found
