"""`image` in `[runtime]`: from a spec to programs that see another root, and what is said of images that are none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.cases import SETUID, USERNS
from tests.conformance.roots import MARK, make_tree, pack, pack_sif
from tests.end_to_end.conftest import MINOR, Desk, record, run

MACHINE = os.uname().machine
WHO = (
    "import json, os, sys; print(json.dumps([sys.executable, open('/etc/mark').read(), os.path.exists('/usr/share')]))"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("root") / "tree")


@pytest.fixture(scope="module")
def sqfs(tree: Path) -> Path:
    return pack(tree, tree.parent / "root.sqfs")


@pytest.fixture(scope="module")
def sif(tree: Path) -> Path:
    """A SIF as an ordinary Apptainer makes it."""
    found = shutil.which("apptainer") or next((str(path) for path in (USERNS, SETUID) if path.exists()), None)
    if found is None:
        pytest.skip("there is no apptainer on PATH or at the places of tests/hosts/setup.sh")
    return pack_sif(tree, tree.parent / "root.sif", found)


def spec(channel: Path, image: str, more: str = "") -> str:
    return f"""\
[environment]
name = "rooted"

[conda]
channels = ["{channel.as_uri()}"]
[conda.dependencies]
python = "{MINOR}.*"
hello = "*"

[runtime]
image = "{image}"
{more}"""


def test_from_a_spec_to_another_root(desk: Desk, conda_channel: Path, sqfs: Path) -> None:
    """A path is relative to the spec; the lock has the image's sha256, the generation where it is."""
    image = desk.directory / "root.sqfs"
    shutil.copy(sqfs, image)
    named = desk.directory / "named"
    named.mkdir()
    (named / "file").write_text("of the host")
    env = desk.write(spec(conda_channel, "./root.sqfs", f'mounts = ["{named}"]\n')).environment()
    assert json.loads(run([env / "bin" / "python", "-c", WHO])) == [str(env / "bin" / "python"), MARK, False]
    assert run([env / "bin" / "python", "-c", "import sys; print(open(sys.argv[1]).read())", named / "file"]) == (
        "of the host\n"
    )
    assert run([env / "bin" / "hello"]).startswith("hello 1.1")
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    size = image.stat().st_size
    assert f'[image]\ndigest = "{digest}"\nsize = {size}\n' in (desk.directory / "tykky.lock").read_text()
    root = {"written": "./root.sqfs", "image": str(image), "digest": digest, "size": size, "offset": 0}
    assert record(env)["root"] == {**root, "mounts": [str(named)], "manifest": None}
    assert json.loads(desk.tykky("info", env, "--json").out)["root"] == record(env)["root"]
    shown = desk.tykky("info", env).out
    assert f"  root        {image}  " in shown
    assert f"  mounts      {named}\n" in shown
    assert looked_at(desk, env) == ("ok", f"{image}: {size} bytes, as locked")
    assert run([sys.executable, "-m", "tykky", "run", env, "--", "cat", "/etc/mark"]) == MARK
    assert desk.tykky("build", "--prefix", env).out == f"{env} is up to date (generation 1)\n"
    count = len(record(env)["layers"]) + 1  # type: ignore[arg-type]
    assert desk.tykky("verify", env).out == f"{env}: {count} images as they were made\n"
    os.truncate(image, size - 1)
    assert looked_at(desk, env) == ("missing", f"{image} has {size - 1} bytes, {size} were locked")


def looked_at(desk: Desk, env: Path) -> tuple[str, str]:
    """Return what `tykky doctor` says of the environment's root."""
    findings = json.loads(desk.tykky("doctor", env, "--json", status=None).out)["findings"]
    found = next(one for one in findings if one["name"] == "image")
    return found["status"], found["detail"]


