"""The text of `tykky shell-init`: files of ours, and a few lines about this site and this installation.

Every login waits for it, so nothing is imported that is not needed: no click, no pathlib, and the site's settings only
where there are some.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

PARTS = {
    "bash": ("activate.sh", "verbs.sh", "complete.sh", "complete.bash"),
    "zsh": ("activate.sh", "verbs.sh", "complete.sh", "complete.zsh"),
    "ksh": ("activate.sh",),
    "sh": ("activate.sh",),
    "fish": ("activate.fish", "verbs.fish", "complete.fish"),
}
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shell_functions")


def print_functions(shell: str) -> None:
    """Print the functions for one of `PARTS`."""
    print(functions_here(shell), end="")


def functions_here(shell: str) -> str:
    """Return the text for a shell on this host, for this site and installation."""
    return shell_functions(shell, _sites(os.environ), program(sys.argv[0], os.environ))


def shell_functions(shell: str, sites: Mapping[str, str], program: str) -> str:
    """Return the text for a shell. `sites` are the site's environments by name, `program` is the tykky to call."""
    own = _fish_values(sites, program) if shell == "fish" else _posix_values(sites, program)
    parts = []
    for name in PARTS[shell]:
        with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
            parts.append(file.read())
    return own + "".join(parts)


def program(called: str, environ: Mapping[str, str]) -> str:
    """Return what the functions call: the tykky of PATH, as it will be then; if PATH has none, the one that runs."""
    for folder in environ.get("PATH", "").split(os.pathsep):
        if _is_program(os.path.join(folder, "tykky")):
            return "tykky"
    path = os.path.abspath(called)
    return path if os.path.basename(path) == "tykky" and _is_program(path) else "tykky"


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _sites(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the site's environments. A broken site.toml must not break every login: it is said, and that is all."""
    if not _has_settings(environ):
        return {}
    from tykky.errors import SiteError
    from tykky.site.load import load_site

    try:
        return {name: os.fspath(path) for name, path in load_site(environ).environments.items()}
    except SiteError as error:
        print(f"tykky: the site's environments are not known here: {error}", file=sys.stderr)
        return {}


def _has_settings(environ: Mapping[str, str]) -> bool:
    """Return whether `load_site` would find a file: to import it takes longer than all of this."""
    user = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
    return bool(
        environ.get("TYKKY_SITE")
        or os.path.exists("/etc/tykky/site.toml")
        or os.path.exists(os.path.join(user, "tykky", "site.toml"))
    )


def _posix_values(sites: Mapping[str, str], program: str) -> str:
    cases = "".join(f"    {_posix(name)}) _tykky_p={_posix(path)} ;;\n" for name, path in sites.items())
    look = f"    case $1 in\n{cases}    esac\n" if cases else "    :\n"
    names = _posix("\n".join(sites))
    return f"_tykky_at={_posix(program)}\n_tykky_sites={names}\n_tykky_site() {{\n{look}}}\n"


def _fish_values(sites: Mapping[str, str], program: str) -> str:
    # Not `switch`: there, a quoted * is a wildcard.
    looks = "".join(f'    test "$argv[1]" = {_fish(name)}; and echo {_fish(path)}\n' for name, path in sites.items())
    names = " ".join(_fish(name) for name in sites)
    return (
        f"set -g _tykky_at {_fish(program)}\nset -g _tykky_sites {names}\nfunction _tykky_site\n{looks}    true\nend\n"
    )


def _posix(text: str) -> str:
    """Return one word in which a POSIX shell expands nothing."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    """Return one word in which fish expands nothing."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
