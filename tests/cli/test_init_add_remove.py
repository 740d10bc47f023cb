"""`tykky init`, `tykky add`, `tykky remove`, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tykky.cli.boundary import run
from tykky.cli.init import name_of
from tykky.spec.read import parse_spec, read_spec

BOTH = """\
# two sources
[environment]
name = "both"

[conda.dependencies]
python = "3.12.*"  # ours
numpy = "*"

[pypi]
dependencies = [
    "numpy>=2", # why
    "cowsay",
]
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def tykky(capsys):
    """Run one command line; return exit code, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def write(text: str, name: str = "tykky.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


# --- init


def test_init_through_the_real_console(tmp_path):
    """The default Python is that of the host's python3, whichever it is."""
    program = Path(sys.executable).with_name("tykky")
    done = subprocess.run(
        [program, "init", "--name", "hello"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "wrote tykky.toml\n\nnext:\n"
        "  tykky add numpy    ask for what the environment shall hold\n"
        "  tykky lock         choose exact versions\n"
        "  tykky build        make the environment directory hello\n"
    )
    spec = read_spec(tmp_path / "tykky.toml")
    assert spec.environment.name == "hello"
    assert spec.conda is None
    assert spec.pypi is not None
    assert spec.pypi.python is not None
    assert spec.pypi.python.startswith("3.")


def test_init_writes_a_commented_spec(tykky):
    code, out, err = tykky("init", "My Project", "--python", "3.12")
    assert (code, err) == (0, "")
    assert out == (
        "wrote My Project/tykky.toml\n\nnext:\n  cd 'My Project'\n"
        "  tykky add numpy    ask for what the environment shall hold\n"
        "  tykky lock         choose exact versions\n"
        "  tykky build        make the environment directory my-project\n"
    )
    platform = read_spec(Path("My Project/tykky.toml")).environment.platforms[0]
    assert Path("My Project/tykky.toml").read_text() == (
        "#:schema https://raw.githubusercontent.com/tykky/tykky/main/schemas/tykky.schema.json\n"
        "# What this environment shall hold. 'tykky lock' chooses exact versions, 'tykky build' makes it.\n"
        "\n"
        "[environment]\n"
        'name = "my-project"  # inside, the software lives at /tykky/<name>\n'
        f'platforms = ["{platform}"]  # where it shall run: "linux-64", "linux-aarch64"\n'
        "\n"
        "[pypi]\n"
        'python = "3.12"  # a Python of the host: a minor version or an absolute path\n'
        "dependencies = [\n"
        "]\n"
        "\n"
        "# [build]\n"
        '# post-install = ["scripts/post.sh"]  # runs inside, once, when the environment is built\n'
        "\n"
        "# [runtime]\n"
        '# environ = { OMP_NUM_THREADS = "1" }\n'
    )


@pytest.mark.parametrize(
    ("words", "python"),
    [([], "3.12.*"), (["--python", "3.11"], "3.11.*"), (["--python", ">=3.11,<3.14"], ">=3.11,<3.14")],
)
def test_init_for_conda(tykky, words, python):
    assert tykky("init", "--conda", "--name", "geo", "-q", *words) == (0, "", "")
    spec = read_spec(Path("tykky.toml"))
    assert spec.pypi is None
    assert spec.conda is not None
    assert (spec.conda.channels, spec.conda.dependencies) == (("conda-forge",), {"python": python})


def test_init_writes_where_a_site_has_its_packages_from(tykky, tmp_path, monkeypatch):
    site = tmp_path / "site.toml"
    site.write_text(
        '[init]\nchannels = ["https://conda.example.org/ours", "conda-forge"]\ncompression-level = 9\n'
        'index-url = "https://pypi.example.org/simple"\nextra-index-url = ["file:///appl/wheels"]\n'
    )
    monkeypatch.setenv("TYKKY_SITE", str(site))
    assert tykky("init", "geo", "--conda", "-q") == (0, "", "")
    spec = read_spec(Path("geo/tykky.toml"))
    assert spec.conda is not None
    assert spec.conda.channels == ("https://conda.example.org/ours", "conda-forge")
    assert spec.build.compression_level == 9
    assert tykky("init", "web", "--python", "3.12", "-q") == (0, "", "")
    text = Path("web/tykky.toml").read_text()
    assert (
        'index-url = "https://pypi.example.org/simple"\nextra-index-url = ["file:///appl/wheels"]\n'
        "dependencies = [\n]\n\n[build]\ncompression-level = 9  # of zstd\n"
        '# post-install = ["scripts/post.sh"]  # runs inside, once, '
    ) in text
    assert read_spec(Path("web/tykky.toml")).build.compression_level == 9
    assert tykky("add", "--conda", "-f", "geo/tykky.toml", "numpy", "-q")[0] == 0, "it can be edited like any other"


def test_the_commented_examples_of_a_new_spec_are_right_too(tykky):
    tykky("init", "--name", "a", "--python", "3.12")
    text = Path("tykky.toml").read_text().replace("# [", "[").replace("# post", "post").replace("# environ", "environ")
    spec = parse_spec(text)
    assert spec.build.post_install == ("scripts/post.sh",)
    assert spec.runtime.environ == {"OMP_NUM_THREADS": "1"}


def test_init_as_json(tykky):
    code, out, err = tykky("init", "--name", "hello", "--python", "/usr/bin/python3", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"spec": "tykky.toml", "name": "hello", "prefix": "/tykky/hello"}


@pytest.mark.parametrize("kind", ["file", "dangling-link"])
def test_init_never_overwrites(tykky, kind):
    if kind == "file":
        write("mine")
    else:
        os.symlink("nowhere", "tykky.toml")
    assert tykky("init") == (
        2,
        "",
        "error: tykky.toml exists already\n\nhint: change it with 'tykky add', 'tykky remove' or an editor\n",
    )
    assert kind != "file" or Path("tykky.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--name", "My_Env"],
            "--name: 'My_Env' is not allowed: use lower case letters, digits and hyphens, "
            "with a letter or digit first and last",
        ),
        (["--name", 'a"\nb'], "--name: 'a\"\\nb' is not allowed: use lower case letters, digits and hyphens, "
         "with a letter or digit first and last"),
        (["--name", "a" * 64], "--name: is 64 characters long, at most 63 are allowed"),
        (
            ["--name", "a", "--python", "3.12.1"],
            "--python: '3.12.1' is neither a minor version such as '3.12' nor an absolute path",
        ),
        (["--name", "a", "--conda", "--python", "3..1"], "--python: '3..1' is not a conda version"),
    ],
)  # fmt: skip
def test_init_refuses_values_that_the_spec_does_not_take(tykky, words, said):
    assert tykky("init", *words) == (2, "", f"error: {said}\n")
    assert not Path("tykky.toml").exists()


