"""The script layer: over mounted images and in an extracted tree, it must come out the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.layers.stacks import PREFIX, SITE, TAG, Bench, Built, without_network
from tests.living import programs_naming, until
from tests.ordinary import as_ordinary_user, open_place, why_not_ordinary
from tykky.errors import ArtifactError, BuildError, RuntimeUnavailable
from tykky.layers import upper
from tykky.layers.script import ScriptFailed
from tykky.site.model import Runtime as SiteRuntime
from tykky.site.model import Settings
from tykky.site.offer import Site

EVERYTHING = r"""
set -e
cd "$TYKKY_BUILD_PREFIX"
umask 077
# new, of every kind
mkdir -p new/empty new/full
echo new >new/full/file
ln new/full/file new/full/again
ln -s ../nowhere new/link
printf '#!/bin/sh\n' >new/program
chmod 711 new/program
# nothing changed in the end
touch share/a/1
chmod 600 share/a/2
cp share/a/deep/3 three
rm -r share/a/deep
mkdir share/a/deep
cat three >share/a/deep/3
rm three
cat share/b >b && mv b share/b
printf 'odd\n' >'share/odd [x]*? \ name '
touch -h 'share/l -> m'
ln -sfn lib lib64
chmod 700 share/empty
# changed, gone, another kind
echo altered >share/b
chmod +x pyvenv.cfg
rm -r share/swap
ln -s b share/swap
rmdir share/empty
echo a file >share/empty
rm -r share/a && mkdir share/a && echo four >share/a/4
# closed
mkdir share/closed
echo secret >share/closed/file
chmod 000 share/closed/file share/closed
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    try:
        made.workshop("trial").inside.require()
    except RuntimeUnavailable as error:
        pytest.skip(f"{error.reason}: {error.output}")
    return made


@pytest.fixture
def stack(bench: Bench) -> list[Path]:
    """The images of a stack over which this host can write."""
    images = bench.stack()
    reason = upper.why_not(PREFIX, images, bench.workshop("overlay"))
    if reason is not None:
        pytest.skip(f"no overlay can be written here: {reason}")
    return images


def both(bench: Bench, stack: list[Path], text: str, **environ: str) -> Built:
    """Make the layer in both ways; they must be the same to the byte. Return one of them."""
    post = bench.script(text)
    over = bench.layer("over", stack, post, overlay=True, **environ)
    copied = bench.layer("copied", stack, post, overlay=False, **environ)
    assert over.notes == []
    assert copied.notes == ["the layers below are unpacked for the scripts: not on this host"]
    assert (over.shown, over.whiteouts) == (copied.shown, copied.whiteouts)
    assert over.digest == copied.digest
    return over


def kinds(built: Built) -> dict[str, str]:
    return {path: entry.kind for path, entry in built.shown.items() if entry.kind != "directory"}


def directories(built: Built) -> set[str]:
    full = {path.rpartition("/")[0] for path in built.shown}
    return {path for path, entry in built.shown.items() if entry.kind == "directory" and path not in full}


def test_every_kind_of_change(bench: Bench, stack: list[Path]) -> None:
    built = both(bench, stack, EVERYTHING)
    assert built.whiteouts == ("share/a/1", "share/a/2", "share/a/deep")
    assert kinds(built) == {
        "new/full/again": "file",
        "new/full/file": "file",
        "new/link": "symlink",
        "new/program": "file",
        "pyvenv.cfg": "file",
        "share/a/1": "whiteout",
        "share/a/2": "whiteout",
        "share/a/4": "file",
        "share/a/deep": "whiteout",
        "share/b": "file",
        "share/closed/file": "file",
        "share/empty": "file",
        "share/swap": "symlink",
    }
    assert directories(built) == {"new/empty"}
    assert [path for path, entry in built.shown.items() if entry.executable] == ["new/program", "pyvenv.cfg"]
    for path in ("share/closed/file", "new/full/file"):
        said = bench.ask(path.replace("/", "-"), [*stack, built.image], f"print(open('{PREFIX}/{path}').read())")
        assert said == {"share/closed/file": "secret\n\n", "new/full/file": "new\n\n"}[path]


