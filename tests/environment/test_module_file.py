"""Module files: what they say, and that no value gets out of its quotes; real Lua and Tcl read them back."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.environment.stacks import layer, make, package
from tykky.environment.directory import GenerationRecord
from tykky.environment.module_file import lua_string, module_file, render_module, tcl_string
from tykky.errors import EnvironmentDirectoryError, UsageError

PACKAGES = (package("numpy", "2.1.0"), package("attrs", "24.2"), package("gdal", "3.9.2", kind="conda"))


@pytest.fixture
def record(tmp_path: Path) -> GenerationRecord:
    return msgspec.structs.replace(make(tmp_path / "env", layer("a", {"bin/python": 1})).record(), python="3.12")


def test_lmod(record: GenerationRecord) -> None:
    module = module_file(
        Path("/appl/my envs/climate"), record, PACKAGES, name="climate", version="2026", conflicts=("python",)
    )
    assert module.place("lmod") == Path("climate/2026.lua")
    assert (
        render_module(module, "lmod")
        == """\
-- Written by `tykky module`; the same command renews it.
help("Python environment climate\\
\\
Puts /appl/my envs/climate/bin in front of PATH, Python 3.12.\\
Generation 1 of 2026-11-22 had 3 packages. What is there now:\\
  tykky info --packages '/appl/my envs/climate'\\
\\
conda packages:\\
  gdal  3.9.2\\
\\
PyPI packages:\\
  attrs  24.2\\
  numpy  2.1.0\\
")
whatis("Name: climate")
whatis("Version: 2026")
whatis("Description: Python environment climate")
family("tykky_environment")
conflict("python")
setenv("TYKKY_PREFIX", "/appl/my envs/climate")
prepend_path("PATH", "/appl/my envs/climate/bin")
"""
    )


def test_tcl(record: GenerationRecord) -> None:
    module = module_file(Path("/appl/climate"), record, (), summary="two\nlines [exec ls]")
    assert module.place("tcl") == Path("demo")
    assert (
        render_module(module, "tcl")
        == """\
#%Module1.0
# Written by `tykky module`; the same command renews it.
proc ModulesHelp { } {
    puts stderr "two lines \\[exec ls\\]

Puts /appl/climate/bin in front of PATH, Python 3.12.
Generation 1 of 2026-11-22 had 0 packages. What is there now:
  tykky info --packages /appl/climate
"
}
module-whatis "Name: demo"
module-whatis "Description: two lines \\[exec ls\\]"
# Environment Modules know families since 5.1, Lmod always did.
if {[llength [info commands family]]} {
    family "tykky_environment"
}
conflict "demo"
setenv TYKKY_PREFIX "/appl/climate"
prepend-path PATH "/appl/climate/bin"
"""
    )


@pytest.mark.skipif(shutil.which("tclsh8.6") is None, reason="tclsh8.6 is not installed")
@pytest.mark.parametrize("families", [True, False])
def test_environment_modules_without_families(families: bool, record: GenerationRecord) -> None:
    known = ["conflict", "setenv", "prepend-path", "module-whatis", *(["family"] if families else [])]
    program = "".join(f"proc {name} {{args}} {{ puts [list {name} {{*}}$args] }}\n" for name in known)
    program += render_module(module_file(Path("/appl/my climate"), record, ()), "tcl")
    assert _read_back([shutil.which("tclsh8.6") or ""], program).decode().splitlines() == [
        "module-whatis {Name: demo}",
        "module-whatis {Description: Python environment demo}",
        *(["family tykky_environment"] if families else []),
        "conflict demo",
        "setenv TYKKY_PREFIX {/appl/my climate}",
        "prepend-path PATH {/appl/my climate/bin}",
    ]


def test_the_text_does_not_change_from_day_to_day(record: GenerationRecord) -> None:
    module = module_file(Path("/appl/climate"), record, PACKAGES)
    assert module == module_file(Path("/appl/climate"), record, PACKAGES[::-1])


def test_packages_whose_names_are_code_are_shown_without_it(record: GenerationRecord) -> None:
    hostile = package("x]]==]\"'`$(touch y)\n\x1b[2J", "1\\[exec ls]")
    shown = module_file(Path("/appl/climate"), record, [hostile]).help.splitlines()[-1]
    assert shown == "  x??==?????(touch y)???2J  1??exec ls?"


@pytest.mark.parametrize("name", ["../up", "a b", "", "/abs", "a/", "-x", ".hidden", "a/../b", "a\n", "$x"])
def test_names_of_modules(name: str, record: GenerationRecord) -> None:
    with pytest.raises(UsageError) as error:
        module_file(Path("/appl/climate"), record, (), name=name)
    assert str(error.value) == f"{name!r} is no name of a module"
    with pytest.raises(UsageError):
        module_file(Path("/appl/climate"), record, (), conflicts=(name,))
    with pytest.raises(UsageError) as error:
        module_file(Path("/appl/climate"), record, (), version=name)
    assert str(error.value) == f"{name!r} is no version of a module"


def test_a_damaged_record_cannot_choose_a_place(record: GenerationRecord) -> None:
    with pytest.raises(UsageError):
        module_file(Path("/appl/climate"), msgspec.structs.replace(record, name="../../etc/x"), ())


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/a:b", "/a:b holds a colon, which separates directories in PATH"),
        ("/a\nb", "'/a\\nb' holds a control character"),
    ],
)
def test_paths_that_path_cannot_hold(path: str, reason: str, record: GenerationRecord) -> None:
    with pytest.raises(EnvironmentDirectoryError) as error:
        module_file(Path(path), record, ())
    assert (str(error.value), error.value.exit_code) == (reason, 11)


def test_a_backslash_is_for_lua_only(record: GenerationRecord) -> None:
    module = module_file(Path("/a\\b"), record, ())
    assert 'setenv("TYKKY_PREFIX", "/a\\\\b")' in render_module(module, "lmod")
    with pytest.raises(EnvironmentDirectoryError) as error:
        render_module(module, "tcl")
    assert str(error.value) == "/a\\b holds a backslash, which Lmod misreads in a Tcl module file"


def test_names_with_folders(record: GenerationRecord) -> None:
    module = module_file(Path("/a"), record, (), name="envs/climate", version="1.2")
    assert (module.place("lmod"), module.place("tcl")) == (Path("envs/climate/1.2.lua"), Path("envs/climate/1.2"))
    assert dataclasses.replace(module, version=None).place("lmod") == Path("envs/climate.lua")


# What is special in Lua, in Tcl, or in the shells that both write for.
_TEXTS = st.lists(
    st.text(
        st.sampled_from("\\\"'$[]{}`;#%=-\n\r\t \x01\x7f0aé€") | st.characters(codec="utf-8", exclude_characters="\0")
    )
)


def _read_back(argv: list[str], text: str) -> bytes:
    done = subprocess.run(argv, input=text.encode(), capture_output=True, check=False, env={"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("lua5.3") is None, reason="lua5.3 is not installed")
@settings(max_examples=60, deadline=None)
@given(_TEXTS)
def test_lua_reads_every_text_as_it_is(texts: list[str]) -> None:
    program = "".join(f"io.write({lua_string(text)}, '\\0')\n" for text in texts)
    assert _read_back([shutil.which("lua5.3") or "", "-"], program) == b"".join(t.encode() + b"\0" for t in texts)


@pytest.mark.skipif(shutil.which("tclsh8.6") is None, reason="tclsh8.6 is not installed")
@settings(max_examples=60, deadline=None)
@given(_TEXTS)
def test_tcl_reads_every_text_as_it_is_also_inside_braces(texts: list[str]) -> None:
    program = "fconfigure stdout -encoding utf-8 -translation binary -encoding utf-8\n"
    for number, text in enumerate(texts):
        program += (
            f"proc p{number} {{}} {{\n    puts -nonewline {tcl_string(text)}\n    puts -nonewline \\0\n}}\np{number}\n"
        )
    assert _read_back([shutil.which("tclsh8.6") or ""], program) == b"".join(t.encode() + b"\0" for t in texts)