def test_init_wants_one_source(tykky):
    code, out, err = tykky("init", "--conda", "--pypi")
    assert (code, out) == (2, "")
    assert "--conda and --pypi exclude each other" in err


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("climate", "climate"),
        ("Häme Ö_2", "hame-o-2"),
        ("--x--", "x"),
        ("環境", "environment"),
        ("", "environment"),
        ("a" * 62 + ".b", "a" * 62),
    ],
)
def test_a_directory_gives_a_valid_name(directory, name):
    assert name_of(directory) == name
    parse_spec(f'[environment]\nname = "{name}"\n')


# --- add


def test_add_to_a_new_spec_and_remove_again(tykky):
    tykky("init", "--name", "hello", "--python", "3.12")
    before = Path("tykky.toml").read_bytes()
    assert tykky("add", "numpy", "scipy >=1.14", "./my-package[plot]") == (
        0,
        "added numpy, scipy >=1.14, ./my-package[plot] to [pypi] of tykky.toml\nnext: tykky lock\n",
        "",
    )
    spec = read_spec(Path("tykky.toml"))
    assert spec.pypi is not None
    assert spec.pypi.dependencies == ("numpy", "scipy >=1.14", "./my-package[plot]")
    assert tykky("remove", "NumPy", "scipy", "./mypackage") == (
        3,
        "",
        "error: tykky.toml: ./mypackage is not asked for (did you mean './my-package'?)\n\nhint: nothing was written\n",
    )
    assert tykky("remove", "NumPy", "scipy", "./my-package/") == (
        0,
        "removed NumPy, scipy, ./my-package/ from [pypi] of tykky.toml\nnext: tykky lock\n",
        "",
    )
    assert Path("tykky.toml").read_bytes() == before


