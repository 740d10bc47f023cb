"""Networks that fail: which URL, what was tried, what to do; the lock and P are as they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.channel import Served
from tests.end_to_end.conftest import Desk, run
from tests.end_to_end.specs import conda, error_of, pypi
from tests.end_to_end.traces import names, state
from tests.resolve.pypi_index import Fault, Index
from tests.sample import sampled
from tests.wheelmaker import make_wheel

NETWORK = (
    "check the network and the proxy variables (HTTPS_PROXY, NO_PROXY); without a network use --offline, "
    "or name a mirror in site.toml"
)
CONDA_NETWORK = (
    "check the network and HTTPS_PROXY; where there is no network, use --offline with a warm cache "
    "or set a mirror in site.toml"
)
UNWELL = "the server is unwell: try again later, or name a mirror in site.toml"
TIME = "try again, or allow more time: UV_HTTP_TIMEOUT=120 (seconds)"
CREDENTIALS = (
    "put them into ~/.netrc ('machine HOST login USER password TOKEN'), or write the index URL as "
    "'https://${INDEX_USER}:${INDEX_TOKEN}@host/…' and set both variables; the lock never holds them"
)
CONDA_CREDENTIALS = "credentials come from rattler's file: RATTLER_AUTH_FILE or ~/.rattler/credentials.json"
NO_SUCH_CHANNEL = "check its name; a server may also answer 404 where credentials are missing"
# Switches of the channel's server, what is said of them, and what to do.
CHANNEL_FAILS = (
    ("status", 500, "HTTP 500 Internal Server Error", "try again later, or set a mirror in site.toml"),
    (
        "truncate",
        True,
        "the answer was cut short or damaged",
        "try again; if it stays so, the server or a proxy on the way is broken",
    ),
    ("basic", ("me", "right"), "HTTP 401 Unauthorized", CONDA_CREDENTIALS),
)
UNCACHED = "run the same command once without --offline; after that the cache answers"


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second, and one more try."""
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")


@pytest.fixture
def index(pypi_index: Index, tmp_path: Path) -> Index:
    """An index with one wheel."""
    pypi_index.add(make_wheel(tmp_path / "made", "alpha", "1.0"))
    return pypi_index


def refused(desk: Desk, *words: str, said: str, status: int = 7, **environ: str) -> None:
    """The command must end with this error, and the desk be as before."""
    before = state(desk.directory)
    failed = desk.tykky(*words, environ=environ, status=status)
    assert error_of(failed) == said
    assert state(desk.directory) == before


# Locking


@pytest.mark.parametrize(
    ("fault", "why", "hint"),
    sampled(
        [
            (500, "answered 500 Internal Server Error (2 tries)", UNWELL),
            ("hang", "cannot be reached: it did not answer in time (2 tries)", TIME),
            ("drop", "cannot be reached: the connection was closed (2 tries)", NETWORK),
        ],
        every=2,
    ),
)
def test_the_index_fails(desk: Desk, index: Index, fault: Fault, why: str, hint: str) -> None:
    desk.write(pypi(index.url)).tykky("lock")
    index.fault("/simple/beta/", fault)
    desk.write(pypi(index.url, "alpha", "beta"))
    refused(desk, "lock", said=f"error: {index.url}/beta/ {why}\n\nhint: {hint}")


def test_the_index_has_no_such_project(desk: Desk, index: Index) -> None:
    desk.write(pypi(index.url)).tykky("lock")
    desk.write(pypi(index.url, "alpha", "beta"))
    hint = "check the spelling, or name the index that has it under index-url, extra-index-url or find-links"
    refused(desk, "lock", said=f"error: beta is not on {index.url}\n\nhint: {hint}", status=6)


def test_nobody_listens_at_the_index(desk: Desk, unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}/simple"
    said = f"error: {url}/alpha/ cannot be reached: the connection was refused (2 tries)\n\nhint: {NETWORK}"
    refused(desk.write(pypi(url)), "lock", said=said)


