"""Invariants 1 and 2: one lock gives the same keys and, built again, the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.channel import Served
from tests.end_to_end.conftest import MINOR, Desk, record

Spec = Callable[..., str]


def layers(environment: Path) -> list[tuple[str, str]]:
    return [(layer["key"], layer["digest"]) for layer in record(environment)["layers"]]  # type: ignore[attr-defined]


def build_elsewhere(desk: Desk, where: Path, *, umask: int, processors: set[int], home: Path) -> list[tuple[str, str]]:
    """Build the desk's lock in another directory, HOME, cache, TMPDIR, with another umask and number of processors."""
    scratch = where / "tmp"
    scratch.mkdir(parents=True)
    home.mkdir()
    shutil.copy(desk.directory / "tykky.toml", where)
    shutil.copy(desk.directory / "tykky.lock", where)

    def prepare() -> None:
        os.umask(umask)
        os.sched_setaffinity(0, processors)

    environ = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "TMPDIR": str(scratch)}
    argv = [sys.executable, "-m", "tykky", "build", "--prefix", str(where / "env")]
    done = subprocess.run(argv, cwd=where, env=environ, preexec_fn=prepare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return layers(where / "env")


def test_a_venv_has_the_same_bytes_everywhere(desk: Desk, wheels_spec: Spec, tmp_path: Path) -> None:
    env = desk.write(wheels_spec("beta")) and desk.environment()
    everyone = sorted(os.sched_getaffinity(0))
    other = build_elsewhere(
        desk, tmp_path / "other place", umask=0o077, processors={everyone[0]}, home=tmp_path / "other home"
    )
    assert other == layers(env)


def test_conda_and_pypi_have_the_same_bytes_everywhere(
    desk: Desk, channel_server: Served, wheelhouse: Path, tmp_path: Path
) -> None:
    desk.write(
        f"""
[environment]
name = "both"

[conda]
channels = ["{channel_server.url}"]
[conda.dependencies]
python = "{MINOR}.*"
hello = "*"
greeter = "*"
jinja2 = "*"
clobber-a = "*"
clobber-b = "*"

[pypi]
dependencies = ["beta"]
find-links = ["{wheelhouse}"]
index-url = "file://{wheelhouse}"
"""
    )
    env = desk.environment()
    everyone = sorted(os.sched_getaffinity(0))
    other = build_elsewhere(
        desk, tmp_path / "other place", umask=0o002, processors={everyone[-1]}, home=tmp_path / "other home"
    )
    assert other == layers(env)
    assert len(other) == 2


def test_the_same_key_on_another_spec_of_the_same_name(desk: Desk, wheels_spec: Spec) -> None:
    """What cannot change the image is not in the key: comments, environ, other platforms."""
    env = desk.write(wheels_spec("alpha")) and desk.environment()
    before = layers(env)
    desk.write("# a comment\n" + wheels_spec("alpha", more='\n[runtime]\nenviron = { A = "1" }\n'))
    desk.environment()
    assert layers(env) == before
    assert record(env)["number"] == 2


@pytest.mark.parametrize("change", ['name = "other"', "compression-level = 4", 'exclude = ["**/x"]'])
def test_what_changes_the_image_changes_the_key(desk: Desk, wheels_spec: Spec, change: str) -> None:
    desk.write(wheels_spec("alpha"))
    first = desk.environment("one")
    text = wheels_spec("alpha")
    text = text.replace('name = "demo"', change) if change.startswith("name") else text + f"\n[build]\n{change}\n"
    desk.write(text)
    second = desk.environment("two")
    assert layers(first)[0][0] != layers(second)[0][0]
