"""Only one process at a time changes an environment directory: build, rollback, flatten and gc wait for one another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.leftovers import clear
from tykky.environment.publish import cannot_write
from tykky.guard.hold import guarded


@contextlib.contextmanager
def sole(path: Path, what: str, *, wait: bool, say: Callable[[str], None], clearing: bool = True) -> Iterator[None]:
    """Hold the guard of the environment directory `path` during the block; `what` tells others what is going on.

    The guard of one that exists is in it; that of one to come stands beside its place. What a killed process has left
    is cleared away before the block, unless who asks does that itself. Raises `Busy` if another process holds the guard
    and `wait` is false, `EnvironmentDirectoryError` if the place cannot be written.
    """
    directory = EnvironmentDirectory(path)
    while True:
        existed = directory.exists()
        with contextlib.ExitStack() as stack:
            try:
                guard = directory.guard if existed else _first_guard(directory)
                stack.enter_context(guarded(guard, f"{what} of {path}", wait=wait, say=say))
            except OSError as error:
                raise cannot_write(path if existed else path.parent, error) from None
            # While we waited, another process may have made it: then its own guard counts.
            if directory.exists() == existed:
                if clearing:
                    clear(directory)
                yield
                return


def _first_guard(directory: EnvironmentDirectory) -> Path:
    guard = directory.first_guard
    guard.parent.mkdir(parents=True, exist_ok=True)
    return guard
