"""Run a program without network, where a site wants that of `post-install` scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence

from tykky.errors import BuildError
from tykky.process import Commands

# The environment's own programs of these names are not ours to run.
_SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
# Programs talk to themselves through the loopback device, which a new namespace has, but not up.
_LOOPBACK = f'PATH={_SYSTEM_PATH} ip link set dev lo up 2>/dev/null\nexec "$@"'


def without_network(enter: Callable[[Sequence[str]], list[str]], commands: Commands) -> list[str]:
    """Return the words that, put before a command, run it without network. `enter` makes command lines that run inside.

    Each way is tried first. Raises `BuildError` if there is none: a site's policy is never passed over in silence.
    """
    unshare = shutil.which("unshare", path=_SYSTEM_PATH)
    said = "unshare is missing (package util-linux)"
    for words in _ways(unshare) if unshare is not None else ():
        done = commands.run(enter([*words, "/bin/true"]), check=False)
        if done.status == 0:
            return words
        said = done.stderr.strip()
    raise BuildError(
        "this site's scripts run without network (build.script-network in site.toml), and this host cannot do that",
        hint="it takes user namespaces: 'tykky doctor' says whether they can be had",
        output=said or None,
    )


def _ways(unshare: str) -> list[list[str]]:
    """Return the ways to try: root's own, and anybody's, with a namespace of users that ends in the same user."""
    loopback = ["/bin/sh", "-c", _LOOPBACK, "tykky"]
    user, group = os.geteuid(), os.getegid()
    back = [unshare, "--user", f"--map-user={user}", f"--map-group={group}", "--"]
    anybody = [unshare, "--user", "--map-root-user", "--net", "--", *loopback, *back]
    return [[unshare, "--net", "--", *loopback], anybody] if user == 0 else [anybody]
