"""What uv chose, read from its pylock.toml (PEP 751), as packages for a lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import tomli
from msgspec import Struct, field
from packaging.pylock import Package as PylockPackage
from packaging.pylock import PackageSdist, PackageWheel, Pylock
from packaging.utils import NormalizedName

from tykky.digests import source_fingerprint
from tykky.errors import ResolveError
from tykky.lock.model import Package
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.artifact import Artifact, Recorder, best_wheel
from tykky.resolve.pypi.target import Target


class Graph(Struct, frozen=True):
    """What pylock.toml leaves out: direct dependencies, and the versions of local directories, by name."""

    depends: Mapping[NormalizedName, tuple[str, ...]] = field(default_factory=dict)
    versions: Mapping[NormalizedName, str] = field(default_factory=dict)

    def tells(self, answer: Answer) -> bool:
        """Return whether every package of an answer is in the graph, at its version."""
        return all(
            package.name in self.versions
            and (package.version is None or str(package.version) == self.versions[package.name])
            for package in answer.packages
        )


class Answer(Struct, frozen=True):
    """The packages of one pylock.toml that hold for the target and are not conda's. Paths start at `directory`.

    `sizes_told` says whether the index tells sizes (PEP 700). Of one that does not, uv still knows some, of files it
    happened to read: not the same ones every time. A lock that takes them would have other bytes on each run.
    """

    packages: tuple[PylockPackage, ...]
    directory: Path
    sizes_told: bool = False

    @property
    def unversioned(self) -> tuple[NormalizedName, ...]:
        """The local directories whose version only their build backend knows."""
        return tuple(p.name for p in self.packages if p.version is None and _static_version(self, p) is None)

    def pins(self) -> str:
        """The answer as a requirements file, so that another run chooses the same."""
        lines = []
        for package in self.packages:
            if package.vcs is not None and package.vcs.url is not None:
                below = f"#subdirectory={package.vcs.subdirectory}" if package.vcs.subdirectory else ""
                lines.append(f"{package.name} @ git+{package.vcs.url}@{package.vcs.commit_id}{below}")
            elif package.version is not None and package.archive is None:
                lines.append(f"{package.name}=={package.version}")
        return "".join(f"{line}\n" for line in lines)


def read_answer(text: str, directory: Path, target: Target, provided: Iterable[str]) -> Answer:
    """Read a pylock.toml, without what `provided` names and without packages whose marker is false."""
    pylock = Pylock.from_dict(tomli.loads(text))
    left_out = frozenset(provided)
    packages = tuple(p for p in pylock.packages if p.name not in left_out and target.wants(p.marker))
    return Answer(packages, directory, all(_sizes_told(package) for package in packages))


def _sizes_told(package: PylockPackage) -> bool:
    sdist = () if package.sdist is None else (package.sdist.size,)
    return None not in (*(wheel.size for wheel in package.wheels or ()), *sdist)


def locked_packages(
    answer: Answer, graph: Graph, target: Target, request: PypiRequest, recorder: Recorder
) -> tuple[Package, ...]:
    """Return the packages for the lock, sorted by name, with one artifact each."""
    kept = {p.name: p.sha256 for p in request.preferred if p.kind == "pypi" and p.platform == request.platform}
    packages = [
        _locked(package, answer, graph, target, recorder, kept.get(package.name)) for package in answer.packages
    ]
    return tuple(sorted(packages, key=lambda p: p.name))


def _locked(
    package: PylockPackage, answer: Answer, graph: Graph, target: Target, recorder: Recorder, kept: str | None
) -> Package:
    name = package.name
    depends = graph.depends.get(name, ())
    version = str(package.version) if package.version is not None else _directory_version(package, answer, graph)
    if package.vcs is not None:
        return recorder.git(
            name,
            version,
            package.vcs.url or (answer.directory / (package.vcs.path or "")).resolve().as_uri(),
            commit=package.vcs.commit_id,
            subdirectory=package.vcs.subdirectory,
            depends=depends,
        )
    if package.directory is not None:
        path = (answer.directory / package.directory.path).resolve()
        if package.directory.editable:
            raise ResolveError(
                f"{path} is to be installed editable, which an image cannot do: it is read-only",
                hint="remove 'editable' from [tool.uv.sources] of the project that asks for it",
            )
        return recorder.directory(name, version, path, tree=source_fingerprint(path), depends=depends)
    if package.archive is not None:
        where = _url(package.archive.url, package.archive.path, answer)
        artifact = Artifact(where, package.archive.hashes.get("sha256"), package.archive.size)
        return recorder.archive(name, version, artifact, depends=depends, subdirectory=package.archive.subdirectory)
    wheels = [_artifact(wheel, answer) for wheel in package.wheels or ()]
    chosen = best_wheel(wheels, target, kept)
    if chosen is None and package.sdist is not None:
        chosen = _artifact(package.sdist, answer)
    if chosen is None:
        raise ResolveError(
            f"{name} {version} has no artifact for {target.platform} with Python {target.python}",
            hint="choose another version, or relax no-binary and only-binary in [pypi]",
        )
    return recorder.archive(name, version, chosen, depends=depends)


def _artifact(file: PackageWheel | PackageSdist, answer: Answer) -> Artifact:
    size = file.size if answer.sizes_told else None
    return Artifact(_url(file.url, file.path, answer), file.hashes.get("sha256"), size)


def _url(url: str | None, path: str | None, answer: Answer) -> str:
    return url if url is not None else (answer.directory / (path or "")).resolve().as_uri()


def _directory_version(package: PylockPackage, answer: Answer, graph: Graph) -> str:
    version = _static_version(answer, package) or graph.versions.get(package.name)
    if version is None:
        place = "" if package.directory is None else f" in {(answer.directory / package.directory.path).resolve()}"
        raise ResolveError(
            f"the version of {package.name}{place} is known only to its build backend, and uv does not tell it",
            hint="write 'version' into its [project] table",
        )
    return version


def _static_version(answer: Answer, package: PylockPackage) -> str | None:
    """A version that pyproject.toml states (PEP 621), for a local directory."""
    if package.directory is None:
        return None
    try:
        text = (answer.directory / package.directory.path / "pyproject.toml").read_text(encoding="utf-8")
        project = tomli.loads(text).get("project", {})
    except (OSError, ValueError):
        return None
    version = project.get("version")
    return version if isinstance(version, str) else None
