"""Back to an earlier generation, or forward again: one rename, after a look at all that it needs."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, no_environment
from tykky.environment.publish import cannot_write, make_current, shown_names
from tykky.errors import EnvironmentDirectoryError


class RolledBack(Struct, frozen=True):
    """The generation that runs now, the number of the one before, and whether anything was done."""

    record: GenerationRecord
    before: int
    changed: bool


def roll_back(
    directory: EnvironmentDirectory,
    number: int | None,
    mount_points: Callable[[GenerationRecord, tuple[str, ...]], None],
) -> RolledBack:
    """Make generation `number` the current one, by default the one before.

    `mount_points` writes what backends need to show P with these names at the top of the tree; it is called only where
    the two generations differ in them or in their root. The next build makes a new generation in any case: numbers
    never come twice. Raises `EnvironmentDirectoryError`, with everything as it was, if that generation cannot run.
    """
    current = directory.record()
    record = directory.record(_chosen(directory, current.number, number))
    if record.number == current.number:
        return RolledBack(record, current.number, changed=False)
    check_whole(directory, record)
    try:
        if set(record.top) != set(current.top) or record.root != current.root:
            mount_points(record, shown_names(directory, record))
        make_current(directory, record)
    except OSError as error:
        raise cannot_write(directory.path, error) from None
    return RolledBack(record, current.number, changed=True)


def check_whole(directory: EnvironmentDirectory, record: GenerationRecord) -> None:
    """Raise `EnvironmentDirectoryError` if an image of the generation is missing, or has another size."""
    folder = directory.generations / str(record.number)
    damage = directory.damage(record)
    problems = [f"image {problem}" for problem in damage.values()]
    if (of_root := directory.root_damage(record.root)) is not None:
        problems.append(f"image {of_root}")
    if not (folder / "launch.sh").is_file():
        problems.append("its launch.sh is missing")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        lock = folder / "tykky.lock"
        mend = f"'tykky build' with its lock, {lock}, makes the images again"
        if any(layer.lent and layer.key in damage for layer in record.layers):
            mend = (
                "only the environment that lent it can bring it back; 'tykky lock --rebase' and 'tykky build' "
                "make a generation of what that one has now"
            )
        raise EnvironmentDirectoryError(
            f"generation {record.number} of {directory.path} cannot be used:\n{lines}",
            hint=f"nothing was changed; {mend}",
        )


def check_there(directory: EnvironmentDirectory, number: int) -> None:
    """Raise `EnvironmentDirectoryError` if there is no such generation, not any more, or no environment at all."""
    if number in directory.numbers():
        return
    if not directory.exists():
        raise no_environment(directory.path)
    if number < directory.next_number():
        reason = f"generation {number} of {directory.path} was collected: 'tykky gc' has removed it"
    else:
        reason = f"{directory.path} has no generation {number}"
    raise EnvironmentDirectoryError(reason, hint=_those_there(directory))


def _chosen(directory: EnvironmentDirectory, current: int, number: int | None) -> int:
    if number is not None:
        check_there(directory, number)
        return number
    earlier = [n for n in directory.numbers() if n < current]
    if not earlier:
        raise EnvironmentDirectoryError(
            f"{directory.path} has no generation before {current}, the current one", hint=_those_there(directory)
        )
    return earlier[-1]


def _those_there(directory: EnvironmentDirectory) -> str:
    there = directory.numbers()
    return f"there {'are' if len(there) > 1 else 'is'} {', '.join(map(str, there))}; see 'tykky history'"
