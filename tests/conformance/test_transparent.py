"""The launcher is transparent (invariant 8): arguments, streams, signals, status and surroundings pass."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import MANY, Bench
from tests.conformance.left import left
from tests.living import until

ARGUMENTS = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(os.fsencode(a) for a in sys.argv[1:]))"


def test_arguments_arrive_byte_for_byte(bench: Bench, environment: Path):
    words = [
        *(
            b"",
            b" ",
            b"a b",
            b"two\nlines\n",
            b"\n",
            b"tab\t",
            b"$HOME",
            b"`id`",
            b"$(id)",
            b"'",
            b'"',
            b"\\",
            b"\\\\n",
        ),
        *(b"*", b"?", b"[a]", b"~", b"-n", b"--", b"-e", b"!", b";", b"&", b"|", b"<", b"#x", b"a=b"),
        *(b"\xff\xfe invalid", "ünïcode 文".encode(), b"\x01\x7f", b"%s%n", b"{}", b"-"),
    ]
    done = subprocess.run(
        bench.argv(environment / "bin" / "python", "-c", ARGUMENTS, *words),
        env=bench.environ(),
        cwd=bench.place,
        capture_output=True,
        check=True,
    )
    assert done.stdout.split(b"\0") == words


def test_a_mebibyte_of_arguments(bench: Bench, environment: Path):
    words = [f"{number:07d}".encode() + b"x" * 9 for number in range(1 << 16)]
    script = bench.place / "digest.py"
    script.write_text(
        "import hashlib, os, sys; print(hashlib.sha256(b'\\0'.join(map(os.fsencode, sys.argv[1:]))).hexdigest())"
    )
    import hashlib

    done = subprocess.run(
        bench.argv(environment / "bin" / "python", script, *words),
        env=bench.environ(),
        cwd=bench.place,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=_large_stack,
    )
    assert done.stdout.strip() == hashlib.sha256(b"\0".join(words)).hexdigest()


def _large_stack() -> None:
    # The kernel allows a quarter of it for arguments; 8 MiB is the usual limit, and pointers count too.
    import resource

    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (16 << 20 if hard in (-1, *range(16 << 20, 17 << 20)) else hard, hard))


def test_standard_input_and_output_are_the_callers(bench: Bench, environment: Path):
    blob = bytes(range(256)) * 4096
    text = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); print('e', file=sys.stderr)"
    done = subprocess.run(
        bench.argv(environment / "bin" / "python", "-c", text),
        env=bench.environ(),
        input=blob,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, blob, b"e\n")


def test_closed_standard_input(bench: Bench, environment: Path):
    text = "import os\ntry:\n    os.fstat(0); print('open')\nexcept OSError:\n    print('closed')\n"
    script = bench.place / "closed.py"
    script.write_text(text)
    done = bench.run("/bin/sh", "-c", f"exec '{environment}/bin/python' '{script}' <&-")
    # An interpreter opens /dev/null there itself; what matters is that it starts and gets nothing of ours.
    assert done.stdout in ("closed\n", "open\n")
    plain = bench.run("/bin/sh", "-c", f"exec /usr/bin/python3 '{script}' <&-")
    if bench.case.backend == "namespace":
        assert done.stdout == plain.stdout


def test_a_command_substitution_does_not_hang(bench: Bench, environment: Path):
    """A server that held the pipe open would keep its reader waiting."""
    done = bench.run(
        "/bin/sh", "-c", f"x=$('{environment}/bin/python' -c 'print(1)' 2>&1); echo \"got $x\"", timeout=60
    )
    assert done.stdout == "got 1\n"


def test_end_of_file_comes_while_the_program_still_runs(bench: Bench, environment: Path):
    """When the program closes its output, the reader sees it at once: no server of ours holds it open too."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer's starter and servers keep what they inherit until the program ends")
    text = "import os, sys; os.write(1, b'x'); os.close(1); sys.stdin.read()"
    with bench.start(environment / "bin" / "python", "-c", text) as running:
        assert running.stdout.read() == "x"
        assert running.poll() is None
        running.communicate("")
    assert running.returncode == 0


