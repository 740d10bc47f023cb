"""An image of one's own as the root: its files are there, and of the host only what is named (decision 0016)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.cases import SETUID, USERNS
from tests.conformance.conftest import Bench, below_srv
from tests.conformance.roots import MARK, make_tree, pack, pack_sif
from tests.conformance.stage import PREFIX, publish
from tests.registry.images import HERE, PLATFORM, archive, archive_of, make_image, make_index, member
from tests.registry.servers import real_registry
from tykky.access import Access
from tykky.layers.root import merged_tree, write_tree
from tykky.layers.squashfs import pack_argv
from tykky.process import Commands
from tykky.resolve.registry.choose import choose
from tykky.resolve.registry.files import fetch_layer, manifest_of
from tykky.resolve.registry.server import Registry
from tykky.runtime.image_file import look_into
from tykky.runtime.isolated import Root
from tykky.runtime.model import Launch, Stack
from tykky.spec.image_reference import parse_reference

SAMPLED = True

LOOK = "import json, os, sys; print(json.dumps([os.path.lexists(path) for path in sys.argv[1:]]))"
WHO = "import json, os, sys; print(json.dumps([sys.executable, sys.prefix, os.getcwd(), open('/etc/mark').read()]))"


@pytest.fixture(scope="session")
def tree(ground: Path) -> Path:
    """A small root, unpacked."""
    folder = ground / "root-tree"
    folder.mkdir()
    return make_tree(folder)


@pytest.fixture(scope="session")
def sqfs(tree: Path, ground: Path) -> Path:
    """The root as a squashfs."""
    return pack(tree, ground / "root.sqfs")


@pytest.fixture(scope="session")
def sif(ground: Path, tree: Path) -> Path:
    """The root as a SIF that sets a variable, as most images of registries do."""
    found = shutil.which("apptainer") or next((str(path) for path in (USERNS, SETUID) if path.exists()), None)
    if found is None:
        pytest.skip("there is no apptainer on PATH or at the places of tests/hosts/setup.sh")
    root = ground / "sif-tree"
    shutil.copytree(tree, root, symlinks=True)
    script = root / ".singularity.d" / "env" / "10-docker2singularity.sh"
    script.parent.mkdir(parents=True)
    script.write_text("export OF_THE_IMAGE=yes\nexport PATH=/of/the/image\n")
    return pack_sif(root, ground / "root.sif", found)


@pytest.fixture(scope="session")
def of_registry(ground: Path, tree: Path) -> Path:
    """The root as it comes from Debian's registry, in two layers: what a build makes of it."""
    folder = ground / "of-registry"
    folder.mkdir()
    more = archive([member("etc/mark", b"of the upper layer"), member("etc/.wh.gone")])
    image = make_image([archive([member("etc/gone", b"")]), archive_of(tree), more])
    with real_registry(folder) as server:
        server.push("group/root", "1", make_index({HERE: image}))
        reference = parse_reference(f"docker://{server.address}/group/root:1")
        registry = Registry(reference, Access(folder / "cache"), {"HOME": str(folder)})
        (locked,) = choose(registry, [PLATFORM], {})
        layers = [fetch_layer(registry, one, lambda _: None) for one in manifest_of(registry, locked.digest).layers]
    unpacked = folder / "tree"
    unpacked.mkdir(mode=0o755)
    write_tree(merged_tree(layers, lambda _: None), layers, unpacked, lambda _: None)
    image_file = folder / "root.sqfs"
    subprocess.run(pack_argv(Path("mksquashfs"), unpacked, image_file, level=1), check=True, capture_output=True)
    image_file.chmod(0o644)
    return image_file


@pytest.fixture(params=["conda", pytest.param("managed", marks=pytest.mark.thorough)])
def kind(request: pytest.FixtureRequest) -> str:
    """Who bring their own interpreter: conda-type, and PyPI's packages on one that uv manages (decision 0016)."""
    kind: str = request.param
    return kind


@pytest.fixture
def isolated(bench: Bench, kind: str, sqfs: Path) -> Callable[..., Path]:
    """Give environments with the squashfs as their root."""

    def make(
        name: str = "P", *, mounts: tuple[str, ...] = (), image: Path = sqfs, offset: int = 0, **more: object
    ) -> Path:
        root = Root(str(image), image.stat().st_size, offset, mounts)
        return bench.environment(name, kind=kind, root=root, **more)

    return make


