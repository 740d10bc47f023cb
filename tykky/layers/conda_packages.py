"""Locked conda packages: from the channel into our package cache, and from there into a staged tree.

The cache (`<cache>/conda/pkgs`) has rattler's format and is only ours: nothing comes into it that was not checked
against the lock's sha256 and looked into (`conda_contents`). So what is in it is not downloaded or checked again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from tykky.access import Access
from tykky.errors import ArtifactError, BuildError
from tykky.layers.conda_contents import check_archive
from tykky.layers.tree import replace_file
from tykky.lock.model import Package
from tykky.progress import Phase, Reporter
from tykky.resolve.conda.archives import Archives
from tykky.resolve.conda.records import display_name, file_name, record_of
from tykky.resolve.conda.running import run

if TYPE_CHECKING:
    from rattler import RepoDataRecord

CLOBBERS = "__clobbers__"
_CLASH = re.compile(r"failed to link '(?P<path>[^'\n]+)'.*Is a directory \(os error 21\)", re.S)


def fetch_and_check(packages: Sequence[Package], access: Access, reporter: Reporter) -> None:
    """Make sure that all `packages` can be linked: in the package cache, or as checked archives.

    Raises `FetchError` if one cannot be had, `ArtifactError` if one is not what the lock says or holds something no
    package may hold.
    """
    missing = _not_cached(packages, access)
    if missing:
        _fetch(missing, Archives(access), reporter)


def is_cached(package: Package, access: Access) -> bool:
    """Return whether the package cache has a package, with the lock's sha256.

    Beside an entry rattler keeps a number of its own, of 8 bytes, and the archive's sha256 (rattler_cache, cache_lock).
    To read these takes less than to start rattler, which is asked where they say anything else.
    """
    with contextlib.suppress(OSError):
        noted = (_pkgs(access) / f"{display_name(package)}.lock").read_bytes()
        if len(noted) == 40 and noted[8:].hex() == package.sha256 and unpacked(package, access).is_dir():
            return True
    return not _not_cached([package], access)


def unpacked(package: Package, access: Access) -> Path:
    """Return where the cache has a package that was linked once. It is rattler's: read it, never write there."""
    return _pkgs(access) / display_name(package)


def link(
    packages: Sequence[Package],
    target: Path,
    prefix: str,
    access: Access,
    platform: str,
    reporter: Reporter,
    *,
    kept: Sequence[Package] = (),
) -> dict[str, tuple[str, ...]]:
    """Link `packages` into the empty (or not yet existing) directory `target`, as if it stood at `prefix`.

    `kept` are the packages that lower layers have: they are not linked, but tell where a noarch package's modules go.
    Returns name -> paths relative to the prefix, sorted. A path that several packages have is in all their lists; in
    the tree it is that of `owner_of`. Files may be hard links into the package cache: replace them, never write into
    them. Needs `fetch_and_check` first. Raises `ArtifactError` or `BuildError`.
    """
    with reporter.phase("link conda packages", total=len(packages), unit="packages") as phase:
        _Linking(packages, kept, prefix, platform, Archives(access), reporter, phase).into(target)
        paths = _settle(packages, target)
        if any((target / "bin").glob(".*-post-link.sh")):
            _unshare(target)
    return paths


def owner_of(claimants: Sequence[Package]) -> Package:
    """Return whose file a path is that several packages have.

    A package that another claimant depends on gives way to it; of the rest, the first by name. The answer depends on
    the claimants alone, so a delta and a fresh build agree. (rattler's own answer for three or more changes with the
    order in which all packages are linked.)
    """
    needed = {dependency.split()[0] for package in claimants for dependency in package.depends}
    leaders = [package for package in claimants if package.name not in needed] or list(claimants)
    return min(leaders, key=lambda package: package.name)


def _pkgs(access: Access) -> Path:
    return access.cache / "conda" / "pkgs"


def _not_cached(packages: Sequence[Package], access: Access) -> list[Package]:
    """Return the packages that the cache has not, or has with another sha256."""
    from rattler import PackageCache

    directory = _pkgs(access)
    directory.mkdir(parents=True, exist_ok=True)
    index = run(PackageCache(directory).index())
    return [package for package in packages if not index.contains_record(record_of(package))]


def _fetch(missing: Sequence[Package], archives: Archives, reporter: Reporter) -> None:
    size = sum(package.size or 0 for package in missing)
    with reporter.phase("download conda packages", total=size or None, unit="bytes") as phase:
        places = archives.fetch(missing, phase.advance)
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for _ in pool.map(check_archive, [places[package.name] for package in missing]):
                pass
    except ArtifactError:
        archives.forget(missing)
        raise


