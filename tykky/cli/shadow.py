"""What stands before the program `tykky` when its name is typed: the ancestor's shell function of the same name.

hpc-container-wrapper's etc/profile.d/tykky.sh, and its module, define a function and export it (bash). Every shell
that is started afterwards has it: `tykky lock` then prints that function's usage, and ends with 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tykky.runtime.probe import Finding

# How bash passes an exported function on, since 4.3 patch 27 and before.
_VARIABLES = ("BASH_FUNC_tykky%%", "BASH_FUNC_tykky()")
_MARK = "__tykky_"  # the ancestor's function calls functions whose names begin so


def shadowing_function(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the finding that another function named tykky is exported, and how to be rid of it."""
    text = next((environ[name] for name in _VARIABLES if name in environ), None)
    if text is not None:
        owner = "hpc-container-wrapper" if _MARK in text else "somebody else"
        detail = f"an exported function of {owner} is called in bash instead of this program"
        yield Finding("shell function tykky", "warn", detail, _ADVICE)


_ADVICE = (
    "leave out its module, or its line in ~/.bashrc; until then 'unset -f tykky', or say 'command tykky'; "
    "'tykky shell-init bash' prints a function with activate and deactivate in its place"
)
