"""The committed JSON schemas are those of the models."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import tomli
from hypothesis import given, settings

from tests.lock.sample import locks
from tykky.lock.write import render_lock

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "schemas").glob("*.schema.json"))


def test_they_are_current():
    done = subprocess.run(
        [sys.executable, "schemas/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_one_for_each_file_format():
    assert [path.name for path in FILES] == [
        "tykky-lock.schema.json",
        "tykky-site.schema.json",
        "tykky.schema.json",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_a_schema_that_says_where_it_is_from(path):
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f"/schemas/{path.name}")
    assert schema["title"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_tables_of_spec_and_site_take_no_unknown_keys_and_those_of_the_lock_do(path):
    schema = json.loads(path.read_text(encoding="utf-8"))
    tables = [table for table in schema["$defs"].values() if "properties" in table]
    assert tables
    strict = "lock" not in path.name
    assert all((table.get("additionalProperties") is False) is strict for table in tables)


@settings(deadline=None, max_examples=30)
@given(locks())
def test_what_is_written_into_a_lockfile_fits_its_schema(lock):
    schema = json.loads((ROOT / "schemas" / "tykky-lock.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(tomli.loads(render_lock(lock)))