@pytest.mark.thorough
def test_an_image_that_changed_is_not_built_with(desk: Desk, conda_channel: Path, sqfs: Path, tree: Path) -> None:
    image = desk.directory / "root.sqfs"
    shutil.copy(sqfs, image)
    env = desk.write(spec(conda_channel, "./root.sqfs")).environment()
    with image.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"changed")
    found = hashlib.sha256(image.read_bytes()).hexdigest()
    locked = record(env)["root"]["digest"]  # type: ignore[index]
    repair = "hint: it is the image of [runtime]: 'tykky lock' and 'tykky build' take what is there now\n"
    assert desk.tykky("verify", env, "--quiet", status=11).err == (
        f"error: {image} has changed: expected sha256 {locked}, got {found}\n\n{repair}"
    )
    assert desk.tykky("build", "--prefix", env, "--quiet", status=3).err == (
        f"error: tykky.toml: runtime.image: {image} is not the image that was locked\n\n"
        "hint: run 'tykky lock' if it may be another one\n"
    )
    # Another one of another size is seen by a look, and by launches.
    (tree / "etc" / "more").write_bytes(os.urandom(8192))
    image.unlink()
    pack(tree, image)
    (tree / "etc" / "more").unlink()
    assert desk.tykky("lock", "--check", status=5).err == (
        "error: tykky.lock is out of date:\n  the image ./root.sqfs has changed\n\nhint: run 'tykky lock'\n"
    )
    done = subprocess.run([env / "bin" / "python"], capture_output=True, text=True, check=False)
    if done.returncode:
        assert done.stderr.startswith(f"tykky: {env} is damaged: the image {image} has {image.stat().st_size} bytes, ")
    desk.tykky("lock")
    desk.tykky("build", "--prefix", env)
    assert record(env)["number"] == 2
    assert json.loads(run([env / "bin" / "python", "-c", WHO]))[1] == MARK
    image.unlink()
    assert desk.tykky("verify", env, "--quiet", status=11).err == (
        f"error: {image} cannot be read: no such file or directory\n\n{repair}"
    )


@pytest.mark.thorough
def test_a_sif_is_an_image_too(desk: Desk, conda_channel: Path, sif: Path) -> None:
    """Its squashfs lies behind other things. Going back to the host's root is a matter of generations."""
    env = desk.write(spec(conda_channel, str(sif))).environment()
    assert record(env)["root"]["offset"] > 0  # type: ignore[index]
    assert json.loads(run([env / "bin" / "python", "-c", WHO])) == [str(env / "bin" / "python"), MARK, False]
    desk.write(spec(conda_channel, "host")).tykky("lock")
    desk.tykky("build", "--prefix", env)
    look = [env / "bin" / "python", "-c", "import os; print(os.path.exists('/etc/mark'))"]
    assert run(look) == "False\n"
    desk.tykky("rollback", env)
    assert run(look) == "True\n"


def test_what_cannot_be_a_root_is_refused_by_the_lock(
    desk: Desk, conda_channel: Path, sqfs: Path, tree: Path, tmp_path: Path
) -> None:
    text, cut, empty, folder = (tmp_path / name for name in ("text.sqfs", "cut.sqfs", "empty.sqfs", "folder"))
    text.write_text("no image\n" * 100)
    cut.write_bytes(sqfs.read_bytes()[:100_000])
    empty.write_bytes(b"")
    folder.mkdir()
    header = tmp_path / "header.sif"
    header.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + b"01\0" * 10)
    foreign, bare, musl = (_without(tree, tmp_path, name) for name in ("foreign", "bare", "musl"))
    other = "aarch64" if MACHINE == "x86_64" else "x86_64"
    loader = "lib64/ld-linux-x86-64.so.2" if MACHINE == "x86_64" else "lib/ld-linux-aarch64.so.1"
    fetch = "fetch or build it again"
    make = "make one with 'apptainer build', or with mksquashfs"
    size = sqfs.stat().st_size
    used = int.from_bytes(sqfs.read_bytes()[40:48], "little")
    assert used <= size
    cases = {
        tmp_path / "none.sif": ("does not exist", None),
        text: ("is neither a SIF nor a squashfs", make),
        empty: ("is neither a SIF nor a squashfs", make),
        folder: ("is no regular file", "an unpacked root can be packed: mksquashfs DIRECTORY root.sqfs"),
        cut: (f"is cut short: it has 100000 bytes of {used}", fetch),
        header: (f"is cut short: it has {header.stat().st_size} bytes", fetch),
        foreign: (f"is for {other}, this host is {MACHINE}", None),
        musl: (f"has no /{loader}", "packages need the GNU C library: take an image of Debian, EL or SUSE"),
        bare: ("has no /bin/sh", "launchers and scripts need a shell: take an image that has one"),
    }
    for image, (reason, hint) in cases.items():
        desk.write(spec(conda_channel, str(image)))
        said = f"error: tykky.toml: runtime.image: {image} {reason}\n" + (f"\nhint: {hint}\n" if hint else "")
        assert desk.tykky("lock", status=3).err == said


