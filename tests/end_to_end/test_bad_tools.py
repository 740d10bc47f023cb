"""Programs that are missing, broken or known to be bad: what has them, and `tykky doctor`; nothing is built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Desk, run
from tests.end_to_end.specs import conda, error_of
from tests.end_to_end.test_bad_places import needs_tmpfs
from tests.end_to_end.traces import names, state
from tykky.cli.ports import find_uv
from tykky.errors import ToolError

Spec = Callable[..., str]
GET_SQUASHFS = "install squashfs-tools (Debian and EL: squashfs-tools, conda: squashfs-tools); see 'tykky doctor'"
# What a build needs of the host; each is linked to where the host has it.
_PROGRAMS = ("sh", "bash", "env", "unshare", "mount", "umount", "chroot", "setsid", "cp", "rm", "readlink", "cat")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one directory of PATH: it has all that a build needs but the squashfs tools."""
    made = tmp_path / "path"
    made.mkdir()
    for name in _PROGRAMS:
        if (found := shutil.which(name)) is not None:
            (made / name).symlink_to(found)
    (made / f"python3.{sys.version_info[1]}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(made))
    return made


def write(program: Path, text: str) -> Path:
    program.write_text(text)
    program.chmod(0o755)
    return program


@pytest.fixture
def locked(desk: Desk, wheels_spec: Spec) -> Desk:
    """A desk with a lock of a venv-type environment."""
    desk.write(wheels_spec("alpha")).tykky("lock")
    return desk


def refused(desk: Desk, said: str, status: int) -> None:
    before = state(desk.directory)
    assert error_of(desk.tykky("build", "--prefix", "env", status=status)) == said
    assert state(desk.directory) == before


def test_mksquashfs_is_missing(locked: Desk, path: Path) -> None:
    refused(locked, f"error: mksquashfs is not on PATH\n\nhint: {GET_SQUASHFS}", 10)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "#!/bin/sh\necho cannot load liblzo2.so.2 >&2\nexit 127\n",
            "{} does not say its version\n\n    cannot load liblzo2.so.2",
        ),
        ("\x7fELF of another machine", "{} cannot be started: Exec format error"),
        (
            "#!/bin/sh\necho 'mksquashfs version 4.3 (2014/05/12)'\n",
            "{} is version 4.3, which cannot write reproducible images (4.4 and later can)",
        ),
        (
            "#!/bin/sh\necho 'mksquashfs version 4.7.2 (2025/09/01)'\n",
            "{} is version 4.7.2, which may write corrupt images when sparse files are present (fixed in 4.7.5)",
        ),
    ],
    ids=["broken", "foreign", "old", "bad"],
)
def test_mksquashfs_is_unfit(locked: Desk, path: Path, text: str, problem: str) -> None:
    program = write(path / "mksquashfs", text)
    refused(locked, f"error: {problem.format(program)}\n\nhint: {GET_SQUASHFS}", 10)


def test_mksquashfs_fails(locked: Desk, path: Path) -> None:
    write(
        path / "mksquashfs",
        "#!/bin/sh\n[ $1 = -version ] && echo mksquashfs version 4.6 && exit\necho no zstd >&2\nexit 1\n",
    )
    before = state(locked.directory)
    said = error_of(locked.tykky("build", "--prefix", "env", status=9))
    assert said.startswith("error: ")
    assert said.endswith(".sqfs could not be written: mksquashfs failed with exit status 1\n\n    no zstd")
    assert state(locked.directory) == before


def test_mksquashfs_lies(locked: Desk, path: Path) -> None:
    """It says that all went well and wrote half an image: images are looked at."""
    write(
        path / "mksquashfs", '#!/bin/sh\n[ $1 = -version ] && echo mksquashfs version 4.6 && exit\nprintf hsqs >"$2"\n'
    )
    before = state(locked.directory)
    said = error_of(locked.tykky("build", "--prefix", "env", status=9))
    assert said.endswith(".sqfs is no squashfs image\n\nhint: remove it and build again")
    assert state(locked.directory) == before


def test_a_sites_own_mksquashfs_serves(locked: Desk, path: Path, home: Path) -> None:
    real = shutil.which("mksquashfs", path=os.defpath)
    assert real is not None
    site = home / ".config" / "tykky" / "site.toml"
    site.parent.mkdir(parents=True)
    site.write_text(f'[programs]\nmksquashfs = "{real}"\n')
    locked.tykky("build", "--prefix", "env")


