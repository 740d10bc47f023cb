"""A small real program with its prefix compiled in, as conda packages of C programs have."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.channel.package import PLACEHOLDER, File

_SOURCE = f"""
#include <stdio.h>
#include <string.h>

/* volatile: the compiler may not fold the length of the placeholder into the program */
static const char *volatile prefix = "{PLACEHOLDER}/share/hello";

int main(void) {{
    printf("%s %zu\\n", prefix, strlen(prefix));
    return 0;
}}
"""


@functools.cache
def program() -> File:
    """Return a program that prints `PREFIX/share/hello` and that string's length.

    Where there is no compiler it is a blob with the same string: linking can be tested, running cannot.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return File(b"\x7fELF\0" + PLACEHOLDER.encode() + b"/share/hello\0tail", 0o755, PLACEHOLDER, binary=True)
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "hello.c"), Path(scratch, "hello")
        source.write_text(_SOURCE)
        argv = [compiler, "-O1", "-s", "-Wl,--build-id=none", "-o", str(target), source.name]
        subprocess.run(argv, cwd=scratch, check=True)
        return File(target.read_bytes(), 0o755, PLACEHOLDER, binary=True)
