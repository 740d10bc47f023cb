"""What every conda resolver promises, asked of each of them against a real channel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.channel import Channel, CondaPackage, Served, standin
from tests.resolve.conda_asking import CANONICAL, Asking, chosen
from tykky.errors import FetchError, ResolveError
from tykky.lock.model import Package

KINDS = ["rattler", "conda-lock"]


@pytest.fixture(params=KINDS)
def ask(request: pytest.FixtureRequest, tmp_path: Path, conda_channel: Path) -> Asking:
    """Each resolver in turn. conda-lock drives a stand-in for conda: see `tests/channel/standin.py` what that shows."""
    program = standin.install(tmp_path / "bin") if request.param == "conda-lock" else None
    return Asking(request.param, tmp_path / "cache", conda_channel.as_uri(), program=program)


def failure(ask: Asking, kind: type[Exception], *requirements: str, **more: object) -> Exception:
    with pytest.raises(kind) as caught:
        ask(*requirements, **more)
    return caught.value


# What is locked


def test_a_package_is_locked_as_its_channel_describes_it(ask: Asking, conda_channel: Path) -> None:
    (hello,) = ask("hello")
    record = json.loads((conda_channel / "linux-64/repodata.json").read_text())["packages.conda"][
        "hello-1.1-h1234567_0.conda"
    ]
    assert hello == Package(
        name="hello",
        version="1.1",
        kind="conda",
        platform="linux-64",
        url=f"{CANONICAL}/linux-64/hello-1.1-h1234567_0.conda",
        sha256=record["sha256"],
        md5=record["md5"],
        size=record["size"],
        depends=("__glibc >=2.17",),
        build="h1234567_0",
        channel=CANONICAL,
        subdir="linux-64",
        license="MIT",
        timestamp=1_700_000_000_000,
    )


def test_answers_are_sorted_and_complete(ask: Asking) -> None:
    packages = ask("jinja2")
    assert [p.name for p in packages] == ["jinja2", "markupsafe", "python", "python_abi"]
    by_name = {p.name: p for p in packages}
    assert by_name["jinja2"].noarch == "python"
    assert by_name["jinja2"].subdir == "noarch"
    assert by_name["python"].constrains
    assert all(p.platform == "linux-64" for p in packages)


def test_the_same_question_has_the_same_answer(ask: Asking) -> None:
    assert ask("jinja2", "hello", "variant") == ask("variant", "jinja2", "hello")


def test_another_platform_is_locked_from_its_own_subdir(ask: Asking) -> None:
    packages = ask("jinja2", "hello", platform="linux-aarch64")
    by_name = {p.name: p for p in packages}
    assert by_name["hello"].url == f"{CANONICAL}/linux-aarch64/hello-1.1-h1234567_0.conda"
    assert by_name["python"].build == "hforeign_0_cpython"
    assert by_name["jinja2"].subdir == "noarch"
    assert {p.platform for p in packages} == {"linux-aarch64"}


# What is asked for


@pytest.mark.parametrize(
    ("hello", "variant"),
    [
        (("hello", "1.1 h1234567_0"), ("variant", "1.0 nompi_h0_1")),
        (("hello 1.0", "1.0 h1234567_0"), ("variant * mpi_*", "1.0 mpi_openmpi_h0_1")),
        (("hello <1.1", "1.0 h1234567_0"), ("variant 1.0 nompi_h0_0", "1.0 nompi_h0_0")),
        (("hello >=1.0,!=1.1", "1.0 h1234567_0"), ("variant <1.0", "0.9 nompi_h0_0")),
        (("hello 1.0|1.2", "1.0 h1234567_0"), ("conda-forge::variant 0.9.*", "0.9 nompi_h0_0")),
        ((f"{CANONICAL}::hello 1.0.*", "1.0 h1234567_0"), ('variant[build="mpi*"]', "1.0 mpi_openmpi_h0_1")),
    ],
    ids=lambda case: case[0],
)
def test_a_requirement_chooses_version_and_build(ask: Asking, hello: tuple[str, str], variant: tuple[str, str]) -> None:
    assert chosen(ask(hello[0], variant[0])) == {"hello": hello[1], "variant": variant[1]}


def test_the_newest_build_number_is_taken(ask: Asking) -> None:
    assert chosen(ask("greeter"))["greeter"] == "2.0 pyhd8ed1ab_1"


def test_a_constraint_holds_but_installs_nothing(ask: Asking) -> None:
    found = chosen(ask("greeter", constraints=("greeter <2", "hello <1.1")))
    assert found["greeter"] == "1.1 pyhd8ed1ab_0"
    assert "hello" not in found


def test_virtual_packages_come_from_the_request_alone(ask: Asking) -> None:
    assert chosen(ask("gpu")) == {"gpu": "1.0 cpu_0"}
    newer = {"__cuda": "12.4", "__glibc": "2.40", "__archspec": "x86_64_v3"}
    assert chosen(ask("gpu", "newglibc", "fast", virtual=newer)) == {
        "gpu": "1.0 cuda12_0",
        "newglibc": "1.0 0",
        "fast": "1.0 0",
    }


def test_a_missing_virtual_package_is_named(ask: Asking) -> None:
    error = failure(ask, ResolveError, "newglibc")
    assert str(error) == "no set of conda packages satisfies tykky.toml for linux-64"
    assert "__glibc" in (error.output or "")  # type: ignore[attr-defined]


def test_locked_versions_are_kept_where_they_still_satisfy(ask: Asking) -> None:
    old = ask("greeter 1.0", "hello 1.0")
    kept = ask("greeter", "hello", "packaging", preferred=old)
    assert chosen(kept)["greeter"] == "1.0 pyhd8ed1ab_0"
    assert chosen(kept)["hello"] == "1.0 h1234567_0"
    assert "packaging" in chosen(kept)
    moved = ask("needs-new", "hello", preferred=old)
    assert chosen(moved)["greeter"] == "2.0 pyhd8ed1ab_1"
    assert chosen(moved)["hello"] == "1.0 h1234567_0"


# Channels


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A second channel, with a newer hello and a package of its own."""
    root = tmp_path / "second"
    Channel(root).add(CondaPackage("hello", "9.0"), CondaPackage("only-here", "1.0", depends=["hello"])).index()
    return root