def test_nothing_changes(bench: Bench, stack: list[Path]) -> None:
    built = both(bench, stack, 'cd "$TYKKY_BUILD_PREFIX" && chmod -R u=rwX,go= . && touch share/a share/b bin/tool')
    assert kinds(built) == {} and directories(built) <= {""}


def test_directories_that_are_moved_go_over_to_a_copy(bench: Bench, stack: list[Path]) -> None:
    """An overlay refuses to rename a lower directory (EXDEV); a program that cannot cope gets an extracted tree."""
    post = bench.script("import os\nos.rename('share/a', 'share/c')\n", "post.py")
    post.write_text(f"#!{sys.executable}\nimport os\nos.chdir('{PREFIX}')\nos.rename('share/a', 'share/c')\n")
    over = bench.layer("over", stack, post, overlay=True)
    assert over.notes == [
        "the layers below are unpacked for the scripts: in an overlay it cannot rename directories of lower layers"
    ]
    assert sorted(kinds(over)) == ["share/a", "share/c/1", "share/c/2", "share/c/deep/3"]
    assert over.whiteouts == ("share/a",)
    assert over.digest == bench.layer("copied", stack, post, overlay=False).digest


def test_mv_of_a_lower_directory(bench: Bench, stack: list[Path]) -> None:
    built = both(bench, stack, 'cd "$TYKKY_BUILD_PREFIX"/share && mv a c')
    assert sorted(kinds(built)) == ["share/a", "share/c/1", "share/c/2", "share/c/deep/3"]


def test_a_directory_becomes_a_file_and_the_other_way(bench: Bench, stack: list[Path]) -> None:
    built = both(bench, stack, 'cd "$TYKKY_BUILD_PREFIX"/share && rm -r a b && echo >a && mkdir b && echo >b/in')
    assert kinds(built) == {"share/a": "file", "share/b/in": "file"}


def test_bytecode_follows_its_source(bench: Bench, stack: list[Path]) -> None:
    text = f"""
    set -e
    cd "$TYKKY_BUILD_PREFIX/{SITE}"
    echo "WHO = 'changed'" >pkg/__init__.py
    echo "no python at all (" >pkg/mod.py
    rm pkg/left.py
    rm alone/only.py
    rm -r __pycache__
    echo "WHO = 'new'" >new.py
    """
    built = both(bench, stack, textwrap.dedent(text))
    assert built.whiteouts == (
        f"{SITE}/__pycache__/other.{TAG}.pyc",
        f"{SITE}/alone/__pycache__",
        f"{SITE}/alone/only.py",
        f"{SITE}/pkg/__pycache__/left.{TAG}.pyc",
        f"{SITE}/pkg/__pycache__/mod.{TAG}.pyc",
        f"{SITE}/pkg/left.py",
    )
    assert sorted(path for path, kind in kinds(built).items() if kind == "file") == [
        f"{SITE}/__pycache__/new.{TAG}.pyc",
        f"{SITE}/new.py",
        f"{SITE}/pkg/__init__.py",
        f"{SITE}/pkg/__pycache__/__init__.{TAG}.pyc",
        f"{SITE}/pkg/mod.py",
    ]
    code = """
import importlib.util, pkg, new, other
print(pkg.WHO, new.WHO, other.WHO, importlib.util.find_spec("pkg.left"), importlib.util.find_spec("alone.only"))
try:
    import pkg.mod
except SyntaxError:
    print("no stale bytecode")
"""
    assert bench.ask("ask", [*stack, built.image], code) == "changed new other None None\nno stale bytecode\n"


def test_a_script_that_compiles_again_changes_nothing(bench: Bench, stack: list[Path]) -> None:
    """Bytecode of layers below is theirs: a script's own, valid by a time stamp, does not hide it."""
    built = both(bench, stack, f"python -m compileall -q -f $TYKKY_BUILD_PREFIX/{SITE}")
    assert kinds(built) == {} and directories(built) <= {""}


