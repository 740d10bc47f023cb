"""One tree of errors: what is wrong, what to do next, and an exit code per class.

`str(error)` is the fact: what and where, lower case, no final full stop. `hint` is the next step. The text is
a contract with the user and is tested whole. Anything raised that is not a `TykkyError` is a bug in Tykky.

This module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class TykkyError(Exception):
    """Something the user can act on.

    `hint` says what to do next; `output` is the failing tool's own last lines, shown indented under the error.
    """

    exit_code = 1

    def __init__(self, reason: str, *, hint: str | None = None, output: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.output = output


class UsageError(TykkyError):
    """The command line asks for something that cannot be (click's own usage errors exit with 2 as well)."""

    exit_code = 2


class Problem(Struct, frozen=True):
    """One thing wrong in a file: `where` is a dotted key (`pypi.dependencies[2]`), `line` counts from 1."""

    message: str
    where: str | None = None
    line: int | None = None
    suggestion: str | None = None

    def render(self, file: str) -> str:
        """Return `file:line: where: message (did you mean …?)`, leaving out what is not known."""
        place = file if self.line is None else f"{file}:{self.line}"
        key = "" if self.where is None else f"{self.where}: "
        tail = "" if self.suggestion is None else f" (did you mean {self.suggestion!r}?)"
        return f"{place}: {key}{self.message}{tail}"


class _FileError(TykkyError):
    """A file with one or more problems, all reported at once, in the order of their lines."""

    def __init__(self, file: str, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda p: (p.line or 0, p.where or "")))
        super().__init__("\n".join(p.render(file) for p in self.problems), hint=hint)


class SpecError(_FileError):
    """`tykky.toml` cannot be used as it is."""

    exit_code = 3


class LockError(_FileError):
    """`tykky.lock` cannot be used: missing, damaged, edited, too new, or for another platform."""

    exit_code = 4


class LockStale(TykkyError):
    """`tykky.lock` does not answer `tykky.toml` any more (`tykky lock --check`)."""

    exit_code = 5


class ResolveError(TykkyError):
    """No set of packages satisfies the spec."""

    exit_code = 6


class FetchError(TykkyError):
    """A channel, index or artifact could not be had: network, proxy, credentials, 404."""

    exit_code = 7


class ArtifactError(TykkyError):
    """An artifact is not what the lock says, or holds something no package may hold."""

    exit_code = 8


class BuildError(TykkyError):
    """A layer could not be built; the environment directory is as it was."""

    exit_code = 9


class ToolError(TykkyError):
    """A program Tykky needs is missing, too old, broken, or failed."""

    exit_code = 10


class EnvironmentDirectoryError(TykkyError):
    """The directory is no environment, is damaged, or cannot be written."""

    exit_code = 11


class RuntimeUnavailable(TykkyError):
    """No backend on this host can mount the images."""

    exit_code = 12


class SiteError(_FileError):
    """`site.toml` cannot be used."""

    exit_code = 13


class Busy(TykkyError):
    """Another process is at it, and `--no-wait` was given."""

    exit_code = 14
