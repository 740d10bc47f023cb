"""People with ids, groups, homes and umasks of their own, and what they do. Only root can play them."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.end_to_end.conftest import MINOR, Finished
from tests.ordinary import why_not_ordinary

PROJECT = "tykky-project"  # the group that all of them are in
NAMES = ("staff", "alice", "bob", "mallory")  # accounts of tests/hosts/setup.sh


@dataclass(frozen=True)
class Person:
    """Somebody with a home, and a directory to work in. `site` is the text of their own site.toml."""

    name: str
    uid: int
    gid: int
    home: Path
    house: Path
    umask: int = 0o022
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def with_umask(self, umask: int) -> Person:
        return replace(self, umask=umask)

    def start(
        self, argv: Sequence[str | Path], cwd: Path | None = None, *, waiting: bool = False
    ) -> subprocess.Popen[str]:
        """Start a program as this person; what it prints is piped, and what it reads if it is `waiting` for that."""
        process = subprocess.Popen(
            [
                *("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--"),
                *(str(word) for word in argv),
            ],
            cwd=cwd or self.home,
            env=self._variables(),
            stdin=subprocess.PIPE if waiting else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=self.umask,
        )
        self.started.append(process)
        return process

    def run(self, *argv: str | Path, status: int = 0, cwd: Path | None = None) -> Finished:
        """Run a program, which must end with `status` and in time: nothing of others may make it wait."""
        started = self.start(argv, cwd)
        try:
            out, err = started.communicate(timeout=120)
        finally:
            started.kill()
        assert started.returncode == status, f"{self.name}: {argv} gave {started.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return Finished(started.returncode, out, err)

    def tykky(self, *words: str | Path, status: int = 0, cwd: Path | None = None) -> Finished:
        return self.run(sys.executable, "-m", "tykky", *words, status=status, cwd=cwd)

    def starting(self, *words: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start the command line."""
        return self.start([sys.executable, "-m", "tykky", *words], cwd)

    def directory(self, name: str, mode: int = 0o755) -> Path:
        """Make a directory of this person in their home."""
        made = self.home / name
        made.mkdir(exist_ok=True)
        self.own(made, mode)
        return made

    def own(self, path: Path, mode: int | None = None) -> Path:
        """Give a file to this person."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)
        if mode is not None:
            path.chmod(mode)
        return path

    def write(self, path: Path, content: str | bytes, mode: int = 0o644) -> Path:
        """Have a file of this person."""
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.own(path, mode)

    def site(self, text: str) -> None:
        """Write this person's own site.toml."""
        folder = self.home / ".config" / "tykky"
        for made in (folder.parent, folder):
            made.mkdir(exist_ok=True)
            self.own(made, 0o755)
        self.write(folder / "site.toml", text)

    def spec(
        self, desk: Path, name: str, *dependencies: str, extends: str | Path | None = None, more: str = ""
    ) -> Path:
        """Write a tykky.toml that asks for wheels of the house."""
        base = f'python = "{MINOR}"\n' if extends is None else ""
        extension = "" if extends is None else f'extends = "{extends}"\n'
        text = (
            f'[environment]\nname = "{name}"\n{extension}{more}\n'
            f"[pypi]\n{base}dependencies = {json.dumps(dependencies)}\n"
            f'find-links = ["{self.house}"]\nindex-url = "file://{self.house}"\n'
        )
        return self.write(desk / "tykky.toml", text)

    def build(self, desk: Path, name: str, *dependencies: str, extends: str | Path | None = None) -> Path:
        """Lock and build; return the environment directory, `name` in `desk`."""
        self.spec(desk, name, *dependencies, extends=extends)
        self.tykky("lock", cwd=desk)
        self.tykky("build", cwd=desk)
        return desk / name

    def python(self, environment: Path, code: str, status: int = 0) -> Finished:
        """Run Python code in an environment."""
        return self.run(environment / "bin" / "python", "-c", code, status=status)

    def _variables(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "SSL_CERT_FILE") if name in os.environ}
        places = {"TMPDIR": "tmp", "XDG_RUNTIME_DIR": "runtime", "TYKKY_CACHE": ".cache/tykky"}
        own = {name: str(self.home / place) for name, place in places.items()}
        return {**kept, "HOME": str(self.home), "TYKKY_MOUNT": "private", **own}


def move_in(place: Path, name: str, house: Path) -> Person:
    """Give a person a home in `place`."""
    entry = pwd.getpwnam(f"tykky-{name}")
    home = place / name
    person = Person(entry.pw_name, entry.pw_uid, entry.pw_gid, home, house)
    for path, mode in ((home, 0o755), (home / "tmp", 0o700), (home / "runtime", 0o700)):
        path.mkdir()
        person.own(path, mode)
    return person


def project_gid() -> int:
    """Return the number of the project's group."""
    return grp.getgrnam(PROJECT).gr_gid


def why_not() -> str | None:
    """Return why these tests cannot run here, or None."""
    if os.geteuid() != 0:
        return "only root can play several users"
    known = {entry.pw_name for entry in pwd.getpwall()}
    if not {f"tykky-{name}" for name in NAMES} <= known:
        return "tests/hosts/setup.sh adds the users for this"
    return why_not_ordinary()
