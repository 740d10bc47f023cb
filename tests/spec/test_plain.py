"""What is read without `packaging` means the same to it."""

from __future__ import annotations

import itertools
import random

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tykky.spec.names import canonical_name
from tykky.spec.plain import plain_requirement
from tykky.spec.requirements import canonical_pypi

NAMES = ("numpy", "Zope.Interface", "a", "A__b-.c", "typing_extensions", "x1", "-a", "a-", "a b", "é", "_a", "")
EXTRAS = ("", "[x]", " [x, Y_z] ", "[ a.b ]", "[]", "[,]", "[x", "[x,]", "[x][y]")
CLAUSES = (
    *("", ">=1", " == 1.2.*", "~=1.2", "~=1", ">= 1 , <2", "!=1,!=2", "==1,==1.0", ">=1,", "<1.*", "===1", "=1", "1.0"),
    *(
        ">=1.0rc1",
        "==1+x",
        "==1!2",
        ">1;python_version<'4'",
        "@ https://x/y",
        "(>=1)",
        ">=01.2",
        "> 1 , != 1.5.*",
        ">=1 <2",
    ),
)


@pytest.mark.parametrize("name", [*NAMES[:6], "a...b", "FOO-_-bar", "9.-_.x"])
def test_names_are_normal(name: str) -> None:
    assert canonical_name(name) == canonicalize_name(name)


def test_every_plain_requirement_is_packagings() -> None:
    plain = 0
    for text in map("".join, itertools.product(NAMES, EXTRAS, CLAUSES)):
        ours = plain_requirement(text)
        if ours is None:
            continue
        plain += 1
        theirs = Requirement(text)
        assert (ours.name, set(ours.extras), ours.specifier) == (theirs.name, theirs.extras, theirs.specifier), text
        assert (ours.url, ours.marker) == (theirs.url, theirs.marker), text
        assert canonical_pypi(ours) == canonical_pypi(theirs), text
    assert plain > 100


def test_what_packaging_refuses_is_not_plain() -> None:
    chance = random.Random(440)
    for _ in range(20_000):
        text = "".join(chance.choices("a1.-_ [],=<>~!*é\n", k=chance.randrange(1, 9)))
        try:
            Requirement(text)
        except InvalidRequirement:
            assert plain_requirement(text) is None, text


@pytest.mark.parametrize("text", ["numpy", "numpy>=2", "dask[array]", "torch==2.6.*", "a >= 1, < 2", "seaborn ~= 0.12"])
def test_most_of_what_people_write_is_plain(text: str) -> None:
    assert plain_requirement(text) is not None
