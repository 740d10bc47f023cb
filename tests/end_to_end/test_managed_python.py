"""An interpreter in the image, from uv's kind of list: spec to launcher, with no Python on the host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.channel.package import Member
from tests.channel.python import interpreter
from tests.channel.server import Served, serve
from tests.conformance.roots import MARK, make_tree, pack
from tests.end_to_end.conftest import MINOR, Desk, answer, record, run
from tests.sample import sampled
from tests.standalone import RELEASES, archive, entry, file_name, standalone_files, write
from tests.wheelmaker import make_project

SOURCE = interpreter()
OLD, NEW = (f"{MINOR}.{patch}" for patch in (90, 91))
DAYS = {OLD: "20260110", NEW: "20260220"}


@dataclass(frozen=True)
class Pythons:
    """A site's mirror of interpreters and its list of them."""

    root: Path
    served: Served
    list: Path

    def offer(self, *versions: str) -> None:
        """List these versions, for two platforms, with the URLs that uv's own list has."""
        entries = {}
        for version in versions:
            for platform in ("linux-64", "linux-aarch64"):
                path = file_name(version, DAYS[version], platform)
                data = (self.root / path).read_bytes()
                key, value = entry(version, f"{RELEASES}/{quote(path)}", data, platform)
                entries[key] = value
        self.list.write_text(json.dumps(entries))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of two releases. Both hold the Python of this machine, which is what `--version` tells."""
    root = tmp_path_factory.mktemp("releases")
    for version in (OLD, NEW):
        write(root, file_name(version, DAYS[version]), archive(standalone_files(SOURCE, version)))
        write(root, file_name(version, DAYS[version], "linux-aarch64"), archive({}))
    return root


@pytest.fixture
def pythons(archives: Path, home: Path, tmp_path: Path) -> Iterator[Pythons]:
    """The archives on a server that stands for GitHub's releases, and a list that site.toml names."""
    listed = tmp_path / "downloads.json"
    site = home / ".config" / "tykky" / "site.toml"
    site.parent.mkdir(parents=True)
    with serve(archives) as served:
        site.write_text(f'[mirrors]\n"{RELEASES}" = "{served.url}"\n\n[python]\ndownloads = "{listed}"\n')
        found = Pythons(archives, served, listed)
        found.offer(OLD)
        yield found


def spec(*dependencies: str, wheelhouse: Path | None = None, python: str | None = MINOR, environment: str = "") -> str:
    lines = ["[environment]", 'name = "own"', environment, "[pypi]", "managed-python = true"]
    if python is not None:
        lines.append(f'python = "{python}"')
    lines.append(f"dependencies = {json.dumps(dependencies)}")
    if wheelhouse is not None:
        lines += [f'find-links = ["{wheelhouse}"]', f'index-url = "file://{wheelhouse}"']
    return "\n".join(lines) + "\n"


