"""Recording a one-off command in the spec."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tykky.errors import SpecError, UsageError
from tykky.spec.edit import add_post_install
from tykky.spec.read import parse_spec
from tykky.spec.record_exec import OneOff, decide, plan_record, record, script_text, slug, take_back

SPEC = """\
# what we want
[environment]
name = "demo"  # a name

[pypi]
dependencies = ["numpy"] # array
"""
COMMAND = "MAX_JOBS=4 pip install --no-build-isolation flash-attn"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SPEC, f'{SPEC}\n[build]\npost-install = ["scripts/new.sh"]\n'),
        (
            f'[build]\nexclude = ["**/*.a"] # why\n\n{SPEC}',
            f'[build]\nexclude = ["**/*.a"] # why\npost-install = ["scripts/new.sh"]\n\n{SPEC}',
        ),
        (
            f"[build]\npost-install = [\n  'a.sh', # first\n]\n{SPEC}",
            f"[build]\npost-install = [\n  'a.sh', # first\n  'scripts/new.sh',\n]\n{SPEC}",
        ),
        (
            f'build = {{ post-install = ["a.sh"] }}\n{SPEC}',
            f'build = {{ post-install = ["a.sh", "scripts/new.sh"] }}\n{SPEC}',
        ),
        (
            f"build.post-install = []\n{SPEC}",
            f'build.post-install = ["scripts/new.sh"]\n{SPEC}',
        ),
        (SPEC.replace("\n", "\r\n"), f'{SPEC}\n[build]\npost-install = ["scripts/new.sh"]\n'.replace("\n", "\r\n")),
    ],
    ids=["no-table", "no-key", "lines", "inline", "dotted", "crlf"],
)
def test_the_script_is_the_last_and_the_rest_keeps_its_bytes(before: str, after: str) -> None:
    assert add_post_install(before, "scripts/new.sh") == after


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (COMMAND, "pip-install-flash-attn"),
        ("python -m ensurepip && rm -rf /tmp/x", "python-ensurepip-rm-tmp-x"),
        ("  --only -o", "command"),
        ("echo 'ÄÖ' \n", "echo"),
        ("x" * 60, "x" * 40),
        ("jupyter labextension install @jupyter-widgets/jupyterlab-manager", "jupyter-labextension-install-jupyter"),
    ],
)
def test_a_name_says_what_the_command_is(command: str, words: str) -> None:
    assert slug(command) == words


def test_a_command_becomes_a_script_as_it_was_typed() -> None:
    assert script_text(COMMAND) == f"#!/bin/sh\nset -e\n{COMMAND}\n"
    assert script_text("a \"$b\" '$(c)'\n\nd\n") == "#!/bin/sh\nset -e\na \"$b\" '$(c)'\n\nd\n"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (" \n", "there is no command to run"),
        ("a\0b", "a command cannot hold a NUL character"),
        ("a\udcff", "the command is not UTF-8"),
    ],
)
def test_what_no_script_can_hold(command: str, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        script_text(command)
    assert str(raised.value) == reason


def test_numbers_go_on() -> None:
    present = {"scripts/01-a.sh": "a", "scripts/07-b.sh": "b", "other/99-c.sh": "c", "scripts/100x": None}
    assert decide("d", SPEC, [], present).script == "scripts/08-d.sh"
    assert decide("d", SPEC, ["scripts/120-gone.sh"], present).script == "scripts/121-d.sh"
    assert decide("d", SPEC, [], {}).script == "scripts/01-d.sh"


def test_the_same_command_is_recorded_once(tmp_path: Path) -> None:
    spec = tmp_path / "tykky.toml"
    spec.write_text(SPEC)
    first = plan_record(spec, COMMAND)
    assert not (tmp_path / "scripts").exists(), "a plan writes nothing"
    record(spec, first)
    again = plan_record(spec, f"{COMMAND}\n")
    assert (again.script, again.changes) == ("scripts/01-pip-install-flash-attn.sh", False)
    record(spec, again)
    record(spec, plan_record(spec, "pip install other"))
    assert parse_spec(spec.read_text(), "tykky.toml").build.post_install == (
        "scripts/01-pip-install-flash-attn.sh",
        "scripts/02-pip-install-other.sh",
    )
    assert sorted(p.name for p in (tmp_path / "scripts").iterdir()) == [
        "01-pip-install-flash-attn.sh",
        "02-pip-install-other.sh",
    ]


def test_a_script_that_is_there_and_not_listed_is_listed_again(tmp_path: Path) -> None:
    spec = tmp_path / "tykky.toml"
    spec.write_text(SPEC)
    record(spec, plan_record(spec, COMMAND))
    spec.write_text(SPEC)
    again = plan_record(spec, COMMAND)
    assert (again.new_script, again.changes) == (False, True)
    record(spec, again)
    assert parse_spec(spec.read_text(), "tykky.toml").build.post_install == (again.script,)


def test_a_script_of_the_users_own_serves(tmp_path: Path) -> None:
    spec = tmp_path / "tykky.toml"
    spec.write_text(f'{SPEC}\n[build]\npost-install = ["mine.sh"]\n')
    (tmp_path / "mine.sh").write_text(script_text("true"))
    assert not plan_record(spec, "true").changes


def test_the_file_is_what_runs(tmp_path: Path) -> None:
    spec = tmp_path / "tykky.toml"
    spec.write_text(SPEC)
    one_off = plan_record(spec, 'echo "it\'s $((1 + 1))"\nfalse\necho not reached')
    record(spec, one_off)
    script = tmp_path / one_off.script
    assert stat.S_IMODE(script.stat().st_mode) & 0o700 == 0o700
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "it's 2\n")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    spec = tmp_path / "tykky.toml"
    spec.write_text(SPEC)
    one_off = plan_record(spec, COMMAND)
    (tmp_path / "scripts").mkdir()
    (tmp_path / one_off.script).write_text("somebody was faster\n")
    with pytest.raises(SpecError) as raised:
        record(spec, one_off)
    assert str(raised.value) == f"{tmp_path / one_off.script}: cannot be written: file exists"
    assert (tmp_path / one_off.script).read_text() == "somebody was faster\n"
    assert spec.read_text() == SPEC


def test_a_spec_that_cannot_be_written_leaves_no_script(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/self/fd")  # nobody may make a directory there
        with pytest.raises(SpecError, match="cannot be written"):
            record(folder / "tykky.toml", OneOff("scripts/01-x.sh", "x", True, SPEC, f"{SPEC}\n"))
        return
    spec = tmp_path / "tykky.toml"
    spec.write_text(SPEC)
    one_off = plan_record(spec, COMMAND)
    (tmp_path / "scripts").mkdir()
    tmp_path.chmod(0o500)
    with pytest.raises(SpecError, match="cannot be written"):
        record(spec, one_off)
    tmp_path.chmod(0o700)
    assert list((tmp_path / "scripts").iterdir()) == []


def test_what_failed_is_taken_back_unless_the_spec_was_edited(tmp_path: Path) -> None:
    spec = tmp_path / "tykky.toml"
    spec.write_text(SPEC)
    one_off = plan_record(spec, COMMAND)
    record(spec, one_off)
    assert take_back(spec, one_off)
    assert spec.read_text() == SPEC
    assert [p.name for p in tmp_path.iterdir()] == ["tykky.toml"]
    record(spec, one_off)
    spec.write_text(f"{spec.read_text()}# edited\n")
    assert not take_back(spec, one_off)
    assert (tmp_path / one_off.script).exists()


@settings(deadline=None)
@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text), max_size=6))
def test_names_never_collide_and_lead_nowhere(commands: list[str]) -> None:
    text, present = SPEC, {}
    for command in commands:
        try:
            one_off = decide(command, text, parse_spec(text, "tykky.toml").build.post_install, present)
        except UsageError:
            continue
        assert re.fullmatch(r"scripts/\d+-[a-z0-9-]{1,40}\.sh", one_off.script)
        assert present.get(one_off.script, one_off.content) == one_off.content
        present[one_off.script] = one_off.content
        text = one_off.after
    listed = parse_spec(text, "tykky.toml").build.post_install
    assert sorted(listed) == sorted(present) and len(set(present.values())) == len(present)
