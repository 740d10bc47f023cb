"""The resolver that drives pip-tools: `pip-compile` chooses versions, `pip install --dry-run` tells their artifacts.

pip asks the machine it runs on: it answers for the host's own platform only, and needs an interpreter of the wanted
minor version. Tykky's own one serves if it agrees; otherwise the request's, which is shown pip, pip-tools and what they
need from Tykky's installation on PYTHONPATH. The oldest glibc that has to do is told through the `_manylinux` module
(PEP 600).

Not as uv has it, because pip cannot: overrides, `exclude-newer` with a pip before 26.0, offline work without
find-links, packages built without isolation, and keeping a locked wheel when the index has got a better one of that
version. Indexes are equal for pip, the best version of any wins; for uv the first one that has a package wins.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform as host
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName
from packaging.version import Version

from tykky.access import Access
from tykky.digests import source_fingerprint
from tykky.errors import FetchError, ResolveError
from tykky.guard.ownership import private_directory, temporary_place
from tykky.lock.model import Package
from tykky.process import Commands, Finished
from tykky.progress import Reporter
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.annotations import direct_dependencies, requirement_blocks
from tykky.resolve.pypi.artifact import Artifact, Recorder
from tykky.resolve.pypi.pip_trouble import pip_error, pip_warnings
from tykky.resolve.pypi.provided import Stub, marked_version, write_stubs
from tykky.resolve.pypi.question import Question, cutoff, pin_references, write_question
from tykky.resolve.pypi.target import Target
from tykky.resolve.pypi.trouble import Asked, missing_extra, one_line
from tykky.resolve.pypi.urls import file_path
from tykky.spec.names import canonical_name

_SHOWN = ("pip", "piptools", "click", "build", "pyproject_hooks", "packaging", "wheel", "setuptools")
_OLDEST_PYTHON = (3, 11)  # what the packages of _SHOWN run on, as they are installed beside Tykky
_PRERELEASE = {"if-necessary-or-explicit": (), "allow": ("--pre",)}
_UPLOADED_PRIOR_TO = Version("26.0")
_LOCAL_GIT = re.compile(r"(?P<name>[^@]+) @ (?P<url>git\+file:/[^\s#]+)(#(?P<below>\S+))?(?P<marker> ;.*)?")
_USE_UV = 'set resolver = "uv" in [pypi]'


@dataclass(frozen=True, slots=True)
class PipToolsResolver:
    """Answers for the host's own platform, with pip's resolver."""

    access: Access
    commands: Commands = field(default_factory=Commands)

    def identify(self) -> str:
        """Return `pip-tools <version>`."""
        return f"pip-tools {importlib.metadata.version('pip-tools')}"

    @contextlib.contextmanager
    def ask(self, request: PypiRequest) -> Iterator[_Asked]:
        """Give what answers when it is read: pip is asked several questions, one after the other.

        Raises `ResolveError` for what pip cannot do.
        """
        refuse_what_pip_cannot(request, self.access)
        yield _Asked(self, request)

    def answer(self, request: PypiRequest, reporter: Reporter) -> tuple[Package, ...]:
        """Return one package per artifact, sorted by name, without those that conda provides.

        Raises `ResolveError` when nothing satisfies the request, and `FetchError` when an index cannot be read.
        """
        interpreter = _interpreter(request)
        with (
            reporter.phase(f"choose PyPI packages for {request.platform}"),
            private_directory(temporary_place(), "tykky-pip-") as work,
        ):
            stubs = write_stubs(request.provided, work / "provided", marked=True)
            question = write_question(pin_references(request), self.access, ())
            run = _Run(self, request, interpreter, work, Asked(request, self.access, stubs, self.commands.environ))
            run.write(question, stubs)
            compiled, said = run.compile()
            report = run.report(compiled, {stub.name for stub in stubs})
            recorder = Recorder(self.access, request.platform, request.base, question.portable, self.commands.environ)
            packages = self._packages(report, direct_dependencies(compiled), recorder)
        provided = {stub.name for stub in stubs}
        for warning in dict.fromkeys(pip_warnings(said)):
            if warning.extra is not None and canonical_name(warning.extra[0]) in provided:
                reporter.warn(missing_extra(*warning.extra))
            else:
                reporter.warn(f"pip: {one_line(warning.text)}")
        return packages

    def _packages(
        self, report: Mapping[str, Any], depends: Mapping[NormalizedName, tuple[str, ...]], recorder: Recorder
    ) -> tuple[Package, ...]:
        packages = [
            self._package(
                entry["metadata"]["name"], entry["metadata"]["version"], entry["download_info"], depends, recorder
            )
            for entry in report["install"]
        ]
        return tuple(sorted(packages, key=lambda p: p.name))

    def _package(
        self,
        name: str,
        version: str,
        origin: Mapping[str, Any],
        depends: Mapping[NormalizedName, tuple[str, ...]],
        recorder: Recorder,
    ) -> Package:
        """Return the package of one `direct_url` document (PEP 610), as pip's report has it."""
        url: str = origin["url"]
        needs = depends.get(canonical_name(name), ())
        below = origin.get("subdirectory")
        if "vcs_info" in origin:
            commit = origin["vcs_info"]["commit_id"]
            return recorder.git(name, version, url, commit=commit, subdirectory=below, depends=needs)
        if "dir_info" in origin:
            path = file_path(url)
            assert path is not None
            return recorder.directory(name, version, path, tree=source_fingerprint(path), depends=needs)
        artifact = Artifact(url, origin["archive_info"].get("hashes", {}).get("sha256"))
        return recorder.archive(name, version, artifact, depends=needs, subdirectory=below)


