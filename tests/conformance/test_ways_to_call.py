"""However a launcher is called, it finds P and runs the path it was called by."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench

SHOW = "import sys; print(sys.executable)"


def test_by_a_relative_path(bench: Bench, environment: Path):
    assert bench.run("./P/bin/python", "-c", SHOW).stdout == f"{environment}/bin/python\n"
    assert bench.run("P/bin/python", "-c", SHOW).stdout == f"{environment}/bin/python\n"


def test_from_within_its_own_directory(bench: Bench, environment: Path):
    done = bench.run("./python", "-c", SHOW, cwd=environment / "bin")
    assert done.stdout == f"{environment}/bin/python\n"


def test_by_a_path_with_dots(bench: Bench, environment: Path):
    done = bench.run(
        f"{environment}/bin/../bin/./python",
        "-c",
        "import os, sys; print(os.path.samefile(sys.executable, sys._base_executable))",
    )
    assert done.stdout == "True\n"


def test_by_name_through_path(bench: Bench, environment: Path):
    done = bench.run("python", "-c", SHOW, env=bench.environ(PATH=f"{environment}/bin:/usr/bin:/bin"))
    assert done.stdout == f"{environment}/bin/python\n"


def test_by_name_through_an_empty_entry_of_path(bench: Bench, environment: Path):
    done = bench.run("/bin/sh", "-c", f"PATH=:/usr/bin:/bin; cd bin; python -c '{SHOW}'", cwd=environment)
    assert done.stdout == f"{environment}/bin/python\n"


@pytest.mark.parametrize("relative", [False, True])
def test_by_a_link_from_elsewhere(bench: Bench, environment: Path, relative: bool):
    """A Python goes by the directory it is called in, where the link has nothing to say: it is P's own."""
    links = bench.place / "home" / "bin"
    links.mkdir()
    (links / "mypython").symlink_to("../../P/bin/python" if relative else environment / "bin" / "python")
    text = "import sys, thing; print(sys.executable, sys.prefix, thing.where)"
    assert bench.run(links / "mypython", "-c", text).stdout == f"{environment}/bin/python {environment} middle\n"
    done = bench.run("mypython", "-c", text, env=bench.environ(PATH=f"{links}:{os.environ['PATH']}"))
    assert done.stdout == f"{environment}/bin/python {environment} middle\n"


def test_a_program_by_a_link_from_elsewhere(bench: Bench, environment: Path):
    """Programs that go by their name are told the link's."""
    links = bench.place / "home" / "bin"
    links.mkdir()
    (links / "another").symlink_to(environment / "bin" / "extra")
    (links / "tool").symlink_to(environment / "bin" / "tool")
    assert bench.run(links / "another").stdout == f"extra {links}/another\n"
    assert bench.run(links / "tool", "x").stdout.splitlines()[1] == f"['{links}/tool', 'x']"


def test_by_a_link_to_its_bin_directory(bench: Bench, environment: Path):
    (bench.place / "tools").symlink_to(environment / "bin")
    (bench.place / "link").symlink_to(environment)
    assert bench.run(bench.place / "tools" / "extra").stdout == f"extra {bench.place}/tools/extra\n"
    assert bench.run(bench.place / "link" / "bin" / "python", "-c", SHOW).stdout == f"{bench.place}/link/bin/python\n"


def test_through_a_venv_on_top(bench: Bench, environment: Path):
    """`P/bin/python -m venv v`: its python is a link to the launcher, and finds its own pyvenv.cfg inside."""
    bench.run(
        environment / "bin" / "python", "-m", "venv", "--without-pip", "--system-site-packages", bench.place / "v"
    )
    python = bench.place / "v" / "bin" / "python"
    done = bench.run(python, "-c", "import sys; print(sys.executable); print(sys.prefix)")
    assert done.stdout.splitlines() == [str(python), str(bench.place / "v")]


def test_as_an_interpreter_in_a_shebang(bench: Bench, environment: Path):
    script = bench.place / "script"
    script.write_text(f"#!{environment}/bin/python\nimport sys\nprint(sys.executable, sys.argv[1:])\n")
    script.chmod(0o755)
    assert bench.run(script, "a b").stdout == f"{environment}/bin/python ['a b']\n"
    script.write_text("#!/usr/bin/env python3\nimport sys\nprint(sys.executable)\n")
    done = bench.run(script, env=bench.environ(PATH=f"{environment}/bin:/usr/bin:/bin"))
    assert done.stdout == f"{environment}/bin/python3\n"


