"""Edit the text of tykky.toml: requirements come and go, and comments, order, quoting and layout stay.

All functions take a text that `parse_spec` has accepted and return the new one; they write nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import tomlkit
from tomlkit.container import OutOfOrderTableProxy
from tomlkit.items import InlineTable, Item, Table, Whitespace

from tykky.errors import UsageError
from tykky.spec.array_text import appended, quoted, removed, replaced
from tykky.spec.model import CondaRequirement
from tykky.spec.names import canonical_name
from tykky.spec.requirements import LocalRequirement, PypiRequirement, parse_pypi
from tykky.toml.positions import spans

_PYPI = ("pypi", "dependencies")
_POST_INSTALL = ("build", "post-install")


def add_pypi(text: str, requirements: Iterable[str]) -> str:
    """Return the text with these requirements under `[pypi]`; one of the same package is replaced in place.

    Raises `UsageError` where a package stands there several times with different markers, and it is not clear
    which one is meant.
    """
    for requirement in requirements:
        text = _add_pypi(text, requirement)
    return text


def remove_pypi(text: str, names: Iterable[str]) -> str:
    """Return the text without the requirements of these packages (names, or paths as in the spec)."""
    for name in names:
        while (index := _first_of(text, name)) is not None:
            text = _with_array(text, partial(removed, index=index))
    return text


def add_conda(text: str, requirements: Mapping[str, CondaRequirement]) -> str:
    """Return the text with these requirements under `[conda.dependencies]`; existing ones are replaced in place."""

    def change(document: tomlkit.TOMLDocument) -> None:
        table = _table(_table(document, "conda"), "dependencies")
        for name, requirement in requirements.items():
            there = next((key for key in table if key.lower() == name.lower()), None)
            _put(table, there or name, _conda_item(requirement))

    return _with_document(text, change)


def remove_conda(text: str, names: Iterable[str]) -> str:
    """Return the text without the requirements of these conda packages."""
    wanted = {name.lower() for name in names}

    def change(document: tomlkit.TOMLDocument) -> None:
        table = document.get("conda", {}).get("dependencies", {})
        for key in [key for key in table if key.lower() in wanted]:
            del table[key]

    return _with_document(text, change)


def add_post_install(text: str, path: str) -> str:
    """Return the text with one more script at the end of `[build] post-install`."""
    if _POST_INSTALL in spans(text):
        newline = "\r\n" if "\r\n" in text else "\n"
        column = len("post-install = ")
        return _with_array(text, lambda array: appended(array, path, newline=newline, column=column), _POST_INSTALL)

    def change(document: tomlkit.TOMLDocument) -> None:
        _put(_table(document, "build"), "post-install", tomlkit.value(f"[{quoted(path)}]"))

    return _with_document(text, change)


def same_package(requirement: PypiRequirement, name: str) -> bool:
    """Say whether a requirement is about this package: a name in any spelling, or a path."""
    if isinstance(requirement, LocalRequirement):
        return posixpath.normpath(requirement.path) == posixpath.normpath(name)
    return canonical_name(requirement.name) == canonical_name(name)


def _add_pypi(text: str, requirement: str) -> str:
    new = parse_pypi(requirement)
    name = new.path if isinstance(new, LocalRequirement) else new.name
    same = [(i, old) for i, old in enumerate(_requirements(text)) if same_package(old, name)]
    exact = [i for i, old in same if str(old.marker) == str(new.marker)]
    if exact or len(same) == 1:
        index = exact[0] if exact else same[0][0]
        return _with_array(text, lambda array: replaced(array, index, requirement))
    if same and (new.marker is None or any(old.marker is None for _, old in same)):
        raise UsageError(
            f"{name} stands {len(same)} times in [pypi], each with its own marker",
            hint="add it with the marker of the one to replace, or edit tykky.toml",
        )
    if _PYPI in spans(text):
        newline = "\r\n" if "\r\n" in text else "\n"
        column = len("dependencies = ")
        return _with_array(text, lambda array: appended(array, requirement, newline=newline, column=column))

    def change(document: tomlkit.TOMLDocument) -> None:
        _put(_table(document, "pypi"), "dependencies", tomlkit.value(f"[{quoted(requirement)}]"))

    return _with_document(text, change)


def _requirements(text: str) -> list[PypiRequirement]:
    found: list[str] = tomlkit.parse(text).unwrap().get("pypi", {}).get("dependencies", [])
    return [parse_pypi(requirement) for requirement in found]


def _first_of(text: str, name: str) -> int | None:
    return next((i for i, old in enumerate(_requirements(text)) if same_package(old, name)), None)


def _with_array(text: str, change: Callable[[str], str], where: tuple[str, str] = _PYPI) -> str:
    begin, end = spans(text)[where]
    return text[:begin] + change(text[begin:end]) + text[end:]


def _with_document(text: str, change: Callable[[tomlkit.TOMLDocument], None]) -> str:
    """Return the text after a change by tomlkit, with the line ends and the end of the file it had."""
    ends = text.endswith("\n") or not text
    document = tomlkit.parse(text if ends else f"{text}\n")
    change(document)
    result = document.as_string()
    # A new table gets an empty line before what follows it, where tomlkit gives it none.
    if "[conda.dependencies]" not in text:
        result = re.sub(r"(?m)^(\[conda\.dependencies\]\n(?:[^\[\n][^\n]*\n)+)(?=\[)", r"\1\n", result)
    if "\r\n" in text and "\n" not in text.replace("\r\n", ""):
        result = result.replace("\r\n", "\n").replace("\n", "\r\n")
    return result if ends else result.removesuffix("\n").removesuffix("\r")


def _table(parent: Any, name: str) -> Any:  # noqa: ANN401
    """Return a table of the document; make it if it is not there."""
    if name not in parent:
        # A parent that only holds other tables needs no header of its own.
        made = tomlkit.table(is_super_table=name == "conda")
        if name == "pypi" or not isinstance(parent, InlineTable):
            parent[name] = made
        else:
            parent[name] = tomlkit.inline_table()
    return parent[name]


def _put(table: Any, key: str, item: Item) -> None:  # noqa: ANN401
    """Set a key. A new one comes after the last one, before comments that an empty line sets apart."""
    if key in table or not isinstance(table, Table) or isinstance(table, OutOfOrderTableProxy):
        table[key] = item
        return
    body = table.value.body
    keys = [index for index, (name, _) in enumerate(body) if name is not None]
    begin = next(
        (
            index
            for index in range(keys[-1] + 1 if keys else 0, len(body))
            if isinstance(body[index][1], Whitespace) and "\n" in body[index][1].as_string()
        ),
        len(body),
    )
    apart = body[begin:]
    del body[begin:]
    table[key] = item
    body.extend(apart)


def _conda_item(requirement: CondaRequirement) -> Item:
    if requirement.build is None and requirement.channel is None:
        return tomlkit.string(requirement.version)
    table = tomlkit.inline_table()
    for key, value in (
        ("version", requirement.version),
        ("build", requirement.build),
        ("channel", requirement.channel),
    ):
        if value is not None and not (key == "version" and value == "*"):
            table[key] = value
    return table
