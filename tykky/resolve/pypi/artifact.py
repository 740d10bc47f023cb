"""One file out of the several that an index offers for a version, as a lock records it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct, field
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename

from tykky.access import Access
from tykky.digests import file_sha256
from tykky.lock.model import Package
from tykky.resolve.pypi.target import Target
from tykky.resolve.pypi.urls import file_name, file_path, recorded_path, without_credentials
from tykky.spec.names import canonical_name


class Artifact(Struct, frozen=True):
    """A wheel or sdist: where it is (a URL, `file:` included), and what is known of its bytes."""

    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """The file name."""
        return file_name(self.url)

    @property
    def is_wheel(self) -> bool:
        """Whether it is installed as it is."""
        return self.name.endswith(".whl")


def best_wheel(wheels: Iterable[Artifact], target: Target, kept: str | None = None) -> Artifact | None:
    """Return the wheel that fits `target` closest (PEP 425), or None if none fits.

    Of equally close ones the higher build number wins (the wheel format's own rule), then the file name. `kept` is
    the sha256 in the previous lock: as long as that wheel is on offer and fits, it stays.
    """
    ranked = [(rank, wheel) for wheel in wheels if (rank := _rank(wheel, target)) is not None]
    for _, wheel in ranked:
        if kept is not None and wheel.sha256 == kept:
            return wheel
    if not ranked:
        return None
    closest = min(tag for (tag, _), _ in ranked)
    return max((wheel for (tag, _), wheel in ranked if tag == closest), key=lambda w: (_build(w), w.name))


def _rank(wheel: Artifact, target: Target) -> tuple[int, BuildTag] | None:
    try:
        _, _, build, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename:
        return None
    ranks = [target.tags[tag] for tag in tags if tag in target.tags]
    return (min(ranks), build) if ranks else None


def _build(wheel: Artifact) -> BuildTag:
    return parse_wheel_filename(wheel.name)[2]


class Recorder(Struct, frozen=True):
    """Writes artifacts down for a lock in `base`.

    `environ` is what a download sees (proxies, credentials): an artifact whose sha256 the index does not tell is
    fetched to learn it.
    """

    access: Access
    platform: str
    base: Path
    portable: frozenset[Path] = frozenset()
    environ: Mapping[str, str] = field(default_factory=dict)

    def archive(
        self,
        name: str,
        version: str,
        artifact: Artifact,
        *,
        depends: tuple[str, ...] = (),
        subdirectory: str | None = None,
    ) -> Package:
        """Return the locked package of a wheel or sdist. Raises `FetchError` if its sha256 cannot be learned."""
        local = file_path(artifact.url)
        path = None if local is None else recorded_path(local, self.base, self.portable)
        sha256, size = artifact.sha256, artifact.size
        if local is not None:
            # An index page may claim anything; a local file is what it is.
            sha256, size = file_sha256(local), local.stat().st_size
        elif sha256 is None:
            from tykky.resolve.pypi.download import sha256_of  # with all of http and ssl, which few locks need

            sha256, size = sha256_of(artifact.url, self.access, self.environ)
        return Package(
            name=canonical_name(name),
            version=version,
            kind="pypi",
            platform=self.platform,
            url=self.access.canonical(without_credentials(artifact.url)) if path is None else None,
            path=path,
            sha256=sha256,
            size=size,
            depends=depends,
            source="wheel" if artifact.is_wheel else "sdist",
            subdirectory=subdirectory,
        )

    def git(
        self,
        name: str,
        version: str,
        url: str,
        *,
        commit: str,
        subdirectory: str | None = None,
        depends: tuple[str, ...] = (),
    ) -> Package:
        """Return the locked package of a commit in a git repository. `url` has neither `git+` nor a reference."""
        return Package(
            name=canonical_name(name),
            version=version,
            kind="pypi",
            platform=self.platform,
            url="git+" + self.access.canonical(without_credentials(url)),
            depends=depends,
            source="git",
            commit=commit,
            subdirectory=subdirectory,
        )

    def directory(self, name: str, version: str, path: Path, *, tree: str, depends: tuple[str, ...] = ()) -> Package:
        """Return the locked package of a local source tree. `tree` is its `source_fingerprint`."""
        return Package(
            name=canonical_name(name),
            version=version,
            kind="pypi",
            platform=self.platform,
            path=recorded_path(path, self.base, self.portable) or path.as_posix(),
            depends=depends,
            source="directory",
            tree=tree,
        )
