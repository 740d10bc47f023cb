"""The resolver that drives uv: `uv pip compile`. What it is asked, and how it is started; `uv_reading` has the rest.

Nearly all of its time uv waits for its index. So as little as possible is imported and done here, before it is started.
It gets ready for its work (15 ms) while the question is written: that is its input, and it opens no other file of the
question before it has read all of it. What its answer needs is imported while it waits.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from tykky.access import Access
from tykky.errors import ToolError
from tykky.guard.ownership import private_directory, temporary_place
from tykky.process import Commands
from tykky.resolve.ports import PypiAsked, PypiRequest
from tykky.resolve.pypi.target import Target

if TYPE_CHECKING:
    from tykky.resolve.pypi.provided import Stub
    from tykky.resolve.pypi.question import Question

# uv's own default, whose name it is about to change: not said, so that every version of uv understands it.
_DEFAULT_PRERELEASE = "if-necessary-or-explicit"
# In the working directory, as are the other files of the question.
REQUIREMENTS = "requirements.in"
ANSWER = "pylock.toml"
# Nothing that uv or git starts may wait for an answer on the terminal. Of its log, uv shall write the solved graph.
ENVIRON = {
    "UV_NO_PROGRESS": "1",
    "NO_COLOR": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "RUST_LOG": "uv_resolver::resolver::resolution=trace",
}


class UvResolver(Struct, frozen=True):
    """Answers for any platform that uv has a name for, without an interpreter of it."""

    access: Access
    uv: Path
    commands: Commands = field(default_factory=Commands)

    def identify(self) -> str:
        """Return `uv <version>`. Raises `ToolError` if uv does not run."""
        said = self.commands.run([self.uv, "--version"]).stdout.split()
        if len(said) < 2 or said[0] != "uv":
            raise ToolError(f"{self.uv} is not uv", hint="install it together with Tykky: pip install uv")
        return f"uv {said[1]}"

    @contextlib.contextmanager
    def ask(self, request: PypiRequest) -> Iterator[PypiAsked]:
        """Start uv on the request; the answer is read within the block.

        Raises `ResolveError` for a request that cannot be asked.
        """
        target = Target(request.platform, request.python, request.glibc)
        argv = [os.fspath(self.uv), *compile_arguments(request, target, self.access)]
        with (
            private_directory(temporary_place(), "tykky-uv-") as work,
            self.commands.start(
                [*argv, "-", f"--output-file={ANSWER}"], cwd=work, environ=ENVIRON, told=True
            ) as running,
        ):
            from tykky.resolve.pypi.provided import write_stubs
            from tykky.resolve.pypi.question import write_question

            stubs = write_stubs(request.provided, self.access.cache / "provided")
            question = write_question(request, self.access, stubs)
            _write_files(work, question, _preferences(request, self.access, stubs))
            running.tell(question.requirements)
            from tykky.resolve.pypi.uv_reading import UvAsked

            yield UvAsked(self, running, argv, work, request, target, stubs, question.portable)


def _preferences(request: PypiRequest, access: Access, stubs: tuple[Stub, ...]) -> str:
    settled = frozenset(stub.name for stub in stubs)
    if settled.issuperset(package.name for package in request.preferred):
        return ""
    from tykky.resolve.pypi.preferences import preferences

    return preferences(request, access, settled)


def compile_arguments(request: PypiRequest, target: Target, access: Access) -> list[str]:
    """Return what follows `uv` on the command line, but for the requirements and the output.

    Files are read from the working directory.
    """
    python = request.interpreter or Path(sys.executable)
    words = [
        "pip",
        "compile",
        "--no-config",  # uv.toml and [tool.uv] of whoever calls are not part of the spec
        "--no-python-downloads",  # uv would fetch an interpreter only to ask it what we already know
        f"--python={python}",
        f"--python-version={request.python}",
        f"--cache-dir={access.cache / 'uv'}",
        "--color=never",
        "--keyring-provider=disabled",  # it may ask on a desktop that no batch job has
    ]
    if request.constraints or request.provided:
        words.append("--constraints=constraints.txt")  # uv warns of an empty one
    if request.overrides:
        words.append("--overrides=overrides.txt")
    if request.prerelease != _DEFAULT_PRERELEASE:
        words.append(f"--prerelease={request.prerelease}")
    if (name := target.uv_platform) is not None:
        words.append(f"--python-platform={name}")
    if request.exclude_newer is not None:
        from tykky.resolve.pypi.question import cutoff

        words.append(f"--exclude-newer={cutoff(request.exclude_newer)}")
    words += [f"--no-binary={name}" for name in request.no_binary]
    words += [f"--only-binary={name}" for name in request.only_binary]
    words += [f"--no-build-isolation-package={name}" for name in request.no_build_isolation]
    words += config_setting_arguments(request)
    if access.offline:
        words.append("--offline")
    return words


def config_setting_arguments(request: PypiRequest) -> list[str]:
    """Return uv's options for the build settings of single packages; a list of values repeats the option."""
    return [
        f"--config-settings-package={package}:{key}={value}"
        for package, settings in sorted(request.config_settings.items())
        for key, values in sorted(settings.items())
        for value in ((values,) if isinstance(values, str) else values)
    ]


def _write_files(work: Path, question: Question, preferred: str) -> None:
    texts = {
        REQUIREMENTS: question.requirements,
        "constraints.txt": question.constraints,
        "overrides.txt": question.overrides,
    }
    for name, text in texts.items():
        (work / name).write_text(text, encoding="utf-8")
    if preferred:
        (work / ANSWER).write_text(preferred, encoding="utf-8")
