"""A whole environment locked, built and run as the case's user, by the case's backend alone.

Building runs programs inside too: post-link scripts, the byte-compiler, uv over a mounted conda layer, sources built
against it, post-install scripts. None of that may need more than what a launch needs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.wheelmaker import make_project, make_wheel

# A build mounts for itself: what launches share is nothing to it.
SAMPLED = ("namespace-joined", "user-namespace-joined")

PROJECT = Path(__file__).parent.parent.parent
SITE = Path(sysconfig.get_path("purelib"))
MINOR = ".".join(map(str, sys.version_info[:2]))


@pytest.fixture
def tykky(bench: Bench) -> list[str]:
    """The command line of tykky for the case's user, who may not be able to read our interpreter."""
    if bench.case.user is None:
        return [sys.executable, "-m", "tykky"]
    own = f"/usr/bin/python{MINOR}"
    if not Path(own).exists():
        pytest.skip(f"no {own}, and another user cannot be expected to read {sys.executable}")
    probe = bench.run(own, "-c", "import rattler, tykky", check=False, env=variables(bench))
    if probe.returncode != 0:
        pytest.skip(f"the user {bench.case.user} cannot read this checkout: {probe.stderr.strip()[-100:]}")
    return [own, "-m", "tykky"]


def variables(bench: Bench) -> dict[str, str]:
    path = f"{sysconfig.get_path('scripts')}:{bench.environ()['PATH']}"
    return {**bench.environ(), "PATH": path, "PYTHONPATH": f"{PROJECT}:{SITE}", "TMPDIR": str(bench.place / "tmp")}


def name_programs(bench: Bench) -> None:
    """Have the case's Apptainer named in its user's site.toml, as a site names its own."""
    if bench.case.programs:
        site = bench.place / "home" / ".config" / "tykky" / "site.toml"
        site.parent.mkdir(parents=True)
        site.write_text("[programs]\n" + "".join(f"{name} = {path!r}\n" for name, path in bench.case.programs.items()))


def test_conda_pypi_sources_and_scripts(bench: Bench, tykky: list[str], conda_channel: Path) -> None:
    channel = bench.place / "channel"
    shutil.copytree(conda_channel, channel)
    (bench.place / "tmp").mkdir()
    name_programs(bench)
    house = bench.place / "wheels"
    make_wheel(house, "alpha", "1.0", files={"alpha/__init__.py": "VERSION = 'alpha'\n"})
    project = make_project(bench.place / "ext", "ext", "0.1", files={"ext/__init__.py": "VERSION = 'ext'\n"})
    backend = next(project.rglob("backend.py"))
    head, hook, tail = backend.read_text().partition("def build_wheel(")
    signature, newline, body = tail.partition("\n")
    backend.write_text(f"{head}{hook}{signature}{newline}    import alpha, jinja2\n{body}")
    (bench.place / "post.sh").write_text('echo "by $(id -u)" > "$TYKKY_BUILD_PREFIX/share/from-script"\n')
    (bench.place / "tykky.toml").write_text(
        f"""
[environment]
name = "whole"

[conda]
channels = ["{channel.as_uri()}"]
[conda.dependencies]
python = "{MINOR}.*"
hello = "*"
jinja2 = "*"

[pypi]
dependencies = ["alpha", "./ext"]
find-links = ["wheels"]
index-url = "{house.as_uri()}"
no-build-isolation = ["ext"]

[build]
post-install = ["post.sh"]
"""
    )
    bench.case.own(bench.place)
    environ = variables(bench)
    for words in (["lock"], ["build", "--prefix", "P"]):
        done = bench.run(*tykky, *words, check=False, env=environ)
        assert done.returncode == 0, done.stderr
    P = bench.place / "P"
    code = (
        "import alpha, ext, jinja2, json, sys; script = open(sys.prefix + '/share/from-script').read();"
        "print(json.dumps([alpha.VERSION, ext.VERSION, sys.executable, script]))"
    )
    alpha, ext, executable, script = json.loads(bench.run(P / "bin" / "python", "-c", code).stdout)
    assert (alpha, ext, executable) == ("alpha", "ext", str(P / "bin" / "python"))
    owner = bench.place.stat().st_uid
    # The scripts run as whoever builds, never as a root that only looks like one.
    assert script == f"by {owner}\n"
    assert bench.run(P / "bin" / "hello").stdout.startswith("hello 1.1")
    left = subprocess.run(["ls", "-A", bench.place / "tmp"], capture_output=True, text=True, check=True).stdout
    assert left == ""
