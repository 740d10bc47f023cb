"""Taking a guard, keeping it alive, and giving it back."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tykky.errors import Busy
from tykky.guard.files import Files, Pace, Seen, Watch, look
from tykky.guard.holder import Holder, activity, describe, dump, holding, judge, this_process

_FIRST_PAUSE = 0.02  # seconds
_HASTY_TRIES = 100  # to get past other processes that remove a dead one's guard, by one that does not wait


class Held:
    """A guard that we hold."""

    def __init__(self, files: Files, holder: Holder) -> None:
        self._files = files
        self._holder = holder
        self._raw = dump(holder)
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Raise `Busy` if the guard is not ours any more: somebody took this process for dead.

        That can only happen to one that stood still for a long time (a suspended machine, a network that was
        away). Call it before what cannot be undone.
        """
        seen = look(self._files.path)
        if seen is None or seen.raw != self._raw:
            raise Busy(
                f"{self._holder.what} stood still for so long that another process took over",
                hint="run it again; what was there before is as that process left it",
            )

    def _take(self, *, wait: bool, say: Callable[[str], None]) -> None:
        """Publish our guard; wait for another's end, or raise `Busy`."""
        files, told, tries, pause = self._files, False, 0, _FIRST_PAUSE
        while True:
            tries += 1
            seen = look(files.path)
            if seen is None:
                if files.publish(files.path, self._raw):
                    return
                continue  # another one was faster
            dead = files.watch.is_dead(files.path, seen)
            if dead and files.remove(files.path, seen):
                continue
            if not wait and (not dead or tries > _HASTY_TRIES):
                raise _busy(files, seen, self._holder.what)
            if not dead and not told:
                say(_waiting(files.path, seen, self._holder.what))
                told = True
            # Not all at the same moment: a job array may start many at once.
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(pause * 1.5, files.watch.pace.look)

    def _keep(self) -> None:
        """Start to give signs of life, and tidy up after the dead."""
        descriptor = os.open(self._files.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        beat = self._files.watch.pace.beat
        # Of an open file, so that never another one's guard is touched should ours be gone.
        self._thread = threading.Thread(target=_touch_until, args=(self._end, descriptor, beat), daemon=True)
        self._thread.start()
        with contextlib.suppress(OSError):  # another user's leftovers, in a directory with the sticky bit
            self._files.sweep()

    def _give_back(self) -> None:
        """Remove our guard, if we are who took it and it is still ours. Raises nothing.

        A guard that cannot be removed now is taken for dead as soon as this process is, so no failure here may hide the
        one that ended the work.
        """
        now, then = this_process(), self._files.watch.here
        if (now.pid, now.start) != (then.pid, then.start):
            return  # a forked child
        self._end.set()
        if self._thread is not None:
            self._thread.join()  # NFS keeps the name of a removed file that is open
        with contextlib.suppress(OSError):
            try:
                self._remove_own()
            except OSError:  # no room for a claim on a full disk: then without
                seen = look(self._files.path)
                if seen is not None and seen.raw == self._raw:
                    self._files.path.unlink(missing_ok=True)

    def _remove_own(self) -> None:
        for _ in range(_HASTY_TRIES):
            seen = look(self._files.path)
            if seen is None or seen.raw != self._raw or self._files.remove(self._files.path, seen):
                return
            time.sleep(_FIRST_PAUSE)


@contextlib.contextmanager
def guarded(
    path: Path, what: str, *, wait: bool, say: Callable[[str], None], pace: Pace | None = None
) -> Iterator[Held]:
    """Hold the guard `path` during the block; `what` tells others what is going on (`build of /p/env`).

    If another process holds it: with `wait`, `say` that once and wait for its end; without, raise `Busy`. Dead holders
    are nobody: on this host at once, elsewhere after `pace.silence` seconds without a sign of life, for which only who
    waits can watch. All who use one guard need paces that fit each other (beat well below silence).

    The directory of `path` must exist and be writable, on a file system with hard links: an `OSError` is the caller's
    to explain. A forked child never gives the guard back. Not reentrant: who holds it would wait for itself.
    """
    here = this_process()
    held = Held(Files(path, Watch(here, pace or Pace())), holding(here, what))
    try:
        held._take(wait=wait, say=say)
        held._keep()
        yield held
    finally:
        held._give_back()


def is_forsaken(path: Path) -> bool:
    """Say whether at `path` or beside it there is what `forget` removes. Raises no `OSError`."""
    files = Files(path, Watch(this_process(), Pace()))
    with contextlib.suppress(OSError):
        seen = look(path)
        return (seen is not None and files.watch.is_provably_dead(seen)) or any(True for _ in files.left_beside())
    return False


def forget(path: Path) -> None:
    """Remove the guard at `path`, and what was left beside it, as far as those who made it are provably gone.

    Who takes a guard does so anyhow; this is for guards that nobody takes any more. Raises no `OSError`.
    """
    files = Files(path, Watch(this_process(), Pace()))
    with contextlib.suppress(OSError):
        for _ in range(_HASTY_TRIES):
            seen = look(path)
            if seen is None or not files.watch.is_provably_dead(seen) or files.remove(path, seen):
                break
            time.sleep(_FIRST_PAUSE)  # another one, or one who died, was removing it
        files.sweep()


def _touch_until(end: threading.Event, descriptor: int, beat: float) -> None:
    try:
        while not end.wait(beat):
            with contextlib.suppress(OSError):  # the next one may get through
                os.utime(descriptor)
    finally:
        os.close(descriptor)


def _busy(files: Files, seen: Seen, what: str) -> Busy:
    if seen.holder is not None and judge(seen.holder, files.watch.here) == "alive":
        hint = "wait for its end, or run this without --no-wait, which does"
    else:
        silence = files.watch.pace.silence
        hint = f"run this without --no-wait: it waits, and takes over after {silence:g} seconds without a sign of life"
    if seen.holder is None:
        return Busy(f"{files.path} is held by a process that it does not name", hint=hint)
    who = describe(seen.holder, datetime.now(UTC))
    return Busy(f"{activity(seen.holder, what)} is running ({who})", hint=hint)


def _waiting(path: Path, seen: Seen, what: str) -> str:
    if seen.holder is None:
        return f"waiting for a process that {path} does not name"
    return f"waiting for {activity(seen.holder, what)} ({describe(seen.holder, datetime.now(UTC))})"
