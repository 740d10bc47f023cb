"""What is left over, broken or missing around a launch: the right result, or one clear message and an exit status."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.cases import AS_USER, SETUID
from tests.conformance.conftest import Bench
from tests.conformance.stage import lay_out
from tests.living import naming, until
from tykky.runtime.enter import WHICH_BACKEND, enter_argv

SAMPLED = True

ENVIRON = "import json, os; print(json.dumps(dict(os.environ)))"
WHO = "import sys; print(sys.executable)"
NOTHING = "tykky: no backend works on this host\n"
MORE = "tykky doctor says more, and how to get what is missing\n"


def steering(bench: Bench, environment: Path, **given: str) -> dict[str, str]:
    """Return the variables for containers and for the loader that a program sees; nothing was probed before."""
    shutil.rmtree(bench.place / "home" / "run" / "tykky", ignore_errors=True)
    found = json.loads(bench.run(environment / "bin" / "python", "-c", ENVIRON, env=bench.environ(**given)).stdout)
    return {name: value for name, value in found.items() if name.startswith(("APPTAINER", "SINGULARITY", "LD_"))}


def test_what_the_user_says_to_containers_is_not_said_to_ours(bench: Bench, environment: Path):
    """Apptainer sets X for APPTAINERENV_X, evaluates its value, and takes options from variables: not for a launch."""
    given = {
        "APPTAINERENV_GREETING": f"a 'b'\nexport APPTAINER_X=$(touch {bench.place}/mark)",
        "SINGULARITYENV_LD_LIBRARY_PATH": f"$(touch {bench.place}/mark)",
        "APPTAINERENV_PREPEND_PATH": "/evil",
        "APPTAINERENV_NAME": "not the name of a container",
        "APPTAINER_NETWORK": "none",
        "APPTAINER_DEBUG": "1",
        "APPTAINER_NV": "1",
        "APPTAINER_CACHEDIR": str(bench.place / "cache of the user"),
    }
    assert steering(bench, environment, **given) == given
    assert not (bench.place / "mark").exists()
    found = json.loads(bench.run(environment / "bin" / "python", "-c", ENVIRON, env=bench.environ(**given)).stdout)
    assert "GREETING" not in found
    assert found["PATH"] == f"{environment}/bin:{bench.environ()['PATH']}"


def test_what_a_container_left_over(bench: Bench, environment: Path):
    """With Apptainer it is gone; where no container takes part, the program has what its caller has."""
    stale = {"APPTAINER_CONTAINER": "/gone.sif", "SINGULARITY_NAME": "gone", "APPTAINER_WRITABLE_TMPFS": "1"}
    environ = {**stale, "TYKKY_ENVIRONMENT": str(bench.place)}
    expected = stale if bench.case.backend == "namespace" else {}
    assert steering(bench, environment, **environ) == expected
    done = bench.run(environment / "bin" / "python", "-c", ENVIRON, env=bench.environ(**environ))
    assert json.loads(done.stdout)["TYKKY_ENVIRONMENT"] == str(environment)


def test_the_backend_is_told_whatever_was_left_over(bench: Bench, environment: Path):
    environ = bench.environ(APPTAINER_CONTAINER="/gone.sif")
    found = bench.run(*enter_argv(environment, ["/bin/sh", "-c", WHICH_BACKEND]), env=environ).stdout
    assert found == f"{bench.case.backend}\n"


def test_a_library_path_for_the_program_alone(bench: Bench, environment: Path):
    """Not even what is made before anything is mounted may load what fits only the program."""
    broken = bench.place / "lib"
    broken.mkdir()
    for name in ("libmount.so.1", "libfuse3.so.3", "libselinux.so.1", "libacl.so.1"):
        (broken / name).write_text("not a library")
    given = {"LD_LIBRARY_PATH": f"{broken}::/a b", "LD_AUDIT": ""}
    assert steering(bench, environment, **given) == given
    files = [path.name for path in (bench.place / "home" / "run" / "tykky").iterdir()]
    assert [name for name in files if name.startswith("probe")] == [f"probe2-{bench.case.backend}"]


def test_a_library_that_is_loaded_first_reaches_the_program_alone(bench: Bench, environment: Path):
    """As tools that watch jobs do (Darshan, XALT): it is in the program, and in no server."""
    library = next((str(path) for path in Path("/usr/lib").glob("*/libz.so.1")), None)
    if library is None:
        pytest.skip("there is no libz.so.1 below /usr/lib")
    text = (
        "import glob, os\nname = os.environ['LD_PRELOAD']\n"
        "print(os.path.realpath(name) in open('/proc/self/maps').read())\n"
        "for place in glob.glob('/proc/[0-9]*'):\n"
        "    try:\n        words, more, maps = (open(place + '/' + name, errors='replace').read()\n"
        "            for name in ('comm', 'cmdline', 'environ'))\n"
        "    except OSError:\n        continue\n"
        f"    if words.startswith('squashfuse') and {str(environment)!r} in more: print('LD_PRELOAD' in maps)\n"
    )
    done = bench.run(environment / "bin" / "python", "-c", text, env=bench.environ(LD_PRELOAD=library))
    assert set(done.stdout.split("\n", 1)[1].split()) <= {"False"}
    assert done.stdout.startswith("True\n")
    gone = bench.environ(LD_PRELOAD="/gone.so")
    done = bench.run("/usr/bin/env", environment / "bin" / "python", "-c", "print(1)", env=gone)
    # What starts without us says it, too: the test's own program, env, the shell of the launcher, the program.
    assert done.stdout == "1\n"
    assert done.stderr.count("cannot be preloaded") == 3 + (bench.case.user is not None)


@pytest.mark.parametrize("mount", ["shared", "private"])
@pytest.mark.parametrize(
    "given",
    [{"LC_ALL": "xx_YY.UTF-8"}, {"LC_ALL": "C"}, {"LC_ALL": "", "LANG": "C.UTF-8"}, {"LANG": "C.UTF-8"}, {}],
)
def test_a_locale_is_the_callers(bench: Bench, environment: Path, given: dict[str, str], mount: str):
    """Also one that this machine does not have: as outside, without a word."""
    text = (
        "import json, os, sys\n"
        "print(json.dumps([sys.getfilesystemencoding(), os.environ.get('LC_ALL', 'none'), sys.argv[1:]]))"
    )
    words = ["ü", b"\xff"]
    commands = ((environment / "bin" / "python", "-c", text), ("/usr/bin/python3", "-c", text))
    environ = {key: value for key, value in bench.environ(TYKKY_MOUNT=mount).items() if key != "LC_ALL"} | given
    inside, outside = (bench.run(*command, *words, env=environ) for command in commands)
    assert (inside.stdout, inside.stderr) == (outside.stdout, outside.stderr)


def test_a_home_that_cannot_be_written(bench: Bench, environment: Path):
    """Nothing is kept there: not by us, and Apptainer manages without."""
    if bench.case.user is None:
        pytest.skip("needs an ordinary user: root may write anywhere")
    home = bench.place / "closed"
    home.mkdir(mode=0o555)
    bench.case.own(home)
    done = bench.run(environment / "bin" / "python", "-c", "print(1)", env=bench.environ(HOME=str(home)))
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("kind", ["venv", "conda"])
def test_the_users_python_settings_where_the_spec_wants_them(bench: Bench, kind: str):
    """`[runtime] user-site = true`. (In a venv ~/.local does not count, as in any.)"""
    place = bench.environment(kind=kind, user_site=True)
    mine = bench.place / "mine"
    mine.mkdir()
    (mine / "thing.py").write_text("where = 'the user'\n")
    text = "import thing, site, sys; print(thing.where, site.ENABLE_USER_SITE)"
    done = bench.run(place / "bin" / "python", "-c", text, env=bench.environ(PYTHONPATH=str(mine)))
    assert done.stdout == f"the user {kind == 'conda'}\n"


def test_options_of_a_shell(bench: Bench, environment: Path):
    """bash takes its options from a variable, and would read a file first: also where it is the system's sh."""
    (bench.place / "rc").write_text("echo read\n")
    given = bench.environ(
        SHELLOPTS="errexit:nounset:noclobber:noglob", BASH_ENV=f"{bench.place}/rc", ENV=f"{bench.place}/rc"
    )
    for words in ([], ["bash", "--posix"]):
        done = bench.run(*words, environment / "bin" / "python", "-c", WHO, env=given)
        assert (done.stdout, done.stderr) == (f"{environment}/bin/python\n", "")


