"""Lockfiles that were edited, merged, cut short or made with ill intent."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lock.sample import COMMIT, SHA, conda, lock_of, pypi, python
from tykky import __version__
from tykky.errors import LockError
from tykky.lock.model import Lock, LockedManifest
from tykky.lock.read import parse_lock, read_lock
from tykky.lock.write import render_lock

AGAIN = "the lockfile is written by 'tykky lock': take it from git again, or remove it and run 'tykky lock'"
HEAD = 'lock-version = "1.0"\n[requirements]\n[[platform]]\nname = "linux-64"\n'  # 4 lines


def refused(text: str) -> tuple[list[str], str | None]:
    with pytest.raises(LockError) as caught:
        parse_lock(text)
    assert caught.value.exit_code == 4
    return str(caught.value).splitlines(), caught.value.hint


def package(**fields: object) -> str:
    """Return a lock with one wheel, its fields replaced; None leaves one out. It starts in line 5."""
    wheel = {
        "name": "cowsay",
        "version": "6.1",
        "kind": "pypi",
        "platform": "linux-64",
        "url": "https://files.example.org/cowsay-6.1-py3-none-any.whl",
        "sha256": SHA,
        "source": "wheel",
    } | fields
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in wheel.items() if value is not None]
    return HEAD + "[[package]]\n" + "\n".join(lines) + "\n"


def conda_package(**fields: object) -> str:
    given = {
        "kind": "conda",
        "url": "https://conda.example.org/forge/linux-64/cowsay-6.1-h0_0.conda",
        "source": None,
        "build": "h0_0",
        "channel": "https://conda.example.org/forge",
        "subdir": "linux-64",
    }
    return package(**(given | fields))


def interpreter(**fields: object) -> str:
    url = "https://example.org/cpython-3.12.4.tar.gz"
    return package(**({"name": "cpython", "kind": "python", "url": url, "source": None} | fields))


def test_the_samples_are_good():
    assert parse_lock(package()).package == (pypi("cowsay", "6.1", size=None),)
    assert parse_lock(conda_package()).package == (
        conda("cowsay", "6.1", size=None, url="https://conda.example.org/forge/linux-64/cowsay-6.1-h0_0.conda"),
    )


def test_a_missing_lockfile(tmp_path):
    path = tmp_path / "tykky.lock"
    with pytest.raises(LockError) as caught:
        read_lock(path)
    assert (str(caught.value), caught.value.hint) == (f"{path}: no such file", "make it with 'tykky lock'")


def test_a_lockfile_cut_short_at_any_byte_is_refused_or_is_whole_tables():
    text = render_lock(lock_of(conda("a"), pypi("b", depends=("c", "d"))))
    for end in range(len(text)):
        try:
            lock = parse_lock(text[:end])
        except LockError as error:
            assert error.problems
        else:
            assert isinstance(lock, Lock)


def test_conflict_marks_of_git():
    text = HEAD + '<<<<<<< HEAD\nname = "x"\n=======\n'
    assert refused(text) == (["tykky.lock:5: not valid TOML: invalid statement at column 1"], AGAIN)


def test_an_empty_lockfile_names_all_that_is_missing():
    assert refused("") == (
        ["tykky.lock: lock-version: this key is missing", "tykky.lock: requirements: this table is missing"],
        AGAIN,
    )


@pytest.mark.parametrize("version", ["1.0", "1.7", "1.10"])
def test_a_newer_minor_version_is_read_and_what_it_adds_is_passed_over(version):
    text = package(newer=["x"]).replace('"1.0"', f'"{version}"\nfuture = {{ a = 1 }}') + "[later]\nx = 1\n"
    assert [p.name for p in parse_lock(text).package] == ["cowsay"]


@pytest.mark.parametrize(
    ("written", "said", "hint"),
    [
        (
            '"2.0"',
            f"the format is version 2.0, tykky {__version__} reads version 1",
            "use a tykky that reads lockfiles of version 2",
        ),
        (
            '"0.9"',
            f"the format is version 0.9, tykky {__version__} reads version 1",
            "remove it and write it anew with 'tykky lock'",
        ),
        ('"one"', "'one' is no version of the format, such as '1.0'", AGAIN),
        ("1.0", "expected str, got float; put the value in quotes", AGAIN),
    ],
)
def test_another_version_of_the_format(written, said, hint):
    # The rest may be anything there: only the version is spoken of.
    text = f"# head\nlock-version = {written}\npackage = 3\n" if written[0] == '"' else HEAD.replace('"1.0"', written)
    line = 2 if written[0] == '"' else 1
    assert refused(text) == ([f"tykky.lock:{line}: lock-version: {said}"], hint)


def test_wrong_types_come_all_at_once_with_their_lines():
    text = package(version=6.1, size="big", sha256="ABC", kind="npm", depends=["a", 1])
    assert refused(text) == (
        [
            "tykky.lock:7: package[0].version: expected str, got float; put the value in quotes",
            "tykky.lock:8: package[0].kind: 'npm' is not one of 'conda', 'pypi', 'python'",
            "tykky.lock:11: package[0].sha256: 'ABC' is not allowed: a sha256 is 64 lower case hexadecimal digits",
            "tykky.lock:13: package[0].size: expected int, got str",
            "tykky.lock:14: package[0].depends[1]: expected str, got int; put the value in quotes",
        ],
        AGAIN,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (package(url=None), "5: package[0]: cowsay has neither url nor path"),
        (package(path="x.whl"), "13: package[0].path: cowsay has both url and path"),
        (package(sha256=None), "5: package[0]: cowsay has no sha256"),
        (package(name="../x"), "6: package[0].name: '../x' is not a package name"),
        (package(name=".."), "6: package[0].name: '..' is not a package name"),
        (package(name=""), "6: package[0].name: '' is not a package name"),
        (package(name="x\n"), "6: package[0].name: 'x\\n' is not a package name"),
        (package(version="1/../../x"), "7: package[0].version: '1/../../x' is not a version of cowsay"),
        (package(version=".."), "7: package[0].version: '..' is not a version of cowsay"),
        (
            package(platform="linux-aarch64"),
            "9: package[0].platform: cowsay is for 'linux-aarch64', which is no [[platform]] of this lock",
        ),
        (
            package(url="ext::sh -c x", source=None),
            "10: package[0].url: 'ext::sh -c x' is not a URL that cowsay can be fetched from",
        ),
        (
            package(url="git+ext://x/y.whl"),
            "10: package[0].url: 'git+ext://x/y.whl' is not a URL that cowsay can be fetched from",
        ),
        (
            package(url="http://[", source=None),
            "10: package[0].url: 'http://[' is not a URL that cowsay can be fetched from",
        ),
        (
            package(url="https://h/a b.whl"),
            "10: package[0].url: 'https://h/a b.whl' is not a URL that cowsay can be fetched from",
        ),
        (
            package(url="https://h/..%2f..%2fx.whl"),
            "10: package[0].url: 'https://h/..%2f..%2fx.whl' does not end in a file name",
        ),
        (
            package(url="https://h/x.tar.gz"),
            "5: package[0]: cowsay is a wheel by its source, but not by its file name",
        ),
        (package(url=None, path="", source=None), "11: package[0].path: '' is not a path"),
        (
            package(url="git+https://h/r", source="git", sha256=None, commit="main"),
            "12: package[0].commit: cowsay comes from git and has no commit of 40 hexadecimal digits",
        ),
        (
            package(url="git+https://h/r", source="git", sha256=None),
            "5: package[0].commit: cowsay comes from git and has no commit of 40 hexadecimal digits",
        ),
        (
            package(url="git+https://h/r", source="git", commit=COMMIT, sha256=None, subdirectory="a/../../b"),
            "13: package[0].subdirectory: 'a/../../b' leads out of the source of cowsay",
        ),
        (
            package(url=None, path="local", source="directory", sha256=None),
            "5: package[0]: cowsay comes from a directory and has no fingerprint (tree)",
        ),
        (conda_package(build=None), "5: package[0]: conda package cowsay has no build"),
        (conda_package(channel=None), "5: package[0]: conda package cowsay has no channel"),
        (conda_package(subdir=None), "5: package[0]: conda package cowsay has no subdir"),
        (conda_package(sha256=None), "5: package[0]: conda package cowsay has no sha256"),
        (conda_package(build="../x"), "12: package[0].build: '../x' is not a build of cowsay"),
        (conda_package(subdir="../x"), "14: package[0].subdir: '../x' is not a subdir of a channel"),
        (
            conda_package(url="https://h/x-1-0.zip"),
            "10: package[0].url: 'https://h/x-1-0.zip' is no conda package (.conda or .tar.bz2)",
        ),
        (interpreter(name="pypy"), "6: package[0].name: 'pypy' is no interpreter that tykky can use; cpython is"),
        (interpreter(sha256=None), "5: package[0]: cpython has no sha256"),
        (
            interpreter(url=None, path="python.tar.gz"),
            "11: package[0].path: cpython has a path; an interpreter has a url",
        ),
        (
            interpreter(url="https://h/x.tar.zst"),
            "10: package[0].url: 'https://h/x.tar.zst' is no archive of an interpreter (.tar.gz or .tgz)",
        ),
    ],
)
def test_one_thing_wrong_in_a_package(text, said):
    lines, hint = refused(text)
    assert lines[0] == f"tykky.lock:{said}"
    assert len(lines) == 1
    assert hint == AGAIN


def test_a_package_locked_twice():
    one = package()
    again = one[one.index("[[package]]") :]
    assert refused(one + again)[0] == [
        "tykky.lock:14: package[1].name: pypi package cowsay is locked twice for linux-64"
    ]


def test_an_interpreter_of_another_version_than_its_platform_has():
    (problem,), _ = refused(render_lock(lock_of(python("3.11.9"))))
    assert problem.endswith("package[0].version: cpython 3.11.9 is locked for linux-64, whose python is 3.12")


def test_a_platform_listed_twice():
    assert refused(HEAD + '[[platform]]\nname = "linux-64"\n')[0] == [
        "tykky.lock:6: platform[1].name: 'linux-64' is listed twice"
    ]


MANIFEST = f'[[image-manifest]]\nplatform = "linux-64"\ndigest = "{SHA}"\nsize = 7\n'


def test_an_image_is_locked_once_for_each_platform():
    assert parse_lock(HEAD + MANIFEST).manifest("linux-64") == LockedManifest("linux-64", SHA, 7)
    assert parse_lock(HEAD + MANIFEST).manifest("linux-aarch64") is None
    assert refused(HEAD + MANIFEST * 2)[0] == [
        "tykky.lock:10: image-manifest[1].platform: the image is locked twice for linux-64"
    ]
    assert refused(HEAD + MANIFEST.replace("linux-64", "linux-ppc64le"))[0] == [
        "tykky.lock:6: image-manifest[0].platform: it is for 'linux-ppc64le', which is no [[platform]] of this lock"
    ]
    assert refused(HEAD + MANIFEST.replace(SHA, "sha256:" + SHA))[0] == [
        f"tykky.lock:7: image-manifest[0].digest: 'sha256:{SHA}' is not allowed: a sha256 is 64 lower case hexadecimal "
        "digits"
    ]
    assert refused(HEAD + f'[image]\ndigest = "{SHA}"\nsize = 7\n' + MANIFEST)[0] == [
        "tykky.lock:8: image-manifest: the image is a file ([image]) and one of a registry"
    ]


def test_conda_and_pypi_may_have_the_same_name():
    parse_lock(render_lock(lock_of(conda("numpy"), pypi("numpy"))))


def test_a_thousand_packages_are_read_without_the_slow_path(monkeypatch):
    """Positions are worked out only for a message; that is what keeps reading fast."""
    import tykky.toml.positions

    def never(text: str) -> None:
        raise AssertionError("positions were worked out")

    monkeypatch.setattr(tykky.toml.positions, "locate", never)
    lock = lock_of(*(pypi(f"p{number}") for number in range(1000)))
    assert len(parse_lock(render_lock(lock)).package) == 1000


_SAMPLE = render_lock(
    lock_of(
        conda("python", "3.12.7", depends=("openssl >=3",), license="PSF-2.0"),
        pypi("cowsay", "6.1"),
        pypi("lib", url="git+https://h/r", sha256=None, size=None, source="git", commit=COMMIT),
        pypi=("cowsay",),
    )
)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(_SAMPLE)),
    st.integers(0, 12),
    st.text('"[]{}=.,\n\\#\0/ 1aé', max_size=6),
)
def test_a_damaged_lockfile_is_read_or_refused_but_never_fails_otherwise(at, length, put):
    try:
        parse_lock(_SAMPLE[:at] + put + _SAMPLE[at + length :])
    except LockError as error:
        assert error.problems
