"""Where P, TMPDIR and the cache may not be, and odd places that must work. Whatever fails leaves all as it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk, Finished, run
from tests.end_to_end.specs import conda
from tests.end_to_end.traces import names, state
from tests.ordinary import NOBODY, open_place, ordinary_argv, why_not_ordinary
from tests.sample import sampled
from tests.wheelmaker import make_wheel

Spec = Callable[..., str]
CHOOSE = "choose another directory with --prefix"


@pytest.fixture
def locked(desk: Desk, wheels_spec: Spec) -> Desk:
    """A desk with a lock of a venv-type environment."""
    desk.write(wheels_spec("alpha")).tykky("lock")
    return desk


def test_p_is_a_file(locked: Desk) -> None:
    place = locked.directory / "taken"
    place.write_text("mine\n")
    refused(locked, "taken", f"{place} exists and is a file", CHOOSE)


def test_p_is_below_a_file(locked: Desk) -> None:
    (locked.directory / "taken").write_text("mine\n")
    place = locked.directory / "taken"
    refused(locked, "taken/env", f"{place} is a file, so {place}/env cannot be made", CHOOSE)


def test_p_is_a_directory_of_something_else(locked: Desk) -> None:
    place = locked.directory / "thesis"
    place.mkdir()
    (place / "chapter-1.tex").write_text("mine\n")
    untouched = f"{CHOOSE}; nothing of it was touched"
    refused(locked, "thesis", f"{place} exists and is no environment directory", untouched)


def test_p_was_made_by_the_ancestor(locked: Desk) -> None:
    place = locked.directory / "old"
    (place / "bin").mkdir(parents=True)
    (place / "common.sh").write_text("CONTAINER_IMAGE=container.sif\n")
    untouched = f"{CHOOSE}; nothing of it was touched"
    refused(locked, "old", f"{place} exists and was made by hpc-container-wrapper", untouched)
    assert locked.tykky("info", "old", status=11).err == (
        f"error: {place} was made by hpc-container-wrapper, not by this tykky\n\n"
        "hint: write a tykky.toml for it and build a new environment directory\n"
    )


def test_p_is_a_dangling_link(locked: Desk) -> None:
    place = locked.directory / "link"
    place.symlink_to("/nowhere/at/all")
    refused(locked, "link", f"{place} is a dangling symlink", "remove it or choose another --prefix")


@pytest.mark.parametrize("place", ["/", "."])
def test_p_is_where_one_stands(locked: Desk, place: str) -> None:
    where = "/" if place == "/" else str(locked.directory)
    untouched = f"{CHOOSE}; nothing of it was touched"
    refused(locked, place, f"{where} exists and is no environment directory", untouched)


def test_p_is_an_unset_variable(locked: Desk) -> None:
    before = state(locked.directory)
    failed = locked.tykky("build", "--prefix", "", status=2)
    assert failed.err.endswith("Error: Invalid value for '--prefix' / '-p': the path is empty\n")
    assert state(locked.directory) == before


def test_p_has_a_line_feed(locked: Desk) -> None:
    shown = repr(f"{locked.directory}/new\nline")
    hint = "scripts cannot name such a path; choose another with --prefix"
    refused(locked, "new\nline", f"{shown} holds a control character", hint)


def test_p_has_a_colon(locked: Desk) -> None:
    shown = f"{locked.directory}/host:env"
    hint = "choose another with --prefix"
    refused(locked, "host:env", f"{shown} holds a colon, which separates directories in PATH", hint)


def test_ps_name_is_too_long(locked: Desk) -> None:
    name = "n" * 300
    hint = f"{CHOOSE}, or ask its owner"
    refused(locked, name, f"{locked.directory}/{name} cannot be written: file name too long", hint)


@pytest.mark.parametrize(
    "name",
    sampled(
        [
            "with space",
            "ümläut-名前",
            "-dash",
            "$(touch pwned)",
            "`touch pwned`; touch pwned",
            "qu'ote\"d\\",
            "*[a-z]?",
            os.fsdecode(b"latin-\xe9"),
            "n" * 250,
        ],
        every=4,
    ),
)
def test_odd_names_work(locked: Desk, name: str) -> None:
    """From build to launch; `-dash` as the value of an option."""
    # A locale in which Python refuses to print what is no text.
    built = subprocess.run(
        [sys.executable, "-m", "tykky", "build", f"--prefix={name}"],
        cwd=locked.directory,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
    )
    assert (built.returncode, b"Traceback" in built.stderr) == (0, False), built.stderr
    env = locked.directory / name
    assert os.fsencode(env) in built.stdout
    code = "import os, sys, alpha; sys.stdout.buffer.write(os.fsencode(sys.executable))"
    said = subprocess.run([env / "bin" / "python", "-c", code], cwd=locked.directory, capture_output=True, check=True)
    assert said.stdout == os.fsencode(env / "bin" / "python")
    assert names(locked.directory) == sorted([name, "tykky.lock", "tykky.toml"])


def test_links_on_the_way(locked: Desk) -> None:
    """P is shown as it was typed, wherever that leads."""
    (locked.directory / "project").mkdir()
    (locked.directory / "scratch").symlink_to("project")
    locked.tykky("build", "--prefix", "scratch/env/")
    env = locked.directory / "scratch" / "env"
    assert run([env / "bin" / "python", "-c", "import sys; print(sys.executable)"]) == f"{env}/bin/python\n"
    assert names(locked.directory / "project") == ["env"]


def test_p_is_a_link_to_an_empty_directory(locked: Desk) -> None:
    (locked.directory / "project").mkdir()
    (locked.directory / "env").symlink_to("project")
    locked.tykky("build", "--prefix", "env")
    assert (locked.directory / "env").readlink() == Path("project")
    assert names(locked.directory / "project") == [".tykky", "bin"]
    assert run([locked.directory / "env" / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]) == "1.1\n"
    assert "is up to date" in locked.tykky("build", "--prefix", "env").out


def test_dots_on_the_way_make_nothing(locked: Desk) -> None:
    locked.tykky("build", "--prefix", "not-there/../env")
    assert names(locked.directory) == ["env", "tykky.lock", "tykky.toml"]


def refused(desk: Desk, place: str, reason: str, hint: str) -> None:
    """Building to `place` must fail with this message, before anything is written anywhere."""
    before, home = state(desk.directory), state(Path(os.environ["HOME"]))
    failed = desk.tykky("build", "--prefix", place, status=11)
    assert failed.err == f"error: {reason}\n\nhint: {hint}\n"
    assert state(desk.directory) == before
    assert state(Path(os.environ["HOME"])) == home


@pytest.mark.skipif(why_not_ordinary() is not None, reason=str(why_not_ordinary()))
def test_p_cannot_be_written(wheelhouse: Path, wheels_spec: Spec) -> None:
    with open_place() as place:
        for name in ("home", "closed", "house"):
            (place / name).mkdir()
        for wheel in wheelhouse.iterdir():
            shutil.copy(wheel, place / "house")
        spec = wheels_spec("alpha").replace(str(wheelhouse), str(place / "house"))
        (place / "tykky.toml").write_text(spec)
        if os.geteuid() == 0:
            os.chown(place / "home", NOBODY, NOBODY)
        (place / "closed").chmod(0o555)
        environ = {"PATH": os.environ["PATH"], "HOME": str(place / "home")}

        def tykky(*words: str) -> Finished:
            argv = ordinary_argv(sys.executable, "-m", "tykky", *words)
            done = subprocess.run(argv, cwd=place, env=environ, capture_output=True, text=True, check=False)
            return Finished(done.returncode, done.stdout, done.stderr)

        assert tykky("lock").status == 0
        before = state(place / "closed")
        failed = tykky("build", "--prefix", "closed/env")
        assert failed == Finished(
            11, "", f"error: {place}/closed is not writable\n\nhint: {CHOOSE}, or ask its owner\n"
        )
        assert state(place / "closed") == before
        # Somebody else's environment may be looked at, not written.
        assert tykky("build", "--prefix", "open/env").status == 0
        shutil.copytree(place / "open" / "env", place / "others", symlinks=True)
        before = state(place / "others")
        (place / "others").chmod(0o555)
        (place / "tykky.toml").write_text(spec.replace('"alpha"', '"alpha==1.0"'))
        assert tykky("lock").status == 0
        failed = tykky("build", "--prefix", "others")
        assert failed == Finished(
            11, "", f"error: {place}/others is not writable\n\nhint: {CHOOSE}, or ask its owner\n"
        )
        (place / "others").chmod(before["."][0] & 0o777)
        assert state(place / "others") == before


# TMPDIR


def test_tmpdir_is_gone(locked: Desk, tmp_path: Path) -> None:
    gone = tmp_path / "job-4711"
    built = locked.tykky("build", "--prefix", "env", environ={"TMPDIR": str(gone)})
    said = f"warning: TMPDIR={gone} is no directory that can be written; using /tmp\n"
    assert built.err.startswith(said)
    assert run([locked.directory / "env" / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]) == "1.1\n"


def test_the_sites_scratch_is_gone(locked: Desk, home: Path) -> None:
    site = home / ".config" / "tykky" / "site.toml"
    site.parent.mkdir(parents=True)
    site.write_text('[build]\nscratch = "/nowhere/scratch"\n')
    before = state(locked.directory)
    failed = locked.tykky("build", "--prefix", "env", status=9)
    assert failed.err == (
        "error: scratch directory /nowhere/scratch of site.toml does not exist\n\nhint: see 'tykky doctor'\n"
    )
    assert state(locked.directory) == before


# File systems of their own: tmpfs in a mount namespace


def on_tmpfs(options: str, place: Path, *argv: str | Path) -> list[str]:
    """Return the command line that runs `argv` where a tmpfs is mounted on `place`, and tells what was left in it."""
    script = (
        'options=$1 place=$2; shift 2; mount -t tmpfs -o "$options" none "$place" || exit 99; "$@"; status=$?; '
        'find "$place" -mindepth 1 -maxdepth 1 >"$place.left"; exit $status'
    )
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = [options, place, *argv]
    return ["unshare", *user, "--mount", "--", "sh", "-c", script, "sh", *map(str, words)]


@cache
def why_no_tmpfs() -> str | None:
    """Return why no tmpfs can be mounted here, or None."""
    if shutil.which("unshare") is None:
        return "unshare is missing"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "small")
        place.mkdir()
        made = subprocess.run(on_tmpfs("size=64k", place, "true"), capture_output=True, text=True, check=False)
    return None if made.returncode == 0 else f"no tmpfs can be mounted: {made.stderr.strip()}"


needs_tmpfs = pytest.mark.skipif(why_no_tmpfs() is not None, reason=str(why_no_tmpfs()))
FULL = "a disk is full: free some space, or set TMPDIR (and TYKKY_CACHE) to where there is more"
FULL_PLACE = "free some space (or files) where the environment directory is, or choose another --prefix"


@pytest.fixture
def big(desk: Desk, wheels_spec: Spec, wheelhouse: Path) -> Desk:
    """A desk with a lock of something that needs 6 MB of scratch and does not compress."""
    noise = os.urandom(3_000_000).hex()
    wheel = make_wheel(desk.directory / "wheels", "big", "1.0", files={"big/noise.txt": noise})
    desk.write(wheels_spec(f"./wheels/{wheel.name}")).tykky("lock")
    return desk


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Where the tmpfs is mounted."""
    made = tmp_path / "small"
    made.mkdir()
    return made