def seen(bench: Bench, environment: Path, *paths: object, **options: object) -> list[bool]:
    return json.loads(bench.run(environment / "bin" / "python", "-c", LOOK, *paths, **options).stdout)  # type: ignore[no-any-return]


@pytest.fixture
def srv(bench: Bench) -> Iterator[Path]:
    """A directory that no isolated root shows by itself; its name has a space."""
    with below_srv(bench, "inner", "neighbour", "home") as made:
        yield made


def test_python_runs_as_p_bin_python_in_the_image(bench: Bench, isolated: Callable[..., Path]):
    place = isolated()
    done = bench.run(place / "bin" / "python", "-c", WHO)
    assert json.loads(done.stdout) == [f"{place}/bin/python", str(place), str(bench.place), MARK]
    assert done.stderr == ""
    tool = bench.run(place / "bin" / "tool", "a b", "")
    assert tool.stdout.splitlines() == [f"{place}/bin/python", f"['{place}/bin/tool', 'a b', '']"]
    assert bench.run(place / "bin" / "extra").stdout == f"extra {place}/bin/extra\n"


def test_one_image_of_packages_is_enough(bench: Bench, isolated: Callable[..., Path]):
    place = isolated(count=1)
    text = "import thing, gone, sys; print(thing.where, sys.executable)"
    assert bench.run(place / "bin" / "python", "-c", text).stdout == f"bottom {place}/bin/python\n"


def test_of_the_host_only_what_is_named_is_there(bench: Bench, isolated: Callable[..., Path], srv: Path):
    """The kernel's directories, those for temporary files, P; the rest is the image's."""
    place = isolated()
    text = "import json, os; print(json.dumps([sorted(os.listdir('/')), os.listdir('/srv'), os.listdir('/etc')]))"
    root, of_srv, etc = json.loads(bench.run(place / "bin" / "python", "-c", text).stdout)
    image = ["bin", "etc", "lib", "lib64", "srv", "usr"]
    hidden = [name for name in root if name in (".singularity.d", "singularity", "environment")]
    assert sorted({*root} - {*hidden}) == sorted([*image, "dev", "proc", "sys", "tmp", "tykky", "var"])
    assert of_srv == ["of-the-image"]
    assert set(etc) <= {"mark", "passwd", "group", "hosts", "resolv.conf", "localtime"}
    paths = (
        "/usr/share",
        "/home",
        "/var/lib",
        srv,
        "/etc/shadow",
        "/proc/self",
        "/sys/kernel",
        "/dev/shm",
        bench.place,
    )
    assert seen(bench, place, *paths) == [False] * 5 + [True] * 4


def test_named_mounts_are_the_hosts_own_directories(bench: Bench, isolated: Callable[..., Path], srv: Path):
    inner = srv / "inner"
    place = isolated(mounts=(str(inner), "/srv/no-such-directory"))
    found = seen(bench, place, inner, srv / "neighbour", "/srv/no-such-directory", "/srv/of-the-image", cwd=inner)
    assert found == [True, False, True, True], "what the host lacks is an empty directory"
    text = "import os, sys; open('made', 'w').close(); print(os.getcwd())"
    assert bench.run(place / "bin" / "python", "-c", text, cwd=inner).stdout == f"{inner}\n"
    assert (inner / "made").exists()
    assert sorted(path.name for path in srv.iterdir()) == ["home", "inner", "neighbour"], "nothing was made on the host"


def test_a_home_directory_may_be_named(bench: Bench, isolated: Callable[..., Path], srv: Path):
    """It is that of who launches, also where another launch of the session shows another one."""
    place = isolated(mounts=("~", "~/nothing"))
    home, other = srv / "home", srv / "neighbour"
    for shown, hidden in ((home, other), (other, home)):
        assert seen(bench, place, shown, hidden, env=bench.environ(HOME=str(shown))) == [True, False]
    without = {key: value for key, value in bench.environ().items() if key != "HOME"}
    assert seen(bench, place, home, other, env=without) == [False, False]


