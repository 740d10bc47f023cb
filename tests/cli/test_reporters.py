"""Progress: lines where there is no terminal, bars where there is one, JSON where it is asked for."""

from __future__ import annotations

import io
import json

import pytest

from tykky.cli.reporters import BarReporter, JsonReporter, LineReporter, human_bytes, reporter_for
from tykky.progress import Silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_right_reporter_for_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(reporter_for(as_json=False, quiet=False, stream=io.StringIO()), LineReporter)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(reporter_for(as_json=False, quiet=False, stream=Terminal()), BarReporter)
    assert isinstance(reporter_for(as_json=True, quiet=False), JsonReporter)
    assert isinstance(reporter_for(as_json=False, quiet=True), Silent)


def test_lines() -> None:
    out = io.StringIO()
    reporter = LineReporter(out)
    with reporter.phase("pack", total=3_000_000, unit="bytes") as phase:
        phase.advance(3_000_000)
    reporter.note("reused the cache")
    reporter.warn("look at this")
    with pytest.raises(RuntimeError), reporter.phase("install"):
        raise RuntimeError
    first, note, warning, failed = out.getvalue().splitlines()
    assert first.startswith("pack: 3.0 MB in ")
    assert first.endswith("/s)")
    assert (note, warning) == ("reused the cache", "warning: look at this")
    assert failed.startswith("install: failed after ")


def test_events() -> None:
    out = io.StringIO()
    reporter = JsonReporter(out)
    with reporter.phase("install", total=2, unit="packages") as phase:
        phase.advance()
        phase.advance()
    start, end = map(json.loads, out.getvalue().splitlines())
    assert start == {"event": "phase-start", "phase": "install", "total": 2, "unit": "packages"}
    assert (end["event"], end["done"], end["ok"]) == ("phase-end", 2, True)


def test_bars_leave_one_line_per_phase() -> None:
    out = Terminal()
    reporter = BarReporter(out)
    with reporter.phase("pack [odd] layer", total=10, unit="files") as phase:
        phase.advance(10)
    reporter.warn("[bold]not markup")
    text = out.getvalue()
    assert "pack [odd] layer: 10 files in " in text
    assert "[bold]not markup" in text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (238_000_000, "238.0 MB"), (2.5e9, "2.5 GB")]
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert human_bytes(count) == text
