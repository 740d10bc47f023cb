"""What each Python opens at its start lies in memory in kept mounts, and P shows what a private mount shows."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.cases import Case
from tests.conformance.conftest import Bench
from tests.conformance.stage import Images, lay_out
from tests.conformance.test_one_mount_per_node import CASES, FOREVER, answers, keep, keepers
from tests.living import until

# Every path of P with what is known of it; sizes of directories are those of their file systems.
SHOWN = """
import os, stat, sys
for directory, directories, files in os.walk(sys.prefix):
    for name in ["", *directories, *files]:
        path = os.path.join(directory, name)
        seen = os.lstat(path)
        size = 0 if stat.S_ISDIR(seen.st_mode) else seen.st_size
        link = os.readlink(path) if os.path.islink(path) else ""
        print(path, oct(seen.st_mode), seen.st_uid, seen.st_gid, size, seen.st_mtime, link)
"""
WRITES = """
import os, sys
for place in (sys.prefix, f"{sys.prefix}/lib", "/tykky/demo"):
    for write in (lambda: open(place + "/new", "w"), lambda: os.utime(place)):
        try:
            write()
        except OSError as error:
            print(error.strerror)
"""
PATHS = """
import os, sys
packages = f"{sys.argv[1]}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
print(sorted(name for name in os.listdir(packages) if name.endswith(".pth")))
print(len(open(f"{packages}/long.pth").readline()) - 1)
"""


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Launches that share mounts."""
    return request.param


def asked(bench: Bench, place: Path) -> int:
    """Return how many questions the servers of kept mounts have answered."""
    (one,) = (one for one in keepers(bench) if one.directory == place)
    return sum(answers(server) for server in one.servers)


@pytest.mark.parametrize("count", [1, 3])
def test_a_start_asks_no_server(bench: Bench, count: int):
    """Where the interpreter is the host's. One that is in the images is read from there."""
    place = bench.environment(count=count, idle=FOREVER)
    keep(bench, place)
    start = (place / "bin" / "python", "-I", "-c", "pass")
    for _ in range(3):
        bench.run(*start)  # and the keeper's own Python has ended by now
    before = asked(bench, place)
    for _ in range(10):
        bench.run(*start)
    # Two for each: of 16 and more.
    assert asked(bench, place) - before <= 20


@pytest.mark.parametrize("kind", ["venv", "conda"])
@pytest.mark.parametrize("count", [1, 3])
def test_it_shows_what_a_private_mount_shows(bench: Bench, kind: str, count: int):
    place = bench.environment(kind=kind, count=count, idle=FOREVER)
    keep(bench, place)
    shared, private = (
        sorted(
            bench.run(place / "bin" / "python", "-c", SHOWN, env=bench.environ(TYKKY_MOUNT=mount)).stdout.splitlines()
        )
        for mount in ("shared", "private")
    )
    assert shared == private
    assert any(f"{place}/bin/python " in line for line in shared)


def test_nobody_writes_there(bench: Bench, kind: str):
    place = bench.environment(kind=kind, idle=FOREVER)
    keep(bench, place)
    said = bench.run(place / "bin" / "python", "-c", WRITES).stdout.split("\n")
    assert said == ["Read-only file system"] * 6 + [""]


def odd_packages(images: Images, place: Path) -> Images:
    """Return images with one more on top: path files that are long, lead nowhere, are no file, or were taken out."""
    packages = place / "tree" / images.prefix[1:] / "lib" / f"python{images.python}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "long.pth").write_text("#" + "x" * (1 << 17) + "\nimport sys; sys.long = 1\n")
    (packages / "short and odd'.pth").write_text("import sys; sys.short = 1\n")
    (packages / "nowhere.pth").symlink_to("gone")
    os.mkfifo(packages / "pipe.pth")
    image = place / "more.sqfs"
    whiteout = f"{packages.relative_to(place / 'tree')}/_tykky_base.pth c 0 0 0 0 0"
    argv = ["mksquashfs", place / "tree", image, "-quiet", "-no-progress", "-all-root", "-p", whiteout]
    subprocess.run(argv, check=True)
    return replace(images, files=(images.files[0], image))


def test_options_that_the_user_has_for_tar_are_not_for_this(bench: Bench, kind: str):
    place = bench.environment(kind=kind, idle=FOREVER, launched=False)
    environ = bench.environ(TAR_OPTIONS="--transform=s,python,snake,g")
    text = "import os, sys; print(os.environ['TAR_OPTIONS'], os.listdir(sys.prefix + '/bin'))"
    bench.run(place / "bin" / "python", "-c", "pass", env=environ)
    until(lambda: keepers(bench) != [])
    said = bench.run(place / "bin" / "python", "-c", text, env=environ).stdout
    assert said.startswith("--transform=s,python,snake,g [") and "snake" not in said.partition("[")[2]


def test_what_cannot_be_read_is_not_made_of_zeros(bench: Bench):
    """A part of the image is lost: Python says so in every launch."""
    images = bench.images("venv")
    packages = bench.place / "tree" / images.prefix[1:] / "lib" / f"python{images.python}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "broken.pth").write_text("".join(f"# {number * number} and more\n" for number in range(400)))
    image = bench.place / "more.sqfs"
    options = ["-quiet", "-no-progress", "-all-root", "-no-fragments", "-comp", "zstd"]
    subprocess.run(["mksquashfs", bench.place / "tree", image, *options], check=True)
    content = bytearray(image.read_bytes())
    content[96:156] = bytes(byte ^ 255 for byte in content[96:156])
    image.write_bytes(content)
    place = lay_out(bench.place / "P", replace(images, files=(images.files[0], image)), 2, idle=FOREVER)
    bench.case.own(place)
    text = "import sys; print(open(sys.argv[1], 'rb').read(4))"
    start = (
        place / "bin" / "python",
        "-I",
        "-S",
        "-c",
        text,
        f"/{packages.relative_to(bench.place / 'tree')}/broken.pth",
    )
    for _ in range(2):
        done = bench.run(*start, check=False)
        assert "Input/output error" in done.stderr
        until(lambda: keepers(bench) != [])


def test_path_files_of_all_kinds(bench: Bench):
    place = lay_out(bench.place / "P", odd_packages(bench.images("venv"), bench.place), 2, idle=FOREVER)
    bench.case.own(place)
    # Without site: of a pipe that it finds, Python itself would wait for the other end.
    start = (place / "bin" / "python", "-I", "-S", "-c", PATHS, place)
    bench.run(*start)
    until(lambda: keepers(bench) != [])
    assert bench.run(*start).stdout == "['long.pth', 'nowhere.pth', 'pipe.pth', \"short and odd'.pth\"]\n131073\n"
