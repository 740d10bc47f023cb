"""Real processes that want one guard: on an ordinary file system, and on one without flock."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests import flockless
from tests.ordinary import as_ordinary_user, open_place
from tykky.errors import Busy
from tykky.guard.files import Files, Pace, Watch, look
from tykky.guard.hold import guarded
from tykky.guard.holder import Holder, dump, holding, this_process

HASTY = Pace(beat=0.02, look=0.02, silence=0.3)
PATIENT = Pace(beat=0.02, look=0.02, silence=1e6)
ROOT = Path(__file__).parents[2]
WHAT = "build of /p/env"


def never(message: str) -> None:
    raise AssertionError(f"nobody was to be waited for, but: {message}")


def take(path: Path, pace: Pace = PATIENT, what: str = WHAT) -> None:
    """Take the guard without waiting, and give it back."""
    with guarded(path, what, wait=False, say=never, pace=pace):
        assert path.exists()
    assert not path.exists()


def refused(path: Path, pace: Pace = PATIENT, what: str = WHAT) -> tuple[str, str | None]:
    with pytest.raises(Busy) as caught, guarded(path, what, wait=False, say=never, pace=pace):
        pass
    assert caught.value.exit_code == 14
    return str(caught.value), caught.value.hint


def leave(path: Path, **changes: object) -> Holder:
    """Put a guard there as another process would have left it."""
    holder = replace(holding(this_process(), WHAT), **changes)
    path.write_bytes(dump(holder))
    return holder


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@contextmanager
def holder_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the guard, until its standard input is closed."""
    argv = [sys.executable, "-m", "tests.guard.contender", "hold", str(path)]
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def crowd(directory: Path, processes: int, rounds: int, deadly: int) -> list[str]:
    words = [str(word) for word in ("crowd", directory, processes, rounds, deadly)]
    return [sys.executable, "-m", "tests.guard.contender", *words]


