"""The channel itself: it is what it claims to be."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import zstandard

from tests.channel import Channel, Served
from tests.channel.distributions import from_wheel, noarch_package
from tests.channel.python import interpreter, python_package
from tests.channel.standard import hello
from tests.wheelmaker import make_wheel

DEBIAN = Path("/usr/bin/python3")


def test_the_index_tells_the_truth(conda_channel: Path) -> None:
    for subdir in ("linux-64", "linux-aarch64", "noarch"):
        data = (conda_channel / subdir / "repodata.json").read_bytes()
        assert (
            zstandard.ZstdDecompressor().decompress((conda_channel / subdir / "repodata.json.zst").read_bytes()) == data
        )
        index = json.loads(data)
        records = index["packages"] | index["packages.conda"]
        assert records.keys() == {p.name for p in (conda_channel / subdir).iterdir() if "repodata" not in p.name}
        for name, record in records.items():
            archive = (conda_channel / subdir / name).read_bytes()
            assert record["size"] == len(archive)
            assert record["sha256"] == hashlib.sha256(archive).hexdigest()
            assert record["md5"] == hashlib.md5(archive).hexdigest()
            assert record["subdir"] == subdir


def test_the_same_package_has_the_same_bytes() -> None:
    for version in ("1.0", "1.1"):
        assert hello(version).archive() == hello(version).archive()


def test_it_is_written_from_the_command_line(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.channel", tmp_path / "channel"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{(tmp_path / 'channel').as_uri()}\n"
    assert (tmp_path / "channel/noarch/repodata.json").exists()


@pytest.mark.skipif(not DEBIAN.exists(), reason="the system has no Python")
@pytest.mark.skipif(interpreter().executable == DEBIAN.resolve(), reason="the tests run in the system's Python already")
def test_the_system_s_python_can_be_repacked_too(tmp_path: Path) -> None:
    source = interpreter(os.fspath(DEBIAN))
    for path, item in python_package(source).files.items():
        place = tmp_path / "prefix" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if hasattr(item, "target"):
            place.symlink_to(item.target)
        else:
            place.write_bytes(item.data)
            place.chmod(item.mode)
    ask = "import sys, sysconfig, site, ssl; print(sys.prefix, sysconfig.get_path('purelib'), *site.getsitepackages())"
    answer = subprocess.run(
        [tmp_path / "prefix/bin/python", "-I", "-c", ask], capture_output=True, text=True, check=True
    ).stdout
    packages = tmp_path / f"prefix/lib/python{source.minor}/site-packages"
    assert answer == f"{tmp_path / 'prefix'} {packages} {packages}\n"


def test_a_wheel_becomes_a_package(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        "thing",
        "1.0",
        files={"thing.py": "def main(): ...\n"},
        entry_points={"console_scripts": {"thing": "thing:main"}},
    )
    package = noarch_package(from_wheel(wheel))
    assert (package.name, package.version, tuple(package.entry_points)) == ("thing", "1.0", ("thing = thing:main",))
    assert package.files["site-packages/thing.py"].data == b"def main(): ...\n"  # type: ignore[union-attr]


def status(url: str, headers: dict[str, str] | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {})) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_server_does_as_the_switches_say(channel_server: Served, conda_channel: Path) -> None:
    url = f"{channel_server.url}/noarch/repodata.json"
    assert status(url) == 200
    assert status(url, {"Range": "bytes=-10"}) == 206
    assert status(f"{channel_server.url}/../../etc/passwd") == 404
    channel_server.switches.only, channel_server.switches.status = "*/linux-64/*", 500
    assert status(url) == 200
    assert status(url.replace("noarch", "linux-64")) == 500
    channel_server.switches.bearer = "token"
    assert status(url) == 401
    assert status(url, {"Authorization": "Bearer token"}) == 200
    assert channel_server.requests[0] == "GET /noarch/repodata.json"


def test_packages_can_be_dropped_from_the_index(tmp_path: Path) -> None:
    channel = Channel(tmp_path).add(hello("1.0"), hello("1.1")).index()
    channel.drop("linux-64", ["hello-1.1-h1234567_0.conda"]).index()
    assert json.loads((tmp_path / "linux-64/repodata.json").read_text())["packages.conda"] == {}
    assert (tmp_path / "linux-64/hello-1.1-h1234567_0.conda").exists()