@pytest.mark.parametrize("number", [7, 12])
def test_nobody_else_holds_what_the_program_was_given(bench: Bench, environment: Path, number: int):
    """Also not what runs beside it for a moment: whoever reads the other end of a pipe waits for the program alone.

    (What dash cannot name is held by who removes the table and the old root, a few milliseconds, and by nobody longer.)
    """
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer's starter and servers keep what they inherit until the program ends")
    read, write = os.pipe()
    text = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    argv = [
        "/bin/bash",
        "-c",
        f'exec "$@" {number}>&{write} {write}>&-',
        "bash",
        str(environment / "bin" / "python"),
        "-c",
        text,
    ]
    with bench.start(*argv, pass_fds=(write,)) as running:
        program = int(running.stdout.readline())
        holders = {pid for pid in _who_has(os.readlink(f"/proc/self/fd/{write}")) if pid != os.getpid()}
        words = {pid: _words(pid) for pid in holders - {program}}
        running.communicate("")
    os.close(read)
    os.close(write)
    assert program in holders
    assert [said for said in words.values() if number < 10 or b"sleep" in said or b"find" in said] == []


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _who_has(file: str) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        links: list[Path] = []
        with contextlib.suppress(OSError):  # it has ended
            links = list((process / "fd").iterdir())
        for link in links:
            with contextlib.suppress(OSError):  # was closed
                if os.readlink(link) == file:
                    yield int(process.name)


def test_a_signal_to_the_group_is_for_the_program_alone(bench: Bench, environment: Path):
    """What runs beside it for a moment does its work all the same: no table of mounts stays."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer's starter gets it too, and hands it on")
    text = """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: None)
        print("up", flush=True)
        sys.stdin.read()
    """
    environ = bench.environ(TYKKY_MOUNT="private")
    argv = (environment / "bin" / "python", "-c", textwrap.dedent(text))
    with bench.start(*argv, env=environ, start_new_session=True) as running:
        assert running.stdout.readline() == "up\n"
        os.killpg(running.pid, signal.SIGTERM)
        until(lambda: len(_in_group(running.pid)) == 1)
        until(lambda: list((bench.place / "home" / "run" / "tykky").glob("table.*")) == [])
        running.communicate()
    assert running.returncode == 0


@pytest.mark.parametrize(("send", "number"), [(os.kill, 9), (os.killpg, 9), (os.killpg, 2)])
def test_a_launch_that_is_killed_on_its_way_leaves_nothing(
    bench: Bench, environment: Path, send: Callable[[int, int], None], number: int
):
    """At any moment of it: what serves the images ends, and with that the mounts."""
    if bench.case.backend == "apptainer" or bench.case.mount != "private":
        pytest.skip("a matter of private mounts of our own")
    environ = bench.environ(TYKKY_MOUNT="private")
    for moment in range(0, 100, 5):
        argv = (environment / "bin" / "python", "-c", "import time; time.sleep(0.02)")
        with bench.start(*argv, env=environ, start_new_session=True, stderr=subprocess.DEVNULL) as running:
            time.sleep(moment / 1000)
            with contextlib.suppress(ProcessLookupError):
                send(running.pid, number)
    until(lambda: not left(environment))


def _in_group(leader: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[2]) == leader:
                found.append(int(status.parent.name))
    return found


def test_open_descriptors_pass(bench: Bench, environment: Path):
    """Those that a caller opened arrive; none of the launch's own does."""
    script = bench.place / "descriptors.py"
    script.write_text(
        "import json, os\nprint(json.dumps({n: os.path.realpath(f'/proc/self/fd/{n}') for n in range(3, 60)"
        " if os.path.exists(f'/proc/self/fd/{n}')}))\n"
    )
    command = f"exec '{environment}/bin/python' '{script}' 3</etc/hostname 5</etc/passwd 9</etc/group"
    before = _descriptors(bench, f"exec /usr/bin/python3 '{script}' 3</etc/hostname 5</etc/passwd 9</etc/group")
    assert _descriptors(bench, command) == before
    assert set(before.values()) >= {"/etc/hostname", "/etc/passwd", "/etc/group"}