@pytest.mark.parametrize(("deadly", "deaths"), [(0, 0), (6, 16)])
def test_no_update_is_lost_also_when_holders_are_killed(tmp_path, deadly, deaths):
    done = subprocess.run(crowd(tmp_path, 6, 100, deadly), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"100 left [] deaths {deaths}\n"


@pytest.mark.parametrize(("deadly", "deaths"), [(0, 0), (6, 8)])
def test_no_update_is_lost_where_there_is_no_flock(tmp_path, deadly, deaths):
    if reason := flockless.why_not():
        pytest.skip(reason)
    done = flockless.run(tmp_path, *crowd(tmp_path, 6, 50, deadly))
    assert (done.returncode, done.stdout) == (0, f"50 left [] deaths {deaths}\n"), done.stderr


def test_there_really_is_no_flock(tmp_path):
    if reason := flockless.why_not():
        pytest.skip(reason)
    code = (
        "import fcntl, sys\nfile = open(sys.argv[1] + '/f', 'w')\n"
        "for lock in (fcntl.flock, fcntl.lockf):\n"
        "    try: lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except OSError as error: print(error.errno)\n"
    )
    done = flockless.run(tmp_path, sys.executable, "-c", code, str(tmp_path))
    assert done.stdout == f"{errno.ENOSYS}\n" * 2


def test_a_guard_is_there_during_the_block_and_tells_who(tmp_path):
    path = tmp_path / "guard"
    before = os.umask(0o077)
    try:
        with guarded(path, WHAT, wait=False, say=never):
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
            seen = look(path)
            assert seen is not None
            assert seen.holder is not None
            assert (seen.holder.pid, seen.holder.what) == (os.getpid(), WHAT)
            assert names(tmp_path) == ["guard"]
    finally:
        os.umask(before)
    assert names(tmp_path) == []


def test_a_living_holder_keeps_others_out_and_is_named(tmp_path):
    path = tmp_path / "guard"
    with holder_process(path) as process:
        seen = look(path)
        assert seen is not None
        assert seen.holder is not None
        since = seen.holder.since.astimezone().strftime("%H:%M")
        who = f"(pid {process.pid} on {os.uname().nodename}, since {since})"
        hint = "wait for its end, or run this without --no-wait, which does"
        os.kill(process.pid, signal.SIGSTOP)  # who stands still on this host is alive, however long
        time.sleep(2 * HASTY.silence)
        assert refused(path, HASTY) == (f"another build of /p/env is running {who}", hint)
        assert refused(path, what="gc of /p/env") == (f"the build of /p/env is running {who}", hint)
        os.kill(process.pid, signal.SIGCONT)
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            assert process.stdin is not None
            process.stdin.close()

        with guarded(path, WHAT, wait=True, say=say, pace=HASTY):
            assert process.stdout is not None
            assert process.stdout.read() == "given back\n"
        assert said == [f"waiting for another build of /p/env {who}"]
        process.stdin = None


def test_the_guard_of_a_killed_process_is_nobodys(tmp_path):
    path = tmp_path / "guard"
    with holder_process(path) as process:
        process.kill()
        process.wait()
        assert path.exists()
        take(path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_process_leaves_nothing_that_keeps_others_out(tmp_path, number):
    path = tmp_path / "guard"
    with holder_process(path) as process:
        process.send_signal(number)
        process.wait()
        assert path.exists() == (number == signal.SIGTERM)  # SIGINT is an exception in Python, SIGTERM is the end
        take(path)


def test_a_forked_child_does_not_give_the_guard_back(tmp_path):
    argv = [sys.executable, "-m", "tests.guard.contender", "fork", str(tmp_path / "guard")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "there\nthere\ngone\n"  # the child's last line, then the parent's two


def test_a_guard_of_an_earlier_boot_or_of_a_pid_used_again_is_nobodys(tmp_path, monkeypatch):
    path, machine = tmp_path / "guard", tmp_path / "machine-id"
    machine.write_text("00112233445566778899aabbccddeeff\n")  # there is none in many containers
    monkeypatch.setattr("tykky.guard.holder._MACHINE_ID", machine)
    leave(path, boot="11111111-2222-3333-4444-555555555555")
    take(path)
    leave(path, start=this_process().start + 1)
    take(path)


@pytest.mark.parametrize("elsewhere", [{"host": "node8", "boot": "another"}, {"space": "pid:[1]"}])
def test_a_holder_elsewhere_is_dead_when_it_gives_no_sign_of_life(tmp_path, elsewhere):
    path = tmp_path / "guard"
    holder = leave(path, pid=4321, **elsewhere)
    who = f"(pid 4321 on {holder.host}, since {holder.since.astimezone():%H:%M})"
    hint = "run this without --no-wait: it waits, and takes over after 0.3 seconds without a sign of life"
    assert refused(path, HASTY) == (f"another build of /p/env is running {who}", hint)
    said: list[str] = []
    with guarded(path, WHAT, wait=True, say=said.append, pace=HASTY):
        assert names(tmp_path) == ["guard"]
    assert said == [f"waiting for another build of /p/env {who}"]


def test_a_holder_elsewhere_is_alive_as_long_as_it_gives_signs_of_life(tmp_path):
    path, entered = tmp_path / "guard", threading.Event()
    pace = Pace(beat=0.02, look=0.02, silence=1)  # longer than a busy machine keeps us from running

    def wait() -> None:
        with guarded(path, WHAT, wait=True, say=lambda _: None, pace=pace):
            entered.set()

    leave(path, host="node8", boot="another")
    os.utime(path, (1, 1))  # by a clock that is decades behind
    waiter = threading.Thread(target=wait)
    waiter.start()
    for second in range(2, 2 + int(3 * pace.silence / pace.beat)):
        os.utime(path, (second, second))
        time.sleep(pace.beat)
    assert not entered.is_set()
    waiter.join()  # and without signs it is dead
    assert entered.is_set()


def test_we_give_signs_of_life_and_only_to_our_own_guard(tmp_path):
    path = tmp_path / "guard"

    def changes(name: Path, looks: int) -> bool:
        before = name.stat().st_mtime_ns
        for _ in range(looks):
            time.sleep(HASTY.beat)
            if name.stat().st_mtime_ns != before:
                return True
        return False

    with guarded(path, WHAT, wait=False, say=never, pace=HASTY) as held:
        held.check()
        assert changes(path, looks=1000)
        path.unlink()
        leave(path, host="node8", boot="another")
        assert not changes(path, looks=20)
        with pytest.raises(Busy) as caught:
            held.check()
        reason = "build of /p/env stood still for so long that another process took over"
        hint = "run it again; what was there before is as that process left it"
        assert (str(caught.value), caught.value.hint) == (reason, hint)
    assert path.exists()  # another one's is not ours to remove


def test_time_in_which_nobody_could_look_is_no_silence(tmp_path, monkeypatch):
    path, now = tmp_path / "guard", [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    leave(path, host="node8", boot="another")
    watch = Watch(this_process(), Pace(look=1, silence=60))
    seen = look(path)
    assert seen is not None
    for moment in (0, 3600, 7200):  # the file server was away for an hour, twice
        now[0] = moment
        assert not watch.is_dead(path, seen)
    for _ in range(55):
        now[0] += 1
        assert not watch.is_dead(path, seen)
    now[0] += 1
    assert watch.is_dead(path, seen)


def test_of_two_who_find_a_dead_ones_guard_the_slower_removes_nothing(tmp_path):
    path = tmp_path / "guard"
    dead = leave(path, start=1)
    files = Files(path, Watch(this_process(), PATIENT))
    seen = look(path)
    assert seen is not None
    assert files.remove(path, seen)
    assert files.publish(path, dump(replace(dead, nonce="the next one's")))
    assert files.remove(path, seen)
    now = look(path)
    assert now is not None
    assert now.holder == replace(dead, nonce="the next one's")
    assert names(tmp_path) == ["guard"]


def test_while_one_removes_another_does_not_and_a_dead_one_does_not_count(tmp_path):
    path = tmp_path / "guard"
    leave(path, start=1)
    files = Files(path, Watch(this_process(), PATIENT))
    seen = look(path)
    assert seen is not None
    claim = files._claim_on(seen.raw)
    leave(claim)
    assert not files.remove(path, seen)
    assert not files.remove(path, seen)
    assert names(tmp_path) == sorted([claim.name, "guard"])
    reason, _ = refused(path)
    assert reason.startswith("another build of /p/env is running")
    leave(claim, start=1)
    assert not files.remove(path, seen)  # this removed the claim
    assert names(tmp_path) == ["guard"]
    take(path)


def test_killed_at_any_moment_it_leaves_nothing_that_matters(tmp_path):
    """A child dies at its first, second, … call that may touch a file, while it removes a dead one's guard and takes
    its own; afterwards the guard can be had at once, and what lies about is tidied up."""
    path, moment = tmp_path / "guard", 0
    while True:
        leave(path, start=1)
        moment += 1
        child = os.fork()
        if child == 0:
            _die_at(moment)
            take(path)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        take(path)
        assert names(tmp_path) == [], f"killed at moment {moment}"
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert moment > 25


def _die_at(moment: int) -> None:
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in ("open", "os.link", "os.remove", "os.utime", "os.listdir", "os.chmod"):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def test_what_a_process_elsewhere_left_is_not_ours_to_tidy_up(tmp_path):
    path = tmp_path / "guard"
    foreign = tmp_path / ".guard.0123456789ab-1-1-01234567"
    foreign.touch()
    elsewhere = tmp_path / f".guard.{'0' * 32}.claim"
    leave(elsewhere, host="node8", boot="another")
    (tmp_path / ".guard.txt").touch()
    take(path)
    assert names(tmp_path) == sorted([foreign.name, elsewhere.name, ".guard.txt"])


def test_a_guard_that_cannot_be_read_is_somebodys_for_a_while(tmp_path):
    path = tmp_path / "guard"
    path.touch()  # as after a power cut
    hint = "run this without --no-wait: it waits, and takes over after 0.3 seconds without a sign of life"
    assert refused(path, HASTY) == (f"{path} is held by a process that it does not name", hint)
    said: list[str] = []
    with guarded(path, WHAT, wait=True, say=said.append, pace=HASTY):
        pass
    assert said == [f"waiting for a process that {path} does not name"]


@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_what_is_no_file_is_the_callers_error(tmp_path, kind):
    path = tmp_path / "guard"
    make: dict[str, Callable[[], None]] = {
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("nowhere"),
    }
    make[kind]()
    with pytest.raises(OSError), guarded(path, WHAT, wait=True, say=never):
        pass
    assert names(tmp_path) == ["guard"]


def test_a_directory_that_is_missing_or_cannot_be_written_is_the_callers_error(tmp_path):
    with pytest.raises(FileNotFoundError), guarded(tmp_path / "no" / "guard", WHAT, wait=True, say=never):
        pass
    with open_place() as place:

        def work() -> None:
            place.chmod(0o555)
            with pytest.raises(PermissionError), guarded(place / "guard", WHAT, wait=True, say=never):
                pass

        as_ordinary_user(work)


def test_a_directory_that_goes_away_during_the_block_is_no_error(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    with guarded(place / "guard", WHAT, wait=False, say=never):
        shutil.rmtree(place)


def test_a_guard_is_given_back_on_a_full_disk(tmp_path):
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    code = (
        "import os, sys; from pathlib import Path; from tykky.guard.hold import guarded\n"
        "place = Path(sys.argv[1])\n"
        "with guarded(place / 'guard', 'build', wait=False, say=print):\n"
        "    try:\n"
        "        for n in range(99): (place / str(n)).touch()\n"
        "    except OSError as error: print(error.strerror)\n"
        "print((place / 'guard').exists())\n"
    )
    script = 'mount -t tmpfs -o nr_inodes=8 small "$1" && exec "$2" -c "$3" "$1"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, code]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "No space left on device\nFalse\n"


def test_since_is_when_it_was_taken(tmp_path):
    before = datetime.now().astimezone().replace(microsecond=0)
    with guarded(tmp_path / "guard", WHAT, wait=False, say=never):
        seen = look(tmp_path / "guard")
    assert seen is not None
    assert seen.holder is not None
    assert before <= seen.holder.since <= datetime.now().astimezone()