def test_an_environment_where_nothing_is_shown_runs(bench: Bench, isolated: Callable[..., Path], srv: Path):
    """From a working directory that is not there it runs in /, and by a link that is not there as P/bin/python."""
    made = isolated(launched=False)
    place = srv / "neighbour" / "P"
    shutil.move(made, place)
    link = srv / "py"
    link.symlink_to(place / "bin" / "python")
    bench.case.own(srv)
    expected = [f"{place}/bin/python", str(place), "/", MARK]
    for program in (place / "bin" / "python", link, "../neighbour/P/bin/python"):
        done = bench.run(program, "-c", WHO, cwd=srv / "inner")
        assert (json.loads(done.stdout), done.stderr) == (expected, "")
    assert seen(bench, place, srv / "inner", link, place.parent / "P" / "bin") == [False, False, True]


def test_a_working_directory_that_was_deleted_is_no_way_out(bench: Bench, isolated: Callable[..., Path], srv: Path):
    place = isolated()
    gone = srv / "inner" / "gone"
    gone.mkdir()
    bench.case.own(gone)
    script = 'cd "$1" && rmdir "$1" && exec "$2" -c "import os; print(os.getcwd(), os.listdir())"'
    done = bench.run("/bin/sh", "-c", script, "sh", gone, place / "bin" / "python")
    assert done.stdout.startswith("/ [")
    assert "of-the-image" not in done.stdout


def test_a_venvs_link_to_it_stays_as_it_was_called(bench: Bench, isolated: Callable[..., Path]):
    place = isolated()
    bench.run(place / "bin" / "python", "-m", "venv", "--without-pip", bench.place / "v")
    done = bench.run("v/bin/python", "-c", "import sys; print(sys.executable, sys.prefix)")
    assert done.stdout == f"{bench.place}/v/bin/python {bench.place}/v\n"


def test_who_is_who_is_told_by_the_host(bench: Bench, isolated: Callable[..., Path]):
    place = isolated()
    text = "import os, pwd; print(os.getuid(), pwd.getpwuid(os.getuid()).pw_name, os.getgid())"
    mine = (
        bench.run("/usr/bin/id", "-u").stdout,
        bench.run("/usr/bin/id", "-un").stdout,
        bench.run("/usr/bin/id", "-g").stdout,
    )
    assert bench.run(place / "bin" / "python", "-c", text).stdout.split() == [word.strip() for word in mine]


def test_variables_that_name_libraries_of_the_host_do_not_count(bench: Bench, isolated: Callable[..., Path]):
    """Those of the spec do; and programs of the image are found whatever the caller's PATH is."""
    text = (
        "import json, os, subprocess; read = subprocess.check_output(['cat', '/etc/mark'], text=True)\n"
        "print(json.dumps([os.environ.get('LD_PRELOAD'), os.environ.get('LD_LIBRARY_PATH'), read]))"
    )
    given = bench.environ(LD_PRELOAD="libm.so.6", LD_LIBRARY_PATH="/opt/lib", PATH="/opt/none")
    done = bench.run(isolated() / "bin" / "python", "-c", text, env=given)
    assert json.loads(done.stdout) == [None, None, MARK]
    spec = isolated("Q", environ={"LD_LIBRARY_PATH": "/of/the/spec"})
    assert json.loads(bench.run(spec / "bin" / "python", "-c", text, env=given).stdout)[1] == "/of/the/spec"


def test_libraries_of_the_host_are_loaded_where_they_are_named(bench: Bench, isolated: Callable[..., Path], srv: Path):
    """So a driver's are, which belong to the host's kernel; its devices are there in any case."""
    shutil.copy(next(Path("/usr/lib").glob("*/libutil.so.1")), srv / "inner" / "libdriver.so.1")
    text = "import ctypes, os; ctypes.CDLL('libdriver.so.1'); print(os.write(os.open('/dev/null', os.O_RDWR), b'x'))"
    place = isolated(mounts=(str(srv / "inner"),), environ={"LD_LIBRARY_PATH": str(srv / "inner")})
    assert bench.run(place / "bin" / "python", "-c", text).stdout == "1\n"