def test_add_where_both_tables_are_goes_to_pypi_and_says_so(tykky):
    write(BOTH)
    assert tykky("add", "xarray") == (
        0,
        "added xarray to [pypi] of tykky.toml\nthe spec has [conda] and [pypi]; --conda adds to the other\n"
        "next: tykky lock\n",
        "",
    )
    assert Path("tykky.toml").read_text() == BOTH.replace('    "cowsay",\n', '    "cowsay",\n    "xarray",\n')


def test_add_to_conda(tykky):
    write(BOTH)
    assert tykky("add", "--conda", "gdal>=3.9", "conda-forge::hdf5 1.14.* mpi_*", "numpy=2.1") == (
        0,
        "added gdal>=3.9, conda-forge::hdf5 1.14.* mpi_*, numpy=2.1 to [conda] of tykky.toml\nnext: tykky lock\n",
        "",
    )
    assert Path("tykky.toml").read_text() == BOTH.replace(
        'numpy = "*"\n',
        'numpy = "2.1.*"\ngdal = ">=3.9"\nhdf5 = {version = "1.14.*", build = "mpi_*", channel = "conda-forge"}\n',
    )


def test_add_goes_to_conda_where_that_is_all_there_is(tykky):
    write('[environment]\nname = "a"\n\n[conda.dependencies]\npython = "3.12.*"\n')
    assert tykky("add", "gdal", "-q") == (0, "", "")
    assert Path("tykky.toml").read_text().endswith('[conda.dependencies]\npython = "3.12.*"\ngdal = "*"\n')


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("gdal", '"*"'),
        ("gdal=3.9", '"3.9.*"'),
        ("gdal=3.9.*", '"3.9.*"'),
        ("gdal==3.9.2", '"==3.9.2"'),
        ("gdal >=3.9,<4", '">=3.9,<4"'),
        ("gdal >= 3.9, < 4 | 5.*", '">=3.9,<4|5.*"'),
        ("gdal 3.9.*", '"3.9.*"'),
        ("gdal!=3.9.1", '"!=3.9.1"'),
        ("gdal * *mpi*", '{build = "*mpi*"}'),
        ("bioconda::gdal", '{channel = "bioconda"}'),
        ("https://conda.example.org/x::gdal>1", '{version = ">1", channel = "https://conda.example.org/x"}'),
    ],
)
def test_ways_to_type_a_conda_requirement(tykky, typed, written):
    write('[environment]\nname = "a"\n[conda.dependencies]\n')
    assert tykky("add", "-q", typed) == (0, "", "")
    assert Path("tykky.toml").read_text() == f'[environment]\nname = "a"\n[conda.dependencies]\ngdal = {written}\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["numpy 2.1"], "'numpy 2.1' is not a requirement: write an operator before the version: numpy==2.1"),
        (["numpy", "pillow=11"], "'pillow=11' is not a requirement: write '==11' for exactly this version"),
        (["--", "-e ./x"], "'-e ./x' is not a requirement: options of pip do not belong here"),
        (["--conda", "gdal>="], "'gdal>=' is not a conda requirement: a version is missing after '>='"),
        (["--conda", "gdal ^3"], "'gdal ^3' is not a conda requirement such as 'gdal' or 'gdal>=3.9'"),
        (
            ["--conda", "é"],
            "'é' is not a conda requirement: a conda package's name has letters, digits, '.', '_' and '-'",
        ),
        (["--conda", ""], "'' is not a conda requirement such as 'gdal' or 'gdal>=3.9'"),
    ],
)  # fmt: skip
def test_add_refuses_what_is_no_requirement_and_writes_nothing(tykky, words, said):
    write(BOTH)
    assert tykky("add", *words) == (2, "", f"error: {said}\n")
    assert Path("tykky.toml").read_text() == BOTH