@pytest.fixture
def elsewhere(bench: Bench) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a runner for the case's user on a changed machine: a shell script mounts what only this process sees."""
    if os.getuid() != 0:
        pytest.skip("only root can change what a process sees of the machine")
    if bench.case.mount != "private" and bench.case.backend == "namespace":
        pytest.skip("keepers of other mount namespaces are not joined: as with private mounts")

    def run(script: str, *argv: object, **given: object) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "--mount", "sh", "-ec", f'{script}\nshift\nexec "$@"', "sh", bench.place / "made"]
        environ = given.get("env") or bench.environ()
        return subprocess.run(
            [*command, *bench.argv(*argv)], env=environ, cwd=bench.place, capture_output=True, text=True, check=False
        )

    return run


NO_FUSE = """
mkdir "$1" && mount -t tmpfs -o mode=755 none "$1"
for x in null zero full random urandom tty ptmx; do touch "$1/$x" && mount --bind "/dev/$x" "$1/$x"; done
mkdir "$1/pts" "$1/shm" && mount --rbind /dev/pts "$1/pts" && mount --rbind /dev/shm "$1/shm"
ln -s /proc/self/fd "$1/fd" && mount --rbind "$1" /dev
"""


@pytest.mark.parametrize("probed", [False, True])
def test_no_dev_fuse(
    bench: Bench, environment: Path, elsewhere: Callable[..., subprocess.CompletedProcess[str]], probed: bool
):
    """As in many containers. It is seen also if this user launched before."""
    python = environment / "bin" / "python"
    if probed:
        if bench.case.backend == "apptainer":
            pytest.skip("Apptainer that worked before says itself what is missing now")
        bench.run(python, "-c", "pass")
    done = elsewhere(NO_FUSE, python, "-c", WHO)
    assert done.returncode == 125
    assert done.stdout == ""
    if bench.case.backend == "namespace":
        assert done.stderr == f"{NOTHING}    namespace: /dev/fuse cannot be opened\n{MORE}"
    else:
        first, why, more = done.stderr.splitlines(keepends=True)
        assert (first, more) == (NOTHING, MORE)
        assert why.startswith(f"    apptainer: {bench.case.programs['apptainer']} cannot mount here (FATAL:")
        assert "fuse" in why
        assert "\x1b" not in why


