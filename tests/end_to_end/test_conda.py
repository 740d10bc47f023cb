"""A conda-type environment from a real channel: links, scripts, activation, clobbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.channel import Served
from tests.end_to_end.conftest import MINOR, Desk, record, run


@pytest.fixture(params=["http", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("file", "mirror"))])
def channel(request: pytest.FixtureRequest, channel_server: Served, conda_channel: Path, home: Path) -> str:
    """The channel as a spec names it: by URL, by file URL, or as conda-forge with a mirror in site.toml."""
    if request.param == "http":
        return channel_server.url
    if request.param == "file":
        return conda_channel.as_uri()
    site = home / ".config" / "tykky" / "site.toml"
    site.parent.mkdir(parents=True)
    site.write_text(f'[mirrors]\n"https://conda.anaconda.org/conda-forge" = "{channel_server.url}"\n')
    return "conda-forge"


def spec(channel: str, more: str = "") -> str:
    return f"""
[environment]
name = "conda-demo"

[conda]
channels = ["{channel}"]
[conda.dependencies]
python = "{MINOR}.*"
hello = "*"
greeter = "*"
jinja2 = "*"
clobber-a = "*"
clobber-b = "*"
odd-names = "*"
{more}"""


def test_from_a_channel_to_launchers(desk: Desk, channel: str) -> None:
    env = desk.write(spec(channel)) and desk.environment()
    python = env / "bin" / "python"
    code = "import sys, json, jinja2; print(json.dumps([sys.executable, sys.prefix, jinja2.__version__]))"
    executable, prefix, _ = json.loads(run([python, "-c", code]))
    assert (executable, prefix) == (str(python), str(env))
    assert run([env / "bin" / "hello"]).startswith("hello 1.1")
    assert "greeter" in run([env / "bin" / "greet"])
    lock = (desk.directory / "tykky.lock").read_text()
    assert "127.0.0.1" not in lock or channel.startswith("http")


def test_activation_is_applied_without_conda(desk: Desk, conda_channel: Path) -> None:
    env = desk.write(spec(conda_channel.as_uri())) and desk.environment()
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    variables = json.loads(run([env / "bin" / "python", "-c", code]))
    assert variables["CONDA_PREFIX"] == "/tykky/conda-demo"
    assert variables["CONDA_DEFAULT_ENV"] == "conda-demo"
    activated = {name: value for name, value in variables.items() if "HELLO" in name}
    assert activated, "hello's activate.d script sets a variable"


def test_the_image_holds_no_trace_of_this_host(desk: Desk, conda_channel: Path, home: Path) -> None:
    env = desk.write(spec(conda_channel.as_uri())) and desk.environment()
    code = """
import json, os, sys, pathlib
found = []
for path in pathlib.Path(sys.prefix).rglob("*"):
    if path.is_file() and not path.is_symlink():
        data = path.read_bytes()
        for needle in sys.argv[1:]:
            if needle.encode() in data:
                found.append((str(path), needle))
print(json.dumps(found))
"""
    needles = [str(home), "/tykky-", str(desk.directory)]
    assert json.loads(run([env / "bin" / "python", "-c", code, *needles])) == []


def test_conda_provides_what_pypi_wants_and_it_is_installed_once(
    desk: Desk, conda_channel: Path, wheelhouse: Path
) -> None:
    more = f"""
[pypi]
dependencies = ["beta", "jinja2>=3"]
find-links = ["{wheelhouse}"]
index-url = "file://{wheelhouse}"
"""
    env = desk.write(spec(conda_channel.as_uri(), more)) and desk.environment()
    assert [layer["kind"] for layer in record(env)["layers"]] == ["conda", "pypi"]  # type: ignore[attr-defined]
    info = json.loads(desk.tykky("info", env, "--json").out)
    kinds = {package["name"]: package["kind"] for package in info["packages"]}
    assert kinds["jinja2"] == "conda"
    assert kinds["beta"] == kinds["alpha"] == "pypi"
    code = "import json, importlib.metadata as m; print(json.dumps(sorted(d.name for d in m.distributions())))"
    names = json.loads(run([env / "bin" / "python", "-c", code]))
    assert len(names) == len(set(names))


def test_names_with_odd_characters_are_bytes(desk: Desk, conda_channel: Path) -> None:
    env = desk.write(spec(conda_channel.as_uri())) and desk.environment()
    odd = [name for name in record(env)["programs"] if not str(name).replace("-", "").replace(".", "").isalnum()]  # type: ignore[attr-defined]
    assert odd
    for name in odd:
        run([env / "bin" / str(name)], cwd=desk.directory)
    assert sorted(p.name for p in desk.directory.iterdir()) == ["env", "tykky.lock", "tykky.toml"]
