"""Activation: the variables that `conda activate` would set, computed once, when an environment is built.

See https://docs.conda.io/projects/conda/en/stable/dev-guide/deep-dives/activation.html.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tykky.errors import BuildError, ToolError
from tykky.layers.workshop import Enter, Workshop
from tykky.process import CommandFailed, which

_PATH_MARK = "/usr/bin:/bin"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def fixed(prefix: str) -> dict[str, str]:
    """Return the variables that `conda activate` sets for every environment."""
    return {"CONDA_PREFIX": prefix, "CONDA_DEFAULT_ENV": prefix.rpartition("/")[2], "CONDA_SHLVL": "1"}


def has_scripts(names: Iterable[str]) -> bool:
    """Return whether a tree with these paths has anything that activation would run or read."""
    return any(_is_script(name) or _is_variables(name) for name in names)


def activation(names: Iterable[str], prefix: str, enter: Enter, workshop: Workshop) -> dict[str, str]:
    """Return the variables that `conda activate` would set.

    `names` are the paths of the merged tree and `enter` makes it visible at the prefix. The activate.d scripts run
    inside in a clean set of variables, and what differs afterwards is kept; then etc/conda/env_vars.d/*.json, as conda
    does. Under PATH stand only the directories that a script put in front. Raises `BuildError`.
    """
    found = fixed(prefix)
    before = {
        "PATH": f"{prefix}/bin:{_PATH_MARK}",
        "HOME": os.fspath(workshop.scratch),
        "LC_ALL": "C.UTF-8",
        **found,
    }
    known = sorted(names)
    scripts = [f"{prefix}/{name}" for name in known if _is_script(name)]
    if scripts:
        found.update(_run_activation(scripts, before, enter, workshop))
    for name in known:
        if _is_variables(name):
            found.update(_variables(f"{prefix}/{name}", enter, workshop))
    return found


def _is_script(path: str) -> bool:
    directory, _, name = path.rpartition("/")
    return directory == "etc/conda/activate.d" and name.endswith(".sh")


def _is_variables(path: str) -> bool:
    directory, _, name = path.rpartition("/")
    return directory == "etc/conda/env_vars.d" and name.endswith(".json")


def _variables(path: str, enter: Enter, workshop: Workshop) -> dict[str, str]:
    text = workshop.commands.run(enter(["cat", path]), cwd=Path("/")).stdout
    try:
        return {str(name): str(value) for name, value in json.loads(text).items()}
    except (ValueError, AttributeError):
        raise BuildError(f"{path} holds no variables: a JSON object is expected there") from None


def shell() -> str:
    """Return the shell for packages' scripts: bash, which conda's own activation uses, else sh."""
    try:
        return os.fspath(which("bash", hint=""))
    except ToolError:
        return "/bin/sh"


def _run_activation(
    scripts: Sequence[str], before: Mapping[str, str], enter: Enter, workshop: Workshop
) -> dict[str, str]:
    """Source the scripts inside; return what changed."""
    result = workshop.scratch / "activation"
    # The scripts' names are arguments, never part of the program's text.
    program = 'result=$1; shift; for script do . "$script"; done; env -0 >"$result"'
    command = ["env", "-i", *(f"{k}={v}" for k, v in before.items()), shell(), "-c", program, "activate"]
    argv = enter([*command, os.fspath(result), *scripts])
    try:
        workshop.commands.run(argv, cwd=Path("/"))
    except CommandFailed as error:
        raise BuildError(f"an activation script failed: {error.reason}", output=error.output) from None
    after = dict(
        item.partition("=")[::2] for item in result.read_bytes().decode("utf-8", "surrogateescape").split("\0") if item
    )
    return changed_variables(before, after)


def changed_variables(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return the patch that leads from `before` to `after`, without what every shell changes.

    Of PATH only what was put in front counts: the user's own PATH is not known yet. Exported shell functions are no
    variables that a launch could assign, and are left out.
    """
    ignored = {"PATH", "PWD", "OLDPWD", "SHLVL", "_", "HOME", "LC_ALL"}
    patch = {
        name: value
        for name, value in sorted(after.items())
        if name not in ignored and before.get(name) != value and _VARIABLE.fullmatch(name)
    }
    known = before.get("PATH", "").split(":")
    added = [entry for entry in after.get("PATH", "").split(":") if entry and entry not in known]
    if added:
        patch["PATH"] = ":".join(added)
    return patch