def test_unsquashfs_is_missing(locked: Desk, wheels_spec: Spec, path: Path) -> None:
    real = shutil.which("mksquashfs", path=os.defpath)
    assert real is not None
    (path / "mksquashfs").symlink_to(real)
    (locked.directory / "post.sh").write_text("true\n")
    locked.write(wheels_spec("alpha", more='\n[build]\npost-install = ["post.sh"]\n'))
    refused(locked, f"error: unsquashfs is not on PATH\n\nhint: {GET_SQUASHFS}", 10)


def test_uv_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        find_uv()
    assert str(caught.value) == "uv is not on PATH"
    assert caught.value.hint == (
        "uv comes with tykky: reinstall tykky, or install uv (PyPI and conda: uv); see 'tykky doctor'"
    )


# What mounts


def without(*argv: str | Path) -> list[str]:
    """Return the command line that runs `argv` where no squashfuse_ll can be started, whatever directory has it."""
    hide = """
for program in $(which -a squashfuse_ll) /usr/libexec/apptainer/bin/squashfuse_ll \\
    /usr/lib/*/apptainer/bin/squashfuse_ll; do
    [ ! -e "$program" ] || mount --bind /dev/null "$program" || exit 99
done
exec "$@"
"""
    return in_namespace(hide, *argv)


def without_fuse(*argv: str | Path) -> list[str]:
    """Return the command line that runs `argv` where there is no /dev/fuse."""
    hide = """
mkdir -p "$TMPDIR/dev"
mount --rbind /dev "$TMPDIR/dev" && mount -t tmpfs -o mode=755 none /dev || exit 99
for name in null zero random urandom; do touch /dev/$name && mount --bind "$TMPDIR/dev/$name" /dev/$name; done
ln -s /proc/self/fd /dev/fd
exec "$@"
"""
    return in_namespace(hide, *argv)


def in_namespace(script: str, *argv: str | Path) -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--", "sh", "-c", script, "sh", *map(str, argv)]


NOTHING = (
    "tykky: no backend works on this host\n    namespace: {}\n"
    "    apptainer: neither apptainer nor singularity is there (package apptainer in EPEL and conda-forge)\n"
    "tykky doctor says more, and how to get what is missing\n"
)
HIDDEN = [
    pytest.param(
        without, "squashfuse_ll is missing (package squashfuse in Debian, EPEL and conda-forge)", id="squashfuse"
    ),
    pytest.param(without_fuse, "/dev/fuse cannot be opened", id="fuse"),
]
needs_no_apptainer = pytest.mark.skipif(
    bool(shutil.which("apptainer") or shutil.which("singularity")), reason="the message is another one with Apptainer"
)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What launches remember of this host is not shared with other tests."""
    for name, variable in (("run", "XDG_RUNTIME_DIR"), ("temporary", "TMPDIR")):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / name))


@needs_tmpfs
@needs_no_apptainer
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("hidden", "why"), HIDDEN)
def test_nothing_can_mount_at_launch(locked: Desk, hidden: Callable[..., list[str]], why: str) -> None:
    locked.tykky("build", "--prefix", "env")
    env = locked.directory / "env"
    tykky = [sys.executable, "-m", "tykky"]
    for argv in ([env / "bin" / "python", "-c", "1"], [*tykky, "run", env, "--", "true"]):
        done = subprocess.run(hidden(*argv), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (125, "", NOTHING.format(why))
    told = run(hidden(*tykky, "info", env))
    assert "  backend     none works here; see 'tykky doctor'\n" in told
    assert "  packages    1\n" in told
    assert run([env / "bin" / "python", "-c", "print(1)"]) == "1\n"


@needs_tmpfs
@needs_no_apptainer
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("hidden", "why"), HIDDEN)
def test_nothing_can_mount_while_building(
    desk: Desk, conda_channel: Path, home: Path, hidden: Callable[..., list[str]], why: str
) -> None:
    """A conda layer runs its packages' scripts inside: that is known before anything is downloaded or linked."""
    desk.write(conda(conda_channel.as_uri(), "hello")).tykky("lock")
    before = state(desk.directory)
    argv = hidden(sys.executable, "-m", "tykky", "build", "--prefix", "env")
    done = subprocess.run(argv, cwd=desk.directory, capture_output=True, text=True, check=False)
    shown = "".join(f"    {line}\n" for line in NOTHING.format(why).splitlines())
    assert done.returncode == 12
    assert done.stderr.partition("; the whole log is ")[0] == (
        f"error: no backend works on this host\n\n{shown}\n"
        "hint: run 'tykky doctor': it says what is missing and how to get it"
    )
    assert state(desk.directory) == before
    assert names(home / ".cache" / "tykky" / "conda" / "pkgs") == []
