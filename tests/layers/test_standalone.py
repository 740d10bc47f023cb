"""What a standalone build says about itself, made true for the prefix."""

from __future__ import annotations

import json

import pytest

from tykky.layers.standalone import true_paths, true_sysconfig, true_sysconfig_json, true_variables

PREFIX = "/tykky/own"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prefix=/install", "prefix=/tykky/own"),
        ("prefix=\t\t/install\nx", "prefix=\t\t/tykky/own\nx"),
        ("-I/install/include -L/install/lib", "-I/tykky/own/include -L/tykky/own/lib"),
        ("'--prefix=/install' \"/install/bin\"", "'--prefix=/tykky/own' \"/tykky/own/bin\""),
        ("/install/lib:/install/lib64", "/tykky/own/lib:/tykky/own/lib64"),
        ("s#/install#$real#", "s#/tykky/own#$real#"),
        ("/tools/install/lib x/install ./install -f/install", "/tools/install/lib x/install ./install -f/install"),
        ("/installed /install-sh /install.sh", "/installed /install-sh /install.sh"),
    ],
)
def test_paths_below_the_place_of_the_build_move(text: str, said: str) -> None:
    assert true_paths(text.encode(), PREFIX) == said.encode()


def test_bytes_that_are_no_text_stay() -> None:
    assert true_paths(b"\xff /install\n", PREFIX) == b"\xff /tykky/own\n"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CC", "clang -pthread", "cc -pthread"),
        ("CC", "/usr/bin/aarch64-linux-gnu-gcc", "cc"),
        ("CC", "musl-clang", "cc"),
        ("CXX", "clang++ -pthread", "c++ -pthread"),
        ("LDCXXSHARED", "/usr/bin/x86_64-linux-gnu-g++ -shared", "c++ -shared"),
        ("LDSHARED", "clang -shared -L/install/lib", "cc -shared -L/tykky/own/lib"),
        ("AR", "/tools/llvm/bin/llvm-ar", "ar"),
        ("AR", "/tools/clang-linux64/bin/llvm-ar", "ar"),
        ("CONFIG_ARGS", "'CC=clang'", "'CC=clang'"),
        ("OPT", "clang", "clang"),
        ("CC", "ccache clang", "ccache cc"),
        ("SIZE", 8, 8),
    ],
)
def test_variables(name: str, value: object, said: object) -> None:
    assert true_variables({name: value}, PREFIX) == {name: said, "PYTHON_BUILD_STANDALONE": 1}


def test_the_module_is_written_anew_in_one_form() -> None:
    written = b"# comment\nbuild_time_vars = {'prefix': '/install',\n 'CFLAGS': '-O2 '\n           '-g', 'A': 1}\n"
    as_json = b'build_time_vars = {"A": 1, "CFLAGS": "-O2 -g", "prefix": "/install"}'
    said = (
        b"# system configuration generated and used by the sysconfig module\nbuild_time_vars = {\n    'A': 1,\n"
        b"    'CFLAGS': '-O2 -g',\n    'PYTHON_BUILD_STANDALONE': 1,\n    'prefix': '/tykky/own',\n}\n"
    )
    assert true_sysconfig(written, PREFIX) == true_sysconfig(as_json, PREFIX) == said
    assert true_sysconfig(said, PREFIX) == said


@pytest.mark.parametrize(
    "content",
    [
        b"import os\nbuild_time_vars = {'prefix': '/install'}\n",
        b"build_time_vars = dict(prefix='/install')\n",
        b"build_time_vars = ['/install']\n",
        b"other = {'prefix': '/install'}\n",
        b"build_time_vars = {'prefix': '/install'\n",
    ],
)
def test_a_module_that_is_not_understood_keeps_its_form(content: bytes) -> None:
    assert true_sysconfig(content, PREFIX) == content.replace(b"/install", b"/tykky/own")


def test_json_of_newer_versions() -> None:
    said = json.loads(true_sysconfig_json(b'{"prefix": "/install", "CC": "clang"}', PREFIX))
    assert said == {"prefix": "/tykky/own", "CC": "cc", "PYTHON_BUILD_STANDALONE": 1}
