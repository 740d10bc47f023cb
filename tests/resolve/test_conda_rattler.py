"""The rattler resolver: what goes wrong on the way to a channel, and what must not reach an answer."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.channel import Channel, CondaPackage, Served, serve
from tests.resolve.conda_asking import CANONICAL, Asking, chosen
from tykky.errors import FetchError, ResolveError, ToolError
from tykky.resolve.conda.rattler import cutoff

NETWORK_HINT = (
    "check the network and HTTPS_PROXY; where there is no network, use --offline with a warm cache "
    "or set a mirror in site.toml"
)


@pytest.fixture
def ask(tmp_path: Path, channel_server: Served) -> Asking:
    return Asking("rattler", tmp_path / "cache", channel_server.url)


@pytest.fixture
def shown(channel_server: Served) -> str:
    return f"{CANONICAL} (mirror {channel_server.url})"


def failure(ask: Asking, *requirements: str, **more: object) -> FetchError:
    with pytest.raises(FetchError) as caught:
        ask(*requirements, **more)
    return caught.value


def test_it_says_what_it_is(ask: Asking) -> None:
    assert re.fullmatch(r"rattler \d+\.\d+\.\d+", ask.resolver.identify())


# Servers


@pytest.mark.parametrize(
    ("status", "words", "hint"),
    [
        (404, "HTTP 404 Not Found", "check its name; a server may also answer 404 where credentials are missing"),
        (500, "HTTP 500 Internal Server Error", "try again later, or set a mirror in site.toml"),
        (
            403,
            "HTTP 403 Forbidden",
            "credentials come from rattler's file: RATTLER_AUTH_FILE or ~/.rattler/credentials.json",
        ),
    ],
)
def test_a_status_is_told(ask: Asking, channel_server: Served, shown: str, status: int, words: str, hint: str) -> None:
    channel_server.switches.status = status
    error = failure(ask, "hello")
    assert str(error) == f"channel {shown} cannot be read: {words}"
    assert error.hint == hint
    assert channel_server.url in error.output


def test_a_server_error_that_passes_is_no_error(ask: Asking, channel_server: Served) -> None:
    channel_server.switches.status = 503
    channel_server.switches.times = 2
    assert chosen(ask("hello")) == {"hello": "1.1 h1234567_0"}


def test_a_server_that_never_answers_is_given_up(ask: Asking, channel_server: Served, shown: str) -> None:
    channel_server.switches.hang = True
    error = failure(ask, "hello")
    assert (str(error), error.hint) == (f"channel {shown} cannot be read: no answer in time", NETWORK_HINT)


@pytest.mark.parametrize("switch", ["truncate", "corrupt"])
def test_a_damaged_index_is_told(ask: Asking, channel_server: Served, shown: str, switch: str) -> None:
    channel_server.switches.only = "*/repodata.json*"
    setattr(channel_server.switches, switch, True)
    error = failure(ask, "hello")
    assert str(error) == f"channel {shown} cannot be read: the answer was cut short or damaged"


def test_a_refused_connection_is_told(ask: Asking, unused_port: int) -> None:
    channel = f"http://127.0.0.1:{unused_port}/c"
    error = failure(ask, "hello", channels=(channel,))
    assert (str(error), error.hint) == (f"channel {channel} cannot be read: connection refused", NETWORK_HINT)


def test_an_unknown_host_is_told(ask: Asking) -> None:
    error = failure(ask, "hello", channels=("http://nowhere.invalid/c",))
    assert str(error) == "channel http://nowhere.invalid/c cannot be read: its host name is not known"


def test_a_proxy_that_is_not_there_is_told(ask: Asking, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    error = failure(ask, "hello", channels=("http://channel.invalid/c",))
    assert str(error) == (
        f"channel http://channel.invalid/c cannot be read through the proxy http://127.0.0.1:{unused_port}: "
        "connection refused"
    )
    assert error.hint == NETWORK_HINT


def test_the_channel_that_failed_is_named_among_several(ask: Asking, tmp_path: Path) -> None:
    gone = (tmp_path / "gone").as_uri()
    assert (
        str(failure(ask, "hello", channels=("conda-forge", gone))) == f"channel {gone} cannot be read: it is not there"
    )


# The cache


def test_a_cached_index_serves_offline(ask: Asking, channel_server: Served) -> None:
    online = ask("hello")
    channel_server.requests.clear()
    ask.offline = True
    assert ask("hello") == online
    assert not channel_server.requests


def test_offline_without_a_cache_is_told(ask: Asking, shown: str) -> None:
    ask.offline = True
    error = failure(ask, "hello")
    assert str(error) == f"channel {shown} cannot be read: it is not in the cache"
    assert error.hint == "run the same command once without --offline"


def test_a_changed_index_is_seen(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").add(CondaPackage("thing", "1.0")).index()
    with serve(channel.root) as server:
        ask = Asking("rattler", tmp_path / "cache", server.url)
        assert chosen(ask("thing")) == {"thing": "1.0 0"}
        channel.add(CondaPackage("thing", "2.0")).index()
        assert chosen(ask("thing")) == {"thing": "2.0 0"}


def test_a_package_taken_back_is_not_kept(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel").add(CondaPackage("thing", "1.0"), CondaPackage("thing", "2.0")).index()
    ask = Asking("rattler", tmp_path / "cache", channel.url)
    old = ask("thing")
    channel.drop("linux-64", ["thing-2.0-0.conda"]).index()
    assert chosen(Asking("rattler", tmp_path / "other", channel.url)("thing", preferred=old))["thing"] == "1.0 0"


# Credentials


@pytest.fixture
def credentials(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = home / "credentials.json"
    monkeypatch.setenv("RATTLER_AUTH_FILE", str(file))
    return file


def test_without_credentials_the_answer_is_no(ask: Asking, channel_server: Served, shown: str) -> None:
    channel_server.switches.basic = ("user", "secret")
    error = failure(ask, "hello")
    assert str(error) == f"channel {shown} cannot be read: HTTP 401 Unauthorized"
    assert error.hint == "credentials come from rattler's file: RATTLER_AUTH_FILE or ~/.rattler/credentials.json"


@pytest.mark.parametrize(
    "entry",
    [{"BasicHTTP": {"username": "user", "password": "secret"}}, {"BearerToken": "secret"}],
    ids=["basic", "bearer"],
)
def test_credentials_come_from_rattlers_file(
    ask: Asking, channel_server: Served, credentials: Path, entry: dict[str, object]
) -> None:
    if "BearerToken" in entry:
        channel_server.switches.bearer = "secret"
    else:
        channel_server.switches.basic = ("user", "secret")
    credentials.write_text(json.dumps({"127.0.0.1": entry}))
    packages = ask("hello")
    assert chosen(packages) == {"hello": "1.1 h1234567_0"}
    assert "secret" not in repr(packages)


def test_credentials_in_a_url_are_used_and_forgotten(tmp_path: Path, channel_server: Served) -> None:
    channel_server.switches.basic = ("user", "secret")
    ask = Asking("rattler", tmp_path / "cache", channel_server.url)
    with_secret = channel_server.url.replace("://", "://user:secret@")
    (hello,) = ask("hello", channels=(with_secret,))
    assert (hello.url, hello.channel) == (
        f"{channel_server.url}/linux-64/hello-1.1-h1234567_0.conda",
        channel_server.url,
    )
    channel_server.switches.status = 500
    error = failure(ask, "hello", channels=(with_secret,))
    assert "secret" not in f"{error}{error.hint}{error.output}"


def test_a_broken_file_of_credentials_is_told(ask: Asking, credentials: Path) -> None:
    credentials.write_text("{broken")
    with pytest.raises(ToolError) as caught:
        ask("hello")
    assert str(caught.value) == "the file with credentials for conda channels cannot be read"
    assert caught.value.hint == "it is the file RATTLER_AUTH_FILE names, or ~/.rattler/credentials.json"


# What must not reach an answer (invariant 11)


def test_the_users_settings_change_nothing(
    ask: Asking, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = ask("gpu", "hello", "newglibc", virtual={"__glibc": "2.40"})
    (home / ".condarc").write_text("channels: [nonsense]\nchannel_priority: disabled\noffline: true\n")
    for place in (".pixi/config.toml", ".config/pixi/config.toml", ".config/rattler/config.toml"):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).write_text(f'[mirrors]\n"{ask.mirror}" = ["http://nowhere.invalid"]\n')
    for name in ("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC"):
        monkeypatch.setenv(name, "99")
    monkeypatch.setenv("CONDA_CHANNEL_PRIORITY", "disabled")
    monkeypatch.setenv("RATTLER_CACHE_DIR", os.fspath(tmp_path / "elsewhere"))
    ask.cache = tmp_path / "fresh"
    assert ask("gpu", "hello", "newglibc", virtual={"__glibc": "2.40"}) == before
    assert not (tmp_path / "elsewhere").exists()


# exclude-newer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-14", "1.0 0"),
        ("2024-01-15", "2.0 0"),
        ("2024-01-14T23:59:59Z", "1.0 0"),
        ("2024-01-15T00:00:00Z", "2.0 0"),
        ("2024-01-15T01:00:00+02:00", "1.0 0"),
        ("2030-01-01", "3.0 0"),
    ],
)
def test_later_packages_are_passed_over(ask: Asking, text: str, expected: str) -> None:
    assert chosen(ask("clock", exclude_newer=text))["clock"] == expected


def test_a_limit_holds_for_what_was_locked_before(ask: Asking) -> None:
    old = ask("clock 3.0")
    assert chosen(ask("clock", preferred=old))["clock"] == "3.0 0"
    assert chosen(ask("clock", preferred=old, exclude_newer="2024-06-01"))["clock"] == "2.0 0"


def test_without_a_limit_a_package_without_a_time_counts(ask: Asking) -> None:
    assert chosen(ask("clock"))["clock"] == "4.0 0"


def test_when_all_is_too_new_the_explanation_says_so(ask: Asking) -> None:
    with pytest.raises(ResolveError) as caught:
        ask("clock", exclude_newer="2020-01-01")
    assert str(caught.value) == "no set of conda packages satisfies tykky.toml for linux-64"
    assert "the package is uploaded after the cutoff date of 2020-01-01" in (caught.value.output or "")


def test_a_date_is_its_last_moment_in_utc() -> None:
    assert cutoff("2026-11-01") == datetime(2026, 11, 1, 23, 59, 59, 999000, tzinfo=UTC)
    assert cutoff("2026-11-01T12:00:00+02:00") == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert cutoff("2026-11-01T12:00:00") == datetime(2026, 11, 1, 12, tzinfo=UTC)


# Explanations


def test_a_conflict_whole(ask: Asking) -> None:
    with pytest.raises(ResolveError) as caught:
        ask("needs-old", "needs-new")
    assert caught.value.hint == "relax or remove one of needs-new, needs-old"


def test_a_version_there_is_not(ask: Asking) -> None:
    with pytest.raises(ResolveError) as caught:
        ask("hello >=3")
    assert (str(caught.value), caught.value.hint, caught.value.output) == (
        "no set of conda packages satisfies tykky.toml for linux-64",
        "the channels have hello 1.0, 1.1",
        "No candidates were found for hello >=3.",
    )


def test_a_missing_virtual_package_is_explained(ask: Asking) -> None:
    with pytest.raises(ResolveError) as caught:
        ask("newglibc")
    assert caught.value.hint == (
        "if every node has __glibc >=2.39,<3.0.a0, say so under [conda.virtual-packages]; the host is not asked"
    )


def test_several_unknown_names(ask: Asking) -> None:
    with pytest.raises(ResolveError) as caught:
        ask("helo", "qqqq", "python")
    assert (str(caught.value), caught.value.hint) == (
        "helo, qqqq are in no channel for linux-64",
        "did you mean helo -> hello?",
    )


def test_a_channel_named_only_by_a_requirement_is_asked_too(ask: Asking, tmp_path: Path) -> None:
    second = tmp_path / "second"
    Channel(second).add(CondaPackage("only-here", "1.0", depends=["hello"])).index()
    packages = ask(f"{second.as_uri()}::only-here")
    assert chosen(packages) == {"hello": "1.1 h1234567_0", "only-here": "1.0 0"}
