"""What only uv's adapter has: other platforms, its argument list, its reports."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from tests.resolve.pypi_asking import PLATFORM, PYTHON, UV, Asking, private_home, versions
from tests.resolve.pypi_index import Index
from tests.wheelmaker import make_project, make_sdist, make_wheel
from tykky.access import Access
from tykky.digests import file_sha256
from tykky.errors import FetchError, ResolveError, ToolError
from tykky.lock.model import Package
from tykky.process import Commands
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.preferences import preferences
from tykky.resolve.pypi.question import Question, write_question
from tykky.resolve.pypi.target import Target
from tykky.resolve.pypi.trouble import Asked
from tykky.resolve.pypi.uv import UvResolver, compile_arguments
from tykky.resolve.pypi.uv_answer import Graph, read_answer
from tykky.resolve.pypi.uv_report import UvReport, read_uv_report
from tykky.resolve.pypi.uv_trouble import uv_error


@pytest.fixture
def ask(tmp_path: Path, pypi_index: Index, monkeypatch: pytest.MonkeyPatch) -> Asking:
    private_home(tmp_path, monkeypatch)
    return Asking("uv", tmp_path, pypi_index.url)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return tmp_path / "made"


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
@pytest.mark.parametrize("python", ["3.12", "3.13.5"])
def test_any_platform_and_python_without_its_interpreter(
    ask: Asking, pypi_index: Index, made: Path, platform: str, python: str
) -> None:
    for minor in ("312", "313"):
        for machine in ("x86_64", "aarch64"):
            tag = f"cp{minor}-cp{minor}-manylinux_2_28_{machine}"
            pypi_index.add(
                make_wheel(made, "fast", "1.0", tag=tag, requires=[f"only-{machine}; platform_machine=='{machine}'"])
            )
    for machine in ("x86_64", "aarch64"):
        pypi_index.add(make_wheel(made, f"only-{machine.replace('_', '-')}", "1.0"))
    packages = ask("fast", platform=platform, python=python, interpreter=None)
    machine = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}[platform]
    tag = f"cp{''.join(python.split('.')[:2])}"
    assert [p.platform for p in packages] == [platform, platform]
    assert (packages[0].url or "").endswith(f"fast-1.0-{tag}-{tag}-manylinux_2_28_{machine}.whl")
    assert packages[1].name == f"only-{machine.replace('_', '-')}"
    assert ask.notebook.warnings == []


def test_a_wheel_for_a_newer_glibc_is_not_taken(ask: Asking, pypi_index: Index, made: Path) -> None:
    for version, glibc in (("1.0", "17"), ("2.0", "28"), ("3.0", "34")):
        tag = f"cp311-cp311-manylinux_2_{glibc}_x86_64"
        pypi_index.add(make_wheel(made, "fast", version, tag=tag))
    found = {
        glibc: versions(ask("fast", platform="linux-64", python="3.11", glibc=glibc))["fast"]
        for glibc in ("2.17", "2.27", "2.28", "2.33", "2.39", "2.45")
    }
    assert found == {"2.17": "1.0", "2.27": "1.0", "2.28": "2.0", "2.33": "2.0", "2.39": "3.0", "2.45": "3.0"}


def test_metadata_from_another_python_is_said(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_sdist(made, "source", "1.0"))
    ask("source", python="3.14", interpreter=None)
    assert ask.notebook.warnings == [
        f"metadata of source was asked of Python {PYTHON}, for want of a Python 3.14 on this host"
    ]


def test_an_index_without_sha256(ask: Asking, pypi_index: Index, made: Path) -> None:
    wheel = make_wheel(made, "leaf", "1.0")
    pypi_index.add(wheel, hashes={"sha512": hashlib.sha512(wheel.read_bytes()).hexdigest()})
    (package,) = ask("leaf")
    assert (package.sha256, package.size) == (file_sha256(wheel), wheel.stat().st_size)


def test_an_editable_source_of_a_local_project_is_refused(ask: Asking) -> None:
    inner = make_project(ask.base / "inner", "inner", "1.0")
    with (inner / "pyproject.toml").open("a") as file:
        file.write('\n[project]\nname = "inner"\nversion = "1.0"\n')
    outer = make_project(ask.base / "outer", "outer", "1.0", requires=["inner"])
    with (outer / "pyproject.toml").open("a") as file:
        file.write('\n[project]\nname = "outer"\nversion = "1.0"\ndependencies = ["inner"]\n')
        file.write('\n[tool.uv.sources]\ninner = { path = "../inner", editable = true }\n')
    with pytest.raises(ResolveError) as caught:
        ask("./outer")
    assert str(caught.value) == (
        f"{ask.base}/inner is to be installed editable, which an image cannot do: it is read-only"
    )
    assert caught.value.hint == "remove 'editable' from [tool.uv.sources] of the project that asks for it"


def test_uv_reads_no_file_of_the_question_before_all_of_it_is_there(
    ask: Asking, pypi_index: Index, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "2.0", "3.0"):
        pypi_index.add(make_wheel(made, "leaf", version))
        pypi_index.add(make_wheel(made, "other", version))
    pypi_index.add(make_wheel(made, "top", "1.0", requires=["leaf>=3", "other"]))
    locked = Package(name="other", version="2.0", kind="pypi", platform=PLATFORM, source="wheel")

    def late(*given: Any) -> Question:
        time.sleep(0.5)  # it was ready, and waits
        return write_question(*given)

    monkeypatch.setattr("tykky.resolve.pypi.question.write_question", late)
    packages = ask("top", constraints=("leaf<3",), overrides=("leaf",), preferred=(locked,))
    assert versions(packages) == {"leaf": "2.0", "other": "2.0", "top": "1.0"}


def test_the_versions_of_the_lock_are_written_for_uv(tmp_path: Path) -> None:
    def package(name: str, **more: object) -> Package:
        fields = {"name": name, "version": "1.0", "kind": "pypi", "platform": "linux-64", "source": "wheel", **more}
        return Package(**fields)  # type: ignore[arg-type]

    request = PypiRequest(
        platform="linux-64",
        python="3.12",
        base=tmp_path,
        requirements=("repo @ git+https://me:secret@example.org/repo@v1",),
        preferred=(
            package("leaf"),
            package("other", platform="linux-aarch64"),
            package("conda-one", kind="conda"),
            package("here", source="directory", path="here", tree="x"),
            package("repo", source="git", url="git+https://example.org/repo", commit="c" * 40, subdirectory="python"),
        ),
    )
    access = Access(tmp_path, mirrors={"https://example.org": "https://mirror"})
    assert preferences(request, access) == (
        'lock-version = "1.0"\ncreated-by = "tykky"\n\n'
        '[[packages]]\nname = "leaf"\nversion = "1.0"\n\n'
        '[[packages]]\nname = "repo"\nversion = "1.0"\n\n'
        '[packages.vcs]\ntype = "git"\nurl = "https://mirror/repo"\n'
        f'commit-id = "{"c" * 40}"\nrequested-revision = "v1"\nsubdirectory = "python"\n'
    )


def test_the_arguments(tmp_path: Path) -> None:
    request = PypiRequest(
        platform="linux-aarch64",
        python="3.12",
        base=tmp_path,
        requirements=("leaf",),
        interpreter=Path("/usr/bin/python3.12"),
        constraints=("leaf<2",),
        overrides=("leaf==1",),
        index_url="https://me:secret@index/simple",
        prerelease="allow",
        no_binary=("aa", ":all:"),
        only_binary=("bb",),
        no_build_isolation=("cc",),
        config_settings={"dd": {"x": ("1", "2")}, "cc": {"mpi": "a b"}},
        exclude_newer="2026-11-01",
        glibc="2.34",
    )
    target = Target(request.platform, request.python, request.glibc)
    assert compile_arguments(request, target, Access(Path("/cache"), offline=True)) == [
        "pip",
        "compile",
        "--no-config",
        "--no-python-downloads",
        "--python=/usr/bin/python3.12",
        "--python-version=3.12",
        "--cache-dir=/cache/uv",
        "--color=never",
        "--keyring-provider=disabled",
        "--constraints=constraints.txt",
        "--overrides=overrides.txt",
        "--prerelease=allow",
        "--python-platform=aarch64-manylinux_2_34",
        "--exclude-newer=2026-11-02T00:00:00Z",
        "--no-binary=aa",
        "--no-binary=:all:",
        "--only-binary=bb",
        "--no-build-isolation-package=cc",
        "--config-settings-package=cc:mpi=a b",
        "--config-settings-package=dd:x=1",
        "--config-settings-package=dd:x=2",
        "--offline",
    ]


def test_settings_reach_a_backend_that_is_asked_for_metadata(ask: Asking, pypi_index: Index, made: Path) -> None:
    pypi_index.add(make_sdist(made, "source", "1.0", build_requires=["nosuch-builder"]))
    with pytest.raises((FetchError, ResolveError)):
        ask("source")
    settings = {"source": {"mpi": "on"}}
    assert versions(ask("source", no_build_isolation=("source",), config_settings=settings)) == {"source": "1.0"}


def test_something_else_is_not_uv() -> None:
    with pytest.raises(ToolError) as caught:
        UvResolver(Access(Path("/nowhere")), Path("/bin/echo"), Commands()).identify()
    assert str(caught.value) == "/bin/echo is not uv"


def test_uv_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        UvResolver(Access(tmp_path), tmp_path / "uv", Commands()).identify()
    assert str(caught.value) == f"{tmp_path}/uv cannot be started: No such file or directory"


# Reports


NEW = """\
warning: The package `a==2.0` does not have an extra named `foo`
Resolved 3 packages in 2ms
error: No solution found when resolving dependencies
  cause: Because only a<2 is available
         and you require a>2, we can conclude that your requirements are unsatisfiable.

