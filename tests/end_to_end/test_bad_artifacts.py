"""Artifacts that are not what the lock says, or hold what no package may hold: refused by name, and not kept."""

from __future__ import annotations

import hashlib
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.channel import Channel, Served, serve
from tests.channel.hostile import OUTSIDE, hostile_packages
from tests.end_to_end.conftest import Desk, run
from tests.end_to_end.specs import conda, error_of, pypi
from tests.end_to_end.traces import names, state
from tests.resolve.pypi_index import Index
from tests.wheelmaker import make_project, make_sdist, make_wheel

TELL = "do not use it; tell its authors, or the keepers of the index it came from"
WRONG = "if the change is meant, run 'tykky lock --upgrade'; otherwise the index or a mirror gives a wrong file"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept_of(name: str, home: Path) -> list[str]:
    """Return the files of an artifact that any cache holds, whole or unpacked."""
    cache = home / ".cache" / "tykky"
    return sorted(
        str(path) for path in cache.rglob("*") if path.is_file() and name in path.read_bytes().decode("latin-1")
    )


def refused(desk: Desk, said: str, status: int = 8, *words: str) -> None:
    """Building must end with this error and leave the desk as it was, and nothing where the package aimed at."""
    before = state(desk.directory)
    failed = desk.tykky("build", "--prefix", "env", *words, status=status)
    assert error_of(failed) == said
    assert state(desk.directory) == before
    assert not Path(OUTSIDE).exists()


# sha256


@pytest.mark.parametrize("make", [make_wheel, make_sdist])
def test_an_artifact_that_changed_on_the_index(
    desk: Desk, pypi_index: Index, tmp_path: Path, home: Path, make: Callable[..., Path]
) -> None:
    right = make(tmp_path / "right", "alpha", "1.0", files={"alpha.py": "VERSION = 'right'\n"})
    wrong = make(tmp_path / "wrong", "alpha", "1.0", files={"alpha.py": "VERSION = 'smuggled'\n"})
    url = pypi_index.add(right)
    desk.write(pypi(pypi_index.url)).tykky("lock")
    pypi_index.add(wrong)
    refused(
        desk,
        f"error: {url} is not what the lock says: expected sha256 {sha256(right)}, got {sha256(wrong)}\n\n"
        f"hint: {WRONG}",
    )
    assert kept_of("smuggled", home) == []
    assert names(home / ".cache" / "tykky" / "wheels") == []
    pypi_index.add(right)
    assert version(desk) == "right"


def test_a_conda_package_that_changed_in_the_channel(desk: Desk, channel_server: Served, home: Path) -> None:
    desk.write(conda(channel_server.url, "hello")).tykky("lock")
    lock = (desk.directory / "tykky.lock").read_text()
    expected = lock.partition('sha256 = "')[2].partition('"')[0]
    url = lock.partition('url = "')[2].partition('"')[0]
    channel_server.switches.only, channel_server.switches.corrupt = "*.conda", True
    before = state(desk.directory)
    failed = desk.tykky("build", "--prefix", "env", status=8)
    said = error_of(failed)
    actual = said.partition("actual sha256   ")[2][:64]
    assert len(actual) == 64
    assert actual != expected
    assert said == (
        f"error: {url.rpartition('/')[2]} is not what the lock says\n\n"
        f"    {url}\n    expected sha256 {expected}\n    actual sha256   {actual}\n\n"
        "hint: the channel or a mirror changed it, or something on the way did; "
        "if that is meant, 'tykky lock --upgrade' takes the new one"
    )
    assert state(desk.directory) == before
    assert [path for path in (home / ".cache" / "tykky" / "conda").rglob("*hello*") if path.is_file()] == []
    channel_server.switches.corrupt = False
    desk.tykky("build", "--prefix", "env")
    assert run([desk.directory / "env" / "bin" / "hello"]) == "hello 1.1\n"


def test_a_wheel_beside_the_spec_that_changed(desk: Desk, home: Path) -> None:
    wheel = make_wheel(desk.directory / "wheels", "alpha", "1.0", files={"alpha.py": "VERSION = 'right'\n"})
    right, expected = wheel.read_bytes(), sha256(wheel)
    desk.write(pypi("https://pypi.invalid/simple", f"./wheels/{wheel.name}")).tykky("lock")
    make_wheel(desk.directory / "wheels", "alpha", "1.0", files={"alpha.py": "VERSION = 'smuggled'\n"})
    refused(
        desk,
        f"error: {wheel} is not what the lock says: expected sha256 {expected}, got {sha256(wheel)}\n\nhint: {WRONG}",
        8,
        "--no-check",
    )
    assert kept_of("smuggled", home) == []
    wheel.write_bytes(right)
    assert version(desk) == "right"


