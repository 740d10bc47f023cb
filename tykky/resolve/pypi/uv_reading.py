"""Reading what uv answers: the artifacts, and who needs whom.

uv's lockfile format (pylock.toml, PEP 751) has every URL and hash but not the dependencies. They are in its own log of
the solved graph, and where that does not tell about every package, in its requirements format, as comments: then uv is
asked once more. The second answer takes about 0.1 s: it comes from the cache and is given the first one to keep to.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from packaging.utils import NormalizedName

from tykky.lock.model import Package
from tykky.process import Finished, Running
from tykky.progress import Reporter
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.annotations import direct_dependencies
from tykky.resolve.pypi.artifact import Recorder
from tykky.resolve.pypi.provided import Stub
from tykky.resolve.pypi.target import Target
from tykky.resolve.pypi.trouble import Asked, missing_extra, one_line
from tykky.resolve.pypi.uv import ANSWER, ENVIRON, REQUIREMENTS, UvResolver
from tykky.resolve.pypi.uv_answer import Answer, Graph, locked_packages, read_answer
from tykky.resolve.pypi.uv_report import UvReport, read_uv_report
from tykky.resolve.pypi.uv_trouble import uv_error
from tykky.spec.names import canonical_name

_NO_EXTRA = re.compile(r"The package `(?P<name>[^\s`=]+)[^`]*` does not have an extra named `(?P<extra>[^`]+)`")
_OTHER_PYTHON = re.compile(r"The requested Python version .* is not available")
_EDGE = re.compile(
    r"^.*Resolution edge: (?P<parent>\S+) -> (?P<name>\S+)\n"
    r".*Resolution edge:\s+\S+(?: \([^)\n]*\))? -> (?P<version>\S+)",
    re.M,
)
_TRACE = re.compile(r"^ *TRACE .*\n?", re.M)
_ROOT = "ROOT"  # what uv calls the request


class UvAsked(Struct, frozen=True):
    """uv at work in `work` on a question; `argv` is its command line, but for requirements and output."""

    resolver: UvResolver
    running: Running
    argv: Sequence[str]
    work: Path
    request: PypiRequest
    target: Target
    stubs: tuple[Stub, ...]
    portable: frozenset[Path]

    def read(self, reporter: Reporter) -> tuple[Package, ...]:
        """Wait for the answer; return one package per artifact, sorted by name, without those that are provided.

        Raises `ResolveError` when nothing satisfies the request and `FetchError` when an index cannot be read.
        """
        request = self.request
        recorder = Recorder(
            self.resolver.access, request.platform, request.base, self.portable, self.resolver.commands.environ
        )
        assert self.target.tags  # worked out now, while uv waits
        with reporter.phase(f"choose PyPI packages for {request.platform}"):
            report, graph = self._answered()
            pylock = (self.work / ANSWER).read_text(encoding="utf-8")
            answer = read_answer(pylock, self.work, self.target, {stub.name for stub in self.stubs})
            if not graph.tells(answer):
                graph = self._asked_again(answer)
            packages = locked_packages(answer, graph, self.target, request, recorder)
        _tell(report, self.stubs, packages, request, reporter)
        return packages

    def _answered(self) -> tuple[UvReport, Graph]:
        finished = self.running.finished(check=False)
        report = read_uv_report(_TRACE.sub("", finished.stderr))
        if finished.status != 0:
            raise uv_error(report, self._terms())
        return report, _graph_of(finished.stderr)

    def _asked_again(self, answer: Answer) -> Graph:
        """Ask again in the format that has the dependencies. Raises what `read` raises."""
        (self.work / "requirements.txt").write_text(answer.pins(), encoding="utf-8")
        # Versions that only a backend knows are in neither format; uv's own log of the solved graph has them.
        environ = {**ENVIRON, "RUST_LOG": "uv_resolver=trace" if answer.unversioned else ""}
        words = [*self.argv, REQUIREMENTS, "--no-header", "--annotation-style=line", "--output-file=requirements.txt"]
        finished: Finished | None = None
        for extra in (["--offline"], []):
            finished = self.resolver.commands.run([*words, *extra], cwd=self.work, environ=environ, check=False)
            if finished.status == 0:
                break
        assert finished is not None
        if finished.status != 0:
            raise uv_error(read_uv_report(finished.stderr), self._terms())
        compiled = (self.work / "requirements.txt").read_text(encoding="utf-8")
        return Graph(depends=direct_dependencies(compiled), versions=_graph_of(finished.stderr).versions)

    def _terms(self) -> Asked:
        return Asked(self.request, self.resolver.access, self.stubs, self.resolver.commands.environ)


def _graph_of(log: str) -> Graph:
    """Return the graph that uv's log of its answer tells: `parent -> name`, and a line below both their versions."""
    depends: dict[NormalizedName, set[str]] = defaultdict(set)
    versions: dict[NormalizedName, str] = {}
    for edge in _EDGE.finditer(log):
        name = canonical_name(edge["name"])
        versions[name] = edge["version"]
        if edge["parent"] != _ROOT and (parent := canonical_name(edge["parent"])) != name:
            depends[parent].add(name)
    return Graph({name: tuple(sorted(needs)) for name, needs in depends.items()}, versions)


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
        if extra is not None and canonical_name(extra["name"]) in provided:
            reporter.warn(missing_extra(extra["name"], extra["extra"]))
        elif _OTHER_PYTHON.search(warning) is None:
            reporter.warn(f"uv: {one_line(warning)}")
    built = [p.name for p in packages if p.source != "wheel"]
    if built and request.interpreter is None:
        reporter.warn(
            f"metadata of {', '.join(built)} was asked of Python {sys.version_info[0]}.{sys.version_info[1]}, "
            f"for want of a Python {request.python} on this host"
        )
