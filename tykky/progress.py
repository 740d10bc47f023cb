"""What a long piece of work says while it runs: a port. The command line renders it (bars, lines or JSON).

    with reporter.phase("link conda packages", total=312, unit="packages") as phase:
        ...
        phase.advance(1)

Nothing here prints.
"""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Protocol, Self

Unit = Literal["bytes", "packages", "files", "steps"]


class Phase(Protocol):
    """One phase of the work, open while it runs."""

    def advance(self, amount: int = 1) -> None:
        """Say that `amount` more units are done."""

    def expect(self, total: int) -> None:
        """Say how many units there are in all, once that is known."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Reporter(Protocol):
    """Where the work's events go."""

    def phase(self, title: str, *, total: int | None = None, unit: Unit = "steps") -> Phase:
        """Open a phase. It ends with its `with` block; an exception ends it as failed."""
        ...

    def note(self, message: str) -> None:
        """Say one thing worth a line: what was reused, what was chosen."""

    def warn(self, message: str) -> None:
        """Say one thing the user should look at, though the work goes on."""


class _SilentPhase:
    def advance(self, amount: int = 1) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Silent:
    """A reporter that says nothing (`-q`, and the default of library calls)."""

    def phase(self, title: str, *, total: int | None = None, unit: Unit = "steps") -> Phase:
        """Open a phase nobody watches."""
        return _SilentPhase()

    def note(self, message: str) -> None:
        """Drop the message."""

    def warn(self, message: str) -> None:
        """Drop the message."""