def test_add_refuses_what_would_make_the_spec_wrong(tykky):
    text = '[environment]\nname = "a"\n\n[pypi]\npython = "3.12"\n'
    write(text)
    assert tykky("add", "--conda", "python") == (
        3,
        "",
        "error: tykky.toml:5: pypi.python: Python comes from [conda] already (conda.dependencies.python, line 8); "
        "keep one of them\n\nhint: nothing was written\n",
    )
    assert Path("tykky.toml").read_text() == text


def test_add_what_is_there_already_writes_nothing(tykky):
    path = write(BOTH)
    before = path.stat()
    assert tykky("add", "cowsay", "numpy>=2") == (0, "cowsay, numpy>=2 stands in [pypi] of tykky.toml already\n", "")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_add_as_json(tykky):
    write(BOTH, "other.toml")
    code, out, err = tykky("add", "-f", "other.toml", "--json", "xarray")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"spec": "other.toml", "table": "pypi", "requirements": ["xarray"], "written": True}


def test_an_error_as_json(tykky):
    write(BOTH)
    code, out, err = tykky("remove", "cowsey", "--json")
    assert (code, err) == (3, "")
    assert json.loads(out) == {
        "error": "SpecError",
        "reason": "tykky.toml: cowsey is not asked for (did you mean 'cowsay'?)",
        "hint": "nothing was written",
        "output": None,
        "exit-code": 3,
    }


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_a_spec_that_is_not_there_or_not_in_order(tykky, verb):
    assert tykky(verb, "numpy") == (
        3,
        "",
        "error: tykky.toml: no such file\n\nhint: make one with 'tykky init'\n",
    )
    write('[environment]\nnmae = "a"\n')
    assert tykky(verb, "numpy") == (
        3,
        "",
        "error: tykky.toml:1: environment.name: this key is missing\n"
        "tykky.toml:2: environment.nmae: unknown key (did you mean 'name'?)\n",
    )


# --- remove


def test_remove_takes_a_package_out_of_both_tables(tykky):
    write(BOTH)
    assert tykky("remove", "NUMPY", "cowsay") == (
        0,
        "removed NUMPY from [conda] of tykky.toml\nremoved NUMPY, cowsay from [pypi] of tykky.toml\nnext: tykky lock\n",
        "",
    )
    assert Path("tykky.toml").read_text() == BOTH.replace('numpy = "*"\n', "").replace(
        '    "numpy>=2", # why\n    "cowsay",\n', ""
    )


@pytest.mark.parametrize(("flag", "kept"), [("--conda", '"numpy>=2", # why'), ("--pypi", 'numpy = "*"')])
def test_remove_from_one_table(tykky, flag, kept):
    write(BOTH)
    assert tykky("remove", "-q", flag, "numpy") == (0, "", "")
    text = Path("tykky.toml").read_text()
    assert text.count("numpy") == 1
    assert kept in text


def test_remove_names_all_that_are_unknown_and_writes_nothing(tykky):
    write(BOTH)
    assert tykky("remove", "cowsay", "pyton", "zzz") == (
        3,
        "",
        "error: tykky.toml: pyton is not asked for (did you mean 'python'?)\n"
        "tykky.toml: zzz is not asked for\n\nhint: nothing was written\n",
    )
    assert Path("tykky.toml").read_text() == BOTH


def test_remove_as_json(tykky):
    write(BOTH)
    code, out, err = tykky("remove", "numpy", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"spec": "tykky.toml", "conda": ["numpy"], "pypi": ["numpy"]}


def test_an_edit_follows_a_symbolic_link(tykky):
    write(BOTH)
    Path("sub").mkdir()
    os.symlink("../tykky.toml", "sub/tykky.toml")
    assert tykky("add", "-q", "-f", "sub/tykky.toml", "xarray") == (0, "", "")
    assert Path("sub/tykky.toml").is_symlink()
    assert "xarray" in Path("tykky.toml").read_text()


def test_add_and_remove_through_the_real_console(tmp_path):
    write(BOTH)
    program = Path(sys.executable).with_name("tykky")
    for verb in ("add", "remove"):
        done = subprocess.run([program, verb, "xarray"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert Path("tykky.toml").read_text() == BOTH