def test_no_subordinate_ids(
    bench: Bench, environment: Path, elsewhere: Callable[..., subprocess.CompletedProcess[str]]
):
    """A launch maps the user alone."""
    script = "for x in /etc/subuid /etc/subgid; do [ ! -e $x ] || mount --bind /dev/null $x; done"
    done = elsewhere(script, environment / "bin" / "python", "-c", WHO)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{environment}/bin/python\n", "")


def refused(bench: Bench, error: str, environ: dict[str, str], *argv: object) -> subprocess.CompletedProcess[str]:
    """Run a program as the case's user where the kernel answers `error` to who wants a user namespace."""
    words = [sys.executable, "-I", AS_USER, f"--no-userns={error}", bench.case.user, *argv]
    return subprocess.run(words, env=environ, cwd=bench.place, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("error", "said"), [("ENOSPC", "No space left on device"), ("EPERM", "Operation not permitted")]
)
def test_no_user_namespaces(bench: Bench, kind: str, error: str, said: str):
    """As where they are forbidden, or a seccomp filter refuses them: what is set up for setuid works, or says so."""
    if bench.case.user is None:
        pytest.skip("root needs none")
    place = bench.environment(kind=kind, launched=False)
    python = place / "bin" / "python"
    done = refused(bench, error, bench.environ(), python, "-c", WHO)
    if bench.case.programs.get("apptainer") == str(SETUID):
        assert (done.stdout, done.stderr) == (f"{python}\n", "")
        # Nothing is forced: what cannot work is passed by.
        environ = bench.environ()
        del environ["TYKKY_BACKEND"]
        assert refused(bench, error, environ, python, "-c", WHO).stdout == f"{python}\n"
        return
    assert (done.returncode, done.stdout) == (125, "")
    first, why, more = done.stderr.splitlines(keepends=True)
    assert (first, more) == (NOTHING, MORE)
    expected = "namespace: user namespaces or overlays cannot be used (unshare: unshare failed: "
    if bench.case.backend == "apptainer":
        program = bench.case.programs["apptainer"]
        expected = f"apptainer: {program} cannot mount here (ERROR  : Failed to create user namespace"
    assert why.startswith(f"    {expected}")
    assert said in why or bench.case.backend == "apptainer"


