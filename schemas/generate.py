"""Write the JSON schemas of tykky.toml, tykky.lock and site.toml from the models in the code.

python schemas/generate.py            write them
python schemas/generate.py --check    say which are not current, and exit with 1
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from tykky.lock.model import Lock
from tykky.site.model import Settings
from tykky.spec.model import Spec
from tykky.spec.schema import SCHEMA_URL

HERE = Path(__file__).parent

# file -> (model, title)
SCHEMAS: dict[str, tuple[type, str]] = {
    "tykky.schema.json": (Spec, "tykky.toml: what an environment shall hold"),
    "tykky-lock.schema.json": (Lock, "tykky.lock: the artifacts that were chosen"),
    "tykky-site.schema.json": (Settings, "site.toml: what one site offers"),
}


def schema(file: str) -> dict[str, Any]:
    """Return one schema. Tables of a strict model take no unknown keys; those of the lockfile do."""
    model, title = SCHEMAS[file]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_URL.replace("tykky.schema.json", file),
        "title": title,
        **msgspec.json.schema(model),
    }


def render(file: str) -> str:
    """Return the text of one schema file."""
    return json.dumps(schema(file), indent=2, ensure_ascii=False) + "\n"


def main(words: list[str]) -> int:
    """Write what is not current, or with `--check` only name it; return the exit code."""
    stale = [file for file in SCHEMAS if not _is_current(file)]
    for file in stale:
        if "--check" in words:
            print(f"schemas/{file} is not current: run python schemas/generate.py", file=sys.stderr)
        else:
            (HERE / file).write_text(render(file), encoding="utf-8")
            print(f"wrote schemas/{file}")
    return 1 if stale and "--check" in words else 0


def _is_current(file: str) -> bool:
    path = HERE / file
    return path.exists() and path.read_text(encoding="utf-8") == render(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
