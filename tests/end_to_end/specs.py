"""Specs of one kind of package from one place, and what is said when they cannot be had."""

from __future__ import annotations

from tests.end_to_end.conftest import MINOR, Finished


def pypi(url: str, *dependencies: str) -> str:
    listed = ", ".join(f'"{name}"' for name in dependencies or ("alpha",))
    return f"""
[environment]
name = "demo"

[pypi]
python = "{MINOR}"
dependencies = [{listed}]
index-url = "{url}"
"""


def conda(url: str, *names: str) -> str:
    listed = ", ".join(f'{name} = "*"' for name in names or ("clobber-a",))
    return f"""
[environment]
name = "demo"

[conda]
channels = ["{url}"]
dependencies = {{ {listed} }}
"""


def error_of(finished: Finished) -> str:
    """Return what was said from `error:` on, without the place of the log."""
    text = finished.err[finished.err.index("error: ") :].removesuffix("\n")
    return text.partition("; the whole log is ")[0].partition("\n\nhint: the whole log is ")[0]
