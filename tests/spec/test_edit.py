"""Edits of tykky.toml: what is not edited keeps its bytes."""

import tomllib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tykky.errors import UsageError
from tykky.spec.array_text import appended, elements, removed, replaced
from tykky.spec.edit import add_conda, add_pypi, remove_conda, remove_pypi
from tykky.spec.model import CondaRequirement

# id, before, what is added, after; taking it out again must give `before`
PYPI_LAYOUTS = [
    ("one-line", 'dependencies = ["a", "b"]\n', 'dependencies = ["a", "b", "new>=1"]\n'),
    ("empty", "dependencies = []\n", 'dependencies = ["new>=1"]\n'),
    ("one-element", 'dependencies = ["a"] # tail\n', 'dependencies = ["a", "new>=1"] # tail\n'),
    ("blanks-inside", 'dependencies = [ "a" , "b" ]\n', 'dependencies = [ "a" , "b" , "new>=1" ]\n'),
    ("trailing-comma", "dependencies = ['a', 'b',]\n", "dependencies = ['a', 'b', 'new>=1',]\n"),
    ("no-blank", 'dependencies = ["a","b"]\n', 'dependencies = ["a","b","new>=1"]\n'),
    (
        "multi-line",
        'dependencies = [\n    "a",\n    "b",\n]\n',
        'dependencies = [\n    "a",\n    "b",\n    "new>=1",\n]\n',
    ),
    (
        "multi-line-without-last-comma",
        'dependencies = [\n  "a",\n  "b" # why\n]\n',
        'dependencies = [\n  "a",\n  "b", # why\n  "new>=1"\n]\n',
    ),
    (
        "comments",
        'dependencies = [\n\t"a", # one\n\t# two, "x"\n\t"b", # three ]\n\t# four\n]\n',
        'dependencies = [\n\t"a", # one\n\t# two, "x"\n\t"b", # three ]\n\t"new>=1",\n\t# four\n]\n',
    ),
    (
        "aligned",
        'dependencies = ["a",\n                "b"]\n',
        'dependencies = ["a",\n                "b",\n                "new>=1"]\n',
    ),
    (
        "two-on-a-line",
        'dependencies = [\n  "a", "b",\n  "c", "d"\n]\n',
        'dependencies = [\n  "a", "b",\n  "c", "d", "new>=1"\n]\n',
    ),
    ("multi-line-empty", "dependencies = [\n]\n", 'dependencies = [\n    "new>=1",\n]\n'),
    (
        "only-a-comment",
        "dependencies = [\n  # nothing yet\n]\n",
        'dependencies = [\n  # nothing yet\n  "new>=1",\n]\n',
    ),
    ("no-line-end", 'dependencies = ["a"]', 'dependencies = ["a", "new>=1"]'),
    (
        "windows",
        'dependencies = [\r\n  "a",\r\n  "b"\r\n]\r\n',
        'dependencies = [\r\n  "a",\r\n  "b",\r\n  "new>=1"\r\n]\r\n',
    ),
    (
        "strings-that-look-like-more",
        "dependencies = [\"a; extra == 'x'\", 'b; extra == \"]\"']\n",
        "dependencies = [\"a; extra == 'x'\", 'b; extra == \"]\"', 'new>=1']\n",
    ),
]


@pytest.mark.parametrize(("before", "after"), [row[1:] for row in PYPI_LAYOUTS], ids=[row[0] for row in PYPI_LAYOUTS])
def test_a_pypi_requirement_comes_and_goes(before, after):
    rest = "\n# about tools\n[tool]\nx   =  1 # odd\n" if before.endswith("\n") else ""
    text, changed = (f"# top\n[pypi] # table\n{body}{rest}" for body in (before, after))
    assert add_pypi(text, ["new>=1"]) == changed
    assert remove_pypi(changed, ["NEW"]) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('pypi.dependencies = ["a"]\n', 'pypi.dependencies = ["a", "new"]\n'),
        (
            'pypi = { dependencies = ["a"], python = "3.12" }\n',
            'pypi = { dependencies = ["a", "new"], python = "3.12" }\n',
        ),
        ("[pypi]\n'dependencies'=['a']\n", "[pypi]\n'dependencies'=['a', 'new']\n"),
    ],
)
def test_other_ways_to_write_the_table(before, after):
    assert add_pypi(before, ["new"]) == after
    assert remove_pypi(after, ["new"]) == before


