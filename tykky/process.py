"""The only door to other programs.

argv is always a list, no shell ever sees it. Output is captured into the log of the work in hand, and on
failure its last lines are part of the error. What the child sees of our environment variables is decided
here too: `clean_environ` drops everything that would let a user's settings leak into a lock or a layer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field

from tykky.errors import ToolError

# Variables whose *prefix* makes a tool behave differently from host to host (invariant 11). Credentials and
# proxies have other names (HTTPS_PROXY, NETRC, RATTLER_AUTH_FILE) and do pass.
_LEAKING_PREFIXES = (
    "PIP_",
    "UV_",
    "CONDA_",
    "MAMBA_",
    "PYTHON",
    "VIRTUAL_ENV",
    "SETUPTOOLS_",
    "DISTUTILS_",
    "APPTAINER_",
    "APPTAINERENV_",
    "SINGULARITY_",
    "SINGULARITYENV_",
    "LD_",
    "GREP_",
    "BASH_FUNC_",
)
_LEAKING_NAMES = frozenset(
    {"BASH_ENV", "ENV", "CDPATH", "CONDARC", "MAMBARC", "MAGIC", "SQFS_OPTIONS", "SOURCE_DATE_EPOCH", "XDG_CONFIG_HOME"}
)
# How patient to be with a network cannot change what comes of it.
_KEPT = frozenset({"UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"})
# uv trusts its own list of authorities unless told otherwise; a site with one of its own has added it to the host's.
_FIXED = {"LC_ALL": "C.UTF-8", "UV_SYSTEM_CERTS": "true"}

_TAIL_LINES = 12
_GRACE = 2.0  # seconds for a program to clean up after itself


def clean_environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment variables without those that would change what a tool does, plus `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not (name.startswith(_LEAKING_PREFIXES) or name in _LEAKING_NAMES)
    }
    return {**kept, **_FIXED, **(extra or {})}


def which(program: str, *, hint: str) -> Path:
    """Return the path of `program` on PATH, or raise `ToolError` with `hint` (how to get it)."""
    import shutil  # with three libraries of compression; most programs are run by their path

    found = shutil.which(program)
    if found is None:
        raise ToolError(f"{program} is not on PATH", hint=hint)
    return Path(found)


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """Return the last `lines` lines that are not blank."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])


