"""Shows where this Python lives, and what it costs in files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
from rich.console import Console
from rich.table import Table


def count_files(directory: Path) -> int:
    """Return the number of files and directories below `directory`."""
    return sum(1 for _ in directory.rglob("*"))


def main() -> None:
    """Print one small table."""
    packages = Path(numpy.__file__).parents[1]
    singular_values = numpy.linalg.svd(numpy.ones((3, 3)), compute_uv=False)

    table = Table("", title="Hello from an image", show_header=False)
    table.add_column()
    table.add_row("this Python", sys.executable)
    table.add_row("numpy", f"{numpy.__version__}, from {packages}")
    table.add_row("files to see", f"{count_files(packages):,}")
    table.add_row("a little work", f"the norm of a 3 x 3 of ones is {singular_values[0]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
