"""Which PyPI distributions conda packages hold: never a guess from the package's name."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.channel import Channel, CondaPackage, File, Served, serve, text
from tests.channel.distributions import arch_package, made_up, noarch_package
from tests.channel.python import interpreter
from tests.resolve.conda_asking import CANONICAL, Asking
from tykky.access import Access
from tykky.errors import FetchError
from tykky.layers.conda_packages import fetch_and_check, link
from tykky.lock.model import Package
from tykky.progress import Silent
from tykky.resolve.conda.provides import distributions, with_provides


def provided(packages: tuple[Package, ...], access: Access) -> dict[str, tuple[str, ...]]:
    answered = with_provides(packages, access, Silent())
    assert [p.name for p in answered] == [p.name for p in packages]
    return {p.name: p.provides for p in answered}


@pytest.fixture
def ask(tmp_path: Path, channel_server: Served) -> Asking:
    return Asking("rattler", tmp_path / "cache", channel_server.url)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Channel, Asking, Served]]:
    channel = Channel(tmp_path / "own").index()
    with serve(channel.root) as server:
        yield channel, Asking("rattler", tmp_path / "cache", server.url), server


EXPECTED = {
    "greeter": ("greeter==1.0",),  # a .tar.bz2
    "greeter-extra": ("greeter-extra-dist==3.2.1",),  # by its purl
    "hello": (),
    "jinja2": (f"jinja2=={metadata.version('jinja2')}",),
    "markupsafe": (f"markupsafe=={metadata.version('markupsafe')}",),  # built for one Python
    "pip": (f"pip=={metadata.version('pip')}",),
    "python": (),
    "python_abi": (),
}
QUESTION = ("greeter 1.0", "greeter-extra", "hello", "jinja2", "pip", "python")


@pytest.mark.parametrize("ranges", [True, False])
def test_packages_of_a_server_are_looked_into(ask: Asking, channel_server: Served, ranges: bool) -> None:
    channel_server.switches.ranges = ranges
    assert provided(ask(*QUESTION), ask.access) == EXPECTED


def test_packages_of_a_channel_of_files_are_looked_into(tmp_path: Path, conda_channel: Path) -> None:
    ask = Asking("rattler", tmp_path / "cache", conda_channel.as_uri())
    assert provided(ask(*QUESTION), ask.access) == EXPECTED


def test_an_answer_is_kept(ask: Asking, channel_server: Served) -> None:
    packages = ask(*QUESTION)
    first = provided(packages, ask.access)
    channel_server.requests.clear()
    offline = Access(ask.cache, offline=True, mirrors=ask.access.mirrors)
    assert provided(packages, offline) == first
    assert not channel_server.requests


def test_what_a_build_extracted_need_not_be_asked_for(ask: Asking, channel_server: Served, tmp_path: Path) -> None:
    packages = ask(*QUESTION)
    fetch_and_check(packages, ask.access, Silent())
    link(packages, tmp_path / "tree", "/tykky/x", ask.access, "linux-64", Silent())
    channel_server.requests.clear()
    assert provided(packages, ask.access) == EXPECTED
    assert not channel_server.requests


def test_little_is_read_of_a_large_package(own: tuple[Channel, Asking, Served]) -> None:
    channel, ask, server = own
    noise = random.Random(1).randbytes(2_000_000)
    big = made_up("big", "1.0", {"big/__init__.py": ""})
    big = type(big)(big.name, big.version, {**big.files, "big/weights.bin": File(noise)}, ())
    channel.add(noarch_package(big), CondaPackage("python", "3.11.0", "0_cpython")).index()
    packages = ask("big")
    assert next(p.size or 0 for p in packages if p.name == "big") > 1_000_000
    server.sent = 0
    assert provided(packages, ask.access)["big"] == ("big==1.0",)
    assert server.sent < 200_000


def test_the_name_of_the_package_does_not_count(own: tuple[Channel, Asking, Served]) -> None:
    channel, ask, _ = own
    torch = made_up("torch", "2.6.0", {"torch/__init__.py": ""})
    bundle = made_up("One_Thing", "1.0.post1", {"one.py": ""})
    other = made_up("other.thing", "2!3.0rc1", {"other.py": ""})
    bundle = type(bundle)(bundle.name, bundle.version, {**bundle.files, **other.files}, ())
    vendored = {
        "site-packages/mine/__init__.py": text(""),
        "site-packages/mine/_vendor/requests-2.0.dist-info/METADATA": text("Name: requests\nVersion: 2.0\n"),
    }
    channel.add(
        CondaPackage("python", "3.11.0", "0_cpython"),
        arch_package(torch, interpreter().minor, name="pytorch"),
        CondaPackage("python_abi", interpreter().minor, f"8_cp{interpreter().minor.replace('.', '')}"),
        noarch_package(bundle, name="bundle"),
        CondaPackage("mine", "1.0", subdir="noarch", noarch="python", depends=["python"], files=vendored),
    )
    channel.add(CondaPackage("python", f"{interpreter().minor}.99", "0_cpython")).index()
    found = provided(ask("pytorch", "bundle", "mine"), ask.access)
    assert found["pytorch"] == ("torch==2.6.0",)
    assert found["bundle"] == ("one-thing==1.0.post1", "other-thing==2!3.0rc1")
    assert found["mine"] == ()


def test_old_metadata_is_read_where_the_directory_does_not_say(own: tuple[Channel, Asking, Served]) -> None:
    channel, ask, _ = own
    headers = text("Metadata-Version: 1.0\nName: Old_Thing\nVersion: 0.9\n\nName: not this\n")
    old = {"site-packages/Old_Thing.egg-info/PKG-INFO": headers, "site-packages/old.py": text("")}
    flat = {"site-packages/flat-1.2-py3.11.egg-info": text("Name: flat\nVersion: 1.2\n")}
    channel.add(
        CondaPackage("python", "3.11.0", "0_cpython"),
        CondaPackage("old", "1", subdir="noarch", noarch="python", depends=["python"], files=old),
        CondaPackage("flat", "1", subdir="noarch", noarch="python", depends=["python"], files=flat, format="tar.bz2"),
    ).index()
    found = provided(ask("old", "flat"), ask.access)
    assert (found["old"], found["flat"]) == (("old-thing==0.9",), ("flat==1.2",))


def test_a_purl_without_a_version_is_not_enough(own: tuple[Channel, Asking, Served]) -> None:
    channel, ask, _ = own
    thing = made_up("thing", "1.0.1", {"thing.py": ""})
    channel.add(
        CondaPackage("python", "3.11.0", "0_cpython"),
        noarch_package(thing, name="conda-thing", purls=["pkg:pypi/thing"]),
    ).index()
    assert provided(ask("conda-thing"), ask.access)["conda-thing"] == ("thing==1.0.1",)


def test_a_package_that_is_gone_is_told(ask: Asking, channel_server: Served) -> None:
    packages = ask("jinja2")
    channel_server.switches.only, channel_server.switches.status = "*/jinja2-*", 404
    with pytest.raises(FetchError) as caught:
        with_provides(packages, ask.access, Silent())
    url = f"{CANONICAL}/noarch/jinja2-{metadata.version('jinja2')}-pyhd8ed1ab_0.conda"
    assert str(caught.value) == f"{url} cannot be read: HTTP 404 Not Found"


def test_offline_and_never_looked_into_is_told(ask: Asking) -> None:
    packages = ask("greeter")
    with pytest.raises(FetchError) as caught:
        with_provides(packages, Access(ask.cache, offline=True, mirrors=ask.access.mirrors), Silent())
    assert str(caught.value) == "greeter-2.0-pyhd8ed1ab_1.conda cannot be read: it is not in the cache"


@pytest.mark.parametrize(
    ("path", "found", "unclear"),
    [
        ("lib/python3.12/site-packages/numpy-2.1.3.dist-info/METADATA", {"numpy==2.1.3"}, False),
        ("lib/python3.13t/site-packages/numpy-2.1.3.dist-info/METADATA", {"numpy==2.1.3"}, False),
        ("site-packages/ruamel.yaml-0.18.6.dist-info/METADATA", {"ruamel-yaml==0.18.6"}, False),
        ("site-packages/a_b-1.0+local.1.dist-info/METADATA", {"a-b==1.0+local.1"}, False),
        ("site-packages/x-1.0-py3.11-linux-x86_64.egg-info/PKG-INFO", {"x==1.0"}, False),
        ("site-packages/x.egg-info/PKG-INFO", set(), True),
        ("site-packages/x-1.0.dist-info/RECORD", set(), False),
        ("site-packages/pkg/_vendor/x-1.0.dist-info/METADATA", set(), False),
        ("share/site-packages/x-1.0.dist-info/METADATA", set(), False),
    ],
)
def test_what_a_path_says(path: str, found: set[str], unclear: bool) -> None:
    assert distributions([path]) == (found, [path] if unclear else [])