class Finished(Struct, frozen=True):
    """A program that ended: its argv, exit status (negative: killed by that signal) and output as text."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class CommandFailed(ToolError):
    """A program ended with a status other than 0. `finished` has all of it, for callers that translate it."""

    def __init__(self, finished: Finished, *, hint: str | None = None) -> None:
        self.finished = finished
        name = Path(finished.argv[0]).name
        if finished.status < 0:
            how = f"was killed by {signal.Signals(-finished.status).name}"
        else:
            how = f"failed with exit status {finished.status}"
        super().__init__(f"{name} {how}", hint=hint, output=tail(finished.stderr or finished.stdout))


class Commands(Struct):
    """Runs programs and keeps a log of them.

    `log` (if given) receives every command line and everything it printed; nothing of it is lost when the
    message shows only the tail.
    """

    log: Path | None = None
    environ: Mapping[str, str] = field(default_factory=clean_environ)

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        stdin: str | None = None,
        check: bool = True,
        hint: str | None = None,
        timeout: float | None = None,
    ) -> Finished:
        """Run a program to its end and return its output.

        `environ` is added to the variables the program sees. `timeout` is in seconds. Raises `ToolError` if
        the program cannot be started, `CommandFailed` if it fails and `check` is true.
        """
        with self.start(argv, cwd=cwd, environ=environ, told=stdin is not None, hint=hint) as running:
            return running.finished(stdin, check=check, timeout=timeout)

    @contextlib.contextmanager
    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        told: bool = False,
        hint: str | None = None,
    ) -> Iterator[Running]:
        """Start a program and let it run during the block, which asks for its output when it needs it.

        With `told` the program's input is what it is told during the block (`Running.tell`), else nothing. If the block
        ends without having asked, the program is ended. Raises `ToolError` if it cannot be started.
        """
        words = tuple(os.fspath(word) for word in argv)
        self._write(f"$ {shlex.join(words)}\n")
        with _started(
            words,
            hint,
            cwd=cwd,
            env={**self.environ, **(environ or {})},
            stdin=subprocess.PIPE if told else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as child:
            yield Running(words, child, hint, self._write)
            if child.returncode is None:
                _end(child)

    def stream(
        self,
        argv: Sequence[str | os.PathLike[str]],
        on_line: Callable[[str], None],
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        hint: str | None = None,
    ) -> Finished:
        """Run a program and hand over each line of its output (both streams, as they come) to `on_line`.

        A carriage return ends a line too, so that a tool's own progress counter arrives. `stdin` is a file.
        """
        words = tuple(os.fspath(word) for word in argv)
        self._write(f"$ {shlex.join(words)}\n")
        source = subprocess.DEVNULL if stdin is None else os.open(stdin, os.O_RDONLY | os.O_CLOEXEC)
        lines: list[str] = []
        try:
            with _started(
                words,
                hint,
                cwd=cwd,
                env={**self.environ, **(environ or {})},
                stdin=source,
                stderr=subprocess.STDOUT,
            ) as child:
                assert child.stdout is not None
                for line in child.stdout:
                    lines.append(line)
                    self._write(line)
                    on_line(line.rstrip("\n"))
                child.wait()
        finally:
            if source != subprocess.DEVNULL:
                os.close(source)
        finished = Finished(words, child.returncode, "".join(lines), "")
        if finished.status != 0:
            raise CommandFailed(finished, hint=hint)
        return finished

    def _write(self, text: str) -> None:
        if self.log is not None and text:
            # A cache that cannot be written ends what needs it; a log alone is no reason to.
            with contextlib.suppress(OSError), self.log.open("a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)


class Running(Struct, frozen=True):
    """A program that runs. `log` takes what it prints."""

    argv: tuple[str, ...]
    child: subprocess.Popen[str]
    hint: str | None
    log: Callable[[str], None]

    def tell(self, text: str) -> None:
        """Write all of the program's input, for one that was started to be told and reads that before it prints much.

        What it does not read is lost.
        """
        pipe = self.child.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(text)
        self.child.stdin = None  # `communicate` would flush it once more

    def finished(self, stdin: str | None = None, *, check: bool = True, timeout: float | None = None) -> Finished:
        """Wait for the program's end and return its output; raise as `Commands.run` does.

        `stdin` is what it is still told meanwhile.
        """
        try:
            out, err = self.child.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            message = f"{Path(self.argv[0]).name} did not end within {timeout:g} s"
            raise ToolError(message, hint=self.hint) from None
        finished = Finished(self.argv, self.child.returncode, out, err)
        self.log(finished.stdout + finished.stderr)
        if check and finished.status != 0:
            raise CommandFailed(finished, hint=self.hint)
        return finished


@contextlib.contextmanager
def _started(
    words: tuple[str, ...], hint: str | None, *, cwd: Path | None, env: dict[str, str], stdin: int, stderr: int
) -> Iterator[subprocess.Popen[str]]:
    """Start a program; if the block does not end well, end it and all that it started.

    It gets a session of its own: so all of them are one process group, and none can ask a question on a terminal
    where nobody would see it. Raises `ToolError` if the program cannot be started.
    """
    try:
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",  # what they are told is no matter of our locale; theirs is C.UTF-8
            errors="replace",
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise ToolError(f"{words[0]} cannot be started: {error.strerror}", hint=hint) from None
    except OSError as error:
        if error.errno not in (errno.ENOEXEC, errno.E2BIG, errno.EINVAL, errno.ELOOP):
            raise
        raise ToolError(f"{words[0]} cannot be started: {error.strerror}", hint=hint) from None
    with child:
        try:
            yield child
        except BaseException:
            _end(child)
            raise


def _end(child: subprocess.Popen[str]) -> None:
    """Ask a process group to end, and see to it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE)
    # Also where the program itself ended in time: of what it started, some may not have.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def full_disk_hint(output: str) -> str | None:
    """Return what to do if a tool's output says that a disk or quota is full, else None."""
    # Where user namespaces are forbidden by their number, unshare is told the same.
    output = "\n".join(line for line in output.splitlines() if "unshare" not in line)
    if re.search(r"no space left on device|os error 28\b", output, re.I):
        return "a disk is full: free some space, or set TMPDIR (and TYKKY_CACHE) to where there is more"
    if re.search(r"disk quota exceeded|os error 122\b", output, re.I):
        return "a quota is used up (space or files): set TMPDIR (and TYKKY_CACHE) to where there is more"
    return None
