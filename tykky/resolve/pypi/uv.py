"""The resolver that drives uv: `uv pip compile`, for the artifacts and for who needs whom.

uv's lockfile format (pylock.toml, PEP 751) has every URL and hash but not the dependencies. They are in its own log of
the solved graph, and where that does not tell about every package, in its requirements format, as comments: then uv is
asked once more. The second answer takes about 0.1 s: it comes from the cache and is given the first one to keep to.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import NormalizedName, canonicalize_name

from tykky.access import Access
from tykky.errors import ToolError
from tykky.guard.ownership import private_directory
from tykky.lock.model import Package
from tykky.process import Commands, Finished
from tykky.progress import Reporter
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.annotations import direct_dependencies
from tykky.resolve.pypi.artifact import Recorder
from tykky.resolve.pypi.provided import Stub, write_stubs
from tykky.resolve.pypi.question import Question, cutoff, write_question
from tykky.resolve.pypi.target import Target
from tykky.resolve.pypi.trouble import Asked, missing_extra, one_line
from tykky.resolve.pypi.uv_answer import Answer, Graph, locked_packages, preferences, read_answer
from tykky.resolve.pypi.uv_report import UvReport, read_uv_report
from tykky.resolve.pypi.uv_trouble import uv_error

_NO_EXTRA = re.compile(r"The package `(?P<name>[^\s`=]+)[^`]*` does not have an extra named `(?P<extra>[^`]+)`")
_OTHER_PYTHON = re.compile(r"The requested Python version .* is not available")
_EDGE = re.compile(
    r"^.*Resolution edge: (?P<parent>\S+) -> (?P<name>\S+)\n"
    r".*Resolution edge:\s+\S+(?: \([^)\n]*\))? -> (?P<version>\S+)",
    re.M,
)
_TRACE = re.compile(r"^ *TRACE .*\n?", re.M)
_ROOT = "ROOT"  # what uv calls the request
# uv's own default, whose name it is about to change: not said, so that every version of uv understands it.
_DEFAULT_PRERELEASE = "if-necessary-or-explicit"
# Nothing that uv or git starts may wait for an answer on the terminal. Of its log, uv shall write the solved graph.
_ENVIRON = {
    "UV_NO_PROGRESS": "1",
    "NO_COLOR": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "RUST_LOG": "uv_resolver::resolver::resolution=trace",
}


@dataclass(frozen=True, slots=True)
class UvResolver:
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

    def resolve(self, request: PypiRequest, reporter: Reporter) -> tuple[Package, ...]:
        """Return one package per artifact, sorted by name, without those that conda provides.

        Raises `ResolveError` when nothing satisfies the request and `FetchError` when an index cannot be read.
        """
        target = Target(request.platform, request.python, request.glibc)
        stubs = write_stubs(request.provided, self.access.cache / "provided")
        question = write_question(request, self.access, stubs)
        asked = Asked(request, self.access, stubs, self.commands.environ)
        recorder = Recorder(self.access, request.platform, request.base, question.portable, self.commands.environ)
        argv = [os.fspath(self.uv), *compile_arguments(request, target, self.access)]
        with (
            reporter.phase(f"choose PyPI packages for {request.platform}"),
            private_directory(Path(tempfile.gettempdir()), "tykky-uv-") as work,
        ):
            _write_files(work, question, preferences(request, self.access))
            report, graph = self._ask([*argv, "--output-file=pylock.toml"], work, asked)
            pylock = (work / "pylock.toml").read_text(encoding="utf-8")
            answer = read_answer(pylock, work, target, {stub.name for stub in stubs})
            if not graph.tells(answer):
                graph = self._graph(argv, work, answer, asked)
            packages = locked_packages(answer, graph, target, request, recorder)
        _tell(report, stubs, packages, request, reporter)
        return packages

    def _ask(self, argv: Sequence[str], work: Path, asked: Asked) -> tuple[UvReport, Graph]:
        finished = self.commands.run(argv, cwd=work, environ=_ENVIRON, check=False)
        report = read_uv_report(_TRACE.sub("", finished.stderr))
        if finished.status != 0:
            raise uv_error(report, asked)
        return report, _graph_of(finished.stderr)

    def _graph(self, argv: Sequence[str], work: Path, answer: Answer, asked: Asked) -> Graph:
        """Ask again in the format that has the dependencies. Raises what `resolve` raises."""
        (work / "requirements.txt").write_text(answer.pins(), encoding="utf-8")
        # Versions that only a backend knows are in neither format; uv's own log of the solved graph has them.
        environ = {**_ENVIRON, "RUST_LOG": "uv_resolver=trace" if answer.unversioned else ""}
        words = [*argv, "--no-header", "--annotation-style=line", "--output-file=requirements.txt"]
        finished: Finished | None = None
        for extra in (["--offline"], []):
            finished = self.commands.run([*words, *extra], cwd=work, environ=environ, check=False)
            if finished.status == 0:
                break
        assert finished is not None
        if finished.status != 0:
            raise uv_error(read_uv_report(finished.stderr), asked)
        compiled = (work / "requirements.txt").read_text(encoding="utf-8")
        return Graph(depends=direct_dependencies(compiled), versions=_graph_of(finished.stderr).versions)


def _graph_of(log: str) -> Graph:
    """Return the graph that uv's log of its answer tells: `parent -> name`, and a line below both their versions."""
    depends: dict[NormalizedName, set[str]] = defaultdict(set)
    versions: dict[NormalizedName, str] = {}
    for edge in _EDGE.finditer(log):
        name = canonicalize_name(edge["name"])
        versions[name] = edge["version"]
        if edge["parent"] != _ROOT and (parent := canonicalize_name(edge["parent"])) != name:
            depends[parent].add(name)
    return Graph({name: tuple(sorted(needs)) for name, needs in depends.items()}, versions)


def compile_arguments(request: PypiRequest, target: Target, access: Access) -> list[str]:
    """Return what follows `uv` on the command line, but for the output: files are read from the working directory."""
    python = request.interpreter or Path(sys.executable)
    words = [
        "pip",
        "compile",
        "requirements.in",
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
        "requirements.in": question.requirements,
        "constraints.txt": question.constraints,
        "overrides.txt": question.overrides,
        "pylock.toml": preferred,
    }
    for name, text in texts.items():
        (work / name).write_text(text, encoding="utf-8")


def _tell(
    report: UvReport,
    stubs: Sequence[Stub],
    packages: Sequence[Package],
    request: PypiRequest,
    reporter: Reporter,
) -> None:
    provided = {stub.name for stub in stubs}
    for warning in report.warnings:
        extra = _NO_EXTRA.search(warning)
        if extra is not None and canonicalize_name(extra["name"]) in provided:
            reporter.warn(missing_extra(extra["name"], extra["extra"]))
        elif _OTHER_PYTHON.search(warning) is None:
            reporter.warn(f"uv: {one_line(warning)}")
    built = [p.name for p in packages if p.source != "wheel"]
    if built and request.interpreter is None:
        reporter.warn(
            f"metadata of {', '.join(built)} was asked of Python {sys.version_info[0]}.{sys.version_info[1]}, "
            f"for want of a Python {request.python} on this host"
        )