def test_with_another_name_for_itself(bench: Bench, environment: Path):
    """`exec -a` changes argv[0] of the shell that reads the launcher, not the path it is read from."""
    done = bench.run("/bin/bash", "-c", f"exec -a other '{environment}/bin/python' -c '{SHOW}'")
    assert done.stdout == f"{environment}/bin/python\n"


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_by_each_shell(bench: Bench, environment: Path, shell: str):
    """/bin/sh is dash on Debian, bash on EL, busybox on small systems."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    words = ["busybox", "sh"] if shell == "busybox" else [shell]
    if shell == "bash":
        words = ["bash", "--posix"]
    done = bench.run(*words, environment / "bin" / "python", "-c", SHOW)
    assert done.stdout == f"{environment}/bin/python\n"
    assert done.stderr == ""


def test_a_program_that_the_environment_does_not_have(bench: Bench, environment: Path):
    done = bench.run(environment / "bin" / "absent", check=False)
    assert done.returncode == 127
    assert "absent" in done.stderr


def test_a_launcher_away_from_its_environment(bench: Bench, environment: Path):
    lost = bench.place / "lost" / "bin"
    lost.mkdir(parents=True)
    (environment / "bin" / "python").rename(lost / "python")
    done = bench.run(lost / "python", check=False)
    assert done.returncode == 122
    assert done.stderr == (
        f"tykky: {lost}/python is not in an environment directory "
        f"({bench.place}/lost/.tykky/current/launch.sh cannot be read)\n"
    )


REPAIR = "'tykky build' with its spec and lock makes it again"


def test_a_missing_image(bench: Bench, environment: Path):
    (image,) = (environment / ".tykky" / "layers").glob("*-1.sqfs")
    image.unlink()
    done = bench.run(environment / "bin" / "python", check=False)
    assert done.returncode == 122
    assert done.stderr == f"tykky: {environment} is damaged: the image {image} cannot be read; {REPAIR}\n"


def test_an_image_that_is_none_any_more(bench: Bench, environment: Path):
    """Of the same size still, so it shows where it is mounted: the message names it and what looks further."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer says it in its own words")
    (image,) = (environment / ".tykky" / "layers").glob("*-1.sqfs")
    size = image.stat().st_size
    image.unlink()  # its bytes are those of other tests too
    image.write_bytes(bytes(size))
    bench.case.own(image)
    given = bench.environ(TYKKY_MOUNT="private")
    done = bench.run(environment / "bin" / "python", env=given, check=False)
    assert done.returncode == 123
    assert done.stderr == (
        "This doesn't look like a squashfs image.\n"
        f"tykky: {environment} cannot be mounted here: mounting the image {image} failed; "
        "tykky verify looks at the images, tykky doctor at this host\n"
    )


def test_an_unknown_backend(bench: Bench, environment: Path):
    done = bench.run(environment / "bin" / "python", env=bench.environ(TYKKY_BACKEND="docker"), check=False)
    assert done.returncode == 125
    assert done.stderr == "tykky: TYKKY_BACKEND is docker, which is not a backend (namespace, apptainer)\n"


def test_by_name_through_an_entry_of_path_with_spaces(bench: Bench, kind: str):
    """Beside empty entries, which mean the working directory; the program gets PATH as it was, behind its own entry."""
    place = bench.environment("with two  spaces", kind)
    path = f"/nowhere at all:{place}/bin::/usr/bin:/bin:"
    text = "import os, sys; print(sys.executable); print(os.environ['PATH'])"
    done = bench.run("/bin/sh", "-c", f'exec python -c "{text}"', env=bench.environ(PATH=path))
    assert done.stdout.splitlines() == [f"{place}/bin/python", f"{place}/bin:{path}"]


@pytest.mark.parametrize(
    ("words", "text", "status", "shown"),
    [
        (["timeout", "--signal=TERM", "1"], "import time; time.sleep(60)", 124, ""),
        (["timeout", "60"], "raise SystemExit(3)", 3, ""),
        (["nice", "-n", "7"], "import os; print(os.nice(0))", 0, "7\n"),
        (["taskset", "-c", "0"], "import os; print(os.sched_getaffinity(0))", 0, "{0}\n"),
    ],
    ids=["timeout-over", "timeout-kept", "nice", "taskset"],
)
def test_behind_another_program(bench: Bench, environment: Path, words: list[str], text: str, status: int, shown: str):
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not on this machine")
    done = bench.run(*words, environment / "bin" / "python", "-c", text, check=False)
    assert (done.returncode, done.stdout) == (status, shown)
