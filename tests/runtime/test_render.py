"""What launches is text, and every value in it is one word: nothing is ever evaluated."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tykky.runtime.model import Beside, Binds, Launch, Stack
from tykky.runtime.render import quote, render_environ, render_inside, render_launch, render_launcher

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
STACK = Stack("/tykky/demo", (".tykky/layers/a.sqfs", "/elsewhere/b c.sqfs"))
BESIDE = Beside("/it's `x`", "/its $(place)\n", Stack("/tykky/it", ("a.sqfs", "/lent.sqfs"), trusted=(7, 8)))

# What a shell could take for something else, more often than chance would bring it.
AWKWARD = st.sampled_from(
    ["'", '"', "$", "`", "\\", "\n", "-", " ", "$(", ")", "{{", "}}", "{%", "#", "!", "*", "~", "é", "\udcff"]
)
TEXT = st.lists(AWKWARD | st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=3), max_size=8).map(
    "".join
)
NAME = st.from_regex(r"T_[A-Za-z0-9_]{0,6}", fullmatch=True)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Each shell that may be /bin/sh."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not on this machine")
    return SHELLS[request.param]


def launch(**values: object) -> Launch:
    return Launch(STACK, **{"name": "demo", **values})


@pytest.mark.parametrize(
    "text",
    [
        render_launcher(),
        render_launch(launch(environ={"A": "'\n$(x)"}, activation={"LD_LIBRARY_PATH": "/a b", "GONE": None})),
        render_inside(Stack("/tykky/demo", ("/a.sqfs",), Path("/it's")), "/host.sqfs", ("apptainer",), {}),
        render_inside(Stack("/tykky/demo", (), Path("/it's")), "/host.sqfs", ("namespace",), {}),
        render_launch(launch(binds=Binds(("/it's", "/a $(x)\n`y`"), ("/it's/a:b", "/it's/$(x) *")))),
        render_launch(launch(python="3.11", brings_python=True)),
        render_launch(launch(), [BESIDE, Beside("/o", "/o", Stack("/tykky/o", ("o.sqfs",)), ("/tykky/o/x'y",))]),
    ],
    ids=["launcher", "launch", "build", "build-tree", "binds", "python", "beside"],
)
def test_every_shell_can_read_it(shell: list[str], text: str):
    with tempfile.NamedTemporaryFile("w", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([*shell, "-n", file.name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", ["", "/", "srv", "/srv/", "//srv", "/srv/../etc", "/srv/.", "/a\0"])
def test_binds_are_directories_below_the_root(path: str):
    for binds in ({"hidden": (path,)}, {"shown": (path,)}):
        with pytest.raises(ValueError, match="no directory below the root"):
            Binds(**binds)


def test_what_is_hidden():
    binds = Binds(("/pfs", "/a b"), ("/pfs/one", "/pfs/two/deep"))
    hidden = ("/pfs", "/pfs/three", "/pfs/two", "/pfs/onemore", "/a b/c")
    assert [
        path for path in (*hidden, "/pfs/one", "/pfs/one/x", "/pfs/two/deep", "/home", "/a") if binds.hides(path)
    ] == [*hidden]


def test_a_hidden_directory_is_not_even_looked_at():
    """Its server may be gone, and then whoever asks waits: it is named in patterns alone."""
    stack = Stack("/tykky/demo", ("/a.sqfs",))
    inside = render_inside(stack, "/host.sqfs", ("namespace", "apptainer"), {}, Binds(("/it's dead",)))
    # Directories and links of the root, Apptainer's binds, and what a keeper compares.
    for text, places in ((render_launch(launch(binds=Binds(("/it's dead",)))), 4), (inside, 3)):
        # Parts of the text are quoted again, for the shells that read them.
        lines = [line.strip() for line in text.splitlines() if "dead" in line]
        assert len(lines) == places
        assert all(line.startswith("case $_tykky_x in ") and line.endswith(") continue ;; esac") for line in lines)


@settings(max_examples=40, deadline=None)
@given(values=st.dictionaries(NAME, TEXT, max_size=4), removed=NAME, prepend=st.lists(TEXT.filter(bool), max_size=2))
def test_values_arrive_byte_for_byte(values: dict[str, str], removed: str, prepend: list[str]):
    activation: dict[str, str | None] = {removed: None}
    given_launch = launch(environ=values, activation=activation, path_prepend=tuple(prepend))
    text = (render_environ(given_launch) + "exec /usr/bin/env -0\n").encode("utf-8", "surrogateescape")
    before = {"PATH": "/usr/bin:/bin", "_tykky_p": "/p q/$x'", removed: "before", "PYTHONPATH": "x", "PYTHONHOME": "y"}
    done = subprocess.run(["/bin/sh", "-c", text], env=before, capture_output=True, check=True)
    found = dict(line.split(b"=", 1) for line in done.stdout.split(b"\0") if line)
    for name, value in values.items():
        assert found[name.encode()] == os.fsencode(value)
    assert removed in values or removed.encode() not in found
    assert b"PYTHONPATH" not in found
    assert b"PYTHONHOME" not in found
    assert found[b"PYTHONNOUSERSITE"] == b"1"
    assert found[b"TYKKY_ENVIRONMENT"] == b"/p q/$x'"
    assert found[b"PATH"] == b":".join([b"/p q/$x'/bin", *map(os.fsencode, prepend), b"/usr/bin:/bin"])


@given(text=TEXT)
@settings(max_examples=60, deadline=None)
def test_a_quoted_word_is_itself(text: str):
    done = subprocess.run(["/bin/sh", "-c", b"printf %s " + os.fsencode(quote(text))], capture_output=True, check=True)
    assert done.stdout == os.fsencode(text)


def test_quoting_refuses_what_no_argument_can_hold():
    with pytest.raises(ValueError, match="a null byte cannot be passed to a program"):
        quote("a\0b")


def test_the_users_python_settings_count_where_the_spec_says_so():
    text = render_environ(launch(user_site=True))
    assert "PYTHONNOUSERSITE" not in text
    assert "PYTHONPATH" not in text


def test_a_path_in_environ_stands_in_for_the_users():
    text = render_environ(launch(environ={"PATH": "/only"}))
    done = subprocess.run(
        ["/bin/sh", "-c", text + "exec /usr/bin/env"],
        env={"_tykky_p": "/p"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PATH=/p/bin:/only\n" in done.stdout


def test_the_same_launch_is_the_same_text():
    assert render_launch(launch()) == render_launch(launch())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stack("tykky/x"), "not a prefix: 'tykky/x'"),
        (lambda: Stack("/x"), "not a prefix: '/x'"),
        (lambda: Stack("/tykky/x y"), "not a prefix: '/tykky/x y'"),
        (lambda: Launch(Stack("/tykky/x"), "x"), "a published environment consists of images"),
        (lambda: Beside("/p", "/p", Stack("/tykky/x")), "a published environment consists of images"),
        (lambda: Beside("p", "/p", STACK), "no absolute path: 'p'"),
        (lambda: Beside("/p", "/p\0", STACK), "no absolute path: '/p\\x00'"),
        (
            lambda: render_launch(launch(), [Beside("/p", "/p", STACK)]),
            "environments in one mount need prefixes of their own below /tykky: /tykky/demo, /tykky/demo",
        ),
        (
            lambda: render_launch(launch(), [Beside("/p", "/p", Stack("/other/x", ("a.sqfs",)))]),
            "environments in one mount need prefixes of their own below /tykky: /tykky/demo, /other/x",
        ),
        (lambda: launch(environ={"A-B": ""}), "a shell cannot set the variable 'A-B'"),
        (lambda: launch(environ={"A": "\0"}), "a value cannot hold a null byte"),
        (lambda: launch(python="3"), "no minor version of Python: '3'"),
        (lambda: launch(python="3.11; x"), "no minor version of Python: '3.11; x'"),
        (lambda: launch(backends=("docker",)), r"backends are namespace, apptainer: ('docker',)"),
    ],
)
def test_what_cannot_be_launched(make, message: str):
    with pytest.raises(ValueError) as raised:
        make()
    assert str(raised.value) == message
