"""The tree layer of an interpreter that uv manages: the locked archive, unpacked below the prefix."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tykky.errors import ArtifactError
from tykky.guard.ownership import private_directory
from tykky.layers import standalone
from tykky.layers.archive_problems import interpreter_problems, refuse
from tykky.layers.keys import PlannedLayer
from tykky.layers.staged import Staged
from tykky.layers.tree import make_scripts_relocatable, replace_file, scan
from tykky.layers.workshop import Workshop
from tykky.lock.model import Package
from tykky.resolve.pypi.download import fetch_artifact
from tykky.store.images import PackagePaths

# What to do with the files that name the place they were built for; paths relative to the prefix.
_REWRITTEN: dict[str, Callable[[bytes, str], bytes]] = {
    "lib/python*/_sysconfigdata_*.py": standalone.true_sysconfig,
    "lib/python*/_sysconfig_vars_*.json": standalone.true_sysconfig_json,
    "lib/python*/config-*/Makefile": standalone.true_paths,
    "lib/python*/config-*/python-config.py": standalone.true_paths,
    "lib/pkgconfig/*.pc": standalone.true_paths,
    "bin/python*-config": standalone.true_paths,
}


def stage(planned: PlannedLayer, workshop: Workshop) -> Staged:
    """Unpack the layer's interpreter into a staged tree; return what to pack.

    Raises `FetchError`, and `ArtifactError` for an archive that is not what the lock says or holds something bad.
    """
    prefix: str = planned.document["prefix"]
    (package,) = planned.packages
    image_root = workshop.scratch / "tree"
    tree = image_root / prefix.lstrip("/")
    tree.mkdir(parents=True)
    unpack(_archive(package, workshop), tree)
    settle(tree, prefix, package)
    paths = tuple(entry.path for entry in scan(tree) if entry.kind != "directory")
    return Staged(
        image_root=image_root,
        tree=tree,
        packages=(PackagePaths(package.name, package.version, package.kind, paths),),
        interpreter=lambda: workshop.inside.argv(prefix, (), tree, [f"{prefix}/bin/python"]),
    )


def unpacked(package: Package, workshop: Workshop, *, fetch: bool) -> Path | None:
    """Return the directory where an interpreter's archive is unpacked; without `fetch`, None if it is not yet.

        <cache>/pythons/<sha256>/{bin,lib,…}

    Raises `FetchError` and `ArtifactError` as `stage` does.
    """
    assert package.sha256 is not None
    root = workshop.access.cache / "pythons" / package.sha256
    if root.is_dir() or not fetch:
        return root if root.is_dir() else None
    archive = _archive(package, workshop)
    root.parent.mkdir(parents=True, exist_ok=True)
    with private_directory(root.parent, ".unpack-") as private:
        unpack(archive, private / "tree")
        try:
            (private / "tree").rename(root)
        except OSError:
            if not root.is_dir():  # somebody was faster
                raise
    return root


def remove_unpacked(root: Path) -> None:
    """Remove what `unpacked` returned: as a whole, so that nobody takes what is left for an interpreter."""
    with private_directory(root.parent, ".unpack-") as private, contextlib.suppress(OSError):
        root.rename(private / "tree")


def _archive(package: Package, workshop: Workshop) -> Path:
    """Return the archive of an interpreter, checked and looked into."""
    assert package.url is not None and package.sha256 is not None
    with workshop.reporter.phase(f"download {package.name} {package.version}"):
        archive = fetch_artifact(package.url, package.sha256, workshop.access, workshop.commands.environ)
    refuse(archive, interpreter_problems(archive))
    return archive


def unpack(archive: Path, target: Path) -> None:
    """Unpack what is below the archive's one directory into `target`. Its members have been looked at."""
    with tarfile.open(archive) as tar:
        members = list(_members(tar))
        # The filter is there from Python 3.11.4 on; what it refuses was refused already.
        if hasattr(tarfile, "data_filter"):
            tar.extractall(target, members, filter="data")
        else:
            tar.extractall(target, members)  # noqa: S202


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        _, _, rest = member.name.partition("/")
        if not rest:
            continue
        member.name = rest
        if member.islnk():
            member.linkname = member.linkname.partition("/")[2]
        # Readable to whoever builds, owned by nobody else.
        member.mode |= stat.S_IRWXU if member.isdir() else stat.S_IRUSR | stat.S_IWUSR
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        yield member


def settle(tree: Path, prefix: str, package: Package) -> None:
    """Make an unpacked interpreter one of the prefix: names in `bin`, scripts, and what it says about itself.

    Raises `ArtifactError` if there is no interpreter of the locked version.
    """
    minor = ".".join(package.version.split(".")[:2])
    program = tree / "bin" / f"python{minor}"
    if not program.is_file() or not os.access(program, os.X_OK):
        raise ArtifactError(
            f"the archive of {package.name} {package.version} has no bin/python{minor}",
            hint="it is no build of python-build-standalone; run 'tykky lock --upgrade cpython' to choose another one",
        )
    for name in ("python", "python3"):
        if not os.path.lexists(tree / "bin" / name):
            (tree / "bin" / name).symlink_to(f"python{minor}")
    for pattern, rewrite in _REWRITTEN.items():
        for path in sorted(tree.glob(pattern)):
            if path.is_symlink() or not path.is_file():
                continue
            content = path.read_bytes()
            if (changed := rewrite(content, prefix)) != content:
                replace_file(path, changed)
    # It tells pip to leave the interpreter alone; here the environment is what pip is called for.
    (tree / "lib" / f"python{minor}" / "EXTERNALLY-MANAGED").unlink(missing_ok=True)
    _remove_bundled(tree / "lib" / f"python{minor}" / "site-packages", tree)
    make_scripts_relocatable(tree / "bin", (f"{standalone.BUILT_AT}/bin".encode(), f"{prefix}/bin".encode()))


def _remove_bundled(site: Path, tree: Path) -> None:
    """Remove pip and what else a build brings along: an environment has the packages of its lock.

    Another version of pip in a layer above would leave two of them to be found.
    """
    for record in sorted(site.glob("*.dist-info/RECORD")):
        for row in csv.reader(io.StringIO(record.read_text("utf-8"))):
            path = Path(os.path.normpath(site / row[0])) if row else None
            if path is not None and path.parent == tree / "bin":
                path.unlink(missing_ok=True)
    for path in site.iterdir() if site.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "README.txt":
            path.unlink()
