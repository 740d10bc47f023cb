"""Write what is made from the code: reference pages, the table of verbs in README.md, the tables of completion.

    python -m tools.generate            write what is not current
    python -m tools.generate --check    only name it, and exit with 1

A generated page is committed, so that it can be read where the code is read; CI holds it to the code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tools.command_pages import verbs_page, verbs_table
from tools.exit_code_page import exit_codes_page
from tools.shell_tables import fish_table, posix_table
from tools.spec_pages import lock_page, site_page, spec_page

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- verbs: made by `make schemas` -->\n", "<!-- end of verbs -->\n"

PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/cli.md": verbs_page,
    "docs/reference/exit-codes.md": exit_codes_page,
    "docs/reference/spec.md": spec_page,
    "docs/reference/lock.md": lock_page,
    "docs/reference/site.md": site_page,
    "tykky/cli/shell_functions/verbs.sh": posix_table,
    "tykky/cli/shell_functions/verbs.fish": fish_table,
}


def contents() -> dict[Path, str]:
    """Return what every generated file has to hold."""
    texts = {ROOT / name: render() for name, render in PAGES.items()}
    texts[README] = readme(README.read_text(encoding="utf-8"))
    return texts


def readme(text: str) -> str:
    """Return the README with its table of verbs renewed. Raises `SystemExit` if the marks around it are gone."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md has lost its marks {BEGIN.strip()!r} and {END.strip()!r}")
    return f"{before}{BEGIN}{verbs_table()}{END}{after}"


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    stale = [path for path, text in contents().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if "--check" in words:
            print(f"{name} is not current: run make schemas", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents()[path], encoding="utf-8")
            print(f"wrote {name}")
    return 1 if stale and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
