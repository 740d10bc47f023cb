"""Wheels of locked packages that are not wheels yet: built once, kept under a key of all that can change them.

    <cache>/wheels/<key>/mylib-1.0-py3-none-any.whl
    <cache>/wheels/<key>/key.json                     what the key stands for

A wheel is built in a private directory beside and published by renaming that; whoever comes second uses the first's.
"""

from __future__ import annotations

import json
import os
import platform as host
import re
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from tykky.digests import Json, document_key
from tykky.errors import ArtifactError, BuildError, FetchError
from tykky.layers.archive_problems import refuse_problems, sdist_problems, wheel_problems
from tykky.layers.sources import lay_out_source
from tykky.layers.workshop import Workshop
from tykky.lock.model import Package
from tykky.process import CommandFailed, Finished, tail
from tykky.resolve.pypi.download import require_sha256
from tykky.resolve.pypi.question import DEFAULT_INDEX, cutoff
from tykky.resolve.pypi.urls import expanded, redacted
from tykky.resolve.pypi.uv_report import read_uv_report
from tykky.spec.names import canonical_name

__all__ = ["Surroundings", "build_wheel", "local_wheel", "sdist_problems", "wheel_problems"]

# Raise it when a change of this module gives another wheel for the same inputs.
_FORMAT = 1
# Zip archives cannot say an earlier moment.
_EPOCH = "315532800"
_ABANDONED = 86400.0  # seconds; a process of another pid namespace is not in /proc
# What compilers and their wrappers read; everything else that leaks is dropped for every program we run.
_COMPILER_VARIABLES = re.findall(
    r"\w+",
    """CC CXX FC F77 F90 AR LD NVCC CFLAGS CPPFLAGS CXXFLAGS FFLAGS FCFLAGS LDFLAGS CPATH LIBRARY_PATH PKG_CONFIG_PATH
    CMAKE_ARGS CMAKE_PREFIX_PATH MPICC MPICXX MPIFC HDF5_DIR NETCDF4_DIR CUDA_HOME CUDA_PATH CUDAARCHS RUSTFLAGS""",
)


def _as_it_is(argv: Sequence[str]) -> list[str]:
    return list(argv)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where and with what wheels are built.

    `interpreter` is the path at which the environment's Python is seen by what `run_inside` runs (it returns the argv
    that runs an argv with the lower layers mounted; the host's other directories must be visible there). `against` are
    the packages below, `name==version`: what a build without isolation sees. `base` is the directory of the lock.
    """

    base: Path
    python: str  # minor version
    interpreter: str
    run_inside: Callable[[Sequence[str]], list[str]] = _as_it_is
    against: tuple[str, ...] = ()
    no_build_isolation: tuple[str, ...] = ()
    config_settings: Mapping[str, Mapping[str, str | tuple[str, ...]]] = field(default_factory=dict)
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    exclude_newer: str | None = None

    def isolated(self, name: str) -> bool:
        """Whether a package's build sees only what it asks for."""
        return canonical_name(name) not in {canonical_name(n) for n in self.no_build_isolation}

    def settings(self, name: str) -> dict[str, list[str]]:
        """The settings for a package's build backend."""
        return {
            key: [values] if isinstance(values, str) else list(values)
            for package, settings in self.config_settings.items()
            if canonical_name(package) == canonical_name(name)
            for key, values in settings.items()
        }


def local_wheel(package: Package, base: Path) -> Path:
    """Return the file of a locked wheel with a `path`, checked. Raises `FetchError` or `ArtifactError`."""
    assert package.path is not None
    path = base / package.path
    if not path.is_file():
        raise FetchError(f"{path} does not exist", hint="the lock names this file; put it back or lock again")
    if package.sha256 is not None:
        require_sha256(path, package.sha256)
    refuse_problems(path)
    return path.resolve()