def test_the_proxy_is_gone(desk: Desk, unused_port: int) -> None:
    """Its password is not shown."""
    proxy = f"http://me:secret@127.0.0.1:{unused_port}"
    said = (
        "error: http://pypi.example.org/simple/alpha/ cannot be reached through the proxy "
        f"http://***@127.0.0.1:{unused_port}: the connection was refused (2 tries)\n\nhint: {NETWORK}"
    )
    refused(desk.write(pypi("http://pypi.example.org/simple")), "lock", said=said, http_proxy=proxy)


def test_the_index_wants_other_credentials(desk: Desk, index: Index) -> None:
    index.credentials = ("me", "right")
    said = f"error: {index.url} answered 401 Unauthorized: it wants other credentials\n\nhint: {CREDENTIALS}"
    refused(desk.write(pypi(index.url)), "lock", said=said)
    wrong = index.url.replace("//", "//me:${INDEX_TOKEN}@")
    refused(desk.write(pypi(wrong)), "lock", said=said, INDEX_TOKEN="wrong")
    desk.tykky("lock", environ={"INDEX_TOKEN": "right"})
    assert "right" not in (desk.directory / "tykky.lock").read_text()


@pytest.mark.parametrize(
    ("switch", "value", "why", "hint"),
    sampled(
        [
            (
                "status",
                404,
                "HTTP 404 Not Found\n\n    could not find subdir 'noarch' in channel '{url}/'\n"
                "    Caused by: HTTP status client error (404 Not Found) for url ({url}/noarch/repodata.json)",
                NO_SUCH_CHANNEL,
            ),
            *CHANNEL_FAILS,
        ],
        every=2,
    ),
)
def test_the_channel_fails(desk: Desk, channel_server: Served, switch: str, value: object, why: str, hint: str) -> None:
    url = channel_server.url
    desk.write(conda(url)).tykky("lock")
    setattr(channel_server.switches, switch, value)
    desk.write(conda(url, "clobber-a", "clobber-b"))
    before = state(desk.directory)
    # Another cache: an index that was read is good for a while.
    failed = desk.tykky("lock", environ={"TYKKY_CACHE": str(desk.directory.parent / "empty")}, status=7)
    said = error_of(failed)
    assert said.startswith(f"error: channel {url} cannot be read: {why.format(url=url)}\n\n")
    assert said.endswith(f"\n\nhint: {hint}")
    assert state(desk.directory) == before


