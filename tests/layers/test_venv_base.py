"""A venv on a venv-type environment stands on the environment, and nothing is ever written through its links."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tykky.layers.installed import installed_paths, tidy
from tykky.layers.pypi import make_venv
from tykky.layers.venv_base import make_base
from tykky.process import Commands

MINOR = ".".join(map(str, sys.version_info[:2]))
SITE = f"lib/python{MINOR}/site-packages"
SHOW = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys._base_executable]))"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The skeleton of an environment, as the pypi layer has it."""
    base = subprocess.check_output([sys.executable, "-c", "import sys; print(sys._base_executable)"], text=True)
    interpreter = Path(base.strip()).resolve()
    tree = tmp_path / "tree"
    make_venv(tree, interpreter, MINOR)
    make_base(tree, interpreter, MINOR, Commands())
    (tree / SITE / "own.py").write_text("")
    return tree


def shown(python: Path) -> list[str]:
    found: list[str] = json.loads(subprocess.check_output([python, "-I", "-c", SHOW]))
    return found


def test_the_environment_is_a_venv_and_the_base_of_others(tree: Path, tmp_path: Path) -> None:
    python = tree / "bin" / "python"
    prefix, base, executable = shown(python)
    assert (prefix, executable) == (str(tree), str(python))
    assert base != prefix, "to Python, Debian and pip it is a venv"
    assert os.path.abspath(base) == prefix, "to virtualenv it is an installation"
    venv = tmp_path / "v"
    subprocess.run([python, "-m", "venv", "--without-pip", "--system-site-packages", venv], check=True)
    assert shown(venv / "bin" / "python") == [str(venv), str(tree), str(python)]
    find = "import ctypes, encodings.idna, importlib.util as u, own, sys, sysconfig; "
    text = f"{find}print(own.__file__, sysconfig.get_path('include'), u.find_spec('pytest'))"
    said = subprocess.check_output([venv / "bin" / "python", "-I", "-c", text], text=True)
    assert said.split() == [str(tree / SITE / "own.py"), str(tree / "include" / f"python{MINOR}"), "None"]


def test_where_things_are_installed_and_built(tree: Path) -> None:
    """As in any venv, and what `sysconfig` names below the base is there."""
    text = (
        "import json, sysconfig as s; print(json.dumps([s.get_path('purelib'), s.get_path('scripts'), "
        "s.get_path('include'), s.get_makefile_filename(), s.get_default_scheme()]))"
    )
    asked = subprocess.check_output([tree / "bin" / "python", "-I", "-c", text], text=True)
    purelib, scripts, include, makefile, scheme = json.loads(asked)
    assert (purelib, scripts, scheme) == (str(tree / SITE), str(tree / "bin"), "venv")
    for path in (Path(include), Path(makefile).parent):
        assert path.is_relative_to(tree)
        assert path.is_symlink()


def test_a_venv_on_a_venv_stands_on_the_environment_too(tree: Path, tmp_path: Path) -> None:
    python = tree / "bin" / "python"
    for name in ("v", "w"):
        made = tmp_path / name
        subprocess.run([python, "-m", "venv", "--without-pip", "--system-site-packages", made], check=True)
        python = made / "bin" / "python"
        assert shown(python) == [str(made), str(tree), str(tree / "bin" / "python")]


def test_others_who_read_the_pth_file_stay_as_they_are(tree: Path) -> None:
    before = f"[{SHOW.partition('([')[2].partition('])')[0]}]"
    text = f"import site, sys; a = {before}; site.addsitedir({str(tree / SITE)!r}); print(a == {before})"
    assert subprocess.check_output([sys.executable, "-I", "-c", text], text=True) == "True\n"


def test_the_links_lead_to_the_hosts_library(tree: Path) -> None:
    library = (tree / "lib" / f"python{MINOR.replace('.', '')}.zip").readlink()
    assert (library / "os.py").is_file()
    assert (tree / "lib" / f"python{MINOR}" / "os.py").readlink() == library / "os.py"
    assert (tree / "lib" / f"python{MINOR}" / "lib-dynload").is_dir()
    assert "tree" not in (tree / SITE / "_tykky_base.pth").read_text(), "it says nothing of where it was made"


def test_what_the_host_has_installed_is_neither_seen_nor_touched(tree: Path, tmp_path: Path) -> None:
    """Of an interpreter that has packages in its library's directory, a link shows those too."""
    library = tmp_path / "library"
    info = library / "site-packages" / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    record = "z.py,,\na.py,,\ntheirs-1.0.dist-info/REQUESTED,,\n"
    (info / "RECORD").write_text(record)
    (info / "REQUESTED").write_text("")
    link = tree / "lib" / f"python{MINOR.replace('.', '')}.zip"
    link.unlink()
    link.symlink_to(library)
    assert installed_paths(tree, []) == ()
    tidy(tree, "/tykky/demo", {})
    assert (info / "RECORD").read_text() == record
    assert (info / "REQUESTED").exists()


def test_headers_that_a_package_brought_stay(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    make_venv(tree, Path(sys.executable).resolve(), MINOR)
    (tree / "include" / f"python{MINOR}").mkdir(parents=True)
    (tree / "include" / f"python{MINOR}" / "theirs.h").write_text("")
    make_base(tree, Path(sys.executable).resolve(), MINOR, Commands())
    assert not (tree / "include" / f"python{MINOR}").is_symlink()
