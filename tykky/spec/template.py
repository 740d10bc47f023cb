"""The tykky.toml that `tykky init` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
{indexes}dependencies = [
]
"""

_CONDA = """
[conda]
channels = {channels}

[conda.dependencies]
python = {python}
"""

_EXTENDS = """\
extends = {extends}  # what this environment adds to: a directory, or a name in site.toml
"""

_ADDED = """
[pypi]
{indexes}dependencies = [
]
"""

_BUILD = """
# [build]
# post-install = ["scripts/post.sh"]  # runs inside, once, when the environment is built
"""

_BUILD_WITH_LEVEL = """
[build]
compression-level = {level}  # of zstd
# post-install = ["scripts/post.sh"]  # runs inside, once, when the environment is built
"""

_TAIL = """
# [runtime]
# environ = { OMP_NUM_THREADS = "1" }
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a new spec's packages come from, and how small its images are made; None: as specs have it."""

    channels: Sequence[str] = ("conda-forge",)
    index_url: str | None = None
    extra_index_url: Sequence[str] = ()
    compression_level: int | None = None


def new_spec(name: str, platform: str, kind: str, python: str, sources: Sources | None = None) -> str:
    """Return the text of a new spec. `kind` is `conda`, `pypi` or `extends`; the values are quoted, not checked.

    `python` is what the interpreter comes from: with `extends` another environment.
    """
    sources = sources or Sources()
    head = _HEAD.format(schema=SCHEMA_COMMENT, name=_quoted(name), platform=platform)
    if kind == "extends":
        head = head.replace("  # inside, the software lives at /tykky/<name>", "")
        body = _EXTENDS.format(extends=_quoted(python)) + _ADDED.format(indexes=_indexes(sources))
    elif kind == "conda":
        body = _CONDA.format(python=_quoted(python), channels=_listed(sources.channels))
    else:
        body = _PYPI.format(python=_quoted(python), indexes=_indexes(sources))
    level = sources.compression_level
    return head + body + (_BUILD if level is None else _BUILD_WITH_LEVEL.format(level=level)) + _TAIL


def _indexes(sources: Sources) -> str:
    text = "" if sources.index_url is None else f"index-url = {_quoted(sources.index_url)}\n"
    return text + (f"extra-index-url = {_listed(sources.extra_index_url)}\n" if sources.extra_index_url else "")


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    return tomlkit.string(text).as_string()
