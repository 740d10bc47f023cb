"""Run a program without network, where a site wants that of `post-install` scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tykky.errors import BuildError
from tykky.process import Commands

# The environment's own programs of these names are not ours to run.
_SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
# Programs talk to themselves through the loopback device, which a new namespace has, but not up.
_LOOPBACK = f'PATH={_SYSTEM_PATH} ip link set dev lo up 2>/dev/null\nexec "$@"'
_OURS = Path("/proc/self/ns/net")
# $1 is the network that must not be seen. What a way claims is looked at, not believed.
_LOOK = f'PATH={_SYSTEM_PATH} && seen=$(readlink {_OURS}) && [ "$seen" != "$1" ] || {{ echo "$seen" >&2; exit 1; }}'


@dataclass(frozen=True, slots=True)
class Alone:
    """What takes the network away: words to put before a command, and variables for what shows the stack."""

    words: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


def without_network(enter: Callable[[Sequence[str]], list[str]], commands: Commands) -> Alone:
    """Return how to run commands without network. `enter` makes command lines that run inside.

    Each way is tried first. Raises `BuildError` if there is none: a site's policy is never passed over in silence.
    """
    said = "unshare is missing (package util-linux)"
    ours = os.fspath(_OURS.readlink())
    for way in _ways(shutil.which("unshare", path=_SYSTEM_PATH)):
        argv = enter([*way.words, "/bin/sh", "-c", _LOOK, "tykky", ours])
        done = commands.run(argv, environ=way.environ, check=False)
        if done.status == 0:
            return way
        said = done.stderr.strip() if way.words else said
    raise BuildError(
        "this site's scripts run without network (build.script-network in site.toml), and this host cannot do that",
        hint="it takes user namespaces, or an Apptainer with setuid: 'tykky doctor' says what can be had",
        output=said or None,
    )


def _ways(unshare: str | None) -> list[Alone]:
    """Return the ways to try: root's own; anybody's, with user namespaces that end in the same user; Apptainer's."""
    loopback = ("/bin/sh", "-c", _LOOPBACK, "tykky")
    user, group = os.geteuid(), os.getegid()
    ways = []
    if unshare is not None:
        back = (unshare, "--user", f"--map-user={user}", f"--map-group={group}", "--")
        anybody = Alone((unshare, "--user", "--map-root-user", "--net", "--", *loopback, *back))
        ways = [Alone((unshare, "--net", "--", *loopback)), anybody] if user == 0 else [anybody]
    # Where the setuid starter makes the container, unprivileged users may have this one network.
    names = (f"{tool}_{name}" for tool in ("APPTAINER", "SINGULARITY") for name in ("NET", "NETWORK"))
    return [*ways, Alone(environ={name: "none" if name.endswith("WORK") else "true" for name in names})]
