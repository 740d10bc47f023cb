"""The source tree that a wheel is built from: a private copy, unpacked, checked out or copied, and what it is.

The user's own directory is never built in: a backend writes there, and an old `build/` of it may end in the wheel.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

from tykky.access import Access
from tykky.digests import is_no_source, source_fingerprint
from tykky.errors import BuildError, FetchError, LockError, Problem
from tykky.layers.archive_problems import refuse_problems
from tykky.lock.model import Package
from tykky.process import CommandFailed, Commands, tail
from tykky.resolve.pypi.download import fetch_artifact, require_sha256
from tykky.resolve.pypi.urls import redacted

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# A repository's own settings run programs; none of them has to run for a checkout.
_QUIET_GIT = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false")


def lay_out_source(package: Package, base: Path, target: Path, access: Access, commands: Commands) -> Path:
    """Put the sources of a locked package below `target` (an empty directory); return the project's directory.

    Raises `FetchError`, `ArtifactError`, or `BuildError` if a local directory is not what was locked.
    """
    if package.source == "git":
        top = _check_out(package, target / "source", access, commands)
    elif package.source == "directory":
        top = _copy(package, base, target)
    else:
        top = _unpack(package, base, target, access, commands)
    project = top / package.subdirectory if package.subdirectory else top
    if not project.resolve().is_relative_to(target.resolve()) or not project.is_dir():
        raise BuildError(
            f"{package.name} {package.version}: its source has no directory {package.subdirectory!r}",
            hint="name another #subdirectory= in the requirement",
        )
    return project


def _unpack(package: Package, base: Path, target: Path, access: Access, commands: Commands) -> Path:
    if package.sha256 is None or (package.url is None and package.path is None):
        raise _incomplete(package, "an sdist needs 'sha256' and 'url' or 'path'")
    if package.path is not None:
        archive = base / package.path
        if not archive.is_file():
            raise FetchError(f"{archive} does not exist", hint="the lock names this file; put it back or lock again")
        require_sha256(archive, package.sha256)
    else:
        assert package.url is not None
        archive = fetch_artifact(package.url, package.sha256, access, commands.environ)
    refuse_problems(archive)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(target)  # noqa: S202 - every member has been looked at
    else:
        with tarfile.open(archive) as tar:
            # The filter (Python 3.11.4) also drops owners and odd modes.
            if hasattr(tarfile, "data_filter"):
                tar.extractall(target, filter="data")
            else:
                tar.extractall(target)  # noqa: S202
    tops = list(target.iterdir())
    return tops[0] if len(tops) == 1 and tops[0].is_dir() else target


def _check_out(package: Package, target: Path, access: Access, commands: Commands) -> Path:
    url, commit = package.url, package.commit
    if url is None or commit is None or not url.startswith("git+") or not _COMMIT.fullmatch(commit):
        raise _incomplete(package, "a git source needs 'url' (git+…) and 'commit' (a full hash)")
    if access.offline:
        raise FetchError(
            f"{redacted(url)} at {commit[:12]} is not built yet, and --offline allows no network",
            hint="build once without --offline; after that the wheel is in the cache",
        )
    git = ["git", *_QUIET_GIT]
    environ = {"GIT_TERMINAL_PROMPT": "0"}
    steps = [
        # Whole history without contents: backends read tags to find their version.
        ["clone", "--quiet", "--no-checkout", "--filter=blob:none", "--", access.mirrored(url[4:]), str(target)],
        ["-C", str(target), "checkout", "--quiet", "--detach", commit],
        ["-C", str(target), "submodule", "--quiet", "update", "--init", "--recursive"],
    ]
    for step in steps:
        try:
            commands.run([*git, *step], environ=environ, hint="install git")
        except CommandFailed as error:
            if "checkout" in step and _fetched(git, target, commit, commands, environ):
                continue
            raise FetchError(
                f"{redacted(url)[4:]} cannot be fetched at {commit}",
                output=tail(redacted(error.finished.stderr)),
                hint="check the address and the commit; git uses your own keys and credential helpers",
            ) from None
    return target


def _fetched(git: list[str], target: Path, commit: str, commands: Commands, environ: dict[str, str]) -> bool:
    """Fetch and check out a commit that no branch or tag holds any more."""
    for step in (["fetch", "--quiet", "origin", commit], ["checkout", "--quiet", "--detach", commit]):
        if commands.run([*git, "-C", target, *step], environ=environ, check=False).status != 0:
            return False
    return True


def _copy(package: Package, base: Path, target: Path) -> Path:
    if package.path is None or package.tree is None:
        raise _incomplete(package, "a directory needs 'path' and 'tree'")
    origin = (base / package.path).resolve()
    if not origin.is_dir():
        raise FetchError(f"{origin} does not exist", hint="the lock names this directory; put it back or lock again")
    repository = _repository(origin)
    # The same place in its repository, so that a backend that asks git (which files? which version?) gets its answer.
    place = target / "source" / (origin.relative_to(repository) if repository else Path())
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(origin, place, symlinks=True, ignore=lambda where, names: _ignored(origin, where, names))
    if source_fingerprint(place) != package.tree:
        raise BuildError(
            f"{origin} has changed since it was locked",
            hint="run 'tykky lock' to lock it as it is now",
        )
    if repository is not None:
        (target / "source" / ".git").write_text(f"gitdir: {_git_directory(repository)}\n")
    return place


def _ignored(origin: Path, where: str, names: list[str]) -> set[str]:
    ignored = set()
    with os.scandir(os.fsencode(where)) as entries:
        for entry in entries:
            path = os.path.relpath(entry.path, os.fsencode(origin))
            special = not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))
            if is_no_source(path, entry) or (special and not entry.is_symlink()):
                ignored.add(os.fsdecode(entry.name))
    return ignored & set(names)


def _repository(directory: Path) -> Path | None:
    return next((p for p in (directory, *directory.parents) if (p / ".git").exists()), None)


def _git_directory(repository: Path) -> Path:
    """Return what `.git` is, or names (a worktree's or a submodule's is a file)."""
    entry = repository / ".git"
    if entry.is_file():
        return (repository / entry.read_text().removeprefix("gitdir:").strip()).resolve()
    return entry


def _incomplete(package: Package, what: str) -> LockError:
    return LockError(
        "tykky.lock", [Problem(f"{package.name} {package.version}: {what}")], hint="run 'tykky lock' to write it again"
    )