def test_a_line_that_grows_too_long_gets_one_line_per_element():
    names = [f"package-number-{number}" for number in range(5)]
    text = "[pypi]\ndependencies = [" + ", ".join(f'"{name}"' for name in names[:4]) + "]\n"
    assert add_pypi(text, names[4:]) == (
        "[pypi]\ndependencies = [\n" + "".join(f'    "{name}",\n' for name in names) + "]\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[pypi]\ndependencies = ["new"]\n'),
        (
            '[environment]\nname = "a"\n',
            '[environment]\nname = "a"\n\n[pypi]\ndependencies = ["new"]\n',
        ),
        ("[pypi]\n", '[pypi]\ndependencies = ["new"]\n'),
        (
            '[pypi]\npython = "3.12"\n\n# how it runs\n[runtime]\n',
            '[pypi]\npython = "3.12"\ndependencies = ["new"]\n\n# how it runs\n[runtime]\n',
        ),
        (
            '[pypi]\npython = "3.12"\n\n[pypi.config-settings]\nx = { a = "b" }\n',
            '[pypi]\npython = "3.12"\ndependencies = ["new"]\n\n[pypi.config-settings]\nx = { a = "b" }\n',
        ),
        (
            '[pypi.config-settings]\nx = { a = "b" }\n',
            '[pypi]\ndependencies = ["new"]\n\n[pypi.config-settings]\nx = { a = "b" }\n',
        ),
    ],
    ids=["nothing", "no-table", "empty-table", "before-comments-of-the-next", "before-subtables", "only-subtables"],
)
def test_pypi_dependencies_are_made(before, after):
    assert add_pypi(before, ["new"]) == after


@pytest.mark.parametrize(
    ("before", "requirement", "after"),
    [
        ('["a", "NumPy>=1", "b"]', "numpy>=2", '["a", "numpy>=2", "b"]'),
        ("[\n  'numpy', # keep\n]", "numpy==2.*", "[\n  'numpy==2.*', # keep\n]"),
        ("['numpy']", "numpy; sys_platform == 'linux'", "[\"numpy; sys_platform == 'linux'\"]"),
        ('["dask[array]>=1"]', "dask", '["dask"]'),
        ('["./local", "a"]', "./local[plot]", '["./local[plot]", "a"]'),
        (
            "[\"torch==1; sys_platform == 'linux'\", \"torch==2; sys_platform == 'darwin'\"]",
            "torch==3 ; sys_platform=='darwin'",
            "[\"torch==1; sys_platform == 'linux'\", \"torch==3 ; sys_platform=='darwin'\"]",
        ),
        (
            "[\"a==1; sys_platform == 'linux'\"]",
            "a==3 ; sys_platform=='win32'",
            "[\"a==3 ; sys_platform=='win32'\"]",
        ),
        (
            "[\"a==1; os_name=='a'\", \"a==2; os_name=='b'\"]",
            "a==3; os_name=='c'",
            "[\"a==1; os_name=='a'\", \"a==2; os_name=='b'\", \"a==3; os_name=='c'\"]",
        ),
    ],
)
def test_a_requirement_of_the_same_package_is_replaced_in_place(before, requirement, after):
    assert add_pypi(f"[pypi]\ndependencies = {before}\n", [requirement]) == f"[pypi]\ndependencies = {after}\n"


def test_a_requirement_that_could_mean_several():
    text = "[pypi]\ndependencies = [\"a==1; sys_platform == 'linux'\", \"a==2; sys_platform == 'darwin'\"]\n"
    with pytest.raises(UsageError) as caught:
        add_pypi(text, ["a==3"])
    assert str(caught.value) == "a stands 2 times in [pypi], each with its own marker"
    assert remove_pypi(text, ["a"]) == "[pypi]\ndependencies = []\n"


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        ('["a", "b", "c"]', "a", '["b", "c"]'),
        ('["a", "b", "c"]', "b", '["a", "c"]'),
        ('["a", "b", "c"]', "c", '["a", "b"]'),
        ('["a"]', "a", "[]"),
        ('[ "a" ]', "a", "[ ]"),
        ('[\n  "a",\n]', "a", "[\n]"),
        ('["a",\n "b"]', "a", '["b"]'),
        ('["a",\n "b"]', "b", '["a"]'),
        ('[\n  "a", # of a\n  # of b\n  "b", # of b\n  # end\n]', "b", '[\n  "a", # of a\n  # of b\n  # end\n]'),
        ('[\n  "a", # of a\n  "b" # of b\n]', "b", '[\n  "a" # of a\n]'),
        ('[\n  "a", # of a\n  "b" # of b\n]', "a", '[\n  "b" # of b\n]'),
        ('[\n  "a", "b",\n  "c",\n]', "a", '[\n  "b",\n  "c",\n]'),
        ('[\n  "a", "b",\n  "c",\n]', "b", '[\n  "a",\n  "c",\n]'),
        ('["./local[x]", "a"]', "././local/", '["a"]'),
    ],
)
def test_removing(before, name, after):
    assert remove_pypi(f"[pypi]\ndependencies = {before}\n", [name]) == f"[pypi]\ndependencies = {after}\n"


# --- any array

_blank = st.sampled_from(["", " ", "\n", "\n  ", "\n\t", " # c\n", "\n    # ['x'],\n    ", "\n\n  "])
_quote = st.sampled_from(['"{}"', "'{}'", '"""{}"""', "'''{}'''"])
_name = st.from_regex(r"[a-z][a-z0-9]{0,5}(>=[0-9])?", fullmatch=True)


@st.composite
def _arrays(draw) -> str:
    names = draw(st.lists(_name, max_size=4))
    text = "["
    for index, name in enumerate(names):
        text += draw(_blank) + draw(_quote).format(name) + draw(_blank)
        if index < len(names) - 1 or draw(st.booleans()):
            text += ","
    return text + draw(_blank) + "]"


