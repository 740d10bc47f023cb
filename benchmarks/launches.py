"""The marks of launches: each against the bare interpreter, or a bare `apptainer exec`, of the same run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.bench import MEGA, Bench, Mark
from benchmarks.clock import paired, seconds
from tests.channel.standard import standard_channel
from tykky.runtime.kept import Kept, kept, private_directories

_PASS = ("-c", "pass")
_MANY = 64
_CONDA = """[environment]
name = "inside"

[conda]
channels = ["{channel}"]

[conda.dependencies]
python = "*"
"""


def launches(bench: Bench) -> Iterator[Mark]:
    """Starting `python -c pass`: joined and private, alone and many at once, in every backend."""
    environ = {**bench.environ, "TYKKY_BACKEND": "namespace"}
    place, bare = _two_images(bench), _bare(bench)
    program = str(place / "bin" / "python")
    yield _more("launch, joined", [program, *_PASS], [bare, "-I", *_PASS], environ, 6)
    private = {**environ, "TYKKY_MOUNT": "private"}
    yield _more("launch, private, two images", [program, *_PASS], [bare, "-I", *_PASS], private, 20)
    yield from _at_once(place, [program, *_PASS], [bare, "-I", *_PASS], environ)
    yield _gone(place, program, environ)
    inside, unpacked = _interpreter_inside(bench)
    argv = [str(inside / "bin" / "python"), *_PASS]
    yield _more("launch, joined, interpreter in the image", argv, [str(unpacked), "-I", *_PASS], environ, 6)
    yield _more("launch, private, interpreter in the image", argv, [str(unpacked), "-I", *_PASS], private, 45)
    apptainer = shutil.which("apptainer", path=bench.environ["PATH"])
    if apptainer is None:
        print("launch, apptainer: skipped, no apptainer on PATH", file=sys.stderr)
    else:
        yield _apptainer(bench, place, apptainer)


def interpreter(environment: Path) -> str:
    """Return the host interpreter that an environment directory of the kind venv was built with, itself: no shim."""
    record = json.loads((environment / ".tykky" / "current" / "environment.json").read_text())
    argv = [record["interpreter"], "-I", "-c", "import os, sys; print(os.path.realpath(sys.executable))"]
    return subprocess.check_output(argv, text=True).strip()


def _bare(bench: Bench) -> str:
    """Return the same interpreter as the environment's, in an empty venv on disk: nothing of its own site counts."""
    place = bench.root / "bare"
    seconds([interpreter(bench.environment), "-m", "venv", "--without-pip", str(place)], bench.environ)
    return str(place / "bin" / "python")


def _more(name: str, mine: list[str], base: list[str], environ: Mapping[str, str], limit: float) -> Mark:
    seconds(mine, environ)
    time.sleep(0.5)  # the keeper of the first launch is ready
    took, bare = paired(mine, base, environ, 60)
    made_of = f"{took * 1000:.1f} ms, bare interpreter {bare * 1000:.1f} ms"
    return Mark(name, (took - bare) * 1000, limit, "ms more", made_of)


def _two_images(bench: Bench) -> Path:
    """Return a copy of the bench's environment with one small layer more."""
    spec, place = bench.root / "two-spec", bench.root / "two"
    shutil.copytree(bench.spec, spec)
    shutil.copytree(bench.environment, place, symlinks=True)
    file = spec / "tykky.toml"
    for words in (("add", "iniconfig"), ("lock",), ("build", "--prefix", place, "--delta")):
        seconds(bench.tykky(*words, "-f", file), bench.environ)
    return place


def _interpreter_inside(bench: Bench) -> tuple[Path, Path]:
    """Return an environment directory with an interpreter of its own, and the same interpreter unpacked on disk."""
    place, tree = bench.root / "conda", bench.root / "unpacked"
    try:
        spec = _locked(bench, "conda-forge")
    except SystemExit:
        print("conda-forge cannot be reached: the interpreter of this machine, as a conda package", file=sys.stderr)
        spec = _locked(bench, standard_channel(bench.root / "channel").as_uri())
    seconds(bench.tykky("build", "--prefix", place, "-f", spec), bench.environ)
    for image in (place / ".tykky" / "layers").glob("*.sqfs"):
        seconds(["unsquashfs", "-quiet", "-no-progress", "-f", "-d", str(tree), str(image)], bench.environ)
    return place, tree / "tykky" / "inside" / "bin" / "python"


