"""Requirements taken apart, with rattler and the TOML parser as judges."""

import re

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from rattler import MatchSpec, VersionSpec
from rattler.exceptions import InvalidVersionSpecError

from tykky.errors import SpecError
from tykky.spec.model import CondaRequirement
from tykky.spec.read import parse_spec
from tykky.spec.requirements import (
    BadRequirement,
    LocalRequirement,
    canonical_pypi,
    check_conda_version,
    conda_match_spec,
    conda_name,
    parse_pypi,
)

# --- conda

_VERSIONS = ["1", "1.2", "2026.11.1", "1.2a1", "3.0_1", "1.2-3", "1!2.0", "1.0+cu.12", "1.1.1w", "2.0.dev0", "9e"]
_ATOMS = [
    *(f"{sign}{version}" for sign in ("", "=", "==", "!=", ">=", ">", "<=", "<", "~=") for version in _VERSIONS),
    *(f"{version}.*" for version in _VERSIONS),
    "*",
]
_PARTS = [*_ATOMS, "(1.2", "2.*)", ")", "(", ",", "|", ">=", "=", "===", "^1$", "^1.2", ".1", ">1", "é", "/", "@"]


def _rattler_takes(text: str) -> bool:
    try:
        VersionSpec(re.sub(" ", "", text))
    except InvalidVersionSpecError:
        return False
    return True


def _refused(text: str) -> str | None:
    try:
        check_conda_version(text)
    except BadRequirement as error:
        return str(error)
    return None


@settings(deadline=None)
@given(st.recursive(
    st.sampled_from(_ATOMS),
    lambda inner: st.builds("{}, {}".format, inner, inner)
    | st.builds("{}|{}".format, inner, inner)
    | st.builds("({})".format, inner),
    max_leaves=4,
))  # fmt: skip
def test_every_conda_version_spec_is_taken_by_rattler_and_by_us(text):
    assert _rattler_takes(text)
    assert _refused(text) is None


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(_PARTS), min_size=1, max_size=4).map("".join))
def test_what_we_refuse_rattler_refuses(text):
    """But for `>=*`, which rattler takes, and which says nothing."""
    reason = _refused(text)
    assert reason is None or "takes any version" in reason or not _rattler_takes(text)


@pytest.mark.parametrize(
    ("name", "requirement", "text"),
    [
        ("GDAL", "*", "gdal"),
        ("gdal", ">= 3.9, < 4", "gdal >=3.9,<4"),
        ("gdal", CondaRequirement(">=3", "*mpi*"), "gdal >=3 *mpi*"),
        ("gdal", CondaRequirement("*", "*mpi*"), "gdal * *mpi*"),
        ("gdal", CondaRequirement(">=3", "*mpi*", "conda-forge"), "conda-forge::gdal >=3 *mpi*"),
        ("gdal", CondaRequirement("*", None, "conda-forge/label/dev"), "conda-forge/label/dev::gdal"),
        ("gdal", CondaRequirement(">=3", None, "https://h/c"), 'gdal >=3[channel="https://h/c"]'),
        ("gdal", CondaRequirement("*", None, "file:///a/c"), 'gdal[channel="file:///a/c"]'),
    ],
)
def test_a_match_spec_means_what_was_written(name, requirement, text):
    assert conda_match_spec(name, requirement) == text
    assert conda_name(text) == name.lower()
    spec = MatchSpec(text)
    asked = requirement if isinstance(requirement, CondaRequirement) else CondaRequirement(requirement)
    assert spec.name.normalized == name.lower()
    assert (spec.version or "*") == re.sub(" ", "", asked.version)
    assert spec.build == asked.build
    channel = spec.channel
    assert (channel is None) is (asked.channel is None)
    if channel is not None:
        assert asked.channel in (channel.name, channel.base_url.rstrip("/"))


# --- PyPI


