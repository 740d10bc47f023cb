"""Requirements as they are typed become lines that a resolver can read from another directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.version import Version

from tests.wheelmaker import make_project, make_wheel
from tykky.access import Access
from tykky.errors import ResolveError
from tykky.lock.model import Package
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.annotations import direct_dependencies, requirement_blocks
from tykky.resolve.pypi.provided import marked_version, write_stubs
from tykky.resolve.pypi.question import cutoff, git_reference, parse_line, pin_references, write_question
from tykky.resolve.pypi.target import Target
from tykky.resolve.pypi.urls import expanded, recorded_path, redacted, without_credentials


@pytest.fixture
def base(tmp_path: Path) -> Path:
    make_project(tmp_path / "lib", "lib", "1.0")
    make_project(tmp_path / "my lib", "my-lib", "1.0")
    make_wheel(tmp_path / "dist", "w", "1.0")
    return tmp_path


ACCESS = Access(Path("/cache"), mirrors={"https://example.org/": "https://mirror/example/"})


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("numpy>=2 ; python_version > '3'", "numpy>=2 ; python_version > '3'"),
        ("  numpy  ", "numpy"),
        ("./lib", "{base}/lib"),
        ("lib/", "{base}/lib"),
        ("./my lib[x,y]", "{base}/my%20lib[x,y]"),
        ("./lib ; sys_platform == 'linux'", "{base}/lib ; sys_platform == 'linux'"),
        ("dist/w-1.0-py3-none-any.whl", "{base}/dist/w-1.0-py3-none-any.whl"),
        ("lib @ ./lib", "lib @ {base}/lib"),
        ("lib[x] @ file://{path}/my%20lib", "lib[x] @ {base}/my%20lib"),
        ("https://example.org/a/w-1.0-py3-none-any.whl", "https://mirror/example/a/w-1.0-py3-none-any.whl"),
        ("w @ https://example.org/w.whl", "w @ https://mirror/example/w.whl"),
        ("w @ git+https://example.org/w@v1#subdirectory=x", "w @ git+https://mirror/example/w@v1#subdirectory=x"),
        ("git+ssh://git@host/w.git@main", "git+ssh://git@host/w.git@main"),
    ],
)
def test_a_requirement_becomes_a_line(base: Path, typed: str, line: str) -> None:
    found = parse_line(typed.replace("{path}", str(base)), base, ACCESS)
    assert found.text == line.replace("{base}", base.as_uri())


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("--pre", "'--pre' is an option, not a requirement"),
        ("numpy=>2", "'numpy=>2' is not a requirement: "),
        ("./nosuch", "requirement './nosuch' names {base}/nosuch, which does not exist"),
        ("./dist", "requirement './dist' names a directory with neither pyproject.toml nor setup.py"),
        ("hg+https://host/x", "'hg+https://host/x': only git repositories can be locked"),
        ("--editable=./lib", "'--editable=./lib' cannot be locked: "),
    ],
)
def test_a_requirement_that_cannot_be_locked(base: Path, typed: str, reason: str) -> None:
    with pytest.raises(ResolveError) as caught:
        parse_line(typed, base, ACCESS)
    assert str(caught.value).startswith(reason.replace("{base}", str(base)))
    assert caught.value.hint


def test_the_whole_question(base: Path) -> None:
    provided = Package(name="n", version="1", kind="conda", platform="linux-64", provides=("NumPy==2.1.0",))
    request = PypiRequest(
        platform="linux-64",
        python="3.12",
        base=base,
        requirements=("../" + base.name + "/lib", "numpy"),
        constraints=("scipy<2",),
        overrides=("six==1",),
        index_url="https://example.org/simple",
        extra_index_url=("https://${TOKEN}@other/simple",),
        find_links=("dist", "https://example.org/links"),
        provided=(provided,),
    )
    stubs = write_stubs(request.provided, base / "stubs")
    question = write_question(request, ACCESS, stubs)
    assert question.requirements == (
        "--index-url https://mirror/example/simple\n"
        "--extra-index-url https://${TOKEN}@other/simple\n"
        f"--find-links {base.as_uri()}/dist\n"
        "--find-links https://mirror/example/links\n"
        f"{base.as_uri()}/lib\n"
        "numpy\n"
    )
    assert question.constraints == (f"scipy<2\nnumpy @ {base.as_uri()}/stubs/numpy-2.1.0-py3-none-any.whl\n")
    assert question.overrides == "six==1\n"
    assert question.portable == {base / "lib"}


def test_find_links_that_are_not_there(base: Path) -> None:
    request = PypiRequest(platform="linux-64", python="3.12", base=base, requirements=(), find_links=("wheels",))
    with pytest.raises(ResolveError) as caught:
        write_question(request, ACCESS, ())
    assert str(caught.value) == "find-links 'wheels' is not a directory"
    assert caught.value.hint == f"relative paths start at {base}; this is {base}/wheels"


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2026-11-01", "2026-11-02T00:00:00Z"),
        ("2026-12-31", "2027-01-01T00:00:00Z"),
        ("2026-11-01T12:00:00", "2026-11-01T12:00:00Z"),
        ("2026-11-01 12:00:00Z", "2026-11-01T12:00:00Z"),
        ("2026-11-01T12:00:00+02:00", "2026-11-01T10:00:00Z"),
    ],
)
def test_a_cutoff_is_one_moment_everywhere(typed: str, moment: str) -> None:
    assert cutoff(typed) == moment


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x @ git+https://host/a/b@v1.0#egg=x", ("https://host/a/b", "v1.0")),
        ("git+https://me:secret@host/a/b.git@feature/x", ("https://host/a/b.git", "feature/x")),
        ("x @ git+ssh://git@host/a/b@main ; python_version > '3'", ("ssh://git@host/a/b", "main")),
        ("x @ git+ssh://git@host/a/b", None),
        ("x @ https://host/a@v1.whl", None),
        ("numpy", None),
    ],
)
def test_git_references(text: str, found: tuple[str, str] | None) -> None:
    assert git_reference(text) == found


def test_references_are_replaced_by_locked_commits(tmp_path: Path) -> None:
    locked = Package(
        name="x",
        version="1",
        kind="pypi",
        platform="linux-64",
        source="git",
        url="git+https://host/x",
        commit="c" * 40,
    )
    request = PypiRequest(
        platform="linux-64",
        python="3.12",
        base=tmp_path,
        requirements=("x @ git+https://host/x@main#subdirectory=p", "git+https://host/y@main", "numpy"),
        preferred=(locked,),
    )
    assert pin_references(request).requirements == (
        f"x @ git+https://host/x@{'c' * 40}#subdirectory=p",
        "git+https://host/y@main",
        "numpy",
    )


def test_annotations_of_both_styles() -> None:
    line = "a==1  # via -r requirements.in\nb-x[z]==2  # via a, C_d\nc-d @ file:///c  # via -c constraints.txt, a\n"
    split = (
        "a==1\n    # via -r requirements.in\n"
        "b-x==2 \\\n    --hash=sha256:0\n    # via\n    #   a\n    #   C_d\n"
        "c-d @ file:///c\n    # via\n    #   -c constraints.txt\n    #   a\n"
    )
    expected = {"a": ("b-x", "c-d"), "c-d": ("b-x",)}
    assert direct_dependencies(line) == expected
    assert direct_dependencies(split) == expected
    assert list(requirement_blocks(line)) == [("a", "a==1"), ("b-x", "b-x[z]==2"), ("c-d", "c-d @ file:///c")]


def test_stubs_are_the_same_bytes_everywhere(tmp_path: Path) -> None:
    provided = Package(name="n", version="1", kind="conda", platform="linux-64", provides=("a.b==1", "bad==x_y"))
    (one,), (two,) = write_stubs([provided], tmp_path / "1"), write_stubs([provided], tmp_path / "2")
    (first,), (second,) = (tmp_path / "1").iterdir(), (tmp_path / "2").iterdir()
    assert (one.url, two.url) == (first.as_uri(), second.as_uri())
    assert first.name == "a_b-1-py3-none-any.whl"
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("version", ["1.0", "2.1.0rc1", "1!2.0.post1"])
def test_a_marked_version_satisfies_what_the_plain_one_does(version: str) -> None:
    marked = marked_version(Version(version))
    for operator in ("==", "<=", ">=", "~="):
        assert SpecifierSet(f"{operator}{version}", prereleases=True).contains(marked)
    for operator in ("!=", "<", ">"):
        assert not SpecifierSet(f"{operator}{version}", prereleases=True).contains(marked)
    assert marked_version(Version("1.0+cu124")) == Version("1.0+cu124")


# Targets


@pytest.mark.parametrize(
    ("platform", "glibc", "name"),
    [
        ("linux-64", "2.17", "x86_64-manylinux_2_17"),
        ("linux-64", "2.27", "x86_64-manylinux_2_17"),
        ("linux-64", "2.28", "x86_64-manylinux_2_28"),
        ("linux-64", "2.30", "x86_64-manylinux_2_28"),
        ("linux-aarch64", "2.36", "aarch64-manylinux_2_36"),
        ("linux-64", "2.99", "x86_64-manylinux_2_40"),
    ],
)
def test_uvs_name_of_a_platform(platform: str, glibc: str, name: str) -> None:
    assert Target(platform, "3.12", glibc).uv_platform == name


def test_targets_that_uv_cannot_answer_for() -> None:
    with pytest.raises(ResolveError) as caught:
        Target("linux-64", "3.12", "2.12").uv_platform  # noqa: B018
    assert str(caught.value) == "glibc 2.12 is older than any that uv knows (2.17)"
    with pytest.raises(ResolveError) as caught:
        Target("linux-ppc64le", "3.12").uv_platform  # noqa: B018
    assert str(caught.value) == "uv cannot resolve for linux-ppc64le on another machine"
    assert caught.value.hint == "run tykky lock --platform linux-ppc64le on a ppc64le host"


def test_tags_of_a_target() -> None:
    ranks = Target("linux-64", "3.12.1", "2.28").tags
    names = [
        ("cp312", "cp312", "manylinux_2_28_x86_64"),
        ("cp312", "cp312", "manylinux_2_17_x86_64"),
        ("cp312", "cp312", "manylinux2014_x86_64"),
        ("cp312", "cp312", "linux_x86_64"),
        ("cp312", "abi3", "manylinux1_x86_64"),
        ("cp312", "none", "manylinux_2_5_x86_64"),
        ("cp38", "abi3", "manylinux_2_28_x86_64"),
        ("py3", "none", "linux_x86_64"),
        ("cp312", "none", "any"),
        ("py3", "none", "any"),
    ]
    assert sorted(names, key=lambda n: ranks[Tag(*n)]) == names
    for tag in (
        ("cp312", "cp312", "manylinux_2_29_x86_64"),
        ("cp313", "cp313", "linux_x86_64"),
        ("cp312", "cp312t", "any"),
    ):
        assert Tag(*tag) not in ranks


def test_markers_of_a_target() -> None:
    target = Target("linux-aarch64", "3.12")
    assert target.wants(None)
    assert target.wants(Marker("platform_machine == 'aarch64' and python_full_version < '3.12.1'"))
    assert not target.wants(Marker("sys_platform == 'win32' or implementation_name == 'pypy'"))


# URLs


def test_credentials_are_never_shown() -> None:
    assert redacted("see https://me:secret@host/x and http://token@h") == "see https://***@host/x and http://***@h"
    assert without_credentials("https://me:secret@host:8080/x?y#z") == "https://host:8080/x?y#z"
    assert without_credentials("ssh://git:secret@host/x") == "ssh://git@host/x"
    assert without_credentials("https://host/@scope/x") == "https://host/@scope/x"


def test_variables_of_a_url() -> None:
    assert expanded("https://${A}:${B_2}@h/$A/${lower}", {"A": "x", "B_2": "y"}) == "https://x:y@h/$A/${lower}"
    assert expanded("https://${UNSET}@h", {}) == "https://${UNSET}@h"


def test_paths_in_a_lock(tmp_path: Path) -> None:
    base = tmp_path / "project"
    assert recorded_path(base / "dist" / "a b.whl", base, frozenset()) == "dist/a b.whl"
    assert recorded_path(base, base, frozenset()) == "."
    assert recorded_path(tmp_path / "lib", base, frozenset()) is None
    assert recorded_path(tmp_path / "lib", base, frozenset({tmp_path / "lib"})) == "../lib"