@dataclass(frozen=True, slots=True)
class _Asked:
    resolver: PipToolsResolver
    request: PypiRequest

    def read(self, reporter: Reporter) -> tuple[Package, ...]:
        return self.resolver.answer(self.request, reporter)


@dataclass(frozen=True, slots=True)
class _Run:
    """One request's directory of files, and the programs that are run in it."""

    resolver: PipToolsResolver
    request: PypiRequest
    interpreter: Path
    work: Path
    asked: Asked

    def write(self, question: Question, stubs: Sequence[Stub]) -> None:
        """Write the request's files, and what pip is shown on PYTHONPATH."""
        request = self.request
        options = [*_PRERELEASE[request.prerelease]]
        options += [f"--no-binary {name}" for name in request.no_binary]
        options += [f"--only-binary {name}" for name in request.only_binary]
        if stubs:
            options.append(f"--find-links {(self.work / 'provided').as_uri()}")
        if self.resolver.access.offline:
            options.append("--no-index")
        head = "".join(f"{option}\n" for option in options)
        constraints = "".join(f"{stub.name}=={marked_version(Version(stub.version))}\n" for stub in stubs)
        preferred = "".join(
            f"{package.name}=={package.version}\n"
            for package in request.preferred
            if package.kind == "pypi" and package.platform == request.platform and package.source in ("wheel", "sdist")
        )
        for name, text in (
            ("options.txt", head + "".join(f"{line}\n" for line in question.options)),
            ("requirements.in", "-r options.txt\n" + "".join(f"{pip_line(line)}\n" for line in question.lines)),
            ("constraints.txt", question.constraints + constraints),
            ("requirements.txt", preferred),
        ):
            (self.work / name).write_text(text, encoding="utf-8")
        _show_packages(self.work / "shown", self.interpreter, Target(request.platform, request.python, request.glibc))

    def compile(self) -> tuple[str, str]:
        """Return pip-compile's answer and what it said beside. Raises what `resolve` raises."""
        argv = [
            *("-m", "piptools", "compile", "requirements.in", "--constraint=constraints.txt"),
            *("--output-file=requirements.txt", "--no-config", "--no-header", "--annotation-style=line"),
            *("--allow-unsafe", "--strip-extras", "--no-emit-index-url", "--no-emit-find-links"),
            *("--no-emit-trusted-host", "--no-emit-options"),
            f"--cache-dir={self.resolver.access.cache / 'pip-tools'}",
        ]
        if (extra := self._uploaded_prior_to()) is not None:
            argv.append(f"--pip-args={extra}")
        finished = self._run(argv)
        if finished.status != 0:
            raise self._explain(finished)
        return (self.work / "requirements.txt").read_text(encoding="utf-8"), finished.stderr

    def report(self, compiled: str, provided: Iterable[str]) -> Mapping[str, Any]:
        """Return pip's installation report (its own format, version 1) of what was chosen."""
        left_out = frozenset(provided)
        pins = [pip_line(block) for name, block in requirement_blocks(compiled) if name not in left_out]
        (self.work / "pins.txt").write_text("-r options.txt\n" + "\n".join(pins) + "\n", encoding="utf-8")
        if not pins:
            return {"install": []}
        finished = self._run([*self._install("pins.txt"), "--no-deps", "--report=report.json"])
        if finished.status != 0:
            raise pip_error(finished, self.asked)
        found: Mapping[str, Any] = json.loads((self.work / "report.json").read_text(encoding="utf-8"))
        return found

    def _explain(self, failed: Finished) -> Exception:
        """Ask pip alone, which says why it fails where pip-compile ends with a traceback."""
        again = self._run([*self._install("requirements.in"), "--constraint=constraints.txt"])
        return pip_error(again if again.status != 0 else failed, self.asked)

    def _install(self, file: str) -> list[str]:
        words = [
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--progress-bar=off",
            f"--requirement={file}",
        ]
        if (extra := self._uploaded_prior_to()) is not None:
            words.append(extra)
        return [*words, f"--cache-dir={self.resolver.access.cache / 'pip'}"]

    def _uploaded_prior_to(self) -> str | None:
        when = self.request.exclude_newer
        return None if when is None else f"--uploaded-prior-to={cutoff(when)}"

    def _run(self, argv: Sequence[str]) -> Finished:
        timeout = self.resolver.commands.environ.get("UV_HTTP_TIMEOUT")
        retries = self.resolver.commands.environ.get("UV_HTTP_RETRIES")
        environ = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_KEYRING_PROVIDER": "disabled",  # it may ask on a desktop that no batch job has
            "PIP_NO_INPUT": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONPATH": str(self.work / "shown"),
            "GIT_TERMINAL_PROMPT": "0",
            "NO_COLOR": "1",
            **({} if timeout is None else {"PIP_DEFAULT_TIMEOUT": timeout}),
            **({} if retries is None else {"PIP_RETRIES": retries}),
        }
        return self.resolver.commands.run([self.interpreter, *argv], cwd=self.work, environ=environ, check=False)


