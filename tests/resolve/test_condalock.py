"""What is particular to the conda-lock resolver. Its conda is a stand-in: see `tests/channel/standin.py`."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import pytest

from tests.channel import Served, standin
from tests.resolve.conda_asking import Asking, chosen
from tykky.errors import FetchError, ResolveError, ToolError
from tykky.progress import Silent
from tykky.resolve.conda.condalock import CondaLockResolver
from tykky.resolve.ports import CondaRequest

HINT = (
    "load the site's module for conda, install micromamba (https://mamba.readthedocs.io), "
    'or set resolver = "rattler" in [conda]'
)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return standin.install(tmp_path / "bin")


@pytest.fixture
def ask(tmp_path: Path, conda_channel: Path, program: Path) -> Asking:
    return Asking("conda-lock", tmp_path / "cache", conda_channel.as_uri(), program=program)


def heard(program: Path) -> dict[str, dict[str, str]]:
    return json.loads(program.with_suffix(".log").read_text())  # type: ignore[no-any-return]


def test_it_says_what_it_is(ask: Asking) -> None:
    assert ask.resolver.identify() == f"conda-lock {metadata.version('conda-lock')}, conda 24.0.0+standin"


def test_without_any_conda_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    resolver = CondaLockResolver(Asking("rattler", tmp_path, "").access)
    for call in (resolver.identify, lambda: resolver.resolve(CondaRequest("linux-64", ("c",), ("x",)), Silent())):
        with pytest.raises(ToolError) as caught:
            call()
        assert str(caught.value) == "conda-lock needs conda, mamba or micromamba, and none is on PATH"
        assert caught.value.hint == HINT


def test_mamba_is_taken_before_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("conda", "mamba"):
        standin.install(tmp_path / "bin", name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert ", mamba " in CondaLockResolver(Asking("rattler", tmp_path, "").access).identify()


def test_newer_packages_cannot_be_left_out(ask: Asking) -> None:
    with pytest.raises(ResolveError) as caught:
        ask("clock", exclude_newer="2024-01-01")
    assert str(caught.value) == "the conda-lock resolver cannot leave out newer packages"


def test_a_constraint_cannot_name_a_channel(ask: Asking) -> None:
    with pytest.raises(ResolveError) as caught:
        ask("greeter", constraints=("conda-forge::hello <2",))
    assert str(caught.value) == "the conda-lock resolver cannot keep a constraint to a channel: conda-forge::hello <2"


def test_the_users_settings_do_not_reach_conda(
    ask: Asking, program: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".netrc").write_text("")
    for name in ("CONDA_CHANNELS", "CONDA_FLAGS", "MAMBA_ROOT_PREFIX", "CONDARC", "PYTHONPATH"):
        monkeypatch.setenv(name, "nonsense")
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "99")
    assert chosen(ask("gpu")) == {"gpu": "1.0 cpu_0"}
    environ = heard(program)["environ"]
    assert "nonsense" not in environ.values()
    assert environ["HOME"] != os.fspath(home)
    assert not Path(environ["HOME"]).exists()
    assert environ["NETRC"] == os.fspath(home / ".netrc")
    assert (environ["CONDA_SUBDIR"], environ["CONDA_OVERRIDE_GLIBC"], environ["CONDA_OVERRIDE_CUDA"]) == (
        "linux-64",
        "2.28",
        "",
    )


def test_offline_is_passed_on(tmp_path: Path, channel_server: Served, program: Path) -> None:
    ask = Asking("conda-lock", tmp_path / "cache", channel_server.url, program=program)
    online = ask("hello")
    channel_server.requests.clear()
    ask.offline = True
    assert ask("hello") == online
    assert not channel_server.requests
    assert heard(program)["environ"]["MAMBA_OFFLINE"] == "true"


def test_specs_are_arguments_never_shell(ask: Asking, program: Path) -> None:
    ask("hello >=1.0,<2|9.*")
    assert heard(program)["specs"] == ["tykky-constraints", "hello >=1.0,<2|9.*"]


def test_a_channel_that_fails_is_told(tmp_path: Path, channel_server: Served, program: Path) -> None:
    channel_server.switches.status = 404
    ask = Asking("conda-lock", tmp_path / "cache", channel_server.url, program=program)
    with pytest.raises(FetchError) as caught:
        ask("hello")
    assert str(caught.value).startswith("channel https://conda.anaconda.org/conda-forge (mirror http://127.0.0.1:")
    assert str(caught.value).endswith("cannot be read: HTTP 404")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'conda: cannot find its own Python' >&2\nexit 3\n", "cannot find its own Python"),
        (
            "echo '{\"actions\": {}, \"success\": true}'\necho 'Aborted' >&2\nkill -ABRT $$\n",
            "died with <Signals.SIGABRT: 6>.\nAborted",
        ),
    ],
    ids=["before its answer", "after it"],
)
def test_a_conda_that_is_broken_is_told(tmp_path: Path, conda_channel: Path, script: str, said: str) -> None:
    program = tmp_path / "conda"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    ask = Asking("conda-lock", tmp_path / "cache", conda_channel.as_uri(), program=program)
    with pytest.raises(ToolError) as caught:
        ask("hello")
    assert str(caught.value) == f"{program} failed"
    assert said in (caught.value.output or "")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "PackagesNotFoundError: The following packages are not available from current channels:\n\n  - helo\n",
            "helo is in no channel for linux-64",
        ),
        (
            "\n".join(["Encountered problems while solving:", "  - nothing provides requested helo"]),
            "helo is in no channel for linux-64",
        ),
        (
            "error    libmamba Could not solve for environment specs\n    The following package is missing\n"
            "    └─ helo =* * does not exist (perhaps a typo or a missing channel).",
            "helo is in no channel for linux-64",
        ),
        (
            "LibMambaUnsatisfiableError: Encountered problems while solving:\n"
            "  - package needs-old-1.0-0 requires greeter <2, but none of the providers can be installed\n",
            "no set of conda packages satisfies tykky.toml for linux-64",
        ),
    ],
)
def test_what_conda_and_libmamba_say_is_understood(ask: Asking, tmp_path: Path, message: str, reason: str) -> None:
    """Messages as conda 24 and libmamba 1 and 2 write them."""
    program = tmp_path / "says-no"
    (tmp_path / "answer.json").write_text(json.dumps({"success": False, "message": message}))
    program.write_text(f"#!/bin/sh\ncat '{tmp_path}/answer.json'\nexit 1\n")
    program.chmod(0o755)
    ask.program = program
    with pytest.raises(ResolveError) as caught:
        ask("helo", "needs-old")
    assert str(caught.value) == reason