@pytest.mark.parametrize("words", [["x" * 100_000] * 8, [b"\xff\xfe", b"a\nb", b""]], ids=["long", "bytes"])
def test_arguments_arrive(bench: Bench, isolated: Callable[..., Path], words: list[str | bytes]):
    """Apptainer hands them on by a descriptor: no file of the caller's is seen inside."""
    text = "import os, sys; print([os.fsencode(word) for word in sys.argv[1:]] == eval(sys.stdin.read()))"
    wanted = repr([os.fsencode(word) for word in words])
    done = bench.run(isolated() / "bin" / "python", "-c", text, *words, input=wanted)
    assert done.stdout == "True\n"
    assert not list((bench.place / "home" / "run" / "tykky").glob("arguments*"))


def test_programs_inside_may_make_namespaces_of_their_own(bench: Bench, isolated: Callable[..., Path]):
    """A changed root directory alone would forbid it (the kernel's `current_chrooted`)."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer's own affair")
    text = "import ctypes; print(ctypes.CDLL(None, use_errno=True).unshare(0x10000000), ctypes.get_errno())"
    assert bench.run(isolated() / "bin" / "python", "-c", text).stdout == "0 0\n"


def test_what_helped_to_mount_ends_when_the_program_starts(bench: Bench, isolated: Callable[..., Path]):
    """It is nobody's child, and holds none of the program's descriptors for longer."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer's own affair")
    text = """
import os, time
def others():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            same = os.readlink(f"/proc/{name}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        except OSError:
            continue
        if same and int(name) != os.getpid():
            found.append(name)
    return found
until = time.monotonic() + 20
while others() and time.monotonic() < until:
    time.sleep(0.01)
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child,", len(others()), "others,", sorted(map(int, os.listdir("/proc/self/fd")))[:3])
"""
    done = bench.run(isolated() / "bin" / "python", "-c", text)
    assert done.stdout == "no child, 0 others, [0, 1, 2]\n"


def test_open_descriptors_of_the_caller_pass(bench: Bench, isolated: Callable[..., Path]):
    """All below 10 but two: a mount needs those. With none of them, one line says so, unless it joins."""
    place = isolated()
    text = "import os; print(os.read(3, 4), os.path.exists('/etc/mark'))"
    opened = " ".join(f"{number}</etc/passwd" for number in range(3, 8))
    script = f'exec {opened} && exec "$@"'
    assert bench.run("/bin/sh", "-c", script, "sh", place / "bin" / "python", "-c", text).stdout == "b'root' True\n"
    script = f'exec {opened} 8</etc/passwd 9</etc/passwd && exec "$@"'
    done = bench.run("/bin/sh", "-c", script, "sh", place / "bin" / "python", "-c", text, check=False)
    if bench.case.backend == "apptainer" or bench.case.mount == "joined":
        assert done.stdout == "b'root' True\n"
        return
    said = "finding two free descriptors below 10, which a shell in the image can close, failed"
    assert (done.returncode, done.stderr) == (
        123,
        f"tykky: {place} cannot be mounted here: {said}; tykky doctor says what is missing\n",
    )


def test_a_sif_is_an_image_too(bench: Bench, isolated: Callable[..., Path], sif: Path, srv: Path):
    """Its squashfs lies behind other things. Apptainer's own start scripts in it set nothing, whatever the backend."""
    offset = look_into(sif, Commands()).offset
    assert offset > 0
    inner = srv / "inner"
    place = isolated(image=sif, offset=offset, mounts=(str(inner),))
    done = bench.run(place / "bin" / "python", "-c", WHO)
    assert json.loads(done.stdout) == [f"{place}/bin/python", str(place), str(bench.place), MARK]
    assert done.stderr == ""
    paths = ("/srv/of-the-image", "/usr/share", "/var/lib", srv / "neighbour", inner, "/proc/self", "/dev/shm")
    assert seen(bench, place, *paths) == [True, False, False, False, True, True, True]
    text = "import os; print(os.environ.get('OF_THE_IMAGE'))"
    assert bench.run(place / "bin" / "python", "-c", text).stdout == "None\n"


