"""Invariant 4: an update reads no lower image's data, and writes what is new.

strace sees every file that Tykky and all programs it starts open, and every write. What is asserted:

* nobody opens a lower image, and nothing is mounted, wherever the interpreter comes from (the host, conda, uv): one
  like it compiles and tells uv its layout;
* what is written into files below the environment directory, the scratch directory and the caches (write, pwrite,
  writev, copy_file_range, sendfile; a hard link or a rename writes nothing) is at most twice the delta's image and
  1 MiB. The packages themselves are in the caches before.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.history.world import Wanted, World
from tykky.environment.directory import EnvironmentDirectory

ROOT = Path(__file__).parents[2]
_STRACE = shutil.which("strace")
_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "copy_file_range", "sendfile")
_STARTS = ("clone", "clone3", "fork", "vfork")
_MOUNTS = ("mount", "fsopen", "fsmount", "open_tree", "move_mount", "unshare")
_CALLS = ",".join(("open", "openat", "openat2", "execve", *_MOUNTS, *_WRITES, *_STARTS))
_LINE = re.compile(r"^(\w+)\((.*)\) += (-?\d+)(?:<(.*)>)?(?: .*)?$")

_BUILD = """
import sys
from pathlib import Path
from tests.history.world import Wanted, World
root, prefix, names, based_on_conda = sys.argv[1:]
World(Path(root)).build(Path(prefix), Wanted.of(names, based_on_conda=based_on_conda == "yes"), "delta")
"""

_MORE = "bits=on points=1 compiled=1 p:twin=1"  # data, noarch modules with a program, a compiled module, a wheel

pytestmark = pytest.mark.skipif(_STRACE is None, reason="strace is not installed (Debian and EL: strace)")


@dataclass
class Trace:
    """What a build did: (program, path) of all that was opened, the bytes written by path, what mounted something."""

    opened: list[tuple[str, str]] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    mounted: list[tuple[str, str]] = field(default_factory=list)

    def read(self, logs: Path, process: str, program: str) -> None:
        """Read the log of a process (or thread), and those of the ones it started."""
        for call, words, result, path in _calls(logs / f"of.{process}"):
            if call == "execve":
                program = words.split('"')[1].rpartition("/")[2]
            elif call in _STARTS:
                self.read(logs, str(result), program)
            elif call in _MOUNTS:
                self.mounted.append((program, f"{call}({words})"))
            elif call in _WRITES:
                # Only of copy_file_range the second descriptor is the one that is written to.
                target = re.findall(r"\d+<([^>]*)>", words)[1 if call == "copy_file_range" else 0]
                self.written[target] = self.written.get(target, 0) + result
            else:
                self.opened.append((program, path))


def _calls(log: Path) -> Iterator[tuple[str, str, int, str]]:
    """Return name, arguments, result and the result's path of the calls that succeeded."""
    if not log.exists():  # it ended before it called anything of interest
        return
    for line in log.read_text("utf-8", "replace").splitlines():
        match = _LINE.match(line)
        if match is not None and int(match[3]) >= 0:
            yield match[1], match[2], int(match[3]), match[4] or ""


def traced(world: World, prefix: Path, names: str, *, based_on_conda: bool) -> Trace:
    """Build with every program under strace."""
    logs = prefix.parent / "trace"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    # Names are longer than what -s leaves of them, but -y gives the path of each descriptor whole.
    argv = [str(_STRACE), "-ff", "-qq", "-y", "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", f"{logs}/of"]
    argv += [sys.executable, "-c", _BUILD, f"{world.root}", f"{prefix}", names, "yes" if based_on_conda else "no"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    _, said = process.communicate()
    assert process.returncode == 0, said
    # The first is the one that none of them started: not always that of the lowest number, as those begin anew.
    started = {str(made) for log in logs.iterdir() for call, _, made, _ in _calls(log) if call in _STARTS}
    (first,) = {log.suffix[1:] for log in logs.iterdir()} - started
    trace = Trace()
    trace.read(logs, first, "")
    assert len(trace.opened) > 100 and trace.written, "strace saw nothing"
    return trace


@pytest.mark.parametrize("based_on_conda", [True, False], ids=["conda", "venv"])
@pytest.mark.parametrize(
    ("names", "removes"),
    [(f"{_MORE} p:ns-a=1", False), ("p:twin=1", True), ("bits=off points=2 compiled=2 p:twin=2", False)],
    ids=["add", "remove", "change"],
)
def test_lower_images_are_not_read_and_little_is_written(
    world: World, names: str, removes: bool, based_on_conda: bool
) -> None:
    bulk = "bulk=1 p:bulk=1"
    before = f"{_MORE} p:ns-a=1" if removes or "off" in names else "p:twin=1"
    warm, prefix = world.place(), world.place()
    world.build(warm, Wanted.of(f"{names} {bulk}", based_on_conda=based_on_conda))
    world.build(prefix, Wanted.of(f"{before} {bulk}", based_on_conda=based_on_conda))
    lower = {str(path) for path in (prefix / ".tykky" / "layers").glob("*.sqfs")}
    assert sum(Path(path).stat().st_size for path in lower) > 3 << 20
    trace = traced(world, prefix, f"{names} {bulk}", based_on_conda=based_on_conda)
    delta = EnvironmentDirectory(prefix).record().layers[-1]
    assert delta.kind == "delta"
    assert not trace.mounted
    assert [program for program, path in trace.opened if path in lower] == []
    # The channel and the wheels are written by this test's own side, as the index would.
    made = (f"{world.root}/channel/", *map(str, world.root.glob("*.whl")))
    ours = {path: count for path, count in trace.written.items() if path.startswith(f"{world.root}/")}
    written = {path: count for path, count in ours.items() if not path.startswith(made)}
    assert sum(written.values()) >= delta.size
    assert sum(written.values()) <= 2 * delta.size + (1 << 20), written
    for place in (warm, prefix):
        world.forget(place)
