"""What stands before the program `tykky` when its name is typed: the ancestor's shell function of the same name.

hpc-container-wrapper's etc/profile.d/tykky.sh, and its module, define a function and export it (bash). Every shell
that is started afterwards has it: `tykky lock` then prints that function's usage, and ends with 0.
"""

from __future__ import annotations

from collections.abc import Mapping

# How bash passes an exported function on, since 4.3 patch 27 and before.
_VARIABLES = ("BASH_FUNC_tykky%%", "BASH_FUNC_tykky()")
_MARK = "__tykky_"  # the ancestor's function calls functions whose names begin so


def shadowing_function(environ: Mapping[str, str]) -> str | None:
    """Return what is wrong and how to mend it, in one line, if another function named tykky is exported."""
    text = next((environ[name] for name in _VARIABLES if name in environ), None)
    if text is None:
        return None
    owner = "hpc-container-wrapper" if _MARK in text else "somebody else"
    return f"an exported shell function of {owner} is called instead of this program; {ADVICE}"


ADVICE = (
    "remove it with 'unset -f tykky', and for good by leaving out its module or its line in ~/.bashrc; "
    "'command tykky' always calls the program"
)
