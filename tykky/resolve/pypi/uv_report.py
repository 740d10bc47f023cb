"""What uv says on stderr, taken apart: one error with its causes and hints, and warnings.

    error: No solution found when resolving dependencies
      cause: Because nosuch was not found in the package registry and you require nosuch, we can conclude that …

    hint: …

uv before 0.12 drew the same as a tree (a cross, `╰─▶`, `Caused by:`); both are read.
"""

from __future__ import annotations

import re

from msgspec import Struct

from tykky.resolve.pypi.urls import redacted

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"(error:|\s*\u00d7)\s*")
_CAUSE = re.compile(r"\s*(cause:|Caused by:|╰─▶|├─▶)\s*")
_HINT = re.compile(r"\s*hint:\s*")
_WARNING = re.compile(r"warning:\s*")


class UvReport(Struct, frozen=True):
    """What uv said, without colours, drawing and credentials. A cause may have several lines."""

    error: str = ""
    causes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The error and its causes."""
        return "\n".join((self.error, *self.causes))


def read_uv_report(stderr: str) -> UvReport:
    """Take apart what uv wrote to stderr. Lines before the first error or warning (its progress) are left out."""
    parts: dict[str, list[list[str]]] = {"error": [], "cause": [], "hint": [], "warning": []}
    current: list[str] | None = None
    for line in redacted(_ANSI.sub("", stderr)).splitlines():
        for kind, start in (("error", _ERROR), ("cause", _CAUSE), ("hint", _HINT), ("warning", _WARNING)):
            if match := start.match(line):
                current = [line[match.end() :]]
                parts[kind].append(current)
                break
        else:
            if parts["warning"] and current is parts["warning"][-1] and not line.startswith(" "):
                current = None  # uv's progress goes on
            if current is not None:
                current.append(line.strip(" │"))
    joined = {kind: tuple("\n".join(lines).strip() for lines in found) for kind, found in parts.items()}
    return UvReport(
        error=joined["error"][0].rstrip(":") if joined["error"] else "",
        causes=joined["cause"],
        hints=joined["hint"],
        warnings=joined["warning"],
    )