def build_wheel(package: Package, surroundings: Surroundings, workshop: Workshop) -> Path:
    """Return the wheel of a locked sdist, git commit or directory: from the cache, or built now.

    Raises `FetchError` or `ArtifactError` for its sources, `BuildError` if the build fails or gives something else than
    the lock says.
    """
    document = key_document(package, surroundings, workshop.commands.environ)
    root = workshop.access.cache / "wheels"
    kept = root / document_key(document)
    if (wheel := _only_wheel(kept)) is not None:
        return wheel
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    private = Path(mkdtemp(dir=root, prefix=f".building-{socket.gethostname()}-{os.getpid()}-"))
    try:
        title = f"build a wheel of {package.name} {package.version}"
        with workshop.reporter.phase(title), TemporaryDirectory(dir=workshop.scratch, prefix="source-") as scratch:
            source = lay_out_source(package, surroundings.base, Path(scratch), workshop.access, workshop.commands)
            _build(package, source, private, surroundings, workshop)
        _check(package, private)
        (private / "key.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        _publish(private, kept)
    finally:
        shutil.rmtree(private, ignore_errors=True)
    wheel = _only_wheel(kept)
    assert wheel is not None
    return wheel


def key_document(package: Package, surroundings: Surroundings, environ: Mapping[str, str]) -> dict[str, Json]:
    """Return what identifies a built wheel: everything that may change it, named.

    The versions of what an isolated build asks for are not known before it runs. `exclude-newer` fixes them.
    """
    isolated = surroundings.isolated(package.name)
    libc, version = host.libc_ver()
    settings: dict[str, Json] = {key: list(values) for key, values in surroundings.settings(package.name).items()}
    against: list[Json] = [] if isolated else [*sorted(surroundings.against)]
    return {
        "format": _FORMAT,
        "name": package.name,
        "version": package.version,
        "artifact": {"sha256": package.sha256, "commit": package.commit, "tree": package.tree},
        "subdirectory": package.subdirectory,
        "python": surroundings.python,
        "platform": package.platform,
        "libc": f"{libc} {version}",
        "settings": settings,
        "isolated": isolated,
        "against": against,
        "exclude-newer": surroundings.exclude_newer,
        "environ": {name: environ[name] for name in _COMPILER_VARIABLES if name in environ},
    }


def _build(package: Package, source: Path, out: Path, surroundings: Surroundings, workshop: Workshop) -> None:
    argv = surroundings.run_inside(build_arguments(package, source, out, surroundings, workshop))
    environ = {
        "SOURCE_DATE_EPOCH": _EPOCH,
        "PYTHONHASHSEED": "0",
        "NO_COLOR": "1",
        "GIT_OPTIONAL_LOCKS": "0",  # a look at the user's repository must not write to it
        "GIT_TERMINAL_PROMPT": "0",
        **_index_variables(surroundings, workshop),
        **_version_variables(package),
    }
    try:
        workshop.commands.run(argv, cwd=source, environ=environ)
    except CommandFailed as error:
        raise _failure(package, error.finished, workshop) from None


def build_arguments(
    package: Package, source: Path, out: Path, surroundings: Surroundings, workshop: Workshop
) -> list[str]:
    """Return uv's command line for one wheel. Index URLs are not in it: they may carry credentials."""
    words = [
        os.fspath(workshop.uv),
        "build",
        "--wheel",
        "--no-config",  # uv.toml of whoever calls is not part of the spec
        "--no-python-downloads",
        "--no-create-gitignore",
        "--color=never",
        "--no-progress",
        f"--python={surroundings.interpreter}",
        f"--out-dir={out}",
        f"--cache-dir={workshop.access.cache / 'uv'}",
        "--keyring-provider=disabled",  # it may ask on a desktop that no batch job has
    ]
    if not surroundings.isolated(package.name):
        words.append("--no-build-isolation")
    words += [
        f"--config-setting={key}={value}"
        for key, values in sorted(surroundings.settings(package.name).items())
        for value in values
    ]
    if surroundings.exclude_newer is not None:
        words.append(f"--exclude-newer={cutoff(surroundings.exclude_newer)}")
    if workshop.access.offline:
        words.append("--offline")
    return [*words, os.fspath(source)]


def _index_variables(surroundings: Surroundings, workshop: Workshop) -> dict[str, str]:
    environ = workshop.commands.environ
    access = workshop.access
    variables = {"UV_DEFAULT_INDEX": expanded(access.mirrored(surroundings.index_url or DEFAULT_INDEX), environ)}
    if surroundings.extra_index_url:
        urls = (expanded(access.mirrored(url), environ) for url in surroundings.extra_index_url)
        variables["UV_INDEX"] = " ".join(urls)
    if surroundings.find_links:
        links = (
            link if "://" in link else str((surroundings.base / link).resolve()) for link in surroundings.find_links
        )
        variables["UV_FIND_LINKS"] = ",".join(expanded(access.mirrored(link), environ) for link in links)
    return variables


def _version_variables(package: Package) -> dict[str, str]:
    """Tell backends that read their version from git what was locked: a copy of the sources may not show it."""
    if package.source == "sdist":
        return {}  # an sdist says its own version
    name = re.sub(r"[^A-Z0-9]+", "_", package.name.upper())
    return {
        f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name}": package.version,  # setuptools-scm, hatch-vcs, scikit-build-core
        "PDM_BUILD_SCM_VERSION": package.version,
        "POETRY_DYNAMIC_VERSIONING_BYPASS": package.version,
        "PBR_VERSION": package.version,
    }