hint: Pre-releases are available for `a` in the requested range (e.g., 3.0rc1), but pre-releases weren't enabled \
(try: `--prerelease=allow`)
"""
OLD = """\
\x1b[31m  \N{MULTIPLICATION SIGN}\x1b[0m No solution found when resolving dependencies:
  \N{BOX DRAWINGS LIGHT ARC UP AND RIGHT}─▶ Because only a<2 is available
      and you require a>2, we can conclude that your requirements are unsatisfiable.

      hint: An index URL (https://me:secret@index/simple) could not be queried due to a lack of valid authentication \
credentials (401 Unauthorized).
"""


def test_a_report_is_taken_apart() -> None:
    report = read_uv_report(NEW)
    assert report.error == "No solution found when resolving dependencies"
    assert report.causes == (
        "Because only a<2 is available\nand you require a>2, we can conclude that your requirements are unsatisfiable.",
    )
    assert len(report.hints) == 1
    assert report.warnings == ("The package `a==2.0` does not have an extra named `foo`",)


def test_a_report_of_an_older_uv_is_taken_apart_and_has_no_credentials() -> None:
    report = read_uv_report(OLD)
    assert report.error == "No solution found when resolving dependencies"
    assert report.causes == read_uv_report(NEW).causes
    assert report.hints[0].startswith("An index URL (https://***@index/simple) could not be queried")


def asked(*requirements: str) -> Asked:
    request = PypiRequest(platform="linux-64", python="3.12", base=Path("/"), requirements=requirements)
    return Asked(request, Access(Path("/cache")), environ={})


def test_a_pre_release_is_proposed_in_words_of_the_spec() -> None:
    error = uv_error(read_uv_report(NEW), asked("a>2"))
    assert error.hint == (
        "pre-releases are available for `a` in the requested range (e.g., 3.0rc1), but pre-releases weren't enabled: "
        'set prerelease = "allow" in [pypi]'
    )


def test_a_long_explanation_keeps_its_beginning_and_its_end() -> None:
    lines = [f"And because a=={number} depends on b" for number in range(40)]
    report = UvReport("No solution found when resolving dependencies", ("\n".join(lines),))
    output = (uv_error(report, asked("a")).output or "").splitlines()
    assert len(output) == 15
    assert output[0] == lines[0]
    assert output[12:] == ["… 26 more lines …", *lines[-2:]]


def test_retries_are_counted() -> None:
    report = UvReport(
        "Request failed after 3 retries in 8.8s",
        ("Failed to fetch: https://index/a/", "tcp connect error", "Connection refused (os error 111)"),
    )
    assert str(uv_error(report, asked("a"))) == (
        "https://index/a/ cannot be reached: the connection was refused (4 tries)"
    )


def test_what_is_not_known_is_passed_on() -> None:
    error = uv_error(UvReport("The moon is full", ("it is late",)), asked("a"))
    assert (str(error), error.output) == ("uv: the moon is full", "it is late")


def test_the_named_packages_must_be_whole_names() -> None:
    report = UvReport("No solution found when resolving dependencies", ("Because you require a-b>1 and c.d<1, …",))
    assert str(uv_error(report, asked("a", "b", "A_B>1", "c", "d"))) == (
        "no PyPI packages for linux-64 with Python 3.12 satisfy the requirements: 'A_B>1'"
    )


def test_uv_is_the_installed_one() -> None:
    assert UV.is_file()


@pytest.mark.parametrize(("second", "told"), [("size = 7, ", True), ("", False)])
def test_sizes_are_taken_from_an_index_that_tells_all_of_them_or_not_at_all(
    tmp_path: Path, second: str, told: bool
) -> None:
    """Otherwise the lock would have other bytes on each run: uv knows the sizes of what it happened to read."""
    pylock = f"""
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "a"
version = "1"
wheels = [
    {{ url = "https://x/a-1-py3-none-any.whl", size = 5, hashes = {{ sha256 = "{"a" * 64}" }} }},
    {{ url = "https://x/a-1-cp311-cp311-linux_x86_64.whl", {second}hashes = {{ sha256 = "{"b" * 64}" }} }},
]
"""
    target = Target("linux-64", "3.11", "2.28")
    assert read_answer(pylock, tmp_path, target, ()).sizes_told is told


def test_the_graph_of_the_log_is_that_of_the_comments(
    ask: Asking, pypi_index: Index, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pypi_index.add(make_wheel(made, "Upper.Name", "1.0", requires=["lower-name[more]>=1", "leaf"]))
    pypi_index.add(make_wheel(made, "lower_name", "2.0", extras={"more": ["leaf"]}))
    pypi_index.add(make_wheel(made, "leaf", "1.0"))
    packages = ask("upper-name")
    assert [(p.name, p.depends) for p in packages] == [
        ("leaf", ()),
        ("lower-name", ("leaf",)),
        ("upper-name", ("leaf", "lower-name")),
    ]
    monkeypatch.setattr(Graph, "tells", lambda *_: False)  # as with a uv that logs in other words
    assert ask("upper-name") == packages
