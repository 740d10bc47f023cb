"""Members that no wheel and no sdist may hold are named; ordinary ones are not."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.wheelmaker import make_sdist, make_wheel
from tykky.layers.archive_problems import sdist_problems, wheel_problems


def test_an_ordinary_wheel_has_no_problems(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        "good",
        "1.0",
        files={
            "good/__init__.py": "",
            "good/..hidden": "",
            "good/lib.so": "x",
            "good/lib.so.1": "lib.so",
            "good-1.0.data/scripts/run": "#!python\n",
            "good-1.0.data/data/share/good.txt": "",
            "good/dir/": "",
        },
        modes={"good/lib.so": 0o100755, "good/lib.so.1": stat.S_IFLNK | 0o777, "good/dir/": stat.S_IFDIR | 0o2755},
    )
    assert wheel_problems(wheel) == []


@pytest.mark.parametrize(
    ("name", "mode", "content", "problem"),
    [
        ("../up.py", 0o100644, "", "'../up.py' would leave the prefix"),
        ("a/b/../../../up.py", 0o100644, "", "'a/b/../../../up.py' would leave the prefix"),
        ("a\\..\\..\\up.py", 0o100644, "", "'a\\\\..\\\\..\\\\up.py' would leave the prefix"),
        ("/etc/passwd", 0o100644, "", "'/etc/passwd' is an absolute path"),
        ("C:/x", 0o100644, "", "'C:/x' is an absolute path"),
        ("a/dev", stat.S_IFCHR | 0o644, "", "'a/dev' is a device node"),
        ("a/disk", stat.S_IFBLK | 0o644, "", "'a/disk' is a device node"),
        ("a/pipe", stat.S_IFIFO | 0o644, "", "'a/pipe' is a pipe or socket"),
        ("a/su", stat.S_IFREG | 0o4755, "", "'a/su' has the setuid or setgid bit"),
        ("a/sg", stat.S_IFREG | 0o2755, "", "'a/sg' has the setuid or setgid bit"),
        ("a/l", stat.S_IFLNK | 0o777, "/etc/passwd", "'a/l' is a link to the absolute path '/etc/passwd'"),
        ("a/l", stat.S_IFLNK | 0o777, "../../x", "'a/l' is a link out of the prefix: '../../x'"),
        ("x-1.0.data/data/../../x", 0o100644, "", "'x-1.0.data/data/../../x' would leave the prefix"),
        ("x-1.0.data/root/x", 0o100644, "", "'x-1.0.data/root/x' is for an unknown scheme 'root'"),
    ],
)
def test_a_bad_member_of_a_wheel_is_named(tmp_path: Path, name: str, mode: int, content: str, problem: str) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0", files={name: content}, modes={name: mode})
    assert wheel_problems(wheel) == [problem]


def test_a_member_that_goes_through_a_link_is_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0", files={"a": "b", "a/c.py": ""}, modes={"a": stat.S_IFLNK | 0o777})
    assert wheel_problems(wheel) == ["'a/c.py' goes through the link 'a'"]


def test_duplicate_members_are_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0")
    with zipfile.ZipFile(wheel, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x.py", "other")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("./x.py", "other")
    assert wheel_problems(wheel) == ["'x.py' is there 3 times"]


def test_a_wheel_that_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "x-1.0-py3-none-any.whl"
    path.write_text("no")
    assert wheel_problems(path) == ["it is not a readable zip archive: File is not a zip file"]


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (entry("x-1.0/../../up.py"), "'x-1.0/../../up.py' would leave the prefix"),
        (entry("/abs.py"), "'/abs.py' is an absolute path"),
        (entry("x-1.0/dev", type=tarfile.CHRTYPE), "'x-1.0/dev' is a device node"),
        (entry("x-1.0/pipe", type=tarfile.FIFOTYPE), "'x-1.0/pipe' is a pipe or socket"),
        (entry("x-1.0/su", mode=0o4755), "'x-1.0/su' has the setuid or setgid bit"),
        (
            entry("x-1.0/l", type=tarfile.SYMTYPE, linkname="../../up"),
            "'x-1.0/l' is a link out of the prefix: '../../up'",
        ),
        (
            entry("x-1.0/h", type=tarfile.LNKTYPE, linkname="../up"),
            "'x-1.0/h' is a hard link out of the archive: '../up'",
        ),
    ],
)
def test_a_bad_member_of_an_sdist_is_named(tmp_path: Path, member: tarfile.TarInfo, problem: str) -> None:
    sdist = make_sdist(tmp_path, "x", "1.0", extra_members=[member])
    assert sdist_problems(sdist) == [problem]


def test_an_ordinary_sdist_has_no_problems(tmp_path: Path) -> None:
    link = entry("x-1.0/docs/readme", type=tarfile.SYMTYPE, linkname="../PKG-INFO")
    assert sdist_problems(make_sdist(tmp_path, "x", "1.0", extra_members=[link])) == []


def test_a_truncated_sdist_is_not_readable(tmp_path: Path) -> None:
    sdist = make_sdist(tmp_path, "x", "1.0")
    sdist.write_bytes(sdist.read_bytes()[:200])
    (problem,) = sdist_problems(sdist)
    assert problem.startswith("it is not a readable archive: ")


def test_a_script_that_would_not_be_in_bin_is_named(tmp_path: Path) -> None:
    points = {"console_scripts": {"fine": "x:main", "../up": "x:main"}, "gui_scripts": {"/abs": "x:main"}}
    wheel = make_wheel(tmp_path, "x", "1.0", entry_points=points)
    assert wheel_problems(wheel) == [
        "the script '../up' would not be in bin",
        "the script '/abs' would not be in bin",
    ]


def test_entry_points_that_cannot_be_read_are_an_installers_business(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1.0", files={"x-1.0.dist-info/entry_points.txt": "no section\n"})
    assert wheel_problems(wheel) == []