def test_nobody_listens_at_the_channel(desk: Desk, unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    failed = desk.write(conda(url)).tykky("lock", status=7)
    assert error_of(failed).startswith(f"error: channel {url} cannot be read: connection refused\n\n    error sending")
    assert error_of(failed).endswith(f"\n\nhint: {CONDA_NETWORK}")
    assert names(desk.directory) == ["tykky.toml"]


def test_the_proxy_of_the_channel_is_gone(desk: Desk, unused_port: int) -> None:
    proxy = f"http://me:secret@127.0.0.1:{unused_port}"
    desk.write(conda("http://conda.example.org/channel"))
    failed = desk.tykky("lock", environ={"http_proxy": proxy}, status=7)
    assert error_of(failed).startswith(
        "error: channel http://conda.example.org/channel cannot be read through the proxy "
        f"http://***@127.0.0.1:{unused_port}: connection refused\n\n"
    )
    assert error_of(failed).endswith(f"\n\nhint: {CONDA_NETWORK}")
    assert "secret" not in failed.err


# Building


@pytest.mark.parametrize(
    ("fault", "why", "hint"),
    [
        (404, "answered 404 Not Found", "check the URL"),
        (500, "answered 500 Internal Server Error (2 tries)", UNWELL),
        ("hang", "cannot be reached: it did not answer in time (2 tries)", TIME),
        ("drop", "cannot be reached: the connection was closed (2 tries)", NETWORK),
        ("credentials", "answered 401 Unauthorized", CREDENTIALS),
    ],
)
def test_a_wheel_cannot_be_had(desk: Desk, index: Index, fault: Fault, why: str, hint: str) -> None:
    desk.write(pypi(index.url)).tykky("lock")
    if fault == "credentials":
        index.credentials = ("me", "right")
    else:
        index.fault("/files", fault)
    said = f"error: {index.origin}/files/alpha-1.0-py3-none-any.whl {why}\n\nhint: {hint}"
    refused(desk, "build", "--prefix", "env", said=said)
    # All is well again, without a trace of what failed.
    index.faults.clear()
    index.credentials = None
    desk.tykky("build", "--prefix", "env")


@pytest.mark.parametrize(
    ("switch", "value", "why", "hint"),
    sampled(
        [
            (
                "status",
                404,
                "HTTP 404 Not Found",
                NO_SUCH_CHANNEL,
            ),
            *CHANNEL_FAILS,
        ],
        every=2,
    ),
)
def test_a_conda_package_cannot_be_had(
    desk: Desk, channel_server: Served, switch: str, value: object, why: str, hint: str
) -> None:
    desk.write(conda(channel_server.url)).tykky("lock")
    setattr(channel_server.switches, switch, value)
    before = state(desk.directory)
    failed = desk.tykky("build", "--prefix", "env", status=7)
    said = error_of(failed)
    url = f"{channel_server.url}/noarch/clobber-a-1.0-0.conda"
    assert said.startswith(f"error: {url} cannot be read: {why}\n\n")
    assert said.endswith(f"\n\nhint: {hint}")
    assert state(desk.directory) == before
    setattr(channel_server.switches, switch, False if switch == "truncate" else None)
    desk.tykky("build", "--prefix", "env")


# Offline


def test_offline_with_cold_caches(desk: Desk, index: Index, channel_server: Served) -> None:
    desk.write(pypi(index.url))
    said = f"error: alpha is not in the cache, and --offline allows no network\n\nhint: {UNCACHED}"
    refused(desk, "lock", "--offline", said=said)
    desk.tykky("lock")
    wheel = f"{index.origin}/files/alpha-1.0-py3-none-any.whl"
    said = f"error: {wheel} is not in the cache, and --offline allows no network\n\nhint: {UNCACHED}"
    refused(desk, "build", "--offline", "--prefix", "env", said=said)

    desk.write(conda(channel_server.url))
    (desk.directory / "tykky.lock").unlink()
    once = "run the same command once without --offline"
    said = (
        f"error: channel {channel_server.url} cannot be read: it is not in the cache\n\n"
        f"    no usable repodata cache for {channel_server.url}/noarch/\n\nhint: {once}"
    )
    failed = desk.tykky("lock", "--offline", status=7)
    assert error_of(failed).replace("/linux-64/", "/noarch/") == said  # whichever is asked first
    desk.tykky("lock")
    said = f"error: clobber-a-1.0-0.conda cannot be read: it is not in the cache\n\nhint: {once}"
    refused(desk, "build", "--offline", "--prefix", "env", said=said)


@pytest.mark.parametrize("kind", ["pypi", "conda"])
def test_offline_with_warm_caches(
    desk: Desk, index: Index, channel_server: Served, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, make, program = {
        "pypi": (index.url, pypi, "python"),
        "conda": (channel_server.url, conda, "hello"),
    }[kind]
    spec: Callable[..., str] = make
    wanted = ("alpha",) if kind == "pypi" else ("hello",)
    desk.write(spec(url, *wanted)).environment("one")
    lock = (desk.directory / "tykky.lock").read_bytes()
    index.requests.clear()
    channel_server.requests.clear()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # would be asked for anything
    (desk.directory / "tykky.lock").unlink()
    desk.tykky("lock", "--offline")
    assert (desk.directory / "tykky.lock").read_bytes() == lock
    desk.tykky("build", "--offline", "--prefix", "two")
    assert (index.requests, channel_server.requests) == ([], [])
    arguments = ["-c", "import alpha"] if kind == "pypi" else []
    run([desk.directory / "two" / "bin" / program, *arguments], env=dict(os.environ))
