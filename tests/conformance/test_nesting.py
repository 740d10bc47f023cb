"""One environment inside another, several in one mount, and all of it inside foreign containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.conformance.cases import USERNS
from tests.conformance.conftest import Bench
from tests.conformance.stage import Images, make_images
from tests.conformance.test_build import name_programs, tykky, variables
from tests.living import until
from tykky.environment.directory import GenerationRecord, LayerRecord
from tykky.runtime.model import Beside, Launch, Stack
from tykky.runtime.render import render_launch

SAMPLED = True

__all__ = ["tykky"]  # a fixture

NOTHING = "tykky: no backend works on this host\n"
MORE = "tykky doctor says more, and how to get what is missing\n"
WHO = "import json, os, sys; print(json.dumps([sys.executable, sys.prefix, os.readlink('/proc/self/ns/mnt')]))"


@pytest.fixture(scope="session")
def other_images(ground: Path) -> Callable[[str], Images]:
    """Give images of environments that live at another prefix."""
    made: dict[str, Images] = {}

    def get(name: str) -> Images:
        if name not in made:
            folder = Path(tempfile.mkdtemp(prefix=f"images-{name}-", dir=ground))
            folder.chmod(0o755)
            made[name] = make_images("conda", folder, f"/tykky/{name}")
        return made[name]

    return get


@pytest.fixture
def make_other(bench: Bench, other_images: Callable[[str], Images]) -> Callable[..., Path]:
    """Return a maker of environments at prefixes of their own: each lives at /tykky/ and the name."""

    def make(name: str, count: int = 3, place: str | None = None) -> Path:
        images = replace(bench, images=lambda kind: other_images(name))
        return images.environment(place or name, count=count, launched=False)

    return make


def ask(bench: Bench, environment: Path, *commands: list[object]) -> list[list[str]]:
    """Run commands, one after another, inside an environment; return what WHO printed in each, first that in itself."""
    text = (
        f"import json, subprocess, sys\nexec({WHO!r})\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    sys.stdout.flush()\n    subprocess.run(command, check=True)\n"
    )
    words = json.dumps([[str(word) for word in command] for command in commands])
    return [
        json.loads(line) for line in bench.run(environment / "bin" / "python", "-c", text, words).stdout.splitlines()
    ]


def test_its_own_launchers_run_directly_however_they_are_called(bench: Bench, environment: Path):
    """By its path, by a link from elsewhere, without any variables, and by its name."""
    link = bench.place / "mypython"
    link.symlink_to(environment / "bin" / "python")
    python = environment / "bin" / "python"
    commands = [[python], [link], ["/usr/bin/env", "-i", python], ["python"], [environment / "bin" / "python3"]]
    first, *found = ask(bench, environment, *([*command, "-c", WHO] for command in commands))
    assert {mounts for _, _, mounts in found} == {first[2]}
    assert [executable for executable, _, _ in found] == [str(p) for p in (python, link, python, python, f"{python}3")]


def test_another_one_inside_and_the_first_one_in_that(bench: Bench, make_other: Callable[..., Path], kind: str):
    """Each has mounts of its own, and what is mounted already is seen in them."""
    if bench.case.backend == "apptainer":
        pytest.skip("test_surroundings.py says what Apptainer can do there")
    outer, inner = bench.environment("outer", kind), make_other("inner")
    text = f"import subprocess\nexec({WHO!r})\nsubprocess.run([{str(outer / 'bin' / 'python')!r}, '-c', {WHO!r}])"
    first, second = ask(bench, outer, [inner / "bin" / "python", "-c", WHO])
    assert [first[:2], second[:2]] == [[f"{place}/bin/python", str(place)] for place in (outer, inner)]
    assert first[2] != second[2]
    unbuffered = ["-u", "-c", text]
    _, second, third = ask(bench, outer, [inner / "bin" / "python", *unbuffered])
    assert third[:2] == [f"{outer}/bin/python", str(outer)]
    assert second[2] == third[2]


def test_one_after_the_other_in_one_process(bench: Bench, make_other: Callable[..., Path], kind: str):
    """Each becomes the next one at once, while what helped to mount for it is still there."""
    if bench.case.backend == "apptainer":
        pytest.skip("test_surroundings.py says what Apptainer can do there")
    first, *others = bench.environment("outer", kind), make_other("inner"), make_other("innermost")
    text = WHO
    for place in reversed(others):
        python = f"{place}/bin/python"
        text = f"import os; os.execv({python!r}, [{python!r}, '-c', {text!r}])"
    given = bench.environ(TYKKY_MOUNT="private")
    done = bench.run(first / "bin" / "python", "-c", text, env=given)
    assert json.loads(done.stdout)[:2] == [f"{others[-1]}/bin/python", str(others[-1])]
    assert done.stderr == ""


@pytest.fixture
def together(bench: Bench) -> Callable[..., list[object]]:
    """Return a maker of command lines: a shell that becomes a program with several environments shown."""

    def stack(place: Path) -> Stack:
        images = sorted((place / ".tykky" / "layers").iterdir())
        prefix = "/tykky/demo" if place.name in ("A", "P") else f"/tykky/{place.name}"
        return Stack(prefix, tuple(f".tykky/layers/{image.name}" for image in images))

    def make(first: Path, *others: Path, **launch: object) -> list[object]:
        value = Launch(stack(first), "demo", programs=bench.case.programs, **launch)
        beside = [Beside(str(place), os.path.realpath(place), stack(place)) for place in others]
        file = bench.place / "together.sh"
        file.write_text(render_launch(value, beside))
        file.chmod(0o644)
        start = '_tykky_p=$1 _tykky_called=$2 _tykky_x=$3; shift 3; . "$_tykky_x"'
        return ["/bin/sh", "-c", start, "tykky", first, "/bin/sh", file, "-c", 'exec "$@"', "tykky"]

    return make


SEVERAL = (
    "import json, os, subprocess, sys\n"
    f"ask = {WHO!r}\n"
    "found = [json.loads(subprocess.check_output([python, '-c', ask])) for python in sys.argv[1:]]\n"
    "tree = {name: os.path.isdir(f'/tykky/{name}/bin') for name in os.listdir('/tykky') if name[0] != '.'}\n"
    "names = [os.environ['TYKKY_ENVIRONMENT'], os.environ['PATH'], os.environ.get('OF_A')]\n"
    "print(json.dumps([found, tree, names, os.readlink('/proc/self/ns/mnt')]))\n"
)


def test_several_in_one_mount(
    bench: Bench,
    make_other: Callable[..., Path],
    together: Callable[..., list[object]],
    kind: str,
):
    """Each at its own place and prefix; their launchers mount nothing; the surroundings are the first one's."""
    first, one, two = bench.environment("A", kind), make_other("one"), make_other("two", 1)
    command = together(first, one, two, environ={"OF_A": "yes"})
    pythons = [place / "bin" / "python" for place in (first, one, two)]
    done = bench.run(*command, "python", "-c", SEVERAL, *pythons)
    found, tree, (environment, path, of_a), mounts = json.loads(done.stdout)
    assert found == [[str(python), str(python.parent.parent), mounts] for python in pythons]
    assert tree == {"demo": True, "one": True, "two": True}
    assert (environment, of_a) == (str(first), "yes")
    assert path.split(":")[:3] == [f"{place}/bin" for place in (first, one, two)]
    assert done.stderr == ""
    for place in (one, two):  # their console scripts find them
        listed = bench.run(*command, place / "bin" / ("tool" if place == one else "python"), "-c", "pass").stdout
        assert listed.splitlines()[:1] == ([f"{one}/bin/python"] if place == one else [])


