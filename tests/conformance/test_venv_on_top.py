"""A venv made with `P/bin/python` stands on the environment as on any installation, whichever tool made it."""

from __future__ import annotations

import json
import shutil
import sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conformance.conftest import Bench
from tests.conformance.lab import Lab, lab, labs
from tests.conformance.stage import host_python
from tests.conformance.test_running_jobs import switch
from tests.wheelmaker import make_wheel

__all__ = ["lab", "labs"]

SAMPLED = True

KINDS = pytest.mark.parametrize("kind", ["venv", "conda"])
WHO = "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix]))"
THING = "import thing; print(thing.where)"
ALONE = "--no-periodic-update"  # otherwise virtualenv looks for newer wheels, in the background and after its end


@pytest.fixture
def uv(bench: Bench) -> str:
    """uv, as a program of the host's that the case's user can start."""
    found = shutil.which("uv", path=sysconfig.get_path("scripts"))
    if found is None or bench.run(found, "--version", check=False).returncode != 0:
        pytest.skip("no uv that this user can start")
    return found


@pytest.fixture(scope="session")
def virtualenv(ground: Path) -> Path:
    """virtualenv, with what it needs, as a directory that any Python can run; conda-lock brings it."""
    made = ground / "virtualenv"
    needed = ["virtualenv"]
    for name in needed:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            pytest.skip(f"there is no {name} with what runs the tests")
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (made / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), made / file)
        wanted = [Requirement(line) for line in found.requires or ()]
        needed += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    (made / "__main__.py").write_text("from virtualenv.__main__ import run_with_catch\nrun_with_catch()\n")
    return made


def who(bench: Bench, python: Path) -> list[str]:
    found: list[str] = json.loads(bench.run(python, "-c", WHO).stdout)
    return found


def home(venv: Path) -> str:
    """Return where a venv's pyvenv.cfg says that its interpreter is."""
    lines = (line.partition("=") for line in (venv / "pyvenv.cfg").read_text().splitlines())
    return next(value.strip() for key, _, value in lines if key.strip() == "home")


def test_python_m_venv(bench: Bench, kind: str):
    place = bench.environment(kind=kind)
    venv = bench.place / "v"
    bench.run(place / "bin" / "python", "-m", "venv", "--without-pip", venv)
    python = venv / "bin" / "python"
    assert home(venv) == str(place / "bin")
    assert (python.is_symlink(), python.resolve()) == (True, place / "bin" / "python")
    assert who(bench, python) == [str(python), str(venv), str(place)]
    # Nothing of the environment's but its interpreter and standard library is to be seen.
    text = "import ctypes, encodings.idna, importlib.util as u, multiprocessing.pool; print(u.find_spec('thing'))"
    assert bench.run(python, "-c", text).stdout == "None\n"
    # The same for who is inside already.
    inside = f"import subprocess; subprocess.run([{str(python)!r}, '-c', {WHO!r}], check=True)"
    assert json.loads(bench.run(place / "bin" / "python", "-c", inside).stdout) == [str(python), str(venv), str(place)]


def test_python_m_venv_with_its_pip(bench: Bench, kind: str):
    """As people type it, where the interpreter has ensurepip."""
    place = bench.environment(kind=kind)
    if bench.run(place / "bin" / "python", "-c", "import ensurepip", check=False).returncode != 0:
        pytest.skip("this interpreter has no ensurepip (in Debian, python3-venv brings it)")
    venv = bench.place / "v"
    bench.run(place / "bin" / "python", "-m", "venv", venv)
    said = bench.run(venv / "bin" / "pip", "--version").stdout
    assert said.startswith("pip ") and f"from {venv}/lib/" in said
    bench.run(venv / "bin" / "pip", "install", "--no-index", "--disable-pip-version-check", own_wheel(bench))
    assert "own" in bench.run(venv / "bin" / "python", "-m", "pip", "list", "--disable-pip-version-check").stdout
    bench.run(place / "bin" / "python", "-m", "venv", "--system-site-packages", "--without-pip", "--upgrade", venv)
    assert bench.run(venv / "bin" / "own", "a b").stdout == f"{venv}/bin/python middle ['a b']\n"


@KINDS
def test_the_environments_packages_in_it(bench: Bench, kind: str):
    """With --system-site-packages it shows the environment's packages, behind its own, and none of the host's."""
    place = bench.environment(kind=kind)
    venv = bench.place / "v"
    bench.run(place / "bin" / "python", "-m", "venv", "--without-pip", "--system-site-packages", venv)
    python = venv / "bin" / "python"
    assert bench.run(python, "-c", THING).stdout == "middle\n"
    text = "import json, sys, sysconfig; print(json.dumps([sys.path, sysconfig.get_path('include')]))"
    path, include = json.loads(bench.run(python, "-c", text).stdout)
    packages = [entry for entry in path if entry.endswith("-packages")]
    assert [entry.partition("/lib/")[0] for entry in packages] == [str(venv), str(place)]
    assert include.startswith(f"{place}/include/")
    (Path(packages[0]) / "thing.py").write_text("where = 'the venv'\n")
    assert bench.run(python, "-c", THING).stdout == "the venv\n"
    assert bench.run(place / "bin" / "python", "-c", THING).stdout == "middle\n"


