"""The tykky.toml that `tykky init` writes."""

from __future__ import annotations

import tomlkit

from tykky.spec.schema import SCHEMA_COMMENT

_HEAD = """\
{schema}
# What this environment shall hold. 'tykky lock' chooses exact versions, 'tykky build' makes it.

[environment]
name = {name}  # inside, the software lives at /tykky/<name>
platforms = ["{platform}"]  # where it shall run: "linux-64", "linux-aarch64"
"""

_PYPI = """
[pypi]
python = {python}  # a Python of the host: a minor version or an absolute path
dependencies = [
]
"""

_CONDA = """
[conda]
channels = ["conda-forge"]

[conda.dependencies]
python = {python}
"""

_TAIL = """
# [build]
# post-install = ["scripts/post.sh"]  # runs inside, once, when the environment is built

# [runtime]
# environ = { OMP_NUM_THREADS = "1" }
"""


def new_spec(name: str, platform: str, kind: str, python: str) -> str:
    """Return the text of a new spec. `kind` is `conda` or `pypi`; the values are quoted, not checked."""
    head = _HEAD.format(schema=SCHEMA_COMMENT, name=_quoted(name), platform=platform)
    body = (_CONDA if kind == "conda" else _PYPI).format(python=_quoted(python))
    return head + body + _TAIL


def _quoted(text: str) -> str:
    return tomlkit.string(text).as_string()