def test_several_are_shared_too(
    bench: Bench,
    make_other: Callable[..., Path],
    together: Callable[..., list[object]],
    kind: str,
):
    """Later launches join; one that shows something else does not, nor one after another directory was made there."""
    if bench.case.mount != "joined":
        pytest.skip("nothing is kept, or it is not waited for")
    first, one = bench.environment("A", kind, launched=False), make_other("one", 1)
    command = [*together(first, one), "readlink", "/proc/self/ns/mnt"]
    bench.run(*command)
    until = time.monotonic() + 30
    while not bench.kept() and time.monotonic() < until:
        time.sleep(0.01)
    kept = [bench.run(*command).stdout for _ in range(2)]
    assert kept[0] == kept[1]
    assert ask(bench, first)[0][2] != kept[0].strip()
    moved = one.rename(one.with_name("away"))
    shutil.copytree(moved, one, symlinks=True)
    bench.case.own(one)
    assert bench.run(*command).stdout != kept[0]


@pytest.mark.parametrize("name", ["it's $HOME `x`", 'a,"b'])
def test_whatever_they_are_called(
    bench: Bench, make_other: Callable[..., Path], together: Callable[..., list[object]], name: str, kind: str
):
    first, one = bench.environment("A", kind), make_other("one", place=f"{name}/one")
    done = bench.run(*together(first, one), "extra")
    assert done.stdout == f"extra {first}/bin/extra\n"
    done = bench.run(*together(first, one), one / "bin" / "python", "-c", "import sys; print(sys.prefix)")
    assert done.stdout == f"{one}\n"