def locked(desk: Desk) -> list[tuple[str, str]]:
    """Return platform and version of every locked interpreter."""
    import tomli

    lock = tomli.loads((desk.directory / "tykky.lock").read_text())
    return [(p["platform"], p["version"]) for p in lock["package"] if p["kind"] == "python"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for what several tests of this module look at and none changes."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def env(shelf: Path, pythons: Pythons, wheelhouse: Path) -> Path:
    """An environment with its own interpreter, built by the first test that wants it."""
    if not (shelf / "env").exists():
        make_project(shelf / "mylib", "mylib", "0.1", files={"mylib/__init__.py": "VERSION = 'built inside'\n"})
        Desk(shelf).write(spec("beta", "./mylib", wheelhouse=wheelhouse)).environment()
    return shelf / "env"


def test_from_list_to_launcher(env: Path) -> None:
    assert [layer["kind"] for layer in record(env)["layers"]] == ["tree", "pypi"]  # type: ignore[attr-defined]
    assert record(env)["interpreter"] is None
    code = (
        "import sys, json, alpha, mylib, release; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix,"
        " alpha.__file__, release.RELEASE, mylib.VERSION]))"
    )
    executable, prefix, base, file, release, built = json.loads(run([env / "bin" / "python", "-c", code]))
    assert executable == str(env / "bin" / "python")
    assert prefix == base == str(env)
    assert Path(file).is_relative_to(env)
    assert (release, built) == (OLD, "built inside")
    assert answer([env / "bin" / "alpha", "x"])["executable"] == str(env / "bin" / "python")
    for name in (f"pydoc{MINOR}", "pydoc3", f"2to3-{MINOR}"):
        assert run([env / "bin" / name, "x"]) == f"{env / 'bin' / 'python'} x\n"
    # The lock reads the same at a site that can reach GitHub.
    assert "127.0.0.1" not in (env.parent / "tykky.lock").read_text()


def test_what_it_says_of_itself_is_of_the_prefix(env: Path) -> None:
    names = ["CC", "CXX", "AR", "LIBDIR", "INCLUDEPY", "CONFIG_ARGS", "LDFLAGS", "PYTHON_BUILD_STANDALONE"]
    code = "import sys, json, sysconfig; print(json.dumps([sysconfig.get_config_var(n) for n in sys.argv[1:]]))"
    values = dict(zip(names, json.loads(run([env / "bin" / "python", "-c", code, *names])), strict=True))
    # sysconfig itself computes these two from where the interpreter is
    assert values.pop("INCLUDEPY") in (f"{env}/include/python{MINOR}", f"/tykky/own/include/python{MINOR}")
    assert values.pop("LIBDIR") in (f"{env}/lib", "/tykky/own/lib")
    assert values == {
        "CC": "cc -pthread",
        "CXX": "c++ -pthread",
        "AR": "ar",
        "CONFIG_ARGS": "'--prefix=/tykky/own' 'CC=clang'",
        "LDFLAGS": "-L/tykky/own/lib -L/tools/install/lib",
        "PYTHON_BUILD_STANDALONE": 1,
    }
    assert run([env / "bin" / f"python{MINOR}-config"]) == "/tykky/own\n"
    code = (
        "import sys, pathlib, importlib.metadata as m; p = pathlib.Path(sys.prefix);"
        "print((p / 'lib/pkgconfig/python3.pc').read_text(), sorted(d.name for d in m.distributions()),"
        "(p / 'bin/pip').exists(), list(p.rglob('EXTERNALLY-MANAGED')))"
    )
    said = "prefix=/tykky/own\nlibdir=${prefix}/lib\n ['alpha', 'beta', 'mylib'] False []\n"
    assert run([env / "bin" / "python", "-c", code]) == said


def test_no_python_of_the_host_is_needed(env: Path, tmp_path: Path) -> None:
    """P runs where PATH has no Python and the one it was made of is out of sight."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
            link = programs / program.name
            if not program.name.startswith(("python", "pypy", "pip")) and not link.exists():
                link.symlink_to(program)
    environ = {"PATH": str(programs), "HOME": os.environ["HOME"], "XDG_RUNTIME_DIR": str(tmp_path)}
    assert subprocess.run(["sh", "-c", "command -v python3"], env=environ, check=False).returncode != 0
    code = (
        "import sys, ssl, ctypes, json; maps = open('/proc/self/maps').read();"
        "print(sys.executable, sys.argv[1] in maps, any(p.startswith(sys.argv[1]) for p in sys.path))"
    )
    stdlib = str(SOURCE.stdlib)
    done = subprocess.run(
        [env / "bin" / "python", "-c", code, stdlib], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{env / 'bin' / 'python'} False False\n"
    hidden = f'mount -t tmpfs none "{stdlib}" && mount --bind /dev/null "{SOURCE.executable}" && exec "$@"'
    hide = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", hidden, "sh"]
    if subprocess.run([*hide, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be hidden on this host")
    assert subprocess.run([*hide, SOURCE.executable, "-c", ""], capture_output=True, check=False).returncode != 0
    said = json.loads(run([*hide, env / "bin" / "alpha", "x"], env=environ))
    assert said["executable"] == str(env / "bin" / "python")


def test_a_lock_keeps_its_interpreter_until_it_is_upgraded(desk: Desk, pythons: Pythons) -> None:
    platforms = 'platforms = ["linux-64", "linux-aarch64"]'
    desk.write(spec(python=None, environment=platforms)).tykky("lock")
    both = ["linux-64", "linux-aarch64"]
    assert locked(desk) == [(name, OLD) for name in both]
    before = (desk.directory / "tykky.lock").read_bytes()
    pythons.offer(OLD, NEW)
    desk.tykky("lock", "--check")
    assert "is up to date" in desk.tykky("lock").out
    desk.write(spec(python=MINOR, environment=platforms)).tykky("lock")
    assert locked(desk) == [(name, OLD) for name in both]
    said = desk.tykky("lock", "--upgrade", "cpython").out.splitlines()
    assert said[:2] == [f"  ~ cpython {OLD} -> {NEW}  (python, {name})" for name in both]
    assert locked(desk) == [(name, NEW) for name in both]
    assert before != (desk.directory / "tykky.lock").read_bytes()
    # nothing was fetched to lock: the list has the hashes
    assert pythons.served.requests == []


def test_exclude_newer(desk: Desk, pythons: Pythons) -> None:
    pythons.offer(OLD, NEW)
    desk.write(spec(environment='exclude-newer = "2026-02-19"')).tykky("lock")
    assert locked(desk) == [("linux-64", OLD)]
    desk.write(spec(environment='exclude-newer = "2026-02-20"')).tykky("lock")
    assert locked(desk) == [("linux-64", NEW)]
    desk.write(spec(environment='exclude-newer = "2026-01-09"'))
    refused = desk.tykky("lock", status=6)
    reason = f"uv has no Python {MINOR} for linux-64 that was there by 2026-01-09 (exclude-newer)"
    assert f"error: {reason}" in refused.err
    assert locked(desk) == [("linux-64", NEW)]


def test_the_plan_shows_the_interpreter(desk: Desk, pythons: Pythons, wheelhouse: Path) -> None:
    desk.write(spec("alpha", wheelhouse=wheelhouse)).tykky("lock")
    plan = json.loads(desk.tykky("build", "--dry-run", "--json").out)
    assert [(layer["kind"], layer["packages"]) for layer in plan["layers"]] == [
        ("tree", [f"cpython=={OLD}"]),
        ("pypi", ["alpha==1.1"]),
    ]
    assert f"  tree   {plan['layers'][0]['key'][:12]}  cpython {OLD}: to build" in desk.tykky("build", "-n").out


@pytest.mark.thorough
def test_two_builds_are_the_same_to_the_byte(env: Path, desk: Desk, pythons: Pythons, tmp_path: Path) -> None:
    """Invariants 1 and 2: another umask, directory and time; and the second one needs no network."""
    shutil.copytree(env.parent / "mylib", desk.directory / "mylib")
    for name in ("tykky.toml", "tykky.lock"):
        (desk.directory / name).write_bytes((env.parent / name).read_bytes())
    cold = {"TYKKY_CACHE": str(tmp_path / "cache")}
    before = len(pythons.served.requests)
    refused = desk.tykky("build", "--offline", status=7, environ=cold)
    url = f"{RELEASES}/{quote(file_name(OLD, DAYS[OLD]))}"
    assert f"error: {url} is not in the cache, and --offline allows no network" in refused.err
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    previous = os.umask(0o077)
    try:
        desk.tykky("build", environ={**cold, "TMPDIR": str(elsewhere)})
    finally:
        os.umask(previous)
    assert record(desk.directory / "own")["layers"] == record(env)["layers"]
    assert pythons.served.requests[before:] == [f"GET /{file_name(OLD, DAYS[OLD])}"]
    desk.tykky("build", "--offline", "--prefix", "offline", environ=cold)
    assert record(desk.directory / "offline")["layers"] == record(env)["layers"]
    assert len(pythons.served.requests) == before + 1


def test_an_archive_that_is_not_what_the_lock_says(desk: Desk, pythons: Pythons) -> None:
    desk.write(spec()).tykky("lock")
    pythons.served.switches.corrupt = True
    refused = desk.tykky("build", status=8)
    assert "is not what the lock says: expected sha256 " in refused.err
    assert sorted(p.name for p in desk.directory.iterdir()) == ["tykky.lock", "tykky.toml"]


@pytest.mark.parametrize(
    ("member", "problem"),
    sampled(
        [
            (Member("python/../../up"), "'../../up' would leave the prefix"),
            (Member("other/file"), "'other/file' is not below 'python', the directory of the interpreter"),
            (Member("python/lib/out", b"2", target="../../x"), "'lib/out' is a link out of the prefix: '../../x'"),
            (Member("python/bin/su", mode=0o4755), "'bin/su' has the setuid or setgid bit"),
            (
                Member("python/bin/hard", b"1", target="passwd"),
                "'bin/hard' is a hard link out of the archive: '../passwd'",
            ),
        ],
        every=5,
    ),
)
def test_a_hostile_archive_is_refused_by_name(desk: Desk, pythons: Pythons, member: Member, problem: str) -> None:
    data = archive(standalone_files(SOURCE), [member])
    hostile = write(pythons.list.parent, "cpython-hostile.tar.gz", data)
    key, value = entry(f"{MINOR}.0", hostile.as_uri(), data)
    pythons.list.write_text(json.dumps({key: value}))
    desk.write(spec()).tykky("lock")
    lines = [line.strip() for line in desk.tykky("build", status=8).err.splitlines()]
    at = lines.index("error: cpython-hostile.tar.gz holds what no package may hold:")
    assert lines[at + 1] == problem
    assert sorted(p.name for p in desk.directory.iterdir()) == ["tykky.lock", "tykky.toml"]


def test_an_archive_without_an_interpreter(desk: Desk, pythons: Pythons) -> None:
    data = archive({})
    empty = write(pythons.list.parent, "cpython-empty.tar.gz", data)
    key, value = entry(f"{MINOR}.0", empty.as_uri(), data)
    pythons.list.write_text(json.dumps({key: value}))
    desk.write(spec()).tykky("lock")
    refused = desk.tykky("build", status=8)
    assert f"error: the archive of cpython {MINOR}.0 has no bin/python{MINOR}" in refused.err


def test_another_minor_version_is_named_with_what_there_is(desk: Desk, pythons: Pythons) -> None:
    refused = desk.write(spec(python="3.4")).tykky("lock", status=6)
    assert "error: uv has no Python 3.4 for linux-64" in refused.err
    assert f"hint: there are {MINOR}" in refused.err


@pytest.mark.thorough
def test_it_runs_in_an_image_of_its_own(desk: Desk, pythons: Pythons, wheelhouse: Path, tmp_path: Path) -> None:
    """Nothing of it is the host's, so the host's files need not be there."""
    image = pack(make_tree(tmp_path / "root"), tmp_path / "root.sqfs")
    env = desk.write(spec("beta", wheelhouse=wheelhouse) + f'\n[runtime]\nimage = "{image}"\n').environment()
    code = "import sys, alpha, release; print(sys.executable, release.RELEASE, open('/etc/mark').read(), end='')"
    assert run([env / "bin" / "python", "-c", code]) == f"{env / 'bin' / 'python'} {OLD} {MARK}"
    assert answer([env / "bin" / "alpha", "x"])["executable"] == str(env / "bin" / "python")
