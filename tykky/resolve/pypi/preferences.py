"""A lock as uv's preferences: what it shall choose again where it may."""

from __future__ import annotations

from collections.abc import Mapping

from tykky.access import Access
from tykky.lock.model import Package
from tykky.resolve.ports import PypiRequest
from tykky.resolve.pypi.question import git_reference


def preferences(request: PypiRequest, access: Access, settled: frozenset[str] = frozenset()) -> str:
    """Return a pylock.toml whose versions and commits uv keeps where they still satisfy; nothing if it has none.

    uv reads the output file of an earlier run for that, and looks at names, versions and git commits only. It keeps a
    commit if the reference is the one that was asked for when the commit was found; of a reference in the metadata of
    another package we do not know it, so such a commit may move. Packages with the names in `settled` are left out:
    there is no choice of them.
    """
    references = dict(found for text in request.requirements if (found := git_reference(text)) is not None)
    entries = [
        _preference(package, references, access)
        for package in request.preferred
        if package.kind == "pypi"
        and package.platform == request.platform
        and package.source != "directory"
        and package.name not in settled
    ]
    if not entries:
        return ""
    import tomli_w

    return tomli_w.dumps({"lock-version": "1.0", "created-by": "tykky", "packages": entries})


def _preference(package: Package, references: Mapping[str, str], access: Access) -> dict[str, object]:
    entry: dict[str, object] = {"name": package.name, "version": package.version}
    if package.source == "git" and package.url is not None and package.commit is not None:
        url = package.url.removeprefix("git+")
        vcs = {"type": "git", "url": access.mirrored(url), "commit-id": package.commit}
        if url in references:
            vcs["requested-revision"] = references[url]
        if package.subdirectory is not None:
            vcs["subdirectory"] = package.subdirectory
        entry["vcs"] = vcs
    return entry
