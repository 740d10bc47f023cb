"""Every folder below `examples/`, as its reader would use it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.channel import Served
from tests.end_to_end.conftest import Desk, run

EXAMPLES = Path(__file__).parents[2] / "examples"
CONDA_FORGE = "https://conda.anaconda.org/conda-forge"

needs_python311 = pytest.mark.skipif(shutil.which("python3.11") is None, reason="the quickstart names Python 3.11")


def _copied(desk: Desk, name: str) -> Path:
    """Copy an example to the desk; return the environment directory it will be built to."""
    shutil.copytree(EXAMPLES / name, desk.directory, dirs_exist_ok=True)
    return desk.directory / "MyEnv"


@pytest.fixture
def conda_forge_mirror(channel_server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The standard channel, as this site's mirror of conda-forge."""
    site = tmp_path / "site.toml"
    site.write_text(f'[mirrors]\n"{CONDA_FORGE}" = "{channel_server.url}"\n')
    monkeypatch.setenv("TYKKY_SITE", os.fspath(site))
    return channel_server


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/tykky.lock")))
def test_a_committed_lock_answers_its_spec(desk: Desk, name: str) -> None:
    _copied(desk, name)
    assert desk.tykky("lock", "--check").out == "tykky.lock answers the spec\n"


def test_the_quickstart_has_its_lock() -> None:
    assert (EXAMPLES / "quickstart/tykky.lock").is_file()
    assert not (EXAMPLES / "conda/tykky.lock").exists(), "no lock of stand-in packages under conda-forge's name"


@needs_python311
@pytest.mark.network
def test_quickstart(desk: Desk) -> None:
    environment = _copied(desk, "quickstart")
    before = (desk.directory / "tykky.lock").read_bytes()
    desk.tykky("lock")
    assert (desk.directory / "tykky.lock").read_bytes() == before
    desk.tykky("build", "--prefix", environment)
    shown = run([environment / "bin/python", desk.directory / "hello.py"])
    assert f"this Python  {environment}/bin/python\n" in shown
    assert "which says that the norm of nine ones is 3\n" in shown


def test_conda(desk: Desk, conda_forge_mirror: Served) -> None:
    environment = _copied(desk, "conda")
    desk.tykky("lock")
    lock = (desk.directory / "tykky.lock").read_text()
    assert f"{CONDA_FORGE}/" in lock, "a lock reads the same on every site"
    assert conda_forge_mirror.url not in lock
    desk.tykky("build", "--prefix", environment)
    shown = run([environment / "bin/python", desk.directory / "report.py", "--title", "Run 7", "1.5", "2.5"])
    assert shown == "Run 7\n=====\n\nby somebody: 2 values, mean 2.00\n"


@pytest.mark.network
def test_mixed(desk: Desk, conda_forge_mirror: Served) -> None:
    environment = _copied(desk, "mixed")
    desk.tykky("lock")
    desk.tykky("build", "--prefix", environment)
    greeting, *who = run([environment / "bin/python", desk.directory / "hello.py"]).splitlines()
    assert greeting == "hello, world"
    assert [line.split()[0] + " by " + line.split()[-1] for line in who] == [
        "flask by uv",
        "jinja2 by conda",
        "click by conda",
    ]
    count = "from importlib import metadata; print(sum(d.name == 'click' for d in metadata.distributions()))"
    assert run([environment / "bin/python", "-c", count]) == "1\n", "installed once"
