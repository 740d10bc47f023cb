"""What a killed process leaves of its work on an environment directory, and how the next one clears it away.

Everything unfinished has a private name that says who made it, or a fixed one that only who holds the guard may use.
So what is left can be told from work in hand: by a process that is provably gone (of this user, host and boot), or by
having the guard. The one thing without a private name are the launchers in P/bin: a kill around the switch may leave
too many or the text of an older one; which belong there is in the generation's record.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.publish import launcher_names, make_current, unfinished_names
from tykky.environment.scratch import remove_tree, scratch_left_behind
from tykky.errors import EnvironmentDirectoryError
from tykky.guard.hold import forget, is_forsaken
from tykky.guard.ownership import left_behind
from tykky.runtime.host_image import STAGE as HOST_STAGE


def leftovers(directory: EnvironmentDirectory) -> tuple[Path, ...]:
    """Return the private paths of processes that are gone, in P and beside it."""
    places = [
        (directory.generations, ".stage-"),
        (directory.private, HOST_STAGE),
        (directory.beside.parent, directory.beside.name),
    ]
    found = [path for place, start in places for path in left_behind(place, start)]
    return (*directory.store.leftovers(), *found)


def is_unfinished(directory: EnvironmentDirectory) -> bool:
    """Say whether a killed process has left something in P or beside it that is ours to clear away."""
    if not directory.exists() or not os.access(directory.private, os.W_OK | os.X_OK):
        return False
    return (
        bool(leftovers(directory))
        or directory.store.is_forsaken()
        or is_forsaken(directory.guard)
        or is_forsaken(directory.first_guard)
        or any(path.is_symlink() or path.exists() for path in unfinished_names(directory))
        or _has_other_programs(directory)
    )


def clear(directory: EnvironmentDirectory) -> None:
    """Remove what is left and finish a switch that was begun. Only for who holds the guard; raises nothing.

    What cannot be done now is no reason to fail: the next run meets it again.
    """
    for path in leftovers(directory):
        remove_tree(path)
    directory.store.sweep()
    if not directory.exists():
        return
    forget(directory.first_guard)  # from now on it is the one inside that counts
    with contextlib.suppress(OSError, EnvironmentDirectoryError):
        for path in unfinished_names(directory):
            path.unlink(missing_ok=True)
        if _has_other_programs(directory):
            make_current(directory, directory.record())


def clear_scratch(parents: Iterable[Path]) -> None:
    """Remove the scratch directories of builds that are gone, but not those that were to be kept."""
    for parent in dict.fromkeys(parents):
        for path in scratch_left_behind(parent):
            remove_tree(path)


def _has_other_programs(directory: EnvironmentDirectory) -> bool:
    try:
        return launcher_names(directory) != set(directory.record().programs)
    except (OSError, EnvironmentDirectoryError):
        return False  # what is damaged is a build's to make again