def test_console_scripts_follow_the_path_they_are_called_by(bench: Bench, stack: list[Path]) -> None:
    info = f"{SITE}/made-1.dist-info"
    text = f"""
    set -e
    cd "$TYKKY_BUILD_PREFIX"
    printf '#!{PREFIX}/bin/python\\nimport sys; print(sys.executable)\\n' >bin/made
    chmod 755 bin/made
    mkdir -p {info}
    printf '../../../bin/made,sha256=old,3\\nmade.py,,\\n' >{info}/RECORD
    """
    built = both(bench, stack, textwrap.dedent(text))
    code = f"print(open('{PREFIX}/bin/made').readline()); print(open('{PREFIX}/{info}/RECORD').read())"
    said = bench.ask("ask", [*stack, built.image], code).split("\n")
    assert said[0] == "#!/bin/sh"
    assert said[2].startswith("../../../bin/made,sha256=") and "old" not in said[2]


def test_scripts_see_a_clean_environment(
    bench: Bench, stack: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = f"{tmp_path}/of/the/user"
    for name in ("PIP_INDEX_URL", "UV_OFFLINE", "CONDA_PREFIX", "PYTHONPATH", "LD_PRELOAD_OF_MINE", "BASH_ENV"):
        monkeypatch.setenv(name, users)
    monkeypatch.setenv("XDG_CACHE_HOME", users)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org")
    post = bench.script(
        "#!/bin/sh -e\npython - <<'END'\nimport json, os, sys\n"
        "state = {'environ': dict(os.environ), 'cwd': os.getcwd(), 'executable': sys.executable,"
        " 'home': os.listdir(os.environ['HOME']), 'modes': [oct(os.stat(os.environ[n]).st_mode & 0o777)"
        " for n in ('HOME', 'TMPDIR')]}\n"
        "json.dump(state, open(os.environ['TYKKY_BUILD_PREFIX'] + '/state.json', 'w'))\nEND\n"
    )
    for overlay in (True, False):
        name = f"overlay-{overlay}"
        activation = {"GDAL_DATA": f"{PREFIX}/share/gdal", "PATH": f"{PREFIX}/more"}
        built = bench.layer(name, stack, post, overlay=overlay, **activation)
        state = json.loads(
            bench.ask(f"{name}-ask", [*stack, built.image], f"print(open('{PREFIX}/state.json').read())")
        )
        seen = state["environ"]
        assert users not in seen.values()
        assert {n for n in seen if n.startswith(("PIP_", "CONDA_", "PYTHON"))} == {
            "PYTHONDONTWRITEBYTECODE",
            "PYTHONNOUSERSITE",
        }
        assert {n for n in seen if n.startswith(("UV_", "_tykky"))} <= {"UV_SYSTEM_CERTS"}
        own, more, tools, host = seen["PATH"].split(":", 3)
        assert (own, more, host) == (f"{PREFIX}/bin", f"{PREFIX}/more", os.environ["PATH"])
        assert tools.startswith(str(bench.folder)) and tools.endswith("/script-tools")
        assert (seen["GDAL_DATA"], seen["HTTPS_PROXY"]) == (f"{PREFIX}/share/gdal", "http://proxy.example.org")
        assert state["cwd"] == str(post.parent)
        assert state["executable"] == f"{PREFIX}/bin/python"
        assert (state["home"], state["modes"]) == ([], ["0o700", "0o700"])
        assert seen["HOME"].startswith(str(bench.folder)) and seen["TMPDIR"].startswith(str(bench.folder))


@pytest.mark.parametrize("overlay", [True, False])
def test_a_socket_is_refused(bench: Bench, stack: list[Path], overlay: bool) -> None:
    post = bench.script('mkfifo "$TYKKY_BUILD_PREFIX/share/pipe"')
    with pytest.raises(ArtifactError) as raised:
        bench.layer("it", stack, post, overlay=overlay)
    assert str(raised.value) == "share/pipe is neither file, directory nor symlink"


@pytest.mark.parametrize("overlay", [True, False])
def test_a_failing_script_is_quoted(bench: Bench, stack: list[Path], overlay: bool) -> None:
    post = bench.script("echo going to fail\necho it fails >&2\nexit 123\n")
    with pytest.raises(ScriptFailed) as raised:
        bench.layer("it", stack, post, overlay=overlay)
    assert str(raised.value) == "post.sh failed: sh failed with exit status 123"
    assert raised.value.output == "going to fail\nit fails"


def test_a_killed_script_is_named(bench: Bench, stack: list[Path]) -> None:
    with pytest.raises(ScriptFailed) as raised:
        bench.layer("it", stack, bench.script("kill -9 $$\n"), overlay=True)
    assert str(raised.value) == "post.sh failed: sh was killed by SIGKILL"


@pytest.mark.parametrize("overlay", [True, False])
def test_what_a_script_leaves_in_the_background_ends_with_it(bench: Bench, stack: list[Path], overlay: bool) -> None:
    left = bench.folder / "left.sh"
    left.write_text("sleep 1000\n")
    post = bench.script(f"sh '{left}' &\n echo made >\"$TYKKY_BUILD_PREFIX/share/made\"\n")
    assert "share/made" in bench.layer("it", stack, post, overlay=overlay).shown
    until(lambda: not programs_naming(bench.folder))
    with pytest.raises(ScriptFailed) as raised:
        bench.layer("again", stack, bench.script(f"sh '{left}' &\nexit 7\n"), overlay=overlay)
    assert str(raised.value) == "post.sh failed: sh failed with exit status 7"
    until(lambda: not programs_naming(bench.folder))


def test_scripts_run_one_after_the_other(bench: Bench, stack: list[Path]) -> None:
    first = bench.script('echo 1 >"$TYKKY_BUILD_PREFIX/share/n"', "first.sh")
    second = bench.script('cd "$TYKKY_BUILD_PREFIX/share" && cat n n >m && rm n', "second.sh")
    made = {bench.layer(f"o{overlay}", stack, first, second, overlay=overlay).digest for overlay in (True, False)}
    assert len(made) == 1
    with pytest.raises(BuildError, match=r"second\.sh failed"):
        bench.layer("again", stack, second, overlay=True)


NETWORK = """\
import os, socket
names = sorted(name for _, name in socket.if_nameindex())
try:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2], 5):
        loopback = True
except OSError as error:
    loopback = str(error)
open(os.environ["TYKKY_BUILD_PREFIX"] + "/seen", "w").write(repr((names, loopback, os.getuid(), os.getgid())))
"""


def _seen(bench: Bench, stack: list[Path], overlay: bool) -> tuple[list[str], bool, int, int]:
    post = bench.script(f"#!{sys.executable}\n{NETWORK}", "post.py")
    built = bench.layer("it", stack, post, overlay=overlay)
    text = bench.ask("ask", [*stack, built.image], f"print(open('{PREFIX}/seen').read())")
    return eval(text)  # type: ignore[no-any-return]  # a tuple that the script above wrote


@pytest.mark.parametrize("overlay", [True, False])
def test_without_network(bench: Bench, stack: list[Path], overlay: bool) -> None:
    names, loopback, user, group = _seen(Bench(bench.folder, without_network()), stack, overlay)
    assert (names, user, group) == (["lo"], os.getuid(), os.getgid())
    assert loopback is True or not Path("/usr/sbin/ip").exists()


def test_with_network(bench: Bench, stack: list[Path]) -> None:
    assert _seen(bench, stack, True)[0] == sorted(os.listdir("/sys/class/net"))


@pytest.mark.parametrize(
    ("pretended", "said"),
    [
        ("echo 'unshare: No space left on device' >&2; exit 1", "unshare: No space left on device"),
        ('while [ "$1" != -- ]; do shift; done; shift; exec "$@"', os.readlink("/proc/self/ns/net")),
    ],
    ids=["refused", "without effect"],
)
def test_a_host_that_cannot_take_the_network_away_says_so(
    bench: Bench, stack: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretended: str, said: str
) -> None:
    fake = tmp_path / "system"
    fake.mkdir()
    (fake / "unshare").write_text(f"#!/bin/sh\n{pretended}\n")
    (fake / "unshare").chmod(0o755)
    monkeypatch.setattr("tykky.layers.network._SYSTEM_PATH", str(fake))
    ran = tmp_path / "ran"
    with pytest.raises(BuildError) as raised:
        Bench(bench.folder, without_network()).layer("it", stack, bench.script(f"touch '{ran}'"), overlay=True)
    assert str(raised.value) == (
        "this site's scripts run without network (build.script-network in site.toml), and this host cannot do that"
    )
    hint = "it takes user namespaces, or an Apptainer with setuid: 'tykky doctor' says what can be had"
    assert (raised.value.hint, raised.value.output) == (hint, said)
    assert not ran.exists()


def test_a_site_without_the_backend(bench: Bench, stack: list[Path]) -> None:
    """Where only Apptainer may be used, the reason is in the note; no error."""
    site = Site(Settings(runtime=SiteRuntime(backends=("apptainer",))))
    reason = upper.why_not(PREFIX, stack, Bench(bench.folder, site).workshop("it"))
    assert reason == "what is written can be kept by the backend namespace only, and this site does not use it"


def test_a_forced_backend(bench: Bench, stack: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYKKY_BACKEND", "apptainer")
    reason = upper.why_not(PREFIX, stack, bench.workshop("it"))
    assert reason == (
        "tykky: what is written can be kept by the backend namespace only, and TYKKY_BACKEND is apptainer"
    )


INTERRUPTED = """
import sys
from pathlib import Path
from tests.layers.stacks import Bench
bench = Bench(Path(sys.argv[1]))
bench.layer("it", [Path(p) for p in sys.argv[3:]], Path(sys.argv[2]), overlay=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_mounted_when_a_build_is_stopped(bench: Bench, stack: list[Path], number: int) -> None:
    started = bench.folder / "started"
    post = bench.script(f"touch '{started}'\nwhile [ -e '{started}' ]; do sleep 0.1; done\n")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", INTERRUPTED, *map(str, (bench.folder, post, *stack))]
    with subprocess.Popen(argv, env=environ, stderr=subprocess.DEVNULL, start_new_session=True) as build:
        until(started.exists)
        until(lambda: programs_naming(bench.folder).count("squashfuse_ll") == 2)  # a trial's end a moment after it
        build.send_signal(number)
    if number != signal.SIGINT:
        started.unlink()  # nobody was left to end the script
    until(lambda: not programs_naming(bench.folder))


def test_an_ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layer for an ordinary user, in both ways, and for root."""
    reason = why_not_ordinary()
    if reason is not None:
        pytest.skip(reason)

    def work() -> None:
        os.environ |= {"HOME": str(place), "XDG_RUNTIME_DIR": str(place), "TMPDIR": str(place)}
        bench = Bench(place)
        try:
            bench.workshop("trial").inside.require()
        except RuntimeUnavailable as error:
            print(f"nothing can be mounted: {error.reason}")
            return
        stack = bench.stack()
        assert upper.why_not(PREFIX, stack, bench.workshop("overlay")) is None
        built = both(bench, stack, EVERYTHING)
        (place / "digest").write_text(built.digest)

    with open_place() as place:
        as_ordinary_user(work)
        if os.geteuid() == 0:
            folder = place / "root"
            folder.mkdir()
            mine = Bench(folder)
            digest = mine.layer("over", mine.stack(), mine.script(EVERYTHING), overlay=True).digest
            assert (place / "digest").read_text() == digest
