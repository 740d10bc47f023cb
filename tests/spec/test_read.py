"""Every example spec, read by the parser and checked by the JSON schema."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from tykky.errors import SpecError
from tykky.spec.model import CondaRequirement
from tykky.spec.read import parse_spec, read_spec

HERE = Path(__file__).parent
VALID = sorted((HERE / "valid").glob("*.toml"))
INVALID = sorted((HERE / "invalid").rglob("*.toml"))


def _name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", VALID, ids=_name)
def test_a_valid_example_is_read(path):
    read_spec(path)


SCHEMA = jsonschema.Draft202012Validator(
    json.loads((HERE.parents[1] / "schemas" / "tykky.schema.json").read_text(encoding="utf-8"))
)


def _schema_accepts(path: Path) -> bool:
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    # To JSON Schema a TOML date is the text of it.
    return bool(SCHEMA.is_valid(json.loads(json.dumps(values, default=lambda date: date.isoformat()))))


@pytest.mark.parametrize("path", VALID, ids=_name)
def test_the_schema_accepts_a_valid_example(path):
    assert _schema_accepts(path)


@pytest.mark.parametrize("path", INVALID, ids=_name)
def test_the_schema_refuses_an_invalid_example_unless_only_the_parser_can_see_it(path):
    assert _schema_accepts(path) is (path.parent.name == "parser-only")


@pytest.mark.parametrize("path", INVALID, ids=_name)
def test_an_invalid_example_gets_its_whole_message(path):
    with pytest.raises(SpecError) as caught:
        parse_spec(path.read_text(encoding="utf-8"), path.name)
    assert f"{caught.value}\n" == path.with_suffix(".txt").read_text(encoding="utf-8")
    assert caught.value.exit_code == 3


def test_everything_arrives_in_the_model():
    spec = read_spec(HERE / "valid" / "everything.toml")
    assert spec.prefix == "/tykky/climate-2"
    assert spec.environment.platforms == ("linux-64", "linux-aarch64")
    assert spec.conda is not None
    assert spec.conda.dependencies["hdf5"] == CondaRequirement("*", "mpi_mpich_*", "conda-forge")
    assert spec.conda.virtual_packages == {"__glibc": "2.28", "__cuda": "12.4", "__archspec": "x86_64_v3"}
    assert spec.pypi is not None
    assert spec.pypi.dependencies[6] == "./local-package"
    assert spec.pypi.config_settings == {"h5py": {"--global-option": ("--mpi",), "plain": "yes"}}
    assert spec.build.compression_level == 19
    assert spec.runtime.environ["GREETING"] == 'it\'s $HOME "as is"\nline two'


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("2026-11-01", "2026-11-01"),
        ("2026-11-01T12:30:00Z", "2026-11-01T12:30:00Z"),
        ("2026-11-01 12:30:00Z", "2026-11-01T12:30:00Z"),
        ("2026-11-01T12:30:00+02:00", "2026-11-01T12:30:00+02:00"),
        ("2026-11-01T12:30:00", "2026-11-01T12:30:00"),
        ('"2026-11-01"', "2026-11-01"),
        ('"2026-11-01 12:30:00Z"', "2026-11-01T12:30:00Z"),
    ],
)
def test_a_date_may_be_written_as_text_or_as_toml_date(written, text):
    spec = parse_spec(f'[environment]\nname = "a"\nexclude-newer = {written}\n')
    assert spec.environment.exclude_newer == text


def test_a_time_of_day_is_no_date():
    with pytest.raises(SpecError) as caught:
        parse_spec('[environment]\nname = "a"\nexclude-newer = 12:30:00\n')
    assert str(caught.value) == (
        "tykky.toml:3: environment.exclude-newer: expected str, got time; put the value in quotes"
    )


def test_a_missing_spec_points_to_init(tmp_path):
    path = tmp_path / "tykky.toml"
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert (str(caught.value), caught.value.hint) == (f"{path}: no such file", "make one with 'tykky init'")


def test_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "tykky.toml"
    path.write_bytes(b'[environment]\r\nname = "a"\r\n')
    assert read_spec(path).environment.name == "a"
    path.write_bytes(b'[environment]\r\nname = "a"\r\n\r\nx = 1\r\n')
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert str(caught.value) == f"{path}:4: environment.x: unknown key"


def test_reading_a_spec_does_not_import_rattler():
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from tykky.spec.read import read_spec;"
        f"read_spec(Path({str(HERE / 'valid' / 'everything.toml')!r})); print('rattler' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