@pytest.mark.parametrize(
    ("text", "path", "extras", "marker", "name"),
    [
        ("./x", "./x", (), None, None),
        (".", ".", (), None, None),
        (".[dev]", ".", ("dev",), None, None),
        ("../x [B_b, a]", "../x", ("a", "b-b"), None, None),
        ("/abs/my dir[x]", "/abs/my dir", ("x",), None, None),
        ("./x ; python_version<'3'", "./x", (), 'python_version < "3"', None),
        ("./x[a];python_version<'3'", "./x", ("a",), 'python_version < "3"', None),
        ("./w/Some_Thing-1.0-py3-none-any.whl", "./w/Some_Thing-1.0-py3-none-any.whl", (), None, "some-thing"),
        ("./w/Some_Thing-1.0.tar.gz", "./w/Some_Thing-1.0.tar.gz", (), None, "some-thing"),
        ("./not-an-sdist.tar.gz", "./not-an-sdist.tar.gz", (), None, None),
    ],
)
def test_local_requirements(text, path, extras, marker, name):
    requirement = parse_pypi(text)
    assert isinstance(requirement, LocalRequirement)
    assert (requirement.path, requirement.extras, requirement.name) == (path, extras, name)
    assert (None if requirement.marker is None else str(requirement.marker)) == marker


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("NumPy >=2, <3", "numpy<3,>=2"),
        ("dask [Distributed,array_x]", "dask[array-x,distributed]"),
        ("a_b @ git+https://h/r@v1#subdirectory=p ; os_name=='posix'", None),
        ("./a/../b/[x]", "./b[x]"),
        ("..", ".."),
        ("./.", "."),
        ("/a//b/", "/a/b"),
    ],
)
def test_one_text_for_all_ways_to_write_a_requirement(text, canonical):
    expected = canonical or 'a-b @ git+https://h/r@v1#subdirectory=p ; os_name == "posix"'
    assert canonical_pypi(parse_pypi(text)) == expected
    assert canonical_pypi(parse_pypi(expected)) == expected


# --- whatever is written, the answer is a spec or a list of problems

_TEXTS = st.sampled_from(
    ["", "numpy", "NumPy", "./x", ">=1", "*", "3.12", "linux-64", "host", "a\n", "\0", "[", "http://[", "é", "-e x"]
) | st.text(max_size=6)
_LEAVES = _TEXTS | st.integers() | st.booleans() | st.dates() | st.datetimes() | st.floats()
_KEYS = st.sampled_from(
    [
        *("environment", "name", "platforms", "exclude-newer"),
        *("conda", "channels", "dependencies", "constraints", "virtual-packages", "version", "build", "channel"),
        *("pypi", "python", "managed-python", "overrides", "index-url", "extra-index-url", "find-links"),
        *("no-binary", "config-settings", "post-install", "exclude", "compression-level"),
        *("runtime", "image", "environ", "numpy", "Numpy"),
    ]
) | st.text(max_size=4)
_ANYTHING = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=20
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(_KEYS, _ANYTHING, max_size=5))
def test_a_spec_of_anything_never_fails_otherwise(values):
    values.setdefault("environment", {"name": "a"})
    try:
        parse_spec(tomli_w.dumps(values))
    except SpecError as error:
        assert error.problems


@settings(max_examples=100, deadline=None)
@given(
    st.lists(_TEXTS, max_size=4),
    st.dictionaries(_TEXTS, _TEXTS, max_size=3),
    st.fixed_dictionaries({}, optional={"python": _TEXTS, "index-url": _TEXTS, "find-links": st.lists(_TEXTS)}),
)
def test_texts_of_the_right_type_never_fail_otherwise(requirements, conda, more):
    values = {
        "environment": {"name": "a"},
        "conda": {"dependencies": conda, "channels": [*requirements, "x"], "virtual-packages": conda},
        "pypi": {"dependencies": requirements, "constraints": requirements, **more},
        "build": {"post-install": requirements},
        "runtime": {"environ": conda},
    }
    try:
        parse_spec(tomli_w.dumps(values))
    except SpecError as error:
        assert error.problems