def pip_line(requirement: str) -> str:
    """Return a requirement as pip 23 reads it, whose parser wants a host in every URL but `file:` ones."""
    match = _LOCAL_GIT.fullmatch(requirement)
    if match is None:
        return requirement
    egg = f"egg={match['name'].strip()}"
    below = f"&{match['below']}" if match["below"] else ""
    return f"{match['url']}#{egg}{below}{match['marker'] or ''}"


def refuse_what_pip_cannot(request: PypiRequest, access: Access) -> None:
    """Raise `ResolveError` or `FetchError` for a request that only uv can answer."""
    ours = next((name for name in ("linux-64", "linux-aarch64", "linux-ppc64le") if _is_host(name)), host.machine())
    if request.platform != ours:
        raise ResolveError(
            f"pip-tools resolves only for this host's platform, {ours}, not {request.platform}", hint=_USE_UV
        )
    if request.overrides:
        raise ResolveError("pip-tools has no overrides", hint=f"{_USE_UV}, or write them as constraints")
    if request.no_build_isolation:
        raise ResolveError("pip-tools cannot build single packages without isolation", hint=_USE_UV)
    if request.prerelease not in _PRERELEASE:
        raise ResolveError(f"pip-tools has no prerelease = {request.prerelease!r}", hint=_USE_UV)
    pip = importlib.metadata.version("pip")
    if request.exclude_newer is not None and Version(pip) < _UPLOADED_PRIOR_TO:
        raise ResolveError(
            f"pip {pip} cannot leave out what is newer than a date",
            hint=f"{_USE_UV}, or install pip {_UPLOADED_PRIOR_TO} or newer beside Tykky",
        )
    if access.offline and not request.find_links:
        raise FetchError("pip-tools works offline only from find-links", hint=_USE_UV)


def _is_host(platform: str) -> bool:
    return Target(platform, "3.11").machine == host.machine()


def _interpreter(request: PypiRequest) -> Path:
    minor = Target(request.platform, request.python).minor
    if minor == sys.version_info[:2]:
        return Path(sys.executable)
    wanted = f"{minor[0]}.{minor[1]}"
    if minor < _OLDEST_PYTHON:
        raise ResolveError(f"pip-tools as installed here does not run on Python {wanted}", hint=_USE_UV)
    if request.interpreter is None:
        raise ResolveError(f"pip-tools needs a Python {wanted} on this host to resolve for it", hint=_USE_UV)
    return request.interpreter


def _show_packages(directory: Path, interpreter: Path, target: Target) -> None:
    """Fill a directory for PYTHONPATH: the glibc to pretend, and pip-tools if the interpreter is not ours."""
    directory.mkdir()
    newest = Version(target.glibc).release
    (directory / "_manylinux.py").write_text(
        f"def manylinux_compatible(major, minor, arch):\n    return (major, minor) <= ({newest[0]}, {newest[1]})\n"
    )
    if interpreter == Path(sys.executable):
        return
    for name in _SHOWN:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            package = Path(spec.origin).parent
            (directory / name).symlink_to(package)
            for info in package.parent.glob("*.dist-info"):
                if (
                    canonical_name(info.name.partition("-")[0]) in (name, "pip-tools")
                    and not (directory / info.name).exists()
                ):
                    (directory / info.name).symlink_to(info)
