"""An environment whose lower images are in another environment directory."""

from __future__ import annotations

import os

import pytest

from tests.conformance.conftest import Bench


@pytest.mark.parametrize("kind", ["venv", "conda"])
def test_a_child_runs_on_images_of_its_parent(bench: Bench, kind: str) -> None:
    parent = bench.environment("the, parent:s" if bench.case.name.startswith("namespace") else "parent", kind)
    child = bench.environment("child", kind, parent=parent)
    code = "import sys; print(sys.executable, sys.prefix)"
    said = bench.run(child / "bin" / "python", "-c", code).stdout
    assert said == f"{child / 'bin' / 'python'} {child}\n"
    again = "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', sys.argv[1]], text=True))"
    assert bench.run(child / "bin" / "python", "-c", again, code).stdout.startswith(said)
    assert bench.run(parent / "bin" / "python", "-c", code).stdout == f"{parent / 'bin' / 'python'} {parent}\n"


def test_what_others_can_write_to_is_not_mounted(bench: Bench, kind: str) -> None:
    parent = bench.environment("parent", kind)
    child = bench.environment("child", kind, parent=parent, launched=False)
    image = next(iter(sorted((parent / ".tykky" / "layers").glob("*.sqfs"))))
    image.unlink()  # one of the others has this file too
    image.write_bytes(b"hsqs")
    image.chmod(0o666)
    done = bench.run(child / "bin" / "python", "-c", "pass", check=False)
    assert done.returncode == 122
    assert done.stderr == (
        f"tykky: {child} cannot be used: others than its owner can write to the image {image}; "
        "its owner has to change that: chmod go-w\n"
    )


def test_an_owner_who_is_not_trusted(bench: Bench, kind: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    parent = bench.environment("parent", kind)
    child = bench.environment("child", kind, parent=parent, launched=False)
    image = next(iter(sorted((parent / ".tykky" / "layers").glob("*.sqfs"))))
    image.unlink()
    image.write_bytes(b"hsqs")
    os.chown(image, 54321, -1)
    done = bench.run(child / "bin" / "python", "-c", "pass", check=False)
    assert done.returncode == 122
    assert done.stderr == (
        f"tykky: {child} cannot be used: the image {image} belongs to user 54321, "
        "who was not trusted when this was built\n"
    )
