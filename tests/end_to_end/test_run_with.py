"""`tykky run A --with B`: options in any order, what is shown, and mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Desk, answer
from tests.environment.stacks import layer, make

TYKKY = [sys.executable, "-m", "tykky"]
SHOW = (
    "import importlib.util as u, json, os, sys; print(json.dumps([sys.prefix, os.environ.get('OF'),"
    " bool(u.find_spec('alpha')), os.environ['PATH'].split(':')[:2], sys.argv[1:]]))"
)


@dataclass(frozen=True)
class Pair:
    """A has alpha, B has beta; both set the variable OF."""

    desk: Desk
    a: Path
    b: Path


@pytest.fixture
def pair(desk: Desk, wheels_spec: Callable[..., str]) -> Pair:
    more = '\n[runtime]\nenviron = { OF = "%s" }\n'
    a = desk.write(wheels_spec("alpha==1.0", name="aaa", more=more % "A")).environment("A")
    b = desk.write(wheels_spec("alpha==1.1", name="bbb", more=more % "B")).environment("B")
    return Pair(desk, a, b)


def test_both_are_there_and_a_counts(pair: Pair) -> None:
    a, b = pair.a, pair.b
    found = [
        answer([*TYKKY, "run", *words, *command])
        for words in (
            [a, "--with", b, "--"],
            [a, f"--with={b}"],
            ["--with", b, a, "--"],
            ["--with", b, "-q", a],
        )
        for command in ([a / "bin" / "python", "-c", SHOW], [b / "bin" / "python", "-c", SHOW, "--with", "x", "--"])
    ]
    path = [f"{a}/bin", f"{b}/bin"]
    assert found == [[str(a), "A", True, path, []], [str(b), "A", True, path, ["--with", "x", "--"]]] * 4
    # One mount: what A starts of B is B's program, and the version is B's.
    text = (
        "import alpha, os, subprocess, sys; print(alpha.VERSION, flush=True);"
        "text = 'import alpha, os, sys; print(alpha.VERSION, os.getppid() == int(sys.argv[1]))';"
        "subprocess.run([sys.argv[1], '-c', text, str(os.getpid())])"
    )
    words = [*TYKKY, "run", a, "--with", b, "--", "python", "-c", text, b / "bin" / "python"]
    assert subprocess.check_output(words, text=True) == "1.0\n1.1 True\n"
    # The program has the process, the descriptors and the exit status.
    listed = "import os; print(os.getpid(), sorted(map(int, os.listdir('/proc/self/fd')))[:4]); raise SystemExit(7)"
    for free in ((), range(3, 8)):
        opened = [os.open("/dev/null", os.O_RDONLY) for _ in free]
        started = subprocess.Popen(
            [*TYKKY, "run", a, "--with", b, "python", "-c", listed], stdout=subprocess.PIPE, text=True, pass_fds=opened
        )
        out, _ = started.communicate()
        for descriptor in opened:
            os.close(descriptor)
        assert (out, started.returncode) == (f"{started.pid} [0, 1, 2, 3]\n", 7)
    _few_free_descriptors(a, b)
    _inside(a, b)
    # A damaged image of B is B's.
    (image,) = (b / ".tykky" / "layers").glob("*.sqfs")
    image.rename(image.with_suffix(".away"))
    repair = "'tykky build' with its spec and lock makes it again"
    done = pair.desk.tykky("run", a, "--with", b, "--", "true", status=122)
    assert done.err == f"tykky: {b} is damaged: the image {image} cannot be read; {repair}\n"


def _few_free_descriptors(a: Path, b: Path) -> None:
    """dash names those up to 9 only: an environment alone starts too when most of them are taken."""
    redirects = " ".join(f"{number}</dev/null" for number in range(3, 10))
    for words in ("", f"--with '{b}'"):
        command = f"exec '{sys.executable}' -m tykky run '{a}' {words} -- ls /proc/self/fd {redirects}"
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
        assert (set(done.stdout.split()), done.stderr) == (set(map(str, range(11))), "")


def _inside(a: Path, b: Path) -> None:
    """Where an environment is mounted already, `tykky run` mounts nothing, or says why that will not do."""
    again = [*TYKKY, "run"]
    mounts = ["readlink", "/proc/self/ns/mnt"]
    text = "import subprocess, sys; sys.stdout.flush(); raise SystemExit(subprocess.run(sys.argv[1:]).returncode)"

    def run(words: list[str | Path], command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        argv = [*again, a, *words, "--", "python", "-c", text, *again, *command]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    outer = [*again, a, "--", "sh", "-c", 'readlink /proc/self/ns/mnt; exec "$@"', "sh"]
    first, second = subprocess.check_output([*outer, *again, a, "--", *mounts], text=True).split()
    assert first == second
    done = run([], [a, "no such program"])
    assert (done.returncode, done.stderr) == (127, "tykky: no such program: no such file or directory\n")
    done = run([], [a, "--with", b, "true"])
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {a} is mounted here already, and others cannot be added to that\n\n"
        "hint: leave it, and name all of them in one 'tykky run'\n",
    )
    done = run(["--with", b], [b, "true"])
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {b} is mounted here already, and its variables are not set here\n\n"
        f"hint: call its programs by their paths: they are in {b}/bin\n",
    )


def fake(path: Path, name: str, image: str = "host", parent: Path | None = None) -> Path:
    """Write an environment directory that nothing could mount: mistakes are told before that."""
    directory = make(path, layer("ab"))
    record = json.loads((directory.current / "environment.json").read_text())
    spec = f'[environment]\nname = "{name}"\n[pypi]\npython = "3.11"\n[runtime]\nimage = "{image}"\n'
    record |= {"name": name, "prefix": f"/tykky/{name}", "spec": spec, "parent": str(parent or "")}
    (directory.current / "environment.json").write_text(json.dumps(record))
    return path


def test_mistakes(desk: Desk, home: Path) -> None:
    place = desk.directory
    a, b, same = fake(place / "A", "aaa"), fake(place / "B", "bbb"), fake(place / "same", "aaa")
    child, within = fake(place / "child", "aaa", parent=a), fake(place / "A" / "within", "ccc")
    (place / "link").symlink_to("A")
    old = make(place / "old", layer("ab")).path
    prefix = "both have the prefix /tykky/aaa: one mount shows one of them"
    another = "give one of them another name in [environment] of its tykky.toml, and build it"
    expected = {
        (a, "nowhere"): (
            f"{place}/nowhere: no such directory",
            "build it with 'tykky build'; 'tykky list' shows what there is",
            11,
        ),
        (a, b, "link"): (f"{place}/link is {a} itself", "name another environment with --with", 2),
        (a, b, b): (f"{b} is {b} itself", "name another environment with --with", 2),
        (a, same): (f"{a} and {same} {prefix}", another, 2),
        (a, child): (f"{a} and {child} {prefix}", f"{child} extends {a}, and has all of it", 2),
        (child, a): (f"{child} and {a} {prefix}", f"{child} extends {a}, and has all of it", 2),
        (a, within): (f"{within} lies in {a}, where the tree of that one is shown", "build it elsewhere", 2),
        (within, a): (f"{within} lies in {a}, where the tree of that one is shown", "build it elsewhere", 2),
        (a, old): (
            f"{old} was published by tykky test, which recorded no spec: it cannot be combined",
            "run 'tykky build' with the spec and lock it was made from",
            11,
        ),
    }
    found = {}
    for first, *others in expected:
        words = [word for other in others for word in ("--with", other)]
        done = desk.tykky("run", "--json", first, *words, "--", "true", status=None)
        document = json.loads(done.out)
        assert done.status == document["exit-code"]
        found[first, *others] = (document["reason"], document["hint"], done.status)
    assert found == expected
    for words, text in (
        ((a, "--with", b), "name a command to run, e.g. tykky run ./climate -- python"),
        ((a, "--with"), "Option '--with' requires an argument."),
        ((a, "--with", "", "--", "true"), "the path is empty"),
    ):
        done = desk.tykky("run", *words, status=2)
        assert text in done.err
    # Its own options stand before its name, whatever --with comes first.
    done = desk.tykky("run", "--with", "nowhere", "--json", a, "true", status=11)
    assert json.loads(done.out)["reason"] == f"{place}/nowhere: no such directory"
