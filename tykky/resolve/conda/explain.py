"""A solver's explanation, shortened, with the names a user has to look at."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence

from tykky.errors import ResolveError

_LINES = 24  # of the solver's tree; below that it only repeats itself
_LISTED = 8  # versions or channels named in one line

_NO_CANDIDATES = re.compile(r"No candidates were found for (?:\S+::)?([a-z0-9_.-]+)")
_VIRTUAL = re.compile(r"(__[a-z0-9_]+ [^,\n]+(?:,[^ ,\n]+)*), for which no candidates were found")
# A line of the tree that starts at the left margin names one of the spec's own requirements.
_ROOT = re.compile(r"^(?:[├└]─ )?(?:\S+::)?([a-z0-9_.-]+)\b[^\n]*?(?= can be installed| cannot be installed|,| would)")


def unknown(missing: Sequence[str], known: Collection[str], channels: Sequence[str], platform: str) -> ResolveError:
    """Return the error for names that no channel has for a platform."""
    verb = "is" if len(missing) == 1 else "are"
    guesses = [f"{name} -> {near[0]}" for name in missing if (near := difflib.get_close_matches(name, known, 1, 0.75))]
    hint = f"did you mean {', '.join(guesses)}?" if guesses else "check the name, or add a channel that has it"
    return ResolveError(
        f"{', '.join(missing)} {verb} in no channel for {platform}",
        hint=hint,
        output="asked:\n" + "\n".join(f"  {channel}" for channel in channels),
    )


def unsatisfiable(explanation: str, platform: str, versions: Mapping[str, Sequence[str]]) -> ResolveError:
    """Return the error for requirements that exclude one another. `versions` are those there are of a name."""
    text = shortened(explanation)
    for name, found in versions.items():
        listed = ", ".join(found[-_LISTED:])
        return ResolveError(
            f"no set of conda packages satisfies tykky.toml for {platform}",
            hint=f"the channels have {name} {listed}" if found else f"the channels have no {name}",
            output=text,
        )
    return ResolveError(
        f"no set of conda packages satisfies tykky.toml for {platform}", hint=_hint(explanation), output=text
    )


def _hint(explanation: str) -> str:
    virtual = _VIRTUAL.search(explanation)
    if virtual is not None:
        return f"if every node has {virtual[1]}, say so under [conda.virtual-packages]; the host is not asked"
    names = conflicting(explanation)
    return f"relax or remove one of {', '.join(names)}" if len(names) > 1 else "relax a version, or add a channel"


def without_candidates(explanation: str) -> str | None:
    """Return the name of the one requirement that nothing at all answers, if that is the reason."""
    found = _NO_CANDIDATES.search(explanation)
    return None if found is None else found[1]


def conflicting(explanation: str) -> list[str]:
    """Return the names of the spec's own requirements that the explanation is about, sorted."""
    return sorted({found[1] for line in _lines(explanation) if (found := _ROOT.match(line))})


def shortened(explanation: str) -> str:
    """Return the explanation without its preamble, cut to a screenful."""
    lines = _lines(explanation)
    if len(lines) <= _LINES:
        return "\n".join(lines)
    return "\n".join([*lines[:_LINES], f"… {len(lines) - _LINES} more lines"])


def _lines(explanation: str) -> list[str]:
    text = explanation.removeprefix("Cannot solve the request because of: ")
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return lines[1:] if lines and lines[0].startswith("The following packages are incompatible") else lines