def _locked(bench: Bench, channel: str) -> Path:
    """Return a spec of Python alone, from a channel, with its lock."""
    spec = bench.root / "conda-spec" / "tykky.toml"
    spec.parent.mkdir(exist_ok=True)
    spec.write_text(_CONDA.format(channel=channel))
    seconds(bench.tykky("lock", "-f", spec), bench.environ)
    return spec


def _at_once(place: Path, mine: list[str], base: list[str], environ: Mapping[str, str]) -> Iterator[Mark]:
    """Many launches at once: their time, and the memory of what serves them."""
    _all(mine, environ, 1)
    pairs = [(_all(mine, environ, _MANY), _all(base, environ, _MANY)) for _ in range(5)]
    took, bare = (sorted(times)[2] for times in zip(*pairs, strict=True))
    made_of = f"{took:.2f} s, bare interpreter {bare:.2f} s"
    yield Mark(f"{_MANY} launches at once, joined", took / bare, 1.5, "x", made_of)
    one, many = (_helpers(place, mine[0], environ, count) for count in (1, _MANY))
    made_of = f"keeper and servers, proportional set size; of one launch {one / MEGA:.2f} MB; limit 1.1 x"
    yield Mark(f"memory of the mount helpers of {_MANY} launches", many / MEGA, 1.1 * one / MEGA, "MB", made_of)


def _all(argv: Sequence[str], environ: Mapping[str, str], count: int) -> float:
    """Start a command so many times at once; return the seconds until the last one ended."""
    started = time.perf_counter()
    running = [subprocess.Popen(argv, env=environ) for _ in range(count)]
    if sum(process.wait() != 0 for process in running):
        raise SystemExit(f"{list(argv)} failed")
    return time.perf_counter() - started


def _helpers(place: Path, program: str, environ: Mapping[str, str], count: int) -> float:
    """Return the bytes that keepers and servers of an environment take while `count` programs run."""
    pipe = subprocess.PIPE
    text = "import json, sys; print('up', flush=True); sys.stdin.read()"
    running = [subprocess.Popen([program, "-c", text], env=environ, stdin=pipe, stdout=pipe) for _ in range(count)]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    taken = sum(_memory(pid) for one in _kept(place, environ) for pid in (one.keeper, *one.servers))
    for process in running:
        process.communicate(b"")
    return taken


def _gone(place: Path, program: str, environ: Mapping[str, str]) -> Mark:
    """How long keeper and servers outlive a session: the longest of three."""
    took = []
    for _ in range(3):
        before = {one.keeper for one in _kept(place, environ)}
        pipe = subprocess.PIPE
        # A shell leads the session: it starts a program, and ends when its input does.
        leader = ["sh", "-c", '"$0" -c pass; read -r x', program]
        session = subprocess.Popen(leader, env=environ, stdin=pipe, start_new_session=True)
        assert session.stdin is not None
        while not (mine := [one for one in _kept(place, environ) if one.keeper not in before]):
            time.sleep(0.05)
        session.stdin.close()
        session.wait()
        ended = time.perf_counter()
        alive = [Path(f"/proc/{pid}/ns/mnt") for one in mine for pid in (one.keeper, *one.servers)]
        while any(process.exists() for process in alive):
            time.sleep(0.01)
        took.append(time.perf_counter() - ended)
    made_of = "keeper and servers; the longest of three sessions"
    return Mark("mounts gone after the session's end", max(took), 5, "s", made_of)


def _kept(place: Path, environ: Mapping[str, str]) -> list[Kept]:
    return [one for private in private_directories(environ) for one in kept(private) if one.directory == place]


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _apptainer(bench: Bench, place: Path, apptainer: str) -> Mark:
    private = place / ".tykky"
    record = json.loads((private / "current" / "environment.json").read_text())
    argv = [apptainer, "--silent", "exec"]
    for layer in record["layers"]:
        argv += ["--overlay", f"{place / layer['image']}:ro"]
    for top in sorted(Path("/").iterdir()):
        if top.is_dir() and not top.is_symlink() and top.name not in ("proc", "sys", "dev", "lost+found"):
            argv += ["-B", str(top)]
    argv += [str(private / "host.sqfs"), "/tykky/scientific/bin/python", *_PASS]
    environ = {**bench.environ, "TYKKY_BACKEND": "apptainer"}
    mine, base = paired([str(place / "bin" / "python"), *_PASS], argv, environ, 20)
    made_of = f"{mine * 1000:.0f} ms, bare apptainer exec with the same overlays {base * 1000:.0f} ms"
    return Mark("launch, apptainer, two images", (mine - base) * 1000, 20, "ms more", made_of)
