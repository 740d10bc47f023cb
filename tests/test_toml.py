"""TOML files: positions, reading, strict conversion with every problem at once, and writing whole or not at all."""

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from tykky.errors import SiteError, SpecError
from tykky.toml.document import dotted, parse, read_text
from tykky.toml.files import replace_text
from tykky.toml.mismatch import mismatches
from tykky.toml.positions import locate
from tykky.toml.strict import convert, without


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    level: Annotated[int, Meta(ge=1, le=9)] = 1
    max_depth: int = 3


class Long(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level: int = 1


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    name: Annotated[str, Meta(pattern="^[a-z]+$(?!\n)", max_length=8, extra={"rule": "use lower case letters"})]
    kind: Literal["sdist", "wheel"] = "wheel"
    parts: Annotated[tuple[str, ...], Meta(min_length=1)] = ("one",)
    is_big: bool = False
    either: str | Long | None = None
    inner: Inner = msgspec.field(default_factory=Inner)
    by_name: dict[str, str | tuple[str, ...]] = {}
    ratio: float = 1.0


class Lenient(msgspec.Struct, frozen=True):
    name: str


def problems_of(text: str, model: type = Model) -> list[str]:
    with pytest.raises(SpecError) as caught:
        convert(parse(text, "x.toml", SpecError), model, SpecError)
    return str(caught.value).splitlines()


# --- positions


def test_every_key_and_element_has_its_line():
    text = """\
# comment with [brackets] and = signs
top = 1

[a.b]   # a table
"quoted \\u00e9" = "x # no comment"
c.d = 'literal ["'
list = [
  "one", # first
  # between
  "two",
  ["three",
   { deep = 1, er = [1,
     2] }],
]
when = 2026-01-01 12:00:00

[[pkg]]
name = \"\"\"
multi "" line \\\"\"\"
\"\"\"
[pkg.sub]
x = 1
[[pkg]]
name = '''a
b'c'''
y = true
"""
    tomllib.loads(text)
    assert locate(text) == {
        ("top",): 2,
        ("a",): 4,
        ("a", "b"): 4,
        ("a", "b", "quoted é"): 5,
        ("a", "b", "c"): 6,
        ("a", "b", "c", "d"): 6,
        ("a", "b", "list"): 7,
        ("a", "b", "list", 0): 8,
        ("a", "b", "list", 1): 10,
        ("a", "b", "list", 2): 11,
        ("a", "b", "list", 2, 0): 11,
        ("a", "b", "list", 2, 1): 12,
        ("a", "b", "list", 2, 1, "deep"): 12,
        ("a", "b", "list", 2, 1, "er"): 12,
        ("a", "b", "list", 2, 1, "er", 0): 12,
        ("a", "b", "list", 2, 1, "er", 1): 13,
        ("a", "b", "when"): 15,
        ("pkg",): 17,
        ("pkg", 0): 17,
        ("pkg", 0, "name"): 18,
        ("pkg", 0, "sub"): 21,
        ("pkg", 0, "sub", "x"): 22,
        ("pkg", 1): 23,
        ("pkg", 1, "name"): 24,
        ("pkg", 1, "y"): 26,
    }


def test_windows_line_ends_count_once():
    assert locate("a = 1\r\n\r\n# c\r\nb = [\r\n 1,\r\n 2 ]\r\n") == {
        ("a",): 1,
        ("b",): 4,
        ("b", 0): 5,
        ("b", 1): 6,
    }


@pytest.mark.parametrize(
    "value",
    [
        '""',
        '"\\""',
        "''",
        '"""a"b""c"""',
        '"""""a"""""',
        "'''''a'''''",
        '"\\\\"',
        '"""\\\\"""',
        "1e5",
        "[]",
        "{}",
        "[{}]",
    ],
)
def test_the_scanner_ends_a_value_where_the_parser_does(value):
    text = f"a = {value}\nb = 1\n"
    assert tomllib.loads(text)["b"] == 1
    assert locate(text)[("b",)] == text.count("\n")


_keys = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=5)
_scalars = st.one_of(st.text(max_size=8), st.integers(-99, 99), st.booleans(), st.dates(), st.floats(allow_nan=False))
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=12
)


def _paths(value, at=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*at, key)
        yield from _paths(item, (*at, key))


@settings(deadline=None)
@given(st.dictionaries(_keys, _values, max_size=4), st.booleans())
def test_positions_cover_exactly_what_the_parser_reads(values, multiline):
    text = tomli_w.dumps(values, multiline_strings=multiline)
    assert set(locate(text)) == set(_paths(tomllib.loads(text)))


