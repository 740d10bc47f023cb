"""Some cases of many everywhere, the others in make test-thorough: `make test` stays below ten minutes on two cores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], every: int) -> list[Any]:
    """Return the cases as parameters, all but each `every`-th (from the first on) marked `thorough`.

    A case of several values is a tuple of them.
    """
    found = []
    for number, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        marks = [] if number % every == 0 else [pytest.mark.thorough]
        found.append(pytest.param(*values, marks=marks))
    return found
