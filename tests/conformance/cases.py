"""Who launches, and with which backend: each case of the conformance suite is one of these."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

AS_USER = Path(__file__).parent.parent / "hosts" / "as_user.py"
USER = "tykky-test"
USERNS = Path("/opt/apptainer-userns/usr/bin/apptainer")
SETUID = Path("/opt/apptainer-suid/bin/apptainer")
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Case:
    """One way to launch. `user` is None for whoever runs the tests.

    `mount` is private, shared (a launch makes what later ones join) or joined (every launch joins).
    """

    name: str
    backend: str
    programs: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    userns: bool = True
    mount: str = "shared"

    def argv(self, argv: Sequence[object]) -> list[str | bytes]:
        """Return the command line that runs `argv` as this case's user."""
        words = [word if isinstance(word, bytes) else str(word) for word in argv]
        if self.user is None:
            return words
        refuse = [] if self.userns else ["--no-userns"]
        return [sys.executable, "-I", str(AS_USER), *refuse, self.user, *words]

    def environ(self, home: Path, **more: str) -> dict[str, str]:
        """Return the variables of a launch: few, with this backend forced and a private place for what is probed."""
        given = {"HOME": home, "XDG_RUNTIME_DIR": home / "run", "PATH": _PATH, "TYKKY_BACKEND": self.backend}
        if self.mount == "private":
            given["TYKKY_MOUNT"] = "private"
        return {**{key: str(value) for key, value in given.items()}, "LC_ALL": "C.UTF-8", **more}

    def own(self, path: Path) -> None:
        """Give `path` and all below it to this case's user: images are links to ones that other cases gave away."""
        if os.geteuid() == 0:
            user = pwd.getpwnam(self.user) if self.user is not None else pwd.getpwuid(0)
            subprocess.run(["chown", "-RhP", f"{user.pw_uid}:{user.pw_gid}", path], check=True)


def _apptainer() -> str | None:
    found = shutil.which("apptainer") or shutil.which("singularity")
    if found is not None:
        return found
    return next((str(path) for path in (USERNS, SETUID) if path.exists()), None)


def everyday() -> list[Case]:
    """Return the cases of `make test`: whoever runs it, with what is there."""
    apptainer = _apptainer()
    # Root may lack a capability that a relocated Apptainer wants; on a prepared host there is an ordinary user.
    user = USER if os.getuid() == 0 and _exists(USER) else None
    return [
        Case("namespace", "namespace", mount="private"),
        Case("namespace-shared", "namespace"),
        Case("namespace-joined", "namespace", mount="joined"),
        Case("apptainer", "apptainer", {"apptainer": apptainer} if apptainer else {}, user),
    ]


def prepared() -> list[Case]:
    """Return the cases of `make test-hosts`: an ordinary user with each backend."""
    return [
        Case("user-namespace", "namespace", {}, USER, mount="private"),
        Case("user-namespace-shared", "namespace", {}, USER),
        Case("user-namespace-joined", "namespace", {}, USER, mount="joined"),
        Case("user-apptainer", "apptainer", {"apptainer": str(USERNS)}, USER),
        Case("user-apptainer-setuid", "apptainer", {"apptainer": str(SETUID)}, USER, userns=False),
    ]


def skip_unless_possible(case: Case) -> None:
    """Skip where the case cannot be had on this machine, and say why."""
    for program in ("mksquashfs", "unshare", "squashfuse_ll"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened here")
    if case.user is not None:
        if os.getuid() != 0:
            pytest.skip("only root can become the test host's ordinary user")
        if not _exists(case.user):
            pytest.skip(f"there is no user {case.user}: tests/hosts/setup.sh prepares a host")
    if case.backend == "apptainer":
        program = case.programs.get("apptainer")
        if program is None:
            pytest.skip("there is no apptainer on PATH or at the places of tests/hosts/setup.sh")
        if not Path(program).exists():
            pytest.skip(f"there is no {program}: tests/hosts/setup.sh says why")


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