def test_the_first_channel_that_has_a_name_has_it_alone(ask: Asking, second: Path) -> None:
    assert chosen(ask("hello", channels=("conda-forge", second.as_uri())))["hello"] == "1.1 h1234567_0"
    assert chosen(ask("hello", channels=(second.as_uri(), "conda-forge")))["hello"] == "9.0 0"


def test_without_priority_the_newest_version_of_any_channel_is_taken(ask: Asking, second: Path) -> None:
    packages = ask("hello", channels=("conda-forge", second.as_uri()), channel_priority="disabled")
    assert chosen(packages)["hello"] == "9.0 0"
    assert packages[0].channel == second.as_uri()


def test_a_requirement_can_name_its_channel(ask: Asking, second: Path) -> None:
    packages = ask(f"{second.as_uri()}::hello", "gpu", channels=("conda-forge", second.as_uri()))
    assert chosen(packages)["hello"] == "9.0 0"


def test_a_mirror_is_asked_and_the_lock_reads_the_same(ask: Asking, channel_server: Served) -> None:
    by_file = ask("jinja2")
    by_http = Asking(ask.kind, ask.cache / "other", channel_server.url, program=ask.program)("jinja2")
    assert by_http == by_file
    assert {p.channel for p in by_http} == {CANONICAL}
    assert channel_server.requests


# When nothing is right


def test_a_conflict_is_explained_by_the_names_in_it(ask: Asking) -> None:
    error = failure(ask, ResolveError, "needs-old", "needs-new")
    assert str(error) == "no set of conda packages satisfies tykky.toml for linux-64"
    explanation = error.output  # type: ignore[attr-defined]
    assert "needs-old" in explanation
    assert "needs-new" in explanation
    assert "greeter" in explanation


def test_an_unknown_name_is_named_with_a_guess(ask: Asking) -> None:
    error = failure(ask, ResolveError, "helo", "python")
    assert str(error) == "helo is in no channel for linux-64"
    assert error.hint == "did you mean helo -> hello?"  # type: ignore[attr-defined]
    assert CANONICAL in error.output  # type: ignore[attr-defined]


def test_what_is_no_requirement_is_refused(ask: Asking) -> None:
    error = failure(ask, ResolveError, "hello >>2")
    assert str(error) == "'hello >>2' is no conda requirement"


@pytest.mark.parametrize("channel", ["./here", "with space", "", "https://"])
def test_what_is_no_channel_is_refused(ask: Asking, channel: str) -> None:
    assert str(failure(ask, ResolveError, "hello", channels=(channel,))) == f"{channel!r} is no conda channel"


def test_a_channel_that_is_not_there_is_named(ask: Asking, tmp_path: Path) -> None:
    gone = (tmp_path / "gone").as_uri()
    error = failure(ask, FetchError, "hello", channels=(gone,))
    assert str(error) in (
        f"channel {gone} cannot be read: it is not there",
        f"channel {gone} cannot be read: HTTP 404",  # conda's word for it
    )