def _descriptors(bench: Bench, command: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(bench.run("/bin/sh", "-c", command).stdout)
    # A directory handle of the interpreter's own may come and go.
    return {number: target for number, target in found.items() if "python" not in target}


def test_all_small_descriptors_taken(bench: Bench, environment: Path):
    """With 3 to 9 in use, there is none left for dash; the launch goes on in bash."""
    redirects = " ".join(f"{number}</etc/hostname" for number in range(3, 10))
    text = "import os; print([n for n in range(3, 10) if os.path.exists(f'/proc/self/fd/{n}')])"
    done = bench.run("/bin/sh", "-c", f"exec '{environment}/bin/python' -c \"{text}\" {redirects}")
    assert done.stdout == "[3, 4, 5, 6, 7, 8, 9]\n"


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_exit_status(bench: Bench, environment: Path, status: int):
    assert (
        bench.run(environment / "bin" / "python", "-c", f"raise SystemExit({status})", check=False).returncode == status
    )


def test_the_process_stays_the_same(bench: Bench, environment: Path):
    """exec all the way: the program has the launcher's pid, and no children it did not start."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer's starter keeps the launcher's pid; the program is its child")
    text = (
        "import os\nprint(os.getpid())\n"
        "try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print('none')"
    )
    with bench.start(environment / "bin" / "python", "-c", text) as running:
        out, _ = running.communicate()
    assert out.split() == [str(running.pid), "none"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL])
def test_a_signal_ends_the_program(bench: Bench, environment: Path, number: signal.Signals):
    """The caller sees the program die of it; under Apptainer, a status of 128 + n is the same to a shell."""
    text = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print('up', flush=True); time.sleep(60)"
    if number == signal.SIGKILL and bench.case.backend == "apptainer":
        pytest.skip("Apptainer's starter cannot pass SIGKILL on; its servers would be left over")
    with _started(bench, environment, text) as running:
        bench.end(running, number)
    expected = {-number} if bench.case.backend == "namespace" else {-number, 128 + number}
    assert running.returncode in expected


def test_a_signal_is_handled_by_the_program(bench: Bench, environment: Path):
    text = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'handled\\n'), os._exit(3)))\n"
        "print('up', flush=True)\ntime.sleep(60)\n"
    )
    with _started(bench, environment, text) as running:
        bench.end(running, signal.SIGTERM)
        out = running.stdout.read()
    assert (running.returncode, out) == (3, "handled\n")


def test_a_program_that_kills_itself(bench: Bench, environment: Path):
    done = bench.run("/bin/sh", "-c", f"'{environment}/bin/python' -c 'import os; os.kill(os.getpid(), 9)'; echo $?")
    assert done.stdout == "137\n"


def test_it_stops_and_goes_on(bench: Bench, environment: Path):
    """What Ctrl-Z and `fg` send to a job: its caller sees it stop, and it goes on where it was."""
    if bench.case.backend == "apptainer":
        pytest.skip("Apptainer's starter stops itself by SIGSTOP, and its program does not go on with it")
    text = "import sys; print('up', flush=True); print(sys.stdin.readline(), end='', flush=True)"
    with bench.start(environment / "bin" / "python", "-c", text, process_group=0) as running:
        assert running.stdout.readline() == "up\n"
        os.killpg(running.pid, signal.SIGTSTP)
        _, stopped = os.waitpid(running.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(stopped) and os.WSTOPSIG(stopped) == signal.SIGTSTP, stopped
        os.killpg(running.pid, signal.SIGCONT)
        out, _ = running.communicate("on\n", timeout=60)
    assert (running.returncode, out) == (0, "on\n")


def test_a_broken_pipe(bench: Bench, environment: Path):
    text = "import sys, signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\nwhile True: print('y')"
    done = bench.run(
        "/bin/bash", "-c", f"'{environment}/bin/python' -c \"{text}\" | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    assert done.stdout == "y\n141\n"


def _started(bench: Bench, environment: Path, text: str) -> subprocess.Popen[str]:
    running = bench.start(environment / "bin" / "python", "-c", text)
    assert running.stdout.readline() == "up\n"
    return running


@pytest.mark.parametrize("name", ["plain", "with space", "ünïcode-文", "$x `y`"])
def test_the_working_directory_stays(bench: Bench, environment: Path, name: str):
    folder = bench.place / name
    folder.mkdir()
    text = "import os; print(os.getcwd()); print(os.environ['PWD']); print(os.environ.get('OLDPWD'))"
    done = bench.run(environment / "bin" / "python", "-c", text, cwd=folder, env=bench.environ(PWD=str(folder)))
    assert done.stdout.splitlines() == [str(folder), str(folder), "None"]


def test_a_working_directory_that_this_user_may_not_enter(bench: Bench, environment: Path):
    """As where somebody becomes another user by `su`: it cannot be gone to again, so the program is in /."""
    if bench.case.user is None:
        pytest.skip("root may enter any")
    folder = bench.place / "closed"
    folder.mkdir(mode=0o700)
    for variables in ({}, {"PWD": str(folder)}):
        given = bench.environ(**variables)
        done = bench.run(environment / "bin" / "python", "-c", "import os; print(os.getcwd())", cwd=folder, env=given)
        assert (done.stdout, done.stderr) == ("/\n", "")


def test_a_working_directory_reached_through_a_link(bench: Bench, environment: Path):
    (bench.place / "real").mkdir()
    link = bench.place / "link"
    link.symlink_to("real")
    text = "import os; print(os.environ['PWD'], os.environ['OLDPWD'])"
    variables = bench.environ(PWD=str(link), OLDPWD="/somewhere")
    done = bench.run(environment / "bin" / "python", "-c", text, cwd=link, env=variables)
    assert done.stdout == f"{link} /somewhere\n"


def test_a_deleted_working_directory(bench: Bench, environment: Path):
    folder = bench.place / "deleted"
    folder.mkdir()
    bench.case.own(bench.place)
    text = "import os; print(os.readlink('/proc/self/cwd'))"
    done = bench.run(
        "/bin/sh", "-c", f"cd '{folder}'; rmdir '{folder}'; exec '{environment}/bin/python' -I -c \"{text}\""
    )
    assert done.stdout == f"{folder} (deleted)\n"


def test_a_working_directory_on_a_fuse_mount(bench: Bench, environment: Path):
    """One of the user's own, mounted a moment ago: no other user may look into it."""
    mounted = bench.place / "mounted"
    mounted.mkdir()
    bench.case.own(bench.place)
    (image,) = (environment / ".tykky" / "layers").glob("*-1.sqfs")
    ended = ["umount"] if bench.case.user is None else ["fusermount3", "-u"]
    if bench.case.user is not None and shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not on this machine")
    done = bench.run("squashfuse_ll", image, mounted, check=False)
    if done.returncode != 0:
        pytest.skip(f"this user cannot mount here: {done.stderr}")
    try:
        text = "import os; print(os.getcwd(), os.listdir('.'))"
        command = f"cd '{mounted}' && exec '{environment}/bin/python' -I -c \"{text}\""
        assert bench.run("/bin/sh", "-c", command).stdout == f"{mounted} ['tykky']\n"
    finally:
        # A shared mount lets go of it by itself: what propagates, or what a keeper sees change.
        bench.run(*ended, mounted)


def test_limits_and_mask_pass(bench: Bench, environment: Path):
    text = (
        "import os, resource as r\n"
        "print(oct(os.umask(0)), r.getrlimit(r.RLIMIT_CORE)[0], r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    for core in ("0", "7"):  # in blocks of 512 bytes
        limits = f"umask 027; ulimit -Sc {core} 2>/dev/null; ulimit -Sn 321; exec"
        plain, done = (
            bench.run("/bin/sh", "-c", f"{limits} '{python}' -c '{text}'").stdout
            for python in ("/usr/bin/python3", environment / "bin" / "python")
        )
        assert done == plain
        assert plain.split()[::2] == ["0o27", "321"]


def test_who_we_are_stays(bench: Bench, environment: Path):
    text = "import os; print(os.getuid(), os.geteuid(), os.getgid(), os.getegid())"
    plain = bench.run("/usr/bin/python3", "-c", text).stdout
    assert bench.run(environment / "bin" / "python", "-c", text).stdout == plain


def test_supplementary_groups_still_open_files(bench: Bench, environment: Path):
    """In a user namespace their numbers read 65534, but the kernel goes by the real ones."""
    import grp

    if bench.case.user is None:
        pytest.skip("needs the prepared user, who is in a second group")
    shared = bench.place / "of the group"
    shared.write_text("for members\n")
    os.chown(shared, 0, grp.getgrnam("tykky-more").gr_gid)
    shared.chmod(0o640)
    assert (
        bench.run(environment / "bin" / "python", "-c", f"print(open({str(shared)!r}).read(), end='')").stdout
        == "for members\n"
    )


def test_files_that_are_made_belong_to_the_user(bench: Bench, environment: Path):
    made = bench.place / "made"
    bench.run(environment / "bin" / "python", "-c", f"open({str(made)!r}, 'w').write('x')")
    assert made.stat().st_uid == bench.place.stat().st_uid
    assert made.stat().st_mode & 0o777 == 0o644


def test_the_hosts_root_is_all_there(bench: Bench, environment: Path):
    text = (
        "import json, os\n"
        "print(json.dumps({n: os.path.islink('/' + n) and os.readlink('/' + n) for n in os.listdir('/')}))"
    )
    inside = json.loads(bench.run(environment / "bin" / "python", "-c", text).stdout)
    outside = {n: os.readlink("/" + n) if os.path.islink("/" + n) else False for n in os.listdir("/")}
    directories = {n: target for n, target in outside.items() if os.path.isdir("/" + n)}
    assert {n: inside.get(n) for n in directories} == directories
    assert set(inside) - set(outside) <= {"tykky", ".singularity.d", "singularity", "environment"} | set(_usual())


def _usual() -> tuple[str, ...]:
    from tykky.runtime.host_image import _USUAL

    return _USUAL


def test_devices_work(bench: Bench, environment: Path):
    text = (
        "import os\nopen('/dev/null', 'w').write('x')\n"
        "print(len(open('/dev/urandom', 'rb').read(8)), len(os.openpty()))"
    )
    assert bench.run(environment / "bin" / "python", "-c", text).stdout == "8 2\n"


def test_the_tree_cannot_be_written(bench: Bench, environment: Path):
    text = (
        "import sys\nfor place in ('/tykky/demo/bin/x', sys.prefix + '/bin/x', sys.prefix + '/x', '/x-of-a-test'):\n"
        "    try:\n        open(place, 'w')\n        print('written', place)\n    except OSError:\n        pass\n"
    )
    written = bench.run(environment / "bin" / "python", "-c", text).stdout
    if os.getuid() == 0 and bench.case.user is None:
        # Root's own root directory is a memory of the mount namespace, gone with it.
        written = written.replace("written /x-of-a-test\n", "")
    assert written == ""
    assert not Path("/x-of-a-test").exists()


def test_waiting_for_nothing_left_over(bench: Bench, kind: str):
    """No process and no mount outlives the program, nor its sudden death, or the time that shared ones are kept."""
    environment = bench.environment(kind=kind, idle=2)
    text = "import os, time; print('up', flush=True); print(os.getpid(), flush=True); time.sleep(60)"
    with _started(bench, environment, text) as running:
        program = int(running.stdout.readline())
        assert left(environment)
        os.kill(program, signal.SIGKILL)
        running.wait(30)
    until(lambda: not left(bench.place))
    assert str(environment) not in Path("/proc/self/mountinfo").read_text()
    files = [path.name for path in (bench.place / "home" / "run").rglob("*") if path.is_file()]
    assert [name for name in files if not name.startswith("probe2-")] == []


@pytest.mark.timeout(1200)
def test_many_launches_leave_nothing(bench: Bench, kind: str, many: int):
    """Neither processes nor mounts, nor a file where a launch may write."""
    environment = bench.environment(kind=kind, idle=2)
    scratch = bench.place / "scratch"
    scratch.mkdir()
    bench.case.own(scratch)
    mounted = Path("/proc/self/mountinfo").read_text()
    environ = bench.environ(TMPDIR=str(scratch))
    bench.run("/bin/sh", "-c", MANY, environment, many, timeout=1200, env=environ)
    until(lambda: not left(bench.place))  # whose servers hold all mounts there are, in namespaces of their own
    assert Path("/proc/self/mountinfo").read_text() == mounted
    assert list(scratch.iterdir()) == []
    files = {path.name for path in (bench.place / "home").rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("probe2-")} == set()