def test_dotted_paths_are_written_as_toml_writes_keys():
    assert dotted(("pypi", "dependencies", 2)) == "pypi.dependencies[2]"
    assert dotted(("conda", "dependencies", "a.b")) == 'conda.dependencies."a.b"'
    assert dotted(('say "hi"\\',)) == '"say \\"hi\\"\\\\"'
    assert dotted(("package", 3, "sha256")) == "package[3].sha256"


# --- strict conversion


def test_a_good_document_becomes_the_model():
    text = 'name = "ok"\neither = { level = 2 }\n[by-name]\na = ["b"]\n'
    assert convert(parse(text, "x.toml", SpecError), Model, SpecError) == Model(
        name="ok", either=Long(level=2), by_name={"a": ("b",)}
    )


def test_all_problems_of_a_file_come_at_once_in_the_order_of_lines():
    text = """\
name = "Upper"
kidn = "wheel"
kind = "whel"
parts = ["a", 1, ["b"]]
is-big = "yes"
either = 3
max-depth = 3
ratio = "x"

[inner]
level = 10
max_depth = 2

[by-name]
a = 2026-01-01
b = ["c", 5]
"""
    assert problems_of(text) == [
        "x.toml:1: name: 'Upper' is not allowed: use lower case letters",
        "x.toml:2: kidn: unknown key (did you mean 'kind'?)",
        "x.toml:3: kind: 'whel' is not one of 'sdist', 'wheel' (did you mean 'wheel'?)",
        "x.toml:4: parts[1]: expected str, got int; put the value in quotes",
        "x.toml:4: parts[2]: expected str, got array",
        "x.toml:5: is-big: expected bool, got str",
        "x.toml:6: either: expected str or table, got int; put the value in quotes",
        "x.toml:7: max-depth: unknown key (did you mean 'inner.max-depth'?)",
        "x.toml:8: ratio: expected float or int, got str",
        "x.toml:11: inner.level: 10 is too large, the most is 9",
        "x.toml:12: inner.max_depth: unknown key (did you mean 'max-depth'?)",
        "x.toml:15: by-name.a: expected str or array, got date; put the value in quotes",
        "x.toml:16: by-name.b[1]: expected str, got int; put the value in quotes",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x.toml: name: this key is missing"),
        ("name = 1.5", "x.toml:1: name: expected str, got float; put the value in quotes"),
        ("name = true", "x.toml:1: name: expected str, got bool; put the value in quotes"),
        ("name = []", "x.toml:1: name: expected str, got array"),
        ("name = 12:00:00", "x.toml:1: name: expected str, got time; put the value in quotes"),
        ("name = 2026-01-01T12:00:00", "x.toml:1: name: expected str, got date-time; put the value in quotes"),
        ('name = "abcdefghi"', "x.toml:1: name: is 9 characters long, at most 8 are allowed"),
        ('name = "a\\n"', "x.toml:1: name: 'a\\n' is not allowed: use lower case letters"),
        ('name = "a"\nparts = []', "x.toml:2: parts: must not be empty"),
        ('name = "a"\ninner = 1', "x.toml:2: inner: expected table, got int"),
        ('name = "a"\n[inner]\nlevel = 0', "x.toml:3: inner.level: 0 is too small, the least is 1"),
        ('name = "a"\n[inner]\nlevel = true', "x.toml:3: inner.level: expected int, got bool"),
        ('name = "a"\n[[inner]]\nlevel = 1', "x.toml:2: inner: expected table, got array"),
        ('name = "a"\nzzz = 1', "x.toml:2: zzz: unknown key"),
    ],
)
def test_one_problem(text, said):
    assert problems_of(text) == [said]


def test_a_model_that_passes_over_unknown_keys_says_nothing_about_them():
    document = parse('name = "a"\nnewer = 1', "x.toml", SpecError)
    assert convert(document, Lenient, SpecError) == Lenient("a")
    assert problems_of("name = 1\nnewer = 1", Lenient) == [
        "x.toml:1: name: expected str, got int; put the value in quotes"
    ]


_words = st.sampled_from(["name", "kind", "parts", "is-big", "either", "inner", "by-name", "ratio", "level", "x"])
_odd = st.recursive(
    st.sampled_from(["abc", "wheel", "A", "", "toolongname", 1, 12, 0, True, 2.5]) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(_words, _odd, max_size=6))