def recorded(place: Path) -> Path:
    """Write the record that a build would have written."""
    name = "demo" if place.name == "A" else place.name
    images = sorted((place / ".tykky" / "layers").iterdir())
    layers = [
        LayerRecord("tree", str(n), "", "", image.stat().st_size, f".tykky/layers/{image.name}")
        for n, image in enumerate(images)
    ]
    record = GenerationRecord(
        format=1,
        name=name,
        prefix=f"/tykky/{name}",
        platform="linux-64",
        number=1,
        identity="",
        created="",
        made_by="a test",
        layers=tuple(layers),
        programs=(),
        spec=f'[environment]\nname = "{name}"\n[pypi]\npython = "3.11"\n',
    )
    file = place / ".tykky" / "current" / "environment.json"
    file.write_bytes(msgspec.json.encode(record))
    file.chmod(0o644)
    return place


def test_by_the_command_line(bench: Bench, make_other: Callable[..., Path], tykky: list[str], kind: str):
    first, one = recorded(bench.environment("A", kind, launched=False)), recorded(make_other("one"))
    name_programs(bench)
    pythons = [place / "bin" / "python" for place in (first, one)]
    command = [*tykky, "run", first, "--with", one, "--", "python", "-c", SEVERAL, *pythons]
    done = bench.run(*command, env=variables(bench))
    found, tree, (environment, path, _), mounts = json.loads(done.stdout)
    assert found == [[str(python), str(python.parent.parent), mounts] for python in pythons]
    assert (tree, environment) == ({"demo": True, "one": True}, str(first))
    assert path.split(":")[:2] == [f"{first}/bin", f"{one}/bin"]


NAMESPACES = {
    "unshare": ["unshare", "--user", "--map-root-user"],
    "unshare-mount": ["unshare", "--user", "--map-root-user", "--mount"],
    "unshare-pid": ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"],
    "bwrap": ["bwrap", "--dev-bind", "/", "/"],
    "bwrap-pid": ["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc"],
    "bwrap-root": ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--dev-bind", "/", "/"],
    "no-new-privs": ["setpriv", "--no-new-privs"],
}


@pytest.mark.parametrize(
    "around",
    [
        pytest.param(around, marks=pytest.mark.thorough if around in ("unshare-mount", "bwrap") else ())
        for around in NAMESPACES
    ],
)
def test_inside_foreign_namespaces(bench: Bench, environment: Path, around: str):
    """As root of a user namespace, where processes have other numbers, and where setuid counts for nothing."""
    if shutil.which(NAMESPACES[around][0]) is None:
        pytest.skip(f"{NAMESPACES[around][0]} is not on this machine")
    if bench.case.backend == "namespace" and bench.case.mount == "shared":
        pytest.skip("the cases with private and with joined mounts say it")
    if not bench.case.userns and around != "no-new-privs":
        pytest.skip("this host allows no user namespaces")
    first = bench.run(*NAMESPACES[around], "true", check=False)
    if first.returncode != 0:
        pytest.skip(f"{around} cannot be had here: {first.stderr.strip()}")
    python = environment / "bin" / "python"
    done = bench.run(
        *NAMESPACES[around], python, "-c", "import sys, thing; print(sys.executable, thing.where)", check=False
    )
    if bench.case.userns and (around != "bwrap-root" or bench.case.user is None):
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{python} middle\n", "")
        return
    assert (done.returncode, done.stdout) == (125, "")
    if around == "bwrap-root":
        # Root without a capability may map itself nowhere (user_namespaces(7): CAP_SETFCAP).
        first_line, why, more = done.stderr.splitlines(keepends=True)
        assert (first_line, "map: Operation not permitted" in why, more) == (NOTHING, True, MORE)
        return
    program = bench.case.programs["apptainer"]
    why = "ERROR  : Installation issue: starter-suid doesn't have setuid bit set "
    assert done.stderr == f"{NOTHING}    apptainer: {program} cannot mount here ({why})\n{MORE}"