def test_a_sif_of_another_machine_is_refused(desk: Desk, conda_channel: Path, sif: Path, tmp_path: Path) -> None:
    """The machine stands in the SIF's own table."""
    data = bytearray(sif.read_bytes())
    ours, theirs, other = (b"02", b"04", "aarch64") if MACHINE == "x86_64" else (b"04", b"02", "x86_64")
    place = data.index(b"\x01\0\0\0\x02\0\0\0" + ours + b"\0") + 8
    data[place : place + 2] = theirs
    image = tmp_path / "other.sif"
    image.write_bytes(data)
    assert desk.write(spec(conda_channel, str(image))).tykky("lock", status=3).err == (
        f"error: tykky.toml: runtime.image: {image} is for {other}, this host is {MACHINE}\n"
    )


def test_a_hosts_interpreter_is_refused(desk: Desk, wheels_spec, sqfs: Path) -> None:
    desk.write(wheels_spec("alpha", more=f'\n[runtime]\nimage = "{sqfs}"\n'))
    assert desk.tykky("lock", status=3).err == (
        "error: tykky.toml:11: runtime.image: Python comes from the host here ([pypi], line 4), and nothing of the "
        "host's is seen in an image; write managed-python = true into [pypi], or ask for python in [conda]\n"
    )


@pytest.mark.thorough
def test_a_hosts_interpreter_is_refused_that_comes_by_way_of_a_parent(desk: Desk, wheels_spec, sqfs: Path) -> None:
    parent = desk.write(wheels_spec("alpha")).environment("parent")
    text = wheels_spec("beta", name="child", more=f'\n[runtime]\nimage = "{sqfs}"\n')
    child = text.replace("[pypi]", f'extends = "{parent}"\n\n[pypi]').replace(f'python = "{MINOR}"\n', "")
    desk.write(child).tykky("lock")
    python = record(parent)["interpreter"]
    assert desk.tykky("build", "--quiet", status=3).err == (
        f"error: tykky.toml: runtime.image: Python of demo ({parent}) comes from the host ({python}), and nothing of"
        " the host's is seen in an image\n\n"
        "hint: extend an environment that has Python in its images, or leave the image out\n"
    )


def _without(tree: Path, folder: Path, how: str) -> Path:
    """Make an image of a root that lacks its shell, its C library, or has that of another machine."""
    root = folder / how
    shutil.copytree(tree, root, symlinks=True)
    if how == "bare":
        (root / "usr" / "bin" / "sh").unlink()
    else:
        for loader in (*root.glob("usr/lib64/ld-linux*"), *root.glob("usr/lib/ld-linux*")):
            loader.unlink()
        other = "lib/ld-linux-aarch64.so.1" if MACHINE == "x86_64" else "lib64/ld-linux-x86-64.so.2"
        if how == "foreign":
            (root / "usr" / other).write_text("")
    return pack(root, folder / f"{how}.sqfs")