def full_disk(desk: Desk, place: Path, options: str, *words: str, **environ: str) -> Finished:
    """Build with a tmpfs on `place`; nothing may be left there or on the desk, and the log must be named."""
    before = state(desk.directory)
    argv = on_tmpfs(options, place, sys.executable, "-m", "tykky", *words)
    done = subprocess.run(
        argv, cwd=desk.directory, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode != 99, done.stderr
    assert state(desk.directory) == before
    return Finished(done.returncode, done.stdout, done.stderr)


def left(place: Path) -> list[str]:
    """Return the names that were left in the tmpfs."""
    return sorted(Path(line).name for line in Path(f"{place}.left").read_text().splitlines())


def error_of(finished: Finished) -> str:
    """Return what was said from `error:` on, without the place of the log."""
    text = finished.err[finished.err.index("error: ") :]
    head, separator, log = text.rpartition("; the whole log is ")
    assert separator, text
    assert Path(log.strip()).name.startswith("build-")
    return head


@needs_tmpfs
def test_tmpdir_is_full(big: Desk, small: Path) -> None:
    failed = full_disk(big, small, "size=1m", "build", "--prefix", "env", TMPDIR=str(small))
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith("error: installing PyPI packages failed: uv failed with exit status ")
    assert "No space left on device" in said
    assert said.endswith(f"\n\nhint: {FULL}")
    assert left(small) == []


@needs_tmpfs
def test_ps_file_system_is_full(big: Desk, small: Path) -> None:
    failed = full_disk(big, small, "size=1m", "build", "--prefix", f"{small}/env")
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith(f"error: {small}/.env.tykky-")
    assert said.endswith(f".sqfs could not be written: no space left there\n\nhint: {FULL_PLACE}")
    assert left(small) == []


@needs_tmpfs
def test_ps_file_system_has_no_inodes(big: Desk, small: Path) -> None:
    failed = full_disk(big, small, "nr_inodes=6", "build", "--prefix", f"{small}/env")
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith(f"error: {small}/.env.tykky-")
    # Which file is the one too many: mksquashfs's or one of ours.
    assert re.search(r": (no space left on device|.* could not be written: no space left there)\n\nhint: ", f": {said}")
    assert said.endswith(FULL_PLACE)
    assert left(small) == []


@needs_tmpfs
def test_the_cache_is_full(big: Desk, small: Path) -> None:
    failed = full_disk(big, small, "size=1m,mode=700", "build", "--prefix", "env", TYKKY_CACHE=str(small))
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith("error: installing PyPI packages failed: uv failed with exit status ")
    assert said.endswith(f"\n\nhint: {FULL}")


@needs_tmpfs
def test_the_cache_is_full_while_locking(big: Desk, small: Path) -> None:
    words = ("lock", "--upgrade")
    failed = full_disk(big, small, "size=8k,mode=700", *words, TYKKY_CACHE=str(small))
    assert failed.err.endswith(f"\n\nhint: {FULL}\n")


@needs_tmpfs
def test_the_cache_is_full_of_conda_packages(desk: Desk, conda_channel: Path, small: Path) -> None:
    desk.write(conda(conda_channel.as_uri(), "python")).tykky("lock")
    failed = full_disk(desk, small, "size=4m,mode=700", "build", "--prefix", "env", TYKKY_CACHE=str(small))
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith("error: python-")
    assert " cannot be linked\n\n" in said
    assert said.endswith(f"\n\nhint: {FULL}")


@needs_tmpfs
def test_the_cache_is_full_of_a_conda_download(desk: Desk, channel_server: object, small: Path) -> None:
    desk.write(conda(channel_server.url, "python")).tykky("lock")  # type: ignore[attr-defined]
    failed = full_disk(desk, small, "size=2m,mode=700", "build", "--prefix", "env", TYKKY_CACHE=str(small))
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith(f"error: {small}/conda/archives/")
    assert said.endswith(f".part: no space left on device\n\nhint: {FULL}")


@needs_tmpfs
def test_the_cache_is_full_of_a_wheels_download(desk: Desk, pypi_index: object, small: Path) -> None:
    noise = os.urandom(3_000_000).hex()
    wheel = make_wheel(desk.directory / "made", "big", "1.0", files={"big/noise.txt": noise})
    pypi_index.add(wheel)  # type: ignore[attr-defined]
    url = pypi_index.url  # type: ignore[attr-defined]
    desk.write(
        f'[environment]\nname = "demo"\n[pypi]\npython = "{MINOR}"\ndependencies = ["big"]\nindex-url = "{url}"\n'
    ).tykky("lock")
    failed = full_disk(desk, small, "size=1m,mode=700", "build", "--prefix", "env", TYKKY_CACHE=str(small))
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith(f"error: {small}/wheels-checked/.part-")
    assert said.endswith(f"/big-1.0-py3-none-any.whl: no space left on device\n\nhint: {FULL}")


@needs_tmpfs
def test_tmpdir_is_full_of_conda_packages(desk: Desk, conda_channel: Path, small: Path) -> None:
    desk.write(conda(conda_channel.as_uri(), "python")).tykky("lock")
    failed = full_disk(desk, small, "size=4m", "build", "--prefix", "env", TMPDIR=str(small))
    assert failed.status == 9
    said = error_of(failed)
    assert said.startswith("error: python-")
    assert said.endswith(f"\n\nhint: {FULL}")
    assert left(small) == []


@needs_tmpfs
def test_tmpdir_is_noexec(desk: Desk, locked: Desk, conda_channel: Path, small: Path) -> None:
    """Nothing of a venv-type environment runs in the scratch directory; of a conda-type one its own Python does."""
    argv = on_tmpfs("noexec", small, sys.executable, "-m", "tykky", "build", "--prefix", "env")
    subprocess.run(argv, cwd=locked.directory, env={**os.environ, "TMPDIR": str(small)}, check=True)
    assert run([locked.directory / "env" / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]) == "1.1\n"
    desk.write(conda(conda_channel.as_uri(), "hello")).tykky("lock")
    failed = full_disk(desk, small, "noexec", "build", "--prefix", "other", TMPDIR=str(small))
    assert failed.status == 9
    assert error_of(failed) == (
        f"error: {small} is mounted noexec, and a conda layer runs programs there\n\n"
        "hint: set TMPDIR to a directory on another file system"
    )


@needs_tmpfs
def test_tmpdir_cannot_be_written(locked: Desk, small: Path) -> None:
    argv = on_tmpfs("ro", small, sys.executable, "-m", "tykky", "build", "--prefix", "env")
    environ = {**os.environ, "TMPDIR": str(small)}
    built = subprocess.run(argv, cwd=locked.directory, env=environ, capture_output=True, text=True, check=True)
    assert built.stderr.startswith(f"warning: TMPDIR={small} is no directory that can be written; using /tmp\n")
    assert run([locked.directory / "env" / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]) == "1.1\n"
