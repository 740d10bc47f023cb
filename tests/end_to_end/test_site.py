"""What a site sets, from end to end: its message, its policy for deep stacks, how its images are striped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Desk, record, run

Spec = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the file that TYKKY_SITE names."""
    file = tmp_path / "site.toml"
    monkeypatch.setenv("TYKKY_SITE", os.fspath(file))

    def write(text: str) -> None:
        file.write_text(text)

    write("")
    return write


@pytest.fixture
def locked(desk: Desk, wheels_spec: Spec) -> Desk:
    """A desk with a lock of one package."""
    desk.write(wheels_spec("alpha==1.0"))
    desk.tykky("lock")
    return desk


def kinds(environment: Path) -> list[str]:
    return [layer["kind"] for layer in record(environment)["layers"]]  # type: ignore[attr-defined]


def test_the_message_comes_once_at_a_build_and_never_between_data(locked: Desk, site: Callable[[str], None]) -> None:
    site('[build]\nmessage = """\nBuilds belong on [compute] nodes:\n  sinteractive --mem 16G\n"""\n')
    said = locked.tykky("build", "--prefix", "env")
    message = "Builds belong on [compute] nodes:\n  sinteractive --mem 16G\n"
    assert said.err.startswith(message)
    assert (said.err.count("compute"), "compute" in said.out) == (1, False)
    again = locked.tykky("build", "--prefix", "env")
    assert again.err == message, "also where there is nothing to build"
    assert locked.tykky("build", "--prefix", "env", "-q").err == ""
    as_json = locked.tykky("build", "--prefix", "env", "--json")
    assert as_json.err == ""
    assert [json.loads(line)["event"] for line in as_json.out.splitlines()] == ["result"]


def test_a_deep_stack_is_proposed_to_be_flattened_or_is(
    locked: Desk, site: Callable[[str], None], wheels_spec: Spec
) -> None:
    environment = locked.directory / "env"
    site("[policy]\nflatten-from = 2\n")
    assert "layers deep" not in locked.tykky("build", "--prefix", "env").out
    locked.write(wheels_spec("alpha==1.0", "beta")).tykky("lock")
    said = locked.tykky("build", "--prefix", "env", "--delta").out
    assert "it is 2 layers deep: 'tykky flatten " in said
    site('[policy]\nflatten-from = 2\nflatten = "do"\n')
    said = locked.tykky("build", "--prefix", "env", "--offline").out
    assert said.startswith(f"published generation 3 of {environment}: 1 layer, ")
    assert (kinds(environment), record(environment)["why"]) == (["flat"], "this site makes one layer of deep stacks")
    assert locked.tykky("build", "--prefix", "env").out == f"{environment} is up to date (generation 3)\n"


def test_images_are_striped_before_they_are_written(
    locked: Desk, site: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a program `lfs` that stands for Lustre's: it notes its arguments, and what the directory holds by then."""
    notes = tmp_path / "notes"
    program = tmp_path / "lustre" / "lfs"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nfor place; do :; done\n{{ echo "$*"; ls -A "$place"; }} >>"{notes}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    locked.tykky("build", "--prefix", "plain")
    assert not notes.exists(), "no site wants it"
    site('[striping]\ncount = 16\nsize = "4M"\n')
    locked.tykky("build", "--prefix", "env")
    asked, told = notes.read_text().splitlines()
    stage = told.rsplit(" -S 4M ", 1)[1]
    assert Path(stage).parent.parts[-2:] == (".tykky", "layers"), (
        "of the environment directory, whatever it is called yet"
    )
    assert (asked, told) == (f"getstripe -d {stage}", f"setstripe -E 64M -c 1 -S 4M -E -1 -c 16 -S 4M {stage}")
    same = [record(locked.directory / name)["layers"] for name in ("plain", "env")]
    assert same[0] == same[1], "how an image is stored is not in it"


def test_a_build_takes_no_more_processors_than_its_site_says(
    locked: Desk, site: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, program = tmp_path / "notes", tmp_path / "mksquashfs"
    program.write_text(f'#!/bin/sh\necho "$*" >>"{notes}"\nPATH=/usr/bin:/bin exec mksquashfs "$@"\n')
    program.chmod(0o755)
    site(f"[build]\nprocessors = 1\n[programs]\nmksquashfs = {json.dumps(str(program))}\n")
    locked.tykky("build", "--prefix", "env")
    (packed,) = [line for line in notes.read_text().splitlines() if "-comp zstd" in line]
    assert " -processors 1" in packed


def test_programs_and_scripts_do_not_see_what_the_site_hides(
    desk: Desk, site: Callable[[str], None], wheels_spec: Spec
) -> None:
    if not Path("/media").is_dir():
        pytest.skip("this host has no /media to hide")
    look = "import os; print(os.path.isdir('/media'), os.path.isdir('/usr/bin'))"
    (desk.directory / "post.sh").write_text(f'python -c "{look}" >"$TYKKY_BUILD_PREFIX/seen"\n')
    desk.write(wheels_spec("alpha==1.0", more='\n[build]\npost-install = ["post.sh"]\n')).tykky("lock")
    site('[runtime]\nno-bind = ["/media"]\n')
    desk.tykky("build", "--prefix", "env")
    python = desk.directory / "env" / "bin" / "python"
    assert run([python, "-c", look]) == "False True\n"
    assert run([python, "-c", "import sys; print(open(sys.prefix + '/seen').read(), end='')"]) == "False True\n"
    site("")
    said = desk.tykky("build", "--prefix", "env").out
    assert said.startswith("published generation 2 of "), "what a launch shows is of a generation"
    assert run([python, "-c", look]) == "True True\n"