def _failure(package: Package, finished: Finished, workshop: Workshop) -> BuildError | FetchError:
    report = read_uv_report(finished.stderr)
    # The backend's own words come first, then uv's verdict.
    said = redacted(finished.stderr).partition("\nerror: ")[0]
    log = workshop.commands.log
    whole = f"; the whole output is in {log}" if log is not None else ""
    if "Failed to fetch" in report.text or "error sending request" in report.text:
        return FetchError(
            f"what the build of {package.name} {package.version} asks for cannot be fetched",
            output=tail("\n".join((report.error, *report.causes))),
            hint="check the network and the index of [pypi]" + whole,
        )
    return BuildError(
        f"{package.name} {package.version} cannot be built: its build backend failed",
        output=tail(said) if said.strip() != "Building wheel..." else tail("\n".join((report.error, *report.causes))),
        hint=f"install what its build needs, or choose a version with a wheel{whole}",
    )


def _check(package: Package, out: Path) -> None:
    wheel = _only_wheel(out)
    if wheel is None:
        raise BuildError(
            f"the build of {package.name} {package.version} gave no wheel", hint="report it to its authors"
        )
    try:
        name, version, _, _ = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise ArtifactError(f"the build of {package.name} gave {wheel.name!r}: {error}") from None
    if name != canonical_name(package.name) or version != Version(package.version):
        raise BuildError(
            f"the source of {package.name} {package.version} builds {name} {version}",
            hint="run 'tykky lock' to lock what it is now",
        )
    refuse_problems(wheel)


def _only_wheel(directory: Path) -> Path | None:
    found = sorted(directory.glob("*.whl")) if directory.is_dir() else []
    return found[0] if len(found) == 1 else None


def _publish(private: Path, kept: Path) -> None:
    private.chmod(0o755)
    try:
        private.rename(kept)
    except OSError:
        # Somebody was faster: a directory that is there and holds a wheel is complete, as it came by rename.
        if _only_wheel(kept) is None:
            raise


def _sweep(root: Path) -> None:
    """Remove private directories of builds on this host whose process is gone, and was not only out of our sight."""
    for left in root.glob(f".building-{socket.gethostname()}-*"):
        pid = left.name.removeprefix(f".building-{socket.gethostname()}-").partition("-")[0]
        old = time.time() - left.stat().st_mtime > _ABANDONED
        if old and pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