@pytest.mark.parametrize("around", ["unshare-pid", "bwrap-pid"])
def test_one_after_the_other_and_many_at_once_where_processes_have_other_numbers(
    bench: Bench, environment: Path, around: str
):
    """Each of them is process 1 or 2 of its namespace, and they share one private directory of this user."""
    if shutil.which(NAMESPACES[around][0]) is None:
        pytest.skip(f"{NAMESPACES[around][0]} is not on this machine")
    if not bench.case.userns:
        pytest.skip("this host allows no user namespaces")
    if bench.run(*NAMESPACES[around], "true", check=False).returncode != 0:
        pytest.skip(f"{around} cannot be had here")
    argv = [*NAMESPACES[around], environment / "bin" / "python", "-c", "import thing; print(thing.where)"]
    for _ in range(6):
        assert bench.run(*argv).stdout == "middle\n"
    running = [bench.start(*argv) for _ in range(16)]
    assert [process.communicate(timeout=120)[0] for process in running] == ["middle\n"] * 16
    until(lambda: list((bench.place / "home" / "run" / "tykky").glob("table.*")) == [])


def test_a_table_that_cannot_be_written(bench: Bench, environment: Path):
    """One line, and the launch's own exit status."""
    if bench.case.backend == "apptainer" or os.getuid() != 0:
        pytest.skip("a matter of mounts of our own, and root mounts a full file system")
    full = bench.place / "full"
    full.mkdir()
    script = (
        f"mount -t tmpfs -o nr_inodes=3,mode=700 none {full} && mkdir {full}/tykky && "
        f'chown --reference={bench.place}/home {full} {full}/tykky && touch {full}/tykky/full && exec "$@"'
    )
    words = bench.argv(environment / "bin" / "python", "-c", "pass")
    given = bench.environ(XDG_RUNTIME_DIR=str(full), TYKKY_MOUNT="private")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *words], env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 123
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("tykky: "))
    assert line.startswith(f"tykky: {environment} cannot be mounted here: writing {full}/tykky/table.")


@pytest.fixture
def foreign(bench: Bench) -> list[object]:
    """A command line that runs a program in a container of the user's own, of an image that has busybox alone.

    `-B` and directories of the host may follow, and then `image` and the program.
    """
    busybox, apptainer = shutil.which("busybox"), bench.case.programs.get("apptainer", str(USERNS))
    if busybox is None or not Path(apptainer).exists():
        pytest.skip("needs a static busybox, and Apptainer at the places of tests/hosts/setup.sh")
    tree = bench.place / "tree"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "usr", "lib", "lib64", "sbin", "opt", "var", "run"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin" / "busybox")
    for name in (
        "sh",
        "mount",
        "umount",
        "unshare",
        "setsid",
        "cp",
        "chroot",
        "mkdir",
        "stat",
        "mv",
        "rm",
        "tr",
        "sed",
    ):
        (tree / "bin" / name).symlink_to("busybox")
    image = bench.place / "image.sqfs"
    quiet = ["-quiet", "-no-progress", "-all-root"]
    subprocess.run(["mksquashfs", tree, image, *quiet], check=True, stdout=subprocess.DEVNULL)
    image.chmod(0o644)
    command = [apptainer, "-s", "exec", "--no-home", "--pwd", "/", "-B", bench.place]
    if (done := bench.run(*command, image, "/bin/sh", "-c", ":", check=False)).returncode != 0:
        pytest.skip(f"no container starts here: {done.stderr.strip()[:200]}")
    return command


def test_inside_a_foreign_container(bench: Bench, environment: Path, foreign: list[object]):
    """Where it holds what a launch needs, and may nest, all is well; what is missing is named."""
    python = environment / "bin" / "python"
    image = bench.place / "image.sqfs"
    done = bench.run(*foreign, image, python, "-c", "pass", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    missing = {
        "namespace": "squashfuse_ll is missing (package squashfuse in Debian, EPEL and conda-forge)",
        "apptainer": "neither apptainer nor singularity is there (package apptainer in EPEL and conda-forge)",
    }
    backend = bench.case.backend
    assert done.stderr == f"{NOTHING}    {backend}: {missing[backend]}\n{MORE}"

    host = [
        word
        for name in ("usr", "etc", "lib", "lib64", "bin", "sbin", "opt", "var", "run")
        for word in ("-B", f"/{name}")
    ]
    # As a child: Debian's Apptainer, relocated, finds its directories only so from inside of another one.
    script = '"$@"; exit "$?"'
    done = bench.run(*foreign, *host, image, "/bin/sh", "-c", script, "sh", python, "-c", f"exec({WHO!r})", check=False)
    if bench.case.userns:
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)[:2] == [str(python), str(environment)]
    else:
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.startswith(f"{NOTHING}    apptainer: {bench.case.programs['apptainer']} cannot mount here (")
        assert len(done.stderr.splitlines()) == 3