def _values(array: str) -> list[str]:
    return tomllib.loads(f"a = {array}")["a"]


@settings(max_examples=200, deadline=None)
@given(_arrays(), _name)
def test_what_is_added_to_any_array_can_be_taken_out_again(array, name):
    values = _values(array)
    grown = appended(array, name)
    assert _values(grown) == [*values, name]
    assume(("\n" in grown) == ("\n" in array))  # a long line may have been broken up
    assert removed(grown, len(values)) == array


@settings(max_examples=200, deadline=None)
@given(_arrays(), st.data())
def test_any_element_of_any_array_can_go_or_be_replaced(array, data):
    values = _values(array)
    assume(values)
    index = data.draw(st.integers(0, len(values) - 1))
    assert _values(removed(array, index)) == values[:index] + values[index + 1 :]
    swapped = replaced(array, index, "other")
    assert _values(swapped) == [*values[:index], "other", *values[index + 1 :]]
    begin, end = elements(array)[index]
    assert (swapped[:begin], swapped[len(swapped) - len(array) + end :]) == (array[:begin], array[end:])


# --- conda

CONDA_LAYOUTS = [
    (
        "before-the-next-table",
        '[conda.dependencies]\npython = "3.12.*" # py\n\n# next\n[pypi]\n',
        '[conda.dependencies]\npython = "3.12.*" # py\nnew = ">=1"\n\n# next\n[pypi]\n',
    ),
    ("empty-table", "[conda.dependencies]\n\n[pypi]\n", '[conda.dependencies]\nnew = ">=1"\n\n[pypi]\n'),
    ("last-table", '[conda.dependencies]\npython = "3"\n', '[conda.dependencies]\npython = "3"\nnew = ">=1"\n'),
    ("no-line-end", '[conda.dependencies]\npython = "3"', '[conda.dependencies]\npython = "3"\nnew = ">=1"'),
    (
        "indented",
        '  [conda.dependencies]\n  python   = "3"\n  gdal     = "3"\n\n  [pypi]\n',
        '  [conda.dependencies]\n  python   = "3"\n  gdal     = "3"\n  new = ">=1"\n\n  [pypi]\n',
    ),
    (
        "dotted-keys",
        '[conda]\ndependencies.python = "3"\nchannels = ["a"]\n',
        '[conda]\ndependencies.python = "3"\ndependencies.new = ">=1"\nchannels = ["a"]\n',
    ),
    (
        "scattered",
        '[conda.dependencies]\npython = "3"\n\n[pypi]\n\n[conda.virtual-packages]\n__cuda = "12"\n',
        '[conda.dependencies]\npython = "3"\nnew = ">=1"\n\n[pypi]\n\n[conda.virtual-packages]\n__cuda = "12"\n',
    ),
    (
        "windows",
        '[conda.dependencies]\r\npython = "3"\r\n\r\n[pypi]\r\n',
        '[conda.dependencies]\r\npython = "3"\r\nnew = ">=1"\r\n\r\n[pypi]\r\n',
    ),
]


@pytest.mark.parametrize(("before", "after"), [row[1:] for row in CONDA_LAYOUTS], ids=[row[0] for row in CONDA_LAYOUTS])
def test_a_conda_requirement_comes_and_goes(before, after):
    assert add_conda(before, {"new": CondaRequirement(">=1")}) == after
    assert remove_conda(after, ["NEW"]) == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[conda.dependencies]\nnew = ">=1"\n'),
        ("[pypi]\n", '[pypi]\n\n[conda.dependencies]\nnew = ">=1"\n'),
        (
            '[conda]\nchannels = ["a"]\n\n[pypi]\n',
            '[conda]\nchannels = ["a"]\n\n[conda.dependencies]\nnew = ">=1"\n\n[pypi]\n',
        ),
        ('conda = { channels = ["a"] }\n', 'conda = { channels = ["a"], dependencies = {new = ">=1"}}\n'),
    ],
    ids=["nothing", "no-table", "no-dependencies", "inline"],
)
def test_conda_dependencies_are_made(before, after):
    assert add_conda(before, {"new": CondaRequirement(">=1")}) == after


@pytest.mark.parametrize(
    ("requirement", "written"),
    [
        (CondaRequirement("3.9.*"), '"3.9.*"'),
        (CondaRequirement(">=3", "*mpi*", "bioconda"), '{version = ">=3", build = "*mpi*", channel = "bioconda"}'),
        (CondaRequirement("*", None, "bioconda"), '{channel = "bioconda"}'),
    ],
)
def test_a_conda_requirement_is_replaced_in_place(requirement, written):
    before = '[conda.dependencies]\na = "1"\nGDAL = "*" # maps\nb = "2"\n'
    assert add_conda(before, {"gdal": requirement}) == before.replace('"*"', written)


def test_removing_what_is_not_there_changes_nothing():
    text = '# x\n[environment]\nname   = "a"\n'
    assert remove_conda(text, ["gdal"]) == text
    assert remove_pypi(text, ["gdal"]) == text
