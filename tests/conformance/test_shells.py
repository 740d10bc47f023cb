"""`tykky activate` and `module load` in every shell, with every backend: what is typed then runs in the environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.end_to_end.shells import SHELLS, write_module_script, write_script
from tests.environment.stacks import layer, make
from tykky.environment.module_file import Format, module_file, render_module

pytestmark = pytest.mark.shells
SAMPLED = True

# The same words in all these shells: what differs between them is in a shell of its own.
WHO = "import sys, thing; print(sys.executable, thing.where)"
USE = f"""\
python -c '{WHO}'
tool 'a b'
./program
sh -c 'cd / && exec python3 -c "$0"' '{WHO}'
"""
OUTSIDE = "sh -c 'command -v tool || echo outside'\n"


def said(place: Path) -> list[str]:
    """Return what `USE` prints, between two times `OUTSIDE`."""
    python, name3 = f"{place}/bin/python", f"{place}/bin/python3 middle"
    return ["outside", f"{python} middle", python, f"['{place}/bin/tool', 'a b']", name3, name3, "outside"]


def run(bench: Bench, argv: Sequence[str | Path]) -> list[str]:
    """Run a shell's script as the case's user, beside a program that goes by PATH; nothing is said of errors."""
    (bench.place / "program").write_text(f"#!/usr/bin/env python3\n{WHO}\n")
    (bench.place / "program").chmod(0o755)
    bench.case.own(bench.place)
    environ = bench.environ(TYKKY_PATH=str(bench.place), TERM="dumb", MODULES_PAGER="", LMOD_PAGER="none")
    done = bench.run(*argv, env=environ)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", SHELLS)
def test_activate_and_deactivate(bench: Bench, kind: str, shell: str):
    place = bench.environment("my env", kind)
    script = f"{OUTSIDE}tykky activate 'my env'\n{USE}tykky deactivate\n{OUTSIDE}"
    assert run(bench, write_script(shell, script, bench.place)) == said(place)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("program", "form"), [("lmod", "lmod"), ("environment-modules", "tcl")])
def test_module_load_and_unload(bench: Bench, kind: str, shell: str, program: str, form: Format):
    place = bench.environment("my env", kind)
    record = make(bench.place / "as built" / place.name, layer("ab", {"bin/python": 1})).record()
    module = module_file(place, record, ())
    file = bench.place / "modules" / module.place(form)
    file.parent.mkdir(parents=True)
    file.write_text(render_module(module, form))
    script = f"{OUTSIDE}module load demo\n{USE}module unload demo\n{OUTSIDE}"
    assert run(bench, write_module_script(program, shell, script, file.parent)) == said(place)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_venv_on_top_is_activated_over_it(bench: Bench, kind: str, shell: str):
    """By its own script, as anywhere; its `deactivate` leads back to the environment."""
    place = bench.environment("my env", kind)
    venv = bench.place / "v"
    bench.run(place / "bin" / "python", "-m", "venv", "--without-pip", "--system-site-packages", venv)
    start = f"source {venv}/bin/activate.fish" if shell == "fish" else f". {venv}/bin/activate"
    who = f"python -c '{WHO}'\n"
    script = f"tykky activate 'my env'\n{start}\n{who}deactivate\n{who}tykky deactivate\n{OUTSIDE}"
    expected = [f"{venv}/bin/python middle", f"{place}/bin/python middle", "outside"]
    assert run(bench, write_script(shell, script, bench.place)) == expected