@pytest.mark.parametrize("error", ["ENOSPC", "EPERM"])
def test_user_namespaces_that_are_refused_after_a_good_launch(bench: Bench, error: str, kind: str):
    """What a probe found does not hold below a filter of system calls, and holds again without one."""
    if bench.case.programs.get("apptainer") != str(SETUID):
        pytest.skip("only the setuid Apptainer works there")
    place = bench.environment(kind=kind)
    environ = bench.environ(TYKKY_MOUNT="private")
    del environ["TYKKY_BACKEND"]
    text = "import os; print(os.readlink('/proc/self/ns/user') != os.environ['OUTSIDE'])"
    launch = [place / "bin" / "python", "-c", text]
    environ["OUTSIDE"] = os.readlink("/proc/self/ns/user")
    free = replace(bench, case=replace(bench.case, userns=True))
    for _ in range(2):
        assert free.run(*launch, env=environ).stdout == "True\n"
        done = refused(bench, error, environ, *launch)
        assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_a_lone_image_lies_on_a_layer_that_nobody_writes_to(bench: Bench, kind: str):
    """What a program puts there by mistake would be seen in P."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer has a layer of its own")
    one = bench.environment("one", kind, count=1)
    text = """
        import json, os, time
        while not os.path.isdir("/tykky/.images/bare1"):
            time.sleep(0.01)  # the old root lies over it
        print(json.dumps([oct(os.stat(at[0]).st_mode) for at in os.walk("/tykky/.images/bare1")]))
    """
    modes = json.loads(bench.run(one / "bin" / "python", "-c", textwrap.dedent(text)).stdout)
    assert len(modes) == 4  # down to lib/python3.x/site-packages
    assert set(modes) == {"0o40555"}


def test_packages_with_a_long_file_of_paths(bench: Bench):
    """Who looks at it ahead of Python is done with it as soon as Python is."""
    if bench.case.backend == "apptainer":
        pytest.skip("nobody looks ahead there")
    images = bench.images("venv")
    packages = bench.place / "tree" / images.prefix[1:] / "lib" / f"python{images.python}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "long.pth").write_text("#" + "x" * (64 << 20))
    (packages / "elsewhere.pth").symlink_to(bench.place / "pipe")
    os.mkfifo(bench.place / "pipe")
    image = bench.place / "more.sqfs"
    subprocess.run(["mksquashfs", bench.place / "tree", image, "-quiet", "-no-progress", "-all-root"], check=True)
    bench.case.own(image)
    made = replace(images, files=(images.files[0], image))
    place = lay_out(bench.place / "P", made, 2, programs=bench.case.programs)
    bench.case.own(place)
    bench.run(place / "bin" / "python", "-I", "-S", "-c", "pass", env=bench.environ(TYKKY_MOUNT="private"))
    until(lambda: naming(place) == {}, seconds=10)  # byte by byte it takes minutes
