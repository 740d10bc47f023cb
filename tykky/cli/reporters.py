"""Progress for people and programs: bars on a terminal, lines elsewhere, JSON events with `--json`."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from tykky.progress import Phase, Reporter, Silent, Unit

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVERY = 5.0  # seconds between lines of a running phase where there is no terminal


def reporter_for(*, as_json: bool, quiet: bool, stream: TextIO | None = None) -> Reporter:
    """Return the reporter for this call. All of it goes to stderr, except JSON events, which are the output."""
    if as_json:
        return JsonReporter(sys.stdout)
    if quiet:
        return Silent()
    out = stream or sys.stderr
    return BarReporter(out) if out.isatty() else LineReporter(out)


def human_bytes(count: float) -> str:
    """Return a number of bytes for people: `563.1 MB` (powers of ten, as disks and quotas count)."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def human_moment(created: str) -> str:
    """Return a record's time in this host's zone, to the minute."""
    try:
        return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return created


def _amount(count: int, unit: Unit) -> str:
    if unit == "bytes":
        return human_bytes(count)
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"


class _Phase:
    """What the three kinds of phase share: the count and the clock."""

    def __init__(self, title: str, total: int | None, unit: Unit) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0
        self.started = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self.done += amount
        self.changed()

    def expect(self, total: int) -> None:
        self.total = total
        self.changed()

    def changed(self) -> None:
        """Show the new state."""

    def ended(self, failed: bool) -> None:
        """Show the end."""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def summary(self) -> str:
        """Return `24,400 files in 3.1 s (7,870/s)`, or just the time where nothing was counted."""
        text = f"{self.seconds:.1f} s"
        if not self.done:
            return text
        rate = self.done / max(self.seconds, 0.001)
        speed = f"{human_bytes(rate)}/s" if self.unit == "bytes" else f"{rate:,.0f}/s"
        return f"{_amount(self.done, self.unit)} in {text} ({speed})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended(failed=kind is not None)


class LineReporter:
    """Plain lines for logs and batch jobs: one when a phase ends, and one every few seconds while it runs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def phase(self, title: str, *, total: int | None = None, unit: Unit = "steps") -> Phase:
        """Open a phase."""
        return _LinePhase(title, total, unit, self._out)

    def note(self, message: str) -> None:
        """Print the message."""
        print(message, file=self._out, flush=True)

    def warn(self, message: str) -> None:
        """Print the message as a warning."""
        print(f"warning: {message}", file=self._out, flush=True)


class _LinePhase(_Phase):
    def __init__(self, title: str, total: int | None, unit: Unit, out: TextIO) -> None:
        super().__init__(title, total, unit)
        self._out = out
        self._said = self.started

    def changed(self) -> None:
        if time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            of = f" of {_amount(self.total, self.unit)}" if self.total else ""
            print(f"{self.title}: {_amount(self.done, self.unit)}{of}", file=self._out, flush=True)

    def ended(self, failed: bool) -> None:
        print(f"{self.title}: {'failed after ' if failed else ''}{self.summary()}", file=self._out, flush=True)


class JsonReporter:
    """One JSON object per line: {"event": "phase-start" | "progress" | "phase-end" | "note" | "warning", …}."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def emit(self, event: str, **fields: object) -> None:
        """Write one event."""
        import json

        print(json.dumps({"event": event, **fields}, ensure_ascii=False), file=self._out, flush=True)

    def phase(self, title: str, *, total: int | None = None, unit: Unit = "steps") -> Phase:
        """Open a phase."""
        return _JsonPhase(title, total, unit, self)

    def note(self, message: str) -> None:
        """Write a note event."""
        self.emit("note", message=message)

    def warn(self, message: str) -> None:
        """Write a warning event."""
        self.emit("warning", message=message)


class _JsonPhase(_Phase):
    def __init__(self, title: str, total: int | None, unit: Unit, reporter: JsonReporter) -> None:
        super().__init__(title, total, unit)
        self._reporter = reporter
        self._said = self.started
        reporter.emit("phase-start", phase=title, total=total, unit=unit)

    def changed(self) -> None:
        if time.monotonic() - self._said >= 1.0:
            self._said = time.monotonic()
            self._reporter.emit("progress", phase=self.title, done=self.done, total=self.total, unit=self.unit)

    def ended(self, failed: bool) -> None:
        self._reporter.emit(
            "phase-end",
            phase=self.title,
            done=self.done,
            unit=self.unit,
            seconds=round(self.seconds, 3),
            ok=not failed,
        )


class BarReporter:
    """Bars with rates on a terminal, one at a time; a finished phase leaves one line."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=out, highlight=False)

    def phase(self, title: str, *, total: int | None = None, unit: Unit = "steps") -> Phase:
        """Open a phase."""
        return _BarPhase(title, total, unit, self._console)

    def note(self, message: str) -> None:
        """Print the message."""
        self._console.print(message, markup=False)

    def warn(self, message: str) -> None:
        """Print the message as a warning."""
        self._console.print("[yellow]warning[/yellow]:", end=" ")
        self._console.print(message, markup=False)


class _BarPhase(_Phase):
    def __init__(self, title: str, total: int | None, unit: Unit, console: object) -> None:
        super().__init__(title, total, unit)
        from rich.console import Console

        assert isinstance(console, Console)
        self._console = console
        self._progress: Progress = _progress(console, unit)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task(self.title, total=self.total)
        return self

    def changed(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=self.done, total=self.total)

    def ended(self, failed: bool) -> None:
        self._progress.stop()
        mark = "[red]✗[/red]" if failed else "[green]✓[/green]"
        self._console.print(mark, end=" ")
        self._console.print(f"{self.title}: {self.summary()}", markup=False)


def _progress(console: object, unit: Unit) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    assert isinstance(console, Console)
    amounts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        *amounts,
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