def test_an_image_of_a_registry_is_one_too(
    bench: Bench, kind: str, isolated: Callable[..., Path], of_registry: Path, srv: Path
):
    """Made at the build, it lies in the environment's own directory; only the named mounts are there."""
    inner = srv / "inner"
    place = isolated(image=of_registry, mounts=(str(inner),), launched=False)
    name = f".tykky/layers/{'e' * 64}.sqfs"
    shutil.copy(of_registry, place / name)
    bench.case.own(place / name)
    every = tuple(f".tykky/layers/{kind}-{number}.sqfs" for number in range(3))
    root = Root(name, of_registry.stat().st_size, mounts=(str(inner),))
    stack = Stack(PREFIX, every, sizes=tuple((place / one).stat().st_size for one in every))
    publish(place, 2, Launch(stack, name="demo", programs=bench.case.programs, root=root))
    if bench.case.mount == "joined":
        bench.keep(place)
    done = bench.run(place / "bin" / "python", "-c", WHO)
    expected = [f"{place}/bin/python", str(place), str(bench.place), "of the upper layer"]
    assert (json.loads(done.stdout), done.stderr) == (expected, "")
    paths = (
        "/srv/of-the-image",
        "/etc/gone",
        "/usr/share",
        "/home",
        srv / "neighbour",
        inner,
        "/proc/self",
        "/dev/shm",
    )
    assert seen(bench, place, *paths) == [True, False, False, False, False, True, True, True]
    # A private launch sees that it is not what was made.
    alone = bench.environ(TYKKY_MOUNT="private")
    os.truncate(place / name, 100)
    done = bench.run(place / "bin" / "python", "-c", "", check=False, env=alone)
    said = (
        f"tykky: {place} is damaged: the image {place}/{name} has 100 bytes, {root.size} were written; "
        "'tykky build' with its spec and lock makes it again\n"
    )
    assert (done.returncode, done.stderr) == (122, said)


def test_another_image_than_was_built_with_is_not_used(
    bench: Bench, kind: str, isolated: Callable[..., Path], sqfs: Path
):
    image = bench.place / "root.sqfs"
    shutil.copy(sqfs, image)
    bench.case.own(image)
    place = isolated(image=image, launched=False)
    every = tuple(f".tykky/layers/{kind}-{number}.sqfs" for number in range(3))
    sizes = tuple((place / name).stat().st_size for name in every)
    size = image.stat().st_size
    launch = Launch(
        Stack(PREFIX, every, sizes=sizes), name="demo", programs=bench.case.programs, root=Root(str(image), size)
    )
    publish(place, 2, launch)
    assert bench.run(place / "bin" / "python", "-c", "print(open('/etc/mark').read())").stdout == f"{MARK}\n"
    repair = "it is the image of [runtime]: 'tykky lock' and 'tykky build' take what is there now"
    # A keeper serves what it has; this is for launches that mount.
    alone = bench.environ(TYKKY_MOUNT="private")
    os.truncate(image, size - 4096)
    done = bench.run(place / "bin" / "python", "-c", "import os", check=False, env=alone)
    said = f"tykky: {place} is damaged: the image {image} has {size - 4096} bytes, {size} were written; {repair}\n"
    if done.returncode:  # as long as nobody reads what is missing, it serves
        assert (done.returncode, done.stderr) == (122, said)
    os.truncate(image, 100)
    done = bench.run(place / "bin" / "python", "-c", "import os", check=False, env=alone)
    assert (done.returncode, done.stderr) == (122, said.replace(str(size - 4096), "100"))
    image.unlink()
    done = bench.run(place / "bin" / "python", "-c", "", check=False, env=alone)
    said = f"tykky: {place} is damaged: the image {image} cannot be read; {repair}\n"
    assert (done.returncode, done.stderr) == (122, said)


def test_an_image_that_others_can_write_to_is_not_used(
    bench: Bench, kind: str, isolated: Callable[..., Path], sqfs: Path
):
    image = bench.place / "root.sqfs"
    shutil.copy(sqfs, image)
    image.chmod(0o666)
    place = isolated(image=image, launched=False)
    every = tuple(f".tykky/layers/{kind}-{number}.sqfs" for number in range(3))
    root = Root(str(image), image.stat().st_size)
    stack = Stack(PREFIX, every, trusted=(0,))
    publish(place, 2, Launch(stack, name="demo", programs=bench.case.programs, root=root))
    done = bench.run(place / "bin" / "python", "-c", "", check=False)
    said = (
        f"tykky: {place} cannot be used: others than its owner can write to the image {image};"
        " its owner has to change that: chmod go-w\n"
    )
    assert (done.returncode, done.stderr) == (122, said)
