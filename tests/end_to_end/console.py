"""Sessions in the documents, run again: what stands after `$ ` is typed, what follows must be what it prints.

A session is a fenced block marked `console`. All blocks of a document are one session in one directory. A line that
starts with `> ` continues the command above it. The directory is called `/home/ada/work` in the documents.

In the output a number stands for any number, with any unit of bytes: times, sizes and versions differ from day to day.
`...` stands for any text within a line, and a line that is nothing but `...` for any number of lines. A line that says
how far work has come is one of a slow machine, and is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PLACE = "/home/ada/work"
_NUMBER = r"\d+(?:[.,]\d+)*(?: [kMG]?B\b)?"
_HALFWAY = re.compile(r"[a-z][^:]*: [\d.,]+ (?:[kMG]?B|files|packages|steps)(?: of [\d.,]+ \w+)?")
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Typed:
    """One command of a session, and what the document says it prints."""

    command: str
    printed: str

    def agrees(self, output: str) -> bool:
        """Return whether `output` is what the document says."""
        lines = self.printed.splitlines()
        pattern = "".join(r"(?:.*\n)*?" if line == "..." else _line(line) + r"\n" for line in lines)
        text = "".join(f"{line.rstrip()}\n" for line in output.splitlines() if not _HALFWAY.fullmatch(line))
        return re.fullmatch(pattern, text) is not None


def _line(line: str) -> str:
    return ".*?".join(_numbers(part) for part in line.rstrip().split("..."))


def _numbers(text: str) -> str:
    return _NUMBER.join(re.escape(part) for part in re.split(_NUMBER, text))


def session(document: Path) -> list[Typed]:
    """Return the commands of a document, in its order."""
    commands: list[Typed] = []
    for block in _BLOCK.findall(document.read_text(encoding="utf-8")):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *rest = piece.splitlines()
            more = 0
            while more < len(rest) and f"{rest[more]} ".startswith("> "):
                more += 1
            command = "\n".join([first, *(line[2:] for line in rest[:more])])
            commands.append(Typed(command, "\n".join(rest[more:])))
    return commands
