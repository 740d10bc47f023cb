"""Shows where this Python lives, and how many files it sees."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
from rich.console import Console


def count_files(directory: Path) -> int:
    """Return the number of files and directories below `directory`."""
    return sum(1 for _ in directory.rglob("*"))


def main() -> None:
    """Print a few facts, one per line."""
    norm = numpy.linalg.norm(numpy.ones((3, 3)))
    facts = {
        "this Python": sys.executable,
        "numpy": f"{numpy.__version__}, which says that the norm of nine ones is {norm:.0f}",
        "packages in": str(Path(numpy.__file__).parents[1]),
        "seen there": f"{count_files(Path(numpy.__file__).parents[1]):,} files and directories",
    }
    console = Console(highlight=False)
    console.print("[bold green]Hello from an image[/]")
    for name, value in facts.items():
        console.print(f"  [bold]{name:<12}[/] {value}", soft_wrap=True)


if __name__ == "__main__":
    main()
