"""What a build of python-build-standalone says about itself, made true for the prefix.

Such a build runs wherever it is unpacked, but what it tells builders of extension modules is of the machine it was
built on: `/install` as its prefix and that machine's compilers. Pure functions over the contents of files.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

BUILT_AT = "/install"

# A path that begins with /install: a word of its own, or what follows `-I`, `-L`, a quote, `=` or a colon.
_INSTALLED = re.compile(r"(?:(?<![\w./-])|(?<=-[IL]))/install(?![\w.-])")
# The variables that name programs, and what a build's machine calls these.
_PROGRAMS = ("AR", "BLDSHARED", "CC", "CXX", "LDCXXSHARED", "LDSHARED", "LINKCC")
_C_PLUS_PLUS = re.compile(r"(?:/\S*/)?(?:[\w.]+-)*(?:clang\+\+|g\+\+)")
_C = re.compile(r"(?:/\S*/)?(?:[\w.]+-)*(?:clang|gcc)")
_AR = re.compile(r"(?:/\S*/)?(?:[\w.]+-)*ar")


def true_paths(content: bytes, prefix: str) -> bytes:
    """Return a text (a Makefile, `python3.12-config`, a `.pc` file) with the prefix in place of `/install`."""
    text = content.decode("utf-8", "surrogateescape")
    return _moved(text, prefix).encode("utf-8", "surrogateescape")


def true_sysconfig(content: bytes, prefix: str) -> bytes:
    """Return a `_sysconfigdata_*.py` with the prefix, and with compilers by the names every host has.

    A module that is more than its one literal assignment is not understood: then only paths are changed.
    """
    variables = _literal(content)
    if variables is None:
        return true_paths(content, prefix)
    lines = [f"    {name!r}: {value!r},\n" for name, value in sorted(true_variables(variables, prefix).items())]
    header = "# system configuration generated and used by the sysconfig module\nbuild_time_vars = {\n"
    return (header + "".join(lines) + "}\n").encode()


def true_sysconfig_json(content: bytes, prefix: str) -> bytes:
    """Return a `_sysconfig_vars_*.json` (Python 3.14 and later), changed in the same way."""
    variables = json.loads(content)
    return json.dumps(true_variables(variables, prefix), indent=2, sort_keys=True).encode() + b"\n"


def true_variables(variables: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return sysconfig's variables as they are for the prefix. uv marks them the same way when it installs a build."""
    found = {name: _true_value(name, value, prefix) for name, value in variables.items()}
    return {**found, "PYTHON_BUILD_STANDALONE": 1}


def _true_value(name: str, value: object, prefix: str) -> object:
    if not isinstance(value, str):
        return value
    text = _moved(value, prefix)
    if name not in _PROGRAMS:
        return text
    return " ".join(_program(word) for word in text.split())


def _program(word: str) -> str:
    if _C_PLUS_PLUS.fullmatch(word):
        return "c++"
    if _C.fullmatch(word):
        return "cc"
    return "ar" if _AR.fullmatch(word) else word


def _moved(text: str, prefix: str) -> str:
    return _INSTALLED.sub(lambda _: prefix, text)


def _literal(content: bytes) -> dict[str, Any] | None:
    """Return the dictionary that the module assigns to `build_time_vars`; nothing of it is run."""
    try:
        body = ast.parse(content).body
        if len(body) != 1 or not isinstance(body[0], ast.Assign):
            return None
        names = [target.id for target in body[0].targets if isinstance(target, ast.Name)]
        found = ast.literal_eval(body[0].value) if names == ["build_time_vars"] else None
    except (SyntaxError, ValueError):
        return None
    return found if isinstance(found, dict) else None