def test_a_wheel_of_a_wheelhouse_that_changed_or_went(desk: Desk, tmp_path: Path) -> None:
    house = tmp_path / "house"
    wheel = make_wheel(house, "alpha", "1.0", files={"alpha.py": "VERSION = 'right'\n"})
    right, expected = wheel.read_bytes(), sha256(wheel)
    more = f'find-links = ["{house}"]\n'
    desk.write(pypi(f"file://{house}") + more).tykky("lock")
    make_wheel(house, "alpha", "1.0", files={"alpha.py": "VERSION = 'smuggled'\n"})
    refused(
        desk,
        f"error: {wheel} is not what the lock says: expected sha256 {expected}, got {sha256(wheel)}\n\nhint: {WRONG}",
    )
    wheel.unlink()
    refused(
        desk,
        f"error: {wheel} does not exist\n\nhint: the lock names this file; put it back or lock again",
        7,
    )
    wheel.write_bytes(right)
    assert version(desk) == "right"


def test_a_wheel_that_lost_its_tail_in_the_cache(desk: Desk, pypi_index: Index, tmp_path: Path, home: Path) -> None:
    """A crash of the node, say: it is fetched again."""
    pypi_index.add(make_wheel(tmp_path / "made", "alpha", "1.0", files={"alpha.py": "VERSION = 'right'\n"}))
    desk.write(pypi(pypi_index.url)).environment("first")
    (kept,) = (home / ".cache" / "tykky" / "wheels-checked").rglob("*.whl")
    kept.write_bytes(kept.read_bytes()[:100])
    assert version(desk) == "right"


def version(desk: Desk) -> str:
    """Build; return the version of `alpha` that was installed."""
    desk.tykky("build", "--prefix", "env")
    return run([desk.directory / "env" / "bin" / "python", "-c", "import alpha; print(alpha.VERSION)"]).strip()


# Members


WHEELS = {
    "dotdot": ("../../../../../up.py", 0o100644, "", "'../../../../../up.py' would leave the prefix"),
    "absolute": (OUTSIDE, 0o100644, "", f"'{OUTSIDE}' is an absolute path"),
    "link": ("a/l", stat.S_IFLNK | 0o777, "../../../../x", "'a/l' is a link out of the prefix: '../../../../x'"),
    "device": ("a/dev", stat.S_IFCHR | 0o644, "", "'a/dev' is a device node"),
    "setuid": ("a/su", stat.S_IFREG | 0o4755, "", "'a/su' has the setuid or setgid bit"),
    "data": ("evil-1.0.data/data/../../x", 0o100644, "", "'evil-1.0.data/data/../../x' would leave the prefix"),
    "scheme": ("evil-1.0.data/root/x", 0o100644, "", "'evil-1.0.data/root/x' is for an unknown scheme 'root'"),
}


def evil_wheel(directory: Path, trick: str) -> tuple[Path, str]:
    """Return a wheel that plays a trick, and what is said of it."""
    name, mode, content, problem = WHEELS[trick]
    wheel = make_wheel(directory, "evil", "1.0", files={name: content}, modes={name: mode})
    return wheel, f"error: {wheel.name} holds what no package may hold:\n  {problem}\n\nhint: {TELL}"


@pytest.mark.parametrize("trick", WHEELS)
def test_a_hostile_wheel_of_an_index(desk: Desk, pypi_index: Index, tmp_path: Path, home: Path, trick: str) -> None:
    wheel, said = evil_wheel(tmp_path / "made", trick)
    pypi_index.add(wheel)
    desk.write(pypi(pypi_index.url, "evil")).tykky("lock")
    refused(desk, said)
    assert names(home / ".cache" / "tykky" / "wheels-checked") == []


def test_a_hostile_wheel_beside_the_spec(desk: Desk) -> None:
    wheel, said = evil_wheel(desk.directory / "wheels", "data")
    desk.write(pypi("https://pypi.invalid/simple", f"./wheels/{wheel.name}")).tykky("lock")
    refused(desk, said)


def test_a_hostile_wheel_of_a_wheelhouse(desk: Desk, tmp_path: Path) -> None:
    house = tmp_path / "house"
    _, said = evil_wheel(house, "setuid")
    desk.write(pypi(f"file://{house}", "evil") + f'find-links = ["{house}"]\n').tykky("lock")
    refused(desk, said)


