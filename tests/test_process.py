"""The door to other programs: what they see, and what is told of their failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tykky.errors import ToolError
from tykky.process import CommandFailed, Commands, clean_environ, full_disk_hint, tail, which


def test_settings_that_would_leak_are_dropped_and_credentials_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "UV_INDEX", "CONDA_PREFIX", "PYTHONPATH", "LD_PRELOAD", "BASH_ENV", "APPTAINER_BIND"):
        monkeypatch.setenv(name, "x")
    for name in ("HTTPS_PROXY", "NETRC", "RATTLER_AUTH_FILE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "x")
    environ = clean_environ({"EXTRA": "1"})
    assert not {"PIP_INDEX_URL", "UV_INDEX", "CONDA_PREFIX", "PYTHONPATH", "LD_PRELOAD", "BASH_ENV"} & set(environ)
    assert "APPTAINER_BIND" not in environ
    assert {"HTTPS_PROXY", "NETRC", "RATTLER_AUTH_FILE", "SSL_CERT_FILE", "EXTRA"} <= set(environ)


def test_words_reach_the_program_byte_for_byte() -> None:
    done = Commands().run(["printf", "%s|", "a b", "", "$HOME", "`id`", "new\nline"])
    assert done.stdout == "a b||$HOME|`id`|new\nline|"


def test_a_failure_names_the_program_its_status_and_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(CommandFailed) as caught:
        Commands(log=log).run(["sh", "-c", "for i in $(seq 40); do echo line $i >&2; done; exit 3"], hint="do this")
    assert str(caught.value) == "sh failed with exit status 3"
    assert caught.value.hint == "do this"
    assert caught.value.output is not None
    assert caught.value.output.splitlines()[0] == "line 29"
    assert "line 1\n" in log.read_text(), "nothing is lost: the log has all of it"
    assert log.read_text().startswith("$ sh -c ")


def test_a_signal_is_named() -> None:
    with pytest.raises(CommandFailed) as caught:
        Commands().run(["sh", "-c", "kill -9 $$"])
    assert str(caught.value) == "sh was killed by SIGKILL"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ToolError) as caught:
        Commands().run(["/nowhere/tool"], hint="install it")
    assert str(caught.value) == "/nowhere/tool cannot be started: No such file or directory"
    with pytest.raises(ToolError) as caught:
        which("no-such-tool", hint="install it")
    assert (str(caught.value), caught.value.hint) == ("no-such-tool is not on PATH", "install it")


def test_a_stream_hands_over_lines_of_both_streams_and_carriage_returns() -> None:
    lines: list[str] = []
    Commands().stream(["sh", "-c", "printf '1%%\\r2%%\\r3%%\\n'; echo err >&2"], lines.append)
    assert lines == ["1%", "2%", "3%", "err"]


def test_a_stream_reads_its_input_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("hello\n")
    lines: list[str] = []
    Commands().stream(["cat"], lines.append, stdin=tmp_path / "in")
    assert lines == ["hello"]


def test_an_error_while_listening_ends_the_program() -> None:
    def stop(line: str) -> None:
        raise RuntimeError(line)

    with pytest.raises(RuntimeError, match="first"):
        Commands().stream(["sh", "-c", "echo first; sleep 60"], stop)


def test_a_timeout() -> None:
    with pytest.raises(ToolError) as caught:
        Commands().run(["sleep", "60"], timeout=0.2)
    assert str(caught.value) == "sleep did not end within 0.2 s"


def test_a_program_is_told_later_and_at_length() -> None:
    with Commands().start(["sort"], told=True) as running:
        running.tell("hello\n" * 50_000)
        assert running.finished().stdout == "hello\n" * 50_000


def test_what_a_program_is_told_is_utf_8_in_any_locale() -> None:
    text = "from tykky.process import Commands\nwith Commands().start(['cat'], told=True) as running:\n"
    text += "    running.tell('d\\xf6r')\n    print(ascii(running.finished().stdout))"
    environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", text], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "'d\\xf6r'\n"


def test_a_program_that_does_not_listen() -> None:
    with Commands().start(["false"], told=True) as running:
        running.child.wait()
        running.tell("hello")
        assert running.finished(check=False).status == 1


def test_a_program_that_is_told_nothing_is_ended() -> None:
    with Commands().start(["cat"], told=True) as running:
        pass
    assert running.child.returncode == -signal.SIGTERM


def test_tail_skips_blank_lines() -> None:
    assert tail("a\n\nb  \n\n", 2) == "a\nb"


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("x: No space left on device (os error 28)", "a disk is full"),
        ("x: Disk quota exceeded (os error 122)", "a quota is used up"),
        ("something else", None),
        ("unshare: unshare failed: No space left on device", None),  # user.max_user_namespaces is 0
    ],
)
def test_full_disks_are_recognised(output: str, hint: str | None) -> None:
    found = full_disk_hint(output)
    assert found is None if hint is None else found is not None and found.startswith(hint)
