"""Who needs whom, read from the `# via` comments that uv and pip-tools both write.

    attrs==25.1               # via aiohttp, referencing
    pandas==3.1 \\
        --hash=sha256:…
        # via
        #   -r requirements.in
        #   xarray
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from packaging.utils import NormalizedName

from tykky.spec.names import canonical_name

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(==| @ )")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def direct_dependencies(text: str) -> Mapping[NormalizedName, tuple[str, ...]]:
    """Return the direct dependencies of each package, by name and sorted; packages without any are left out.

    `text` is a compiled requirements file with annotations, in either style.
    """
    found: dict[NormalizedName, set[str]] = defaultdict(set)
    current: NormalizedName | None = None
    for line in text.splitlines():
        head, _, comment = line.partition("# ")
        if match := _REQUIREMENT.match(head):
            current = canonical_name(match["name"])
        if current is None or not _is_annotation(line, comment):
            continue
        for parent in comment.removeprefix("via").split(","):
            # `-r requirements.in`, `-c constraints.txt` and `req (…)` are files of ours, not packages.
            if _NAME.fullmatch(name := parent.strip()):
                found[canonical_name(name)].add(current)
    return {name: tuple(sorted(needs)) for name, needs in found.items()}


def requirement_blocks(text: str) -> Iterator[tuple[NormalizedName, str]]:
    """Return name and requirement (`name==1.0`, `name @ url`) of each line of a compiled file without hashes."""
    for line in text.splitlines():
        if match := _REQUIREMENT.match(line):
            yield canonical_name(match["name"]), line.partition("  #")[0].strip()


def _is_annotation(line: str, comment: str) -> bool:
    return comment.startswith("via") or line.lstrip().startswith("#   ")