def test_a_script_that_would_leave_bin(desk: Desk, pypi_index: Index, tmp_path: Path) -> None:
    points = {"console_scripts": {"../../escape": "evil:main"}}
    pypi_index.add(make_wheel(tmp_path / "made", "evil", "1.0", entry_points=points))
    desk.write(pypi(pypi_index.url, "evil")).tykky("lock")
    refused(
        desk,
        "error: evil-1.0-py3-none-any.whl holds what no package may hold:\n"
        f"  the script '../../escape' would not be in bin\n\nhint: {TELL}",
    )


def test_a_wheel_that_uv_refuses(desk: Desk, pypi_index: Index, tmp_path: Path) -> None:
    """For a reason of its own: it is named all the same."""
    wheel = make_wheel(tmp_path / "made", "evil", "1.0", files={"evil.py": ""})
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"Wheel-Version: 1.0", b"Wheel-Version: 9.0"))
    pypi_index.add(wheel)
    desk.write(pypi(pypi_index.url, "evil")).tykky("lock")
    before = state(desk.directory)
    failed = desk.tykky("build", "--prefix", "env", status=8)
    assert error_of(failed).startswith(f"error: {wheel.name} cannot be installed: ")
    assert error_of(failed).endswith(f"\n\nhint: {TELL}")
    assert state(desk.directory) == before


def test_a_hostile_sdist(desk: Desk, pypi_index: Index, tmp_path: Path, home: Path) -> None:
    """One that links out is refused while locking, when its backend is asked; another one before it is built."""
    linking, root = tarfile.TarInfo("evil-1.0/away"), tarfile.TarInfo("evil-1.0/root")
    linking.type, linking.linkname = tarfile.SYMTYPE, "/etc/passwd"
    root.mode = 0o4755
    pypi_index.add(make_sdist(tmp_path / "made", "evil", "1.0", extra_members=[linking]))
    failed = desk.write(pypi(pypi_index.url, "evil")).tykky("lock", status=6)
    assert error_of(failed).startswith("error: evil 1.0 cannot be read as a Python project\n\n")
    assert error_of(failed).endswith('unsafe symbolic-link target "/etc/passwd": is absolute')
    assert names(desk.directory) == ["tykky.toml"]
    pypi_index.add(make_sdist(tmp_path / "made", "evil", "1.0", extra_members=[root]))
    desk.tykky("lock")
    refused(
        desk,
        "error: evil-1.0.tar.gz holds what no package may hold:\n"
        f"  'evil-1.0/root' has the setuid or setgid bit\n\nhint: {TELL}",
    )
    assert names(home / ".cache" / "tykky" / "wheels") == []


def test_a_hostile_wheel_that_was_built_here(desk: Desk, home: Path) -> None:
    project = make_project(desk.directory / "evil", "evil", "1.0")
    backend = next(project.rglob("backend.py"))
    text = backend.read_text()
    marked = 'members[INFO + "/METADATA"] = _metadata()'
    assert marked in text
    backend.write_text(text.replace(marked, f'members["../up.py"] = b"out"\n    {marked}'))
    desk.write(pypi("https://pypi.invalid/simple", "./evil")).tykky("lock")
    refused(
        desk,
        "error: evil-1.0-py3-none-any.whl holds what no package may hold:\n"
        f"  '../up.py' would leave the prefix\n\nhint: {TELL}",
    )
    assert names(home / ".cache" / "tykky" / "wheels") == []


@pytest.fixture(scope="module")
def hostile_channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A channel of hostile packages."""
    channel = Channel(tmp_path_factory.mktemp("hostile"))
    channel.add(*hostile_packages().values()).index()
    with serve(channel.root) as served:
        yield served.url


CONDA = {
    "dotdot": "'../escape' would leave the prefix",
    "absolute": f"'{OUTSIDE}' would leave the prefix",
    "symlink-dotdot": "'share/link' is a link to '../../escape', which is outside the prefix",
    "hardlink-absolute": "'share/hard' is a hard link to '/etc/passwd', which is outside the prefix",
    "character-device": "'dev/null' is a device",
    "setuid": "'bin/root' has the setuid bit",
    "info-dotdot": "'info/../../escape' would leave the prefix",
    "paths-dotdot": "'../x' in info/paths.json would leave the prefix",
    "entry-point": "'../../escape' in info/link.json would leave the prefix",
}


@pytest.mark.parametrize("trick", CONDA)
def test_a_hostile_conda_package(desk: Desk, hostile_channel: str, home: Path, trick: str) -> None:
    name = f"evil-{trick}"
    desk.write(conda(hostile_channel, name)).tykky("lock")
    hint = "no honest package holds this: tell the channel's owners, and use another channel or version"
    refused(desk, f"error: {name}-1.0-0.conda: {CONDA[trick]}\n\nhint: {hint}")
    assert [path for path in (home / ".cache" / "tykky" / "conda").rglob(f"*{name}*") if path.is_file()] == []