@KINDS
def test_it_moves_along_with_an_update(bench: Bench, kind: str):
    place = bench.environment(kind=kind)
    venv = bench.place / "v"
    bench.run(place / "bin" / "python", "-m", "venv", "--without-pip", "--system-site-packages", venv)
    assert bench.run(venv / "bin" / "python", "-c", THING).stdout == "middle\n"
    switch(bench, place, 2, layers=1)
    assert bench.run(venv / "bin" / "python", "-c", THING).stdout == "bottom\n"
    assert who(bench, venv / "bin" / "python") == [str(venv / "bin" / "python"), str(venv), str(place)]


def test_uv_venv_and_a_package_in_it(bench: Bench, uv: str, kind: str):
    """uv, outside: a venv, a wheel with a console script in it."""
    place = bench.environment("with space" if kind == "venv" else "P", kind)
    venv = bench.place / "v"
    wheel = own_wheel(bench)
    options = ("--offline", "--no-config", "--cache-dir", bench.place / "cache")
    bench.run(uv, "venv", *options, "--python", place / "bin" / "python", "--system-site-packages", venv)
    bench.run(uv, "pip", "install", *options, "--python", venv / "bin" / "python", wheel)
    check_use(bench, place, venv)
    switch(bench, place, 2, layers=1)
    said = bench.run(venv / "bin" / "own").stdout
    assert said == f"{venv}/bin/python bottom []\n"


def test_virtualenv_and_a_package_in_it(bench: Bench, virtualenv: Path, kind: str):
    """virtualenv of the host, and of the environment: pip in it installs a wheel with a console script."""
    place = bench.environment("with space" if kind == "venv" else "P", kind)
    wheel = own_wheel(bench)
    bare = bench.place / "bare"
    bench.run(host_python(), virtualenv, ALONE, "--no-seed", "--python", place / "bin" / "python", bare)
    assert who(bench, bare / "bin" / "python") == [str(bare / "bin" / "python"), str(bare), str(place)]
    assert bench.run(bare / "bin" / "python", "-c", "import thing", check=False).returncode == 1

    venv = bench.place / "v"
    bench.run(place / "bin" / "python", virtualenv, ALONE, "--system-site-packages", "--no-setuptools", venv)
    bench.run(venv / "bin" / "pip", "install", "--no-index", "--disable-pip-version-check", wheel)
    check_use(bench, place, venv)

    on_top = bench.place / "w"
    options = (ALONE, "--no-seed", "--system-site-packages")
    bench.run(host_python(), virtualenv, *options, "--python", venv / "bin" / "python", on_top)
    assert who(bench, on_top / "bin" / "python") == [str(on_top / "bin" / "python"), str(on_top), str(place)]
    switch(bench, place, 2, layers=1)
    for made in (venv, on_top):
        assert bench.run(made / "bin" / "python", "-c", THING).stdout == "bottom\n"


@pytest.mark.workflows
@pytest.mark.network
@pytest.mark.timeout(600)
def test_virtualenv_as_a_package_of_the_environment(lab: Lab):
    """The newest one from PyPI, called by its launcher, in an environment that `tykky build` made."""
    venv = lab.bench.place / "v"
    lab.run(lab.program("virtualenv"), ALONE, "--system-site-packages", venv)
    python = venv / "bin" / "python"
    text = f"{WHO}; import matplotlib, pip; print(json.dumps([matplotlib.__file__, pip.__file__]))"
    known, files = map(json.loads, lab.run(python, "-c", text).stdout.splitlines())
    assert known == [str(python), str(venv), str(lab.place)]
    assert [file.partition("/lib/")[0] for file in files] == [str(lab.place), str(venv)]
    assert lab.run(venv / "bin" / "pip", "--version").stdout.split()[3].startswith(str(venv))


def own_wheel(bench: Bench) -> Path:
    """Return a wheel of the user's, whose console script says where it runs and what of the environment it sees."""
    files = {"own/__init__.py": "import sys, thing\ndef main(): print(sys.executable, thing.where, sys.argv[1:])\n"}
    wheel = make_wheel(
        bench.place / "wheels", "own", "1.0", files=files, entry_points={"console_scripts": {"own": "own:main"}}
    )
    bench.case.own(bench.place)
    return wheel


def check_use(bench: Bench, place: Path, venv: Path) -> None:
    """See that a venv that shows the environment, with `own_wheel` in it, works: inside, activated, its children."""
    python = venv / "bin" / "python"
    assert home(venv) == str(place / "bin")
    assert who(bench, python) == [str(python), str(venv), str(place)]
    said = f"{python} middle ['a b']\n"
    script = venv / "bin" / "own"
    assert bench.run(script, "a b").stdout == said
    inside = f"import subprocess; subprocess.run([{str(script)!r}, 'a b'], check=True)"
    assert bench.run(place / "bin" / "python", "-c", inside).stdout == said
    activated = f". '{venv}/bin/activate' && own 'a b' && deactivate && ! command -v own"
    assert bench.run("/bin/bash", "-c", activated).stdout == said

    spawn = bench.place / "spawn.py"
    spawn.write_text(
        "import multiprocessing, sys\n"
        "def where(_):\n    import thing\n    return [thing.where, sys.executable, sys.prefix]\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(where, [0])[0])\n"
    )
    assert bench.run(python, spawn).stdout == f"{['middle', str(python), str(venv)]}\n"
