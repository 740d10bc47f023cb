"""Only one process at a time changes an environment directory: build, rollback, flatten and gc wait for one another."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.publish import LONG_NAME, cannot_write
from tykky.guard import guarded


@contextlib.contextmanager
def sole(path: Path, what: str, *, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the guard of the environment directory `path` during the block; `what` tells others what is going on.

    The guard of one that exists is in it; that of one to come stands beside its place. Raises `Busy` if another process
    holds it and `wait` is false, `EnvironmentDirectoryError` if the place cannot be written.
    """
    while True:
        existed = EnvironmentDirectory(path).exists()
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(guarded(_place(path, existed=existed), f"{what} of {path}", wait=wait, say=say))
            except OSError as error:
                raise cannot_write(path if existed else path.parent, error) from None
            # While we waited, another process may have made it: then its own guard counts.
            if EnvironmentDirectory(path).exists() == existed:
                yield
                return


def _place(path: Path, *, existed: bool) -> Path:
    if existed:
        return path / ".tykky" / "guard"
    real = path.resolve() if path.is_symlink() else path
    real.parent.mkdir(parents=True, exist_ok=True)
    name = real.name if len(os.fsencode(real.name)) < LONG_NAME else ""
    return real.parent / f".{name}.tykky-guard"