@dataclass(frozen=True, slots=True)
class _Linking:
    """One call of rattler's installer, and another one if the cache turns out to be damaged."""

    packages: Sequence[Package]
    kept: Sequence[Package]
    prefix: str
    platform: str
    archives: Archives
    reporter: Reporter
    phase: Phase

    def into(self, target: Path) -> None:
        """Link everything into `target`; archives that are extracted afterwards are removed."""
        from rattler.exceptions import InstallerError

        if target.exists() and any(target.iterdir()):
            raise BuildError(f"{target} is not empty")
        mended: set[str] = set()
        while True:
            # A call that failed leaves threads behind that go on writing, so each call has a place of its own.
            place = target.with_name(f".{target.name}.{len(mended)}")
            try:
                run(self._install(place))
            except InstallerError as error:
                shutil.rmtree(place, ignore_errors=True)
                damaged = _damaged(str(error), self.packages)
                if damaged is None or damaged.name in mended:
                    raise _link_error(str(error), self.packages) from None
                mended.add(damaged.name)
                self._mend(damaged)
            else:
                place.replace(target)
                self.archives.forget(self.packages)
                return

    async def _install(self, place: Path) -> None:
        from rattler import InstallerReporter, PrefixPaths, PrefixRecord, install
        from rattler.networking import Client
        from rattler.platform import Subdir

        below = [record_of(package) for package in self.kept]
        # Without files: nothing of a lower layer is looked at, or touched.
        installed = [PrefixRecord(record, PrefixPaths()) for record in below]
        # rattler reads the prefix again when it is done, and panics if what it was told of is not there.
        noted = [place / "conda-meta" / f"{display_name(package)}.json" for package in self.kept]
        for record, file in zip(installed, noted, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            record.write_to_path(file, pretty=False)
        await install(
            [*below, *(self._record(package) for package in self.packages)],
            place,
            installed_packages=installed,
            cache_dir=_pkgs(self.archives.access),
            platform=Subdir(self.platform),
            execute_link_scripts=False,
            client=Client([]),
            reporter=cast(InstallerReporter, _Progress(self.phase)),
            alternative_target_prefix=self.prefix,
        )
        for file in noted:
            file.unlink()

    def _record(self, package: Package) -> RepoDataRecord:
        path = package.python_site_packages_path
        if path is not None and (path.startswith("/") or ".." in path.split("/")):
            raise ArtifactError(f"{file_name(package)}: {path!r} as site-packages would leave the prefix")
        record = record_of(package)
        # Only checked archives: never the network, whose answer nobody would look into.
        record.url = self.archives.place(package).as_uri()
        return record

    def _mend(self, package: Package) -> None:
        self.reporter.note(f"{display_name(package)} in the package cache is damaged; it is fetched again")
        shutil.rmtree(_pkgs(self.archives.access) / display_name(package), ignore_errors=True)
        _fetch([package], self.archives, self.reporter)


def _damaged(message: str, packages: Sequence[Package]) -> Package | None:
    """Return the package whose entry in the cache lacks files, if that is what rattler's message says.

    Looking at every file of every entry before each link would cost more than it finds.
    """
    if "No such file or directory" not in message:
        return None
    return next((p for p in packages if file_name(p) in message or display_name(p) in message), None)


class _Progress:
    """Turns rattler's callbacks into steps of a phase. Only linking counts."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *args, **named: 0

    def on_link_complete(self, index: int) -> None:
        """Count one package."""
        self._phase.advance(1)


def _clash_error(path: str, name: str) -> BuildError:
    return BuildError(
        f"{path!r} is a file or link in {name} and a directory in another conda package",
        hint="these two cannot stand side by side; leave one of them out, or choose another version",
    )


def _link_error(message: str, packages: Sequence[Package]) -> Exception:
    """Return the error for what rattler could not link, naming the package if the message does."""
    named = next((p for p in packages if file_name(p) in message or display_name(p) in message), None)
    if named is not None and (clash := _CLASH.search(message)) is not None:  # which of the two comes first is chance
        return _clash_error(clash["path"], named.name)
    what = file_name(named) if named is not None else "the conda packages"
    return BuildError(f"{what} cannot be linked", output=message)


def _settle(packages: Sequence[Package], target: Path) -> dict[str, tuple[str, ...]]:
    """Give every path that several packages have to its owner, and make records say what the lock says.

    rattler moves the files of all but one package to `__clobbers__` and writes that into their records, which would
    make one package's record depend on the others in the prefix. Afterwards it does not.
    """
    by_name = {package.name: package for package in packages}
    records = {name: target / "conda-meta" / f"{display_name(p)}.json" for name, p in by_name.items()}
    found: dict[str, tuple[str, ...]] = {}
    moved: dict[str, dict[str, str]] = {}  # path -> package -> where its file was moved to
    for name, file in records.items():
        record = json.loads(file.read_bytes())
        record["url"] = by_name[name].url  # it was linked from an archive of ours
        away = {p["original_path"]: p["_path"] for p in record["paths_data"]["paths"] if "original_path" in p}
        replace_file(file, _restored(record, away))
        for path, place in away.items():
            moved.setdefault(path, {})[name] = place
        found[name] = tuple(sorted({*record["files"], f"conda-meta/{file.name}"}))
    for path, places in moved.items():
        claimants = [by_name[name] for name in sorted(found) if path in found[name]]
        owner = owner_of(claimants).name
        if owner in places:
            if (target / path).is_dir() and not (target / path).is_symlink():
                raise _clash_error(path, owner)
            (target / places[owner]).replace(target / path)
    shutil.rmtree(target / CLOBBERS, ignore_errors=True)
    (target / "CACHEDIR.TAG").unlink(missing_ok=True)
    return found


def _restored(record: dict[str, Any], away: Mapping[str, str]) -> bytes:
    """Return a conda-meta record that lists files where they belong; `record` is changed too."""
    back = {place: path for path, place in away.items()}
    for entry in record["paths_data"]["paths"]:
        entry["_path"] = entry.pop("original_path", entry["_path"])
    record["paths_data"]["paths"].sort(key=lambda entry: entry["_path"])
    record["files"] = sorted(back.get(path, path) for path in record["files"])
    return json.dumps(record, indent=2).encode()


def _unshare(target: Path) -> None:
    """Replace hard links into the cache by copies: a package's script may write into any file of the prefix."""
    for folder, _, names in os.walk(target):
        for name in names:
            path = Path(folder) / name
            if path.is_symlink() or path.stat().st_nlink == 1:
                continue
            copy = path.with_name(f".{PurePosixPath(name).name}.tykky-copy")
            shutil.copy2(path, copy)
            copy.replace(path)
