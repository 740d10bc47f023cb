"""The one error boundary.

A verb's module holds `command` (`tykky.cli.clicks`). It parses, calls the core and prints its
result. It catches nothing: what it raises ends here.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from tykky.cli.clicks import declared
from tykky.cli.main import VERBS
from tykky.errors import TykkyError


def run(words: list[str]) -> int:
    """Run the command line; return its exit code. Every expected error is rendered here and nowhere else."""
    own = own_words(words)
    as_json, verbose = "--json" in own, bool({"-v", "--verbose"} & set(own))
    _print_any_name()
    try:
        with _signals():
            result = _call(words)
            sys.stdout.flush()  # here, where its failure is an error like any other
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        print(file=sys.stderr)  # after the terminal's ^C, as click does
        return _interrupted()
    except _Ended as end:
        with contextlib.suppress(OSError):  # after a hangup there is no terminal to tell
            print(f"ended by {end.signal.name}", file=sys.stderr)
        return 128 + end.signal
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as leave:
        if isinstance(leave.__context__, BrokenPipeError):  # click's own answer to it
            return _nobody_reads()
        raise
    except (TykkyError, OSError) as error:
        known = error if isinstance(error, TykkyError) else TykkyError(_os_error_text(error))
        known.hint = _with_full_disk(known)
        _show(known, as_json=as_json)
        if verbose:
            import traceback

            traceback.print_exc()
        _drop_what_cannot_be_printed()
        return known.exit_code
    except Exception as error:
        code = _told_by_click(error)
        if code is None:
            raise
        return code


def _call(words: list[str]) -> object:
    """Do what the words say: at once if they are plain, else as click reads them."""
    if words and words[0] in VERBS:
        command = declared(words[0])
        values = command.values(words[1:])
        if values is not None:
            try:
                return command.function(**values)
            except Exception as error:
                if "click" in sys.modules and isinstance(error, sys.modules["click"].UsageError):
                    from tykky.cli.verbs import place_usage

                    place_usage(error, words[0], command.command())
                raise
    from tykky.cli.verbs import tykky

    return tykky.main(args=words, prog_name="tykky", standalone_mode=False, obj=words)


def _told_by_click(error: Exception) -> int | None:
    """Show what click raises, and return its exit code; None for anything else, and while click is not imported."""
    if "click" not in sys.modules:
        return None
    from click.exceptions import Abort, ClickException, Exit

    if isinstance(error, Exit):
        return int(error.exit_code)
    if isinstance(error, Abort):
        return _interrupted()
    if isinstance(error, ClickException):
        error.show()
        return error.exit_code
    return None


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return 128 + signal.SIGINT


def _print_any_name() -> None:
    """Let file names that are no text in this locale be printed: as their bytes, or escaped where those mislead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            plain = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if plain else "backslashreplace")


def _nobody_reads() -> int:
    """Return the exit code where the reader went away (`tykky list | head -1`)."""
    _drop_what_cannot_be_printed()
    return 128 + signal.SIGPIPE


def _drop_what_cannot_be_printed() -> None:
    """Keep the interpreter from complaining once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Ended(BaseException):
    """A signal asked this process to end. Not an `Exception`: nobody may take it for a failure of the work."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """While a verb runs, let the signals that end a process unwind it, so that nothing half-made is left behind.

    Only the first one counts: a second Ctrl-C must not stop the cleaning up. Signals that the caller ignores (nohup)
    stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise _Ended(number)

    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: kept for number in asked if (kept := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)


def own_words(words: list[str]) -> list[str]:
    """Return the words that are ours: those after `--`, and after the directory of `tykky run`, are a program's.

    (Between that directory and the program only `--with` may stand.)
    """
    own = words[: words.index("--")] if "--" in words else words
    if own[:1] != ["run"]:
        return own
    # The word after --with is its value.
    directory = next(
        (i for i, word in enumerate(own) if i > 0 and not word.startswith("-") and own[i - 1] != "--with"), len(own)
    )
    return own[: directory + 1]


def _os_error_text(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{(error.strerror or str(error)).lower()}"


def _with_full_disk(error: TykkyError) -> str | None:
    """Return the hint, and before it what to do about a full disk, if the program that failed met one."""
    from tykky.process import full_disk_hint

    full = full_disk_hint(f"{error.reason}\n{error.output or ''}")
    if full is None or "--prefix" in (error.hint or "") or full in (error.hint or ""):
        return error.hint
    return f"{full}; {error.hint}" if error.hint else full


def _show(error: TykkyError, *, as_json: bool) -> None:
    if as_json:
        import json

        document = {
            "error": type(error).__name__,
            "reason": error.reason,
            "hint": error.hint,
            "output": error.output,
            "exit-code": error.exit_code,
        }
        print(json.dumps(document, ensure_ascii=False))
        return
    red, bold, reset = ("\x1b[31m", "\x1b[1m", "\x1b[0m") if _colour() else ("", "", "")
    print(f"{red}{bold}error{reset}: {error.reason}", file=sys.stderr)
    if error.output:
        print(file=sys.stderr)
        for line in error.output.splitlines():
            print(f"    {line}", file=sys.stderr)
    if error.hint:
        print(f"\n{bold}hint{reset}: {error.hint}", file=sys.stderr)


def _colour() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