def test_problems_are_found_exactly_when_msgspec_refuses(values):
    try:
        msgspec.convert(values, Model)
        refused = False
    except msgspec.ValidationError:
        refused = True
    assert bool(mismatches(values, Model)) is refused


def test_what_does_not_fit_is_taken_out_and_arrays_go_whole():
    values = {"name": "a", "parts": ["x", 1], "inner": {"level": 99, "max-depth": 2}, "by-name": {"a": 1, "b": "c"}}
    rest = without(values, mismatches(values, Model))
    assert rest == {"name": "a", "inner": {"max-depth": 2}, "by-name": {"b": "c"}}


# --- syntax


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb 2\n", "x.toml:2: not valid TOML: expected '=' after a key in a key/value pair at column 3"),
        ("a = [1,\n", "x.toml:1: not valid TOML: invalid value at the end of the file"),
        ("a = 1\na = 2\n", "x.toml:2: not valid TOML: cannot overwrite a value at column 6"),
        ("[a]\n[a]\n", "x.toml:2: not valid TOML: cannot declare ('a',) twice at column 3"),
        ("a = " + "9" * 5000, "x.toml: not valid TOML: a number has too many digits"),
        ("a = " + "[" * 5000, "x.toml: is nested too deeply"),
    ],
    ids=["no-equals", "cut-short", "key-twice", "table-twice", "huge-number", "deep"],
)
def test_a_syntax_error_names_its_line(text, said):
    with pytest.raises(SpecError) as caught:
        parse(text, "x.toml", SpecError)
    assert str(caught.value) == said


# --- files


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"a = 1\nb = '\xe9'\n", "{}:2: is not UTF-8 text: byte 0xe9", "save it with UTF-8 encoding"),
        (
            b"\xef\xbb\xbfa = 1\n",
            "{}: begins with a byte order mark",
            "save it as UTF-8 without a byte order mark (BOM)",
        ),
        ("a = 1".encode("utf-16"), "{}: is UTF-16 text, not UTF-8", "save it with UTF-8 encoding"),
    ],
    ids=["latin-1", "bom", "utf-16"],
)
def test_a_file_in_another_encoding(tmp_path, content, said, hint):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(SiteError) as caught:
        read_text(path, SiteError)
    assert (str(caught.value), caught.value.hint) == (said.format(path), hint)


def test_what_is_no_readable_file(tmp_path):
    def said(path: Path) -> str:
        with pytest.raises(SpecError) as caught:
            read_text(path, SpecError, missing="make one")
        return f"{caught.value} / {caught.value.hint}"

    assert said(tmp_path / "no.toml") == f"{tmp_path}/no.toml: no such file / make one"
    assert said(tmp_path) == f"{tmp_path}: is a directory, not a file / None"
    (tmp_path / "a").write_text("")
    assert said(tmp_path / "a" / "b") == f"{tmp_path}/a/b: cannot be read: not a directory / None"
    os.mkfifo(tmp_path / "pipe")
    assert said(tmp_path / "pipe") == f"{tmp_path}/pipe: is not a regular file / None"


def test_line_endings_come_as_they_are(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"a = 1\r\n")
    assert read_text(path, SpecError) == "a = 1\r\n"


def test_writing_the_same_text_touches_nothing(tmp_path):
    path = tmp_path / "x.toml"
    assert replace_text(path, "é\r\n", SpecError) is True
    before = path.stat()
    assert replace_text(path, "é\r\n", SpecError) is False
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert path.read_bytes() == "é\r\n".encode()
    assert os.listdir(tmp_path) == ["x.toml"]


def test_a_new_file_gets_the_mode_of_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "x.toml"
    old = os.umask(0o027)
    try:
        replace_text(path, "a", SpecError)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    replace_text(path, "b", SpecError)
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o604, "b")


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "x.toml"
    target.write_text("old")
    link = tmp_path / "x.toml"
    link.symlink_to("real/x.toml")
    replace_text(link, "new", SpecError)
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_file_that_cannot_be_written(tmp_path):
    path = tmp_path / "no" / "x.toml"
    with pytest.raises(SpecError) as caught:
        replace_text(path, "a", SpecError)
    assert str(caught.value) == f"{path}: cannot be written: no such file or directory"


def test_a_failed_write_leaves_the_old_text_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "x.toml"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpecError) as caught:
        replace_text(path, "new", SpecError)
    assert str(caught.value) == f"{path}: cannot be written: no space left on device"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.toml"]
