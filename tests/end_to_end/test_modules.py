"""`tykky module` with real Lmod and real Environment Modules, in bash and zsh."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Desk
from tests.end_to_end.shells import MODULES, write_module_script
from tests.environment.stacks import layer, make, package
from tykky.environment.module_file import Format, module_file, render_module

pytestmark = pytest.mark.shells

# Of each program, the format that it is given: Lmod reads both.
WAYS: list[tuple[str, Format]] = [("lmod", "lmod"), ("lmod", "tcl"), ("environment-modules", "tcl")]
HOSTILE = "a b$(touch x)`touch y`'[exec touch z]{;&*~"


def _module(program: str, shell: str, script: str, modules: Path, *words: str) -> list[str]:
    """Run a script that has the command `module`; return what it printed, standard error too."""
    environ = {
        key: value for key, value in os.environ.items() if not key.startswith(("LMOD", "MODULE", "LOADED", "_LM"))
    }
    done = subprocess.run(
        [*write_module_script(program, shell, script, modules), *words],
        cwd=modules.parent,
        env={**environ, "TERM": "dumb", "MODULES_PAGER": "", "LMOD_PAGER": "none"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()


SHOW = 'printf \'%s\\n\' "<${TYKKY_PREFIX-unset}>" "<${PATH%%:*}>"\n'


def _shown(lines: list[str]) -> list[str]:
    return [line[1:-1] for line in lines if line.startswith("<")]


Make = Callable[[Format], Path]


@pytest.fixture
def modules(tmp_path: Path) -> Make:
    """Make two environments, with two versions each and one with a hostile name, and their modules in a format."""

    def write(form: Format) -> Path:
        for name, module_name, versions in (
            ("one", "one", ("1", "2")),
            ("two", "two", ("1", "2")),
            (HOSTILE, "hostile", (None,)),
        ):
            packages = (package("numpy", "2.1"), package("gdal", "3.9", kind="conda"))
            record = make(tmp_path / name, layer("ab", {"bin/python": 1}, packages)).record()
            for version in versions:
                module = module_file(
                    tmp_path / name, record, packages, name=module_name, version=version, summary=f"all of {name}"
                )
                file = tmp_path / "modules" / module.place(form)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(render_module(module, form))
        return tmp_path / "modules"

    return write


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("program", "form"), WAYS)
def test_load_and_unload(program: str, form: Format, shell: str, modules: Make, tmp_path: Path) -> None:
    script = f"{SHOW}module load one/1\n{SHOW}module unload one\n{SHOW}"
    found = _shown(_module(program, shell, script, modules(form)))
    environment = f"{tmp_path}/one"
    assert found[:2] == found[4:] == ["unset", os.environ["PATH"].split(":")[0]]
    assert found[2:4] == [environment, f"{environment}/bin"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("program", "form"), WAYS)
def test_another_version_and_a_swap(program: str, form: Format, shell: str, modules: Make, tmp_path: Path) -> None:
    script = f"module load one/1\nmodule swap one/1 one/2\n{SHOW}module swap one/2 two/1\n{SHOW}module purge\n{SHOW}"
    found = _shown(_module(program, shell, script, modules(form)))
    assert [found[0], found[2], found[4]] == [f"{tmp_path}/one", f"{tmp_path}/two", "unset"]
    assert found[3] == f"{tmp_path}/two/bin"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("program", "form"), WAYS)
def test_only_one_environment_at_a_time(program: str, form: Format, shell: str, modules: Make, tmp_path: Path) -> None:
    """Lmod puts the new one in the place of the old one, as for compilers; Environment Modules refuse it."""
    lines = _module(program, shell, f"module load one/1\nmodule load two/1\n{SHOW}", modules(form))
    left = "two" if program == "lmod" else "one"
    assert _shown(lines) == [f"{tmp_path}/{left}", f"{tmp_path}/{left}/bin"]
    assert any(("replacing" if program == "lmod" else "conflict") in line for line in lines), lines


@pytest.mark.parametrize(("program", "form"), WAYS)
def test_help_and_whatis(program: str, form: Format, modules: Make) -> None:
    lines = _module(program, "bash", "module help one/1 2>&1\nmodule whatis one/1 2>&1\n", modules(form))
    text = "\n".join(lines)
    assert "\nconda packages:\n  gdal  3.9\n\nPyPI packages:\n  numpy  2.1\n" in text
    assert "Description: all of one" in text
    assert "Version: 1" in text


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("program", "form"), WAYS)
def test_a_path_that_is_code(program: str, form: Format, shell: str, modules: Make, tmp_path: Path) -> None:
    found = _shown(_module(program, shell, f"module load hostile\n{SHOW}module unload hostile\n{SHOW}", modules(form)))
    assert found[:2] == [f"{tmp_path}/{HOSTILE}", f"{tmp_path}/{HOSTILE}/bin"]
    assert found[2] == "unset"
    assert not [path for path in tmp_path.rglob("?") if path.name in "xyz"]


@pytest.mark.parametrize(("program", "form"), [("lmod", "lmod"), ("environment-modules", "tcl")])
def test_letters_that_are_not_ascii(program: str, form: Format, tmp_path: Path) -> None:
    record = make(tmp_path / "désk", layer("ab", {"bin/python": 1})).record()
    module = module_file(tmp_path / "désk", record, ())
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / module.place(form)).write_text(render_module(module, form))
    assert _shown(_module(program, "bash", f"module load demo\n{SHOW}", tmp_path / "modules"))[0] == f"{tmp_path}/désk"


def test_it_survives_an_update_and_runs(desk: Desk, wheels_spec: Callable[..., str]) -> None:
    place = desk.directory.parent / "place"
    made = desk.directory.parent / "modules"
    for version in ("1.0", "1.1"):
        environment = desk.write(wheels_spec(f"alpha=={version}")).environment(str(place))
        if version == "1.0":
            for form in ("lmod", "tcl"):
                desk.tykky(
                    "module", environment, "--format", form, "-o", f"{made}/{form}/demo{'.lua' * (form == 'lmod')}"
                )
    script = "module load demo\npython -c 'import alpha, sys; print(alpha.VERSION, sys.executable)'\n"
    for program, way in WAYS:
        if MODULES[program].exists():
            assert _module(program, "bash", script, made / way) == [f"1.1 {environment}/bin/python"]
    renewed = desk.tykky("module", environment, "-o", made / "lmod")
    assert renewed.out == f"wrote {made}/lmod/demo.lua\n"
    assert "alpha  1.1" in (made / "lmod/demo.lua").read_text()


def test_where_it_is_written(desk: Desk) -> None:
    make(desk.directory / "env", layer("ab", {"bin/python": 1}))
    (desk.directory / "modules").mkdir()
    text = desk.tykky("module", "env").out
    assert desk.tykky("module", "env", "-o", "modules").out == "wrote modules/demo.lua\n"
    assert (desk.directory / "modules/demo.lua").read_text() == text
    assert desk.tykky("module", "env", "-o", "new/x.lua", "-q").out == ""
    assert (desk.directory / "new/x.lua").read_text() == text
    (desk.directory / "versions").mkdir()
    answer = json.loads(desk.tykky("module", "env", "-o", "versions", "--version", "3", "--json").out)
    assert (answer["file"], answer["name"], answer["version"]) == ("versions/demo/3.lua", "demo", "3")
    assert (desk.directory / "versions/demo/3.lua").stat().st_mode & 0o777 == 0o666 & ~_umask()
    # Beside versions a module without one would never be loaded.
    assert desk.tykky("module", "env", "-o", "versions", status=2).err == (
        "error: versions/demo has versions of this module\n\nhint: give this one a --version too\n"
    )
    assert desk.tykky("module", "env", "-o", "modules", "--version", "3", status=2).err == (
        "error: modules/demo.lua is this module without a version\n\n"
        "hint: remove it, or leave --version out to renew it\n"
    )
    (desk.directory / "link").symlink_to("env")
    assert f'setenv("TYKKY_PREFIX", "{desk.directory}/link")' in desk.tykky("module", "link").out
    assert f'setenv("TYKKY_PREFIX", "{desk.directory}/env")' in desk.tykky("module", "modules/../env").out


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (
            ["-o", "file"],
            2,
            "error: file: Lmod takes a file for Lua only if its name ends in .lua\n\n"
            "hint: name it so, or a directory that is there, or say --format tcl\n",
        ),
        (
            ["--format", "tcl", "-o", "file.lua"],
            2,
            "error: file.lua: Lmod would take this file for Lua\n\nhint: name it without .lua\n",
        ),
        (
            ["-o", "theirs.lua"],
            2,
            "error: theirs.lua is there and was not written by tykky module\n\n"
            "hint: remove it, or name another --output\n",
        ),
        (
            ["-o", "theirs.lua/x.lua"],
            1,
            "error: theirs.lua/x.lua cannot be written: theirs.lua is a file\n\nhint: name another --output\n",
        ),
        (
            ["--name", "../x"],
            2,
            "error: '../x' is no name of a module\n\nhint: use letters, digits and _ . + - and /\n",
        ),
    ],
)
def test_mistakes(words: list[str], status: int, error: str, desk: Desk) -> None:
    make(desk.directory / "env", layer("ab", {"bin/python": 1}))
    (desk.directory / "theirs.lua").write_text("-- mine\n")
    assert desk.tykky("module", "env", *words, status=status).err == error
    assert (desk.directory / "theirs.lua").read_text() == "-- mine\n"
