"""Who holds a guard, and whether that process is alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from tykky.guard.holder import Process, activity, describe, dump, holding, judge, parse, start_of, this_process

HERE = Process("node7", "m1", "boot1", "pid:[4026531836]", pid=10, start=100)
OTHER = replace(HERE, pid=123, start=500)


def gone(pid: int) -> int | None:
    raise ProcessLookupError(pid)


@pytest.mark.parametrize(
    ("process", "start", "verdict"),
    [
        pytest.param(OTHER, lambda _: 500, "alive", id="running"),
        pytest.param(OTHER, gone, "dead", id="no such pid"),
        pytest.param(OTHER, lambda _: 501, "dead", id="the pid is another process's now"),
        pytest.param(OTHER, lambda _: None, "unknown", id="another user's, hidden by /proc"),
        pytest.param(replace(OTHER, boot="boot0"), lambda _: 500, "dead", id="before this boot"),
        pytest.param(replace(OTHER, boot="boot2", host="node8"), gone, "unknown", id="another host"),
        pytest.param(replace(OTHER, boot="boot2", machine="m2"), gone, "unknown", id="another host of the same name"),
        pytest.param(replace(OTHER, boot="boot2", machine=""), gone, "unknown", id="a host that cannot be told"),
        pytest.param(replace(OTHER, space="pid:[4026532000]"), gone, "unknown", id="a container on this host"),
        pytest.param(replace(OTHER, space=""), gone, "unknown", id="a process that does not know its pid"),
        pytest.param(replace(OTHER, host="renamed"), lambda _: 500, "alive", id="this host by another name"),
    ],
)
def test_a_process_is_dead_only_where_that_is_certain(process, start, verdict):
    assert judge(process, HERE, start) == verdict


def test_we_are_alive_and_a_child_is_until_it_ends():
    here = this_process()
    assert (here.pid, here.boot) == (os.getpid(), Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    assert here.space == os.readlink("/proc/self/ns/pid")
    assert judge(here, here) == "alive"
    assert judge(replace(here, start=here.start + 1), here) == "dead"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    as_holder = replace(here, pid=child.pid, start=start_of(child.pid))
    assert judge(as_holder, here) == "alive"
    os.kill(child.pid, signal.SIGSTOP)
    assert judge(as_holder, here) == "alive"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but its parent has not asked: a zombie
    assert judge(as_holder, here) == "dead"
    child.communicate()
    assert judge(as_holder, here) == "dead"


def test_a_record_is_read_as_it_was_written_also_by_an_older_tykky():
    holder = holding(HERE, "build of /p/caf\udce9\x1b[2J")
    assert holder.what == r"build of /p/caf\udce9\x1b[2J"
    assert parse(dump(holder)) == holder
    assert parse(dump(holder).replace(b'{"', b'{"new": [1], "', 1)) == holder
    assert holding(HERE, "x").nonce != holding(HERE, "x").nonce


@pytest.mark.parametrize(
    "damage", [(b'"pid":10', b'"pid":0'), (b'"pid":10', b'"pid":-1'), (b'"pid":10', b'"pid":9999999999'), (b"}", b"")]
)
def test_what_is_no_record_names_nobody(damage):
    raw = dump(holding(HERE, "build"))
    assert raw.count(damage[0]) == 1
    assert parse(raw.replace(*damage)) is None
    assert parse(b"") is None
    assert parse(b"\xff\xfe") is None


def test_a_description_has_the_day_if_it_is_another_and_the_user_if_it_is_another():
    holder = replace(holding(OTHER, "build of /p/env"), since=datetime(2026, 11, 19, 12, 3, tzinfo=UTC))
    local = holder.since.astimezone()
    assert describe(holder, holder.since) == f"pid 123 on node7, since {local:%H:%M}"
    assert describe(holder, holder.since + timedelta(days=2)) == f"pid 123 on node7, since {local:%Y-%m-%d %H:%M}"
    other = replace(holder, user="al\x1bice", host="no\nde")
    assert describe(other, holder.since) == rf"pid 123 of al\x1bice on no\nde, since {local:%H:%M}"
    assert activity(holder, "build of /p/env") == "another build of /p/env"
    assert activity(holder, "gc of /p/env") == "the build of /p/env"
