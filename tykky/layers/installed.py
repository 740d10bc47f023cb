"""What stands in a tree after uv has installed wheels there: whose it is, and without a trace of this host.

The paths of a package are those of its RECORD (PyPA "Recording installed projects").
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from tykky.errors import ArtifactError
from tykky.layers.tree import make_scripts_relocatable, replace_file, true_record
from tykky.lock.model import Package
from tykky.spec.names import canonical_name
from tykky.store.images import PackagePaths

# Files uv writes that tell of this host or this moment. REQUESTED says who asked for a package, which a
# `--no-deps` install of a whole lock cannot know.
_OF_THIS_HOST = ("uv_cache.json", "uv_build.json", "REQUESTED")


def tidy(root: Path, prefix: str, scripts: Mapping[str, bytes], interpreters: Sequence[bytes] = ()) -> None:
    """Make what uv wrote independent of where and when it wrote it.

    `scripts` are the names and content of those in `bin` that were made relocatable before, `interpreters` the
    directories of other interpreters that scripts may name.
    """
    known = (os.fsencode(root / "bin"), f"{prefix}/bin".encode(), *interpreters)
    changed = {**scripts, **make_scripts_relocatable(root / "bin", known)}
    for site in _site_packages(root):
        for info in sorted(site.glob("*.dist-info")):
            _tidy_dist_info(root, site, info, changed)
    for leftover in (".lock", "CACHEDIR.TAG", ".gitignore"):
        (root / leftover).unlink(missing_ok=True)


def _site_packages(root: Path) -> list[Path]:
    """Return the tree's own directories of packages: a link may lead to the host's."""
    found = sorted((root / "lib").glob("python*/site-packages"))
    return [site for site in found if not site.is_symlink() and not site.parent.is_symlink()]


def _tidy_dist_info(root: Path, site: Path, info: Path, scripts: Mapping[str, bytes]) -> None:
    removed = []
    names = [*_OF_THIS_HOST]
    direct = info / "direct_url.json"
    if direct.exists() and b'"file://' in direct.read_bytes():
        names.append("direct_url.json")
    for name in names:
        path = info / name
        if path.exists():
            path.unlink()
            removed.append(f"{info.name}/{name}")
    record = info / "RECORD"
    if not record.exists():
        return
    up = os.path.relpath(root / "bin", site)
    changed = {f"{up}/{name}": content for name, content in scripts.items()}
    replace_file(record, true_record(record.read_text("utf-8"), changed, removed).encode())


def installed_paths(root: Path, packages: Sequence[Package]) -> tuple[PackagePaths, ...]:
    """Return the paths of every installed package, by its RECORD, sorted by name.

    Raises `ArtifactError` for a record that names a path outside the prefix.
    """
    versions = {canonical_name(p.name): (p.name, p.version) for p in packages}
    found = []
    for site in _site_packages(root):
        real = _real_paths(root)
        for info in sorted(site.glob("*.dist-info")):
            canonical = canonical_name(info.name.removesuffix(".dist-info").rpartition("-")[0])
            name, version = versions.get(canonical, (canonical, info.name))
            found.append(PackagePaths(name, version, "pypi", _recorded(root, site, info, real)))
    return tuple(sorted(found, key=lambda package: package.name))


def _recorded(root: Path, site: Path, info: Path, real: Callable[[str], str]) -> tuple[str, ...]:
    record = info / "RECORD"
    if not record.exists():
        return ()
    base = site.relative_to(root)
    paths = set()
    with record.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if not row:
                continue
            path = os.path.normpath(PurePosixPath(base, row[0]))
            if path.startswith("../") or path.startswith("/"):
                raise ArtifactError(
                    f"{info.name}: {row[0]!r} would leave the prefix",
                    hint="no package may write there; report it to its authors",
                )
            directory, _, name = path.rpartition("/")
            paths.add(f"{real(directory)}/{name}" if directory else name)
    return tuple(sorted(paths))


def _real_paths(root: Path) -> Callable[[str], str]:
    """Return what gives a directory's path without symlinks of the tree: `lib64` of a venv is `lib`."""
    top = os.path.realpath(root)

    @cache
    def real(directory: str) -> str:
        found = os.path.relpath(os.path.realpath(os.path.join(top, directory)), top)  # noqa: PTH118 - text
        return directory if found.startswith("..") else found

    return real


def give_to_owners(
    root: Path, installed: Mapping[str, tuple[Package, Path]], install_alone: Callable[[Package, Path, Path], None]
) -> dict[str, bytes]:
    """Give every path that several packages have to the last of them by name.

    uv installs at once what it is given, and whose file stays is chance. `installed` are the packages and their wheels
    by name; `install_alone(package, wheel, root)` installs one into an empty directory. Returns the names and content
    of the scripts in `bin` that were made relocatable on the way.
    """
    claimants: dict[str, list[str]] = defaultdict(list)
    for package in installed_paths(root, [package for package, _ in installed.values()]):
        for path in package.paths:
            claimants[path].append(package.name)
    by_owner: dict[str, list[str]] = defaultdict(list)
    for path, names in claimants.items():
        if len(names) > 1:
            by_owner[max(names)].append(path)
    scripts: dict[str, bytes] = {}
    for owner, paths in sorted(by_owner.items()):
        with TemporaryDirectory(dir=root.parent, prefix=".alone-") as private:
            alone = Path(private) / "tree"
            install_alone(*installed[owner], alone)
            # As it would be in `root`: the script's first line names the directory it was installed to.
            changed = make_scripts_relocatable(alone / "bin", (os.fsencode(alone / "bin"),))
            scripts.update((name, content) for name, content in changed.items() if f"bin/{name}" in paths)
            for path in paths:
                (alone / path).replace(root / path)
    return scripts
