"""Which environments a user can name: those below the directories of TYKKY_PATH, the site's, and those here.

Only `environment.json` of each is read, so that a list of hundreds of environments on a parallel file system is quick.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, is_of_ancestor
from tykky.errors import EnvironmentDirectoryError

Origin = Literal["user", "site", "here"]


class Known(Struct, frozen=True):
    """One environment. `name` is what `tykky activate` takes; `record` is None where `problem` says what is wrong."""

    name: str
    path: Path
    origin: Origin
    record: GenerationRecord | None
    problem: str | None

    @property
    def size(self) -> int | None:
        """The bytes of the images that lie in it; a parent's are the parent's."""
        if self.record is None:
            return None
        return sum(layer.size for layer in self.record.layers if not layer.image.startswith("/"))


def search_path(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories of TYKKY_PATH, in which environments are looked for by name."""
    return tuple(Path(item) for item in environ.get("TYKKY_PATH", "").split(os.pathsep) if item)


def known_environments(user: Iterable[Path], sites: Mapping[str, Path], here: Iterable[Path] = ()) -> tuple[Known, ...]:
    """Return the environments that are, or stand directly below, one of `user`; then the site's; then those `here`.

    An environment is named once, where it is found first. A directory that cannot be read is a line with its problem.
    """
    found: dict[Path, Known] = {}
    for known in (*_below(user, "user"), *_of_site(sites), *_below(here, "here")):
        found.setdefault(known.path, known)
    return tuple(found.values())


def _of_site(sites: Mapping[str, Path]) -> Iterator[Known]:
    for name, path in sorted(sites.items()):
        yield _known(name, path, "site")


def _below(roots: Iterable[Path], origin: Origin) -> Iterator[Known]:
    for root in (root.absolute() for root in roots):
        if _is_environment(root):
            yield _known(root.name, root, origin)
        try:
            with os.scandir(root) as entries:
                paths = sorted(Path(entry.path) for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            continue  # a directory that is made with the first environment
        except OSError as error:
            yield Known(root.name, root, origin, None, f"cannot be read: {(error.strerror or str(error)).lower()}")
            continue
        for path in paths:
            if _is_environment(path):
                yield _known(path.name, path, origin)


def _is_environment(path: Path) -> bool:
    try:
        return EnvironmentDirectory(path).exists() or is_of_ancestor(path)
    except (OSError, EnvironmentDirectoryError):  # one that others may not look into
        return False


def _known(name: str, path: Path, origin: Origin) -> Known:
    directory = EnvironmentDirectory(path)
    try:
        return Known(name, path, origin, directory.record(), None)
    except EnvironmentDirectoryError as error:
        return Known(name, path, origin, None, re.sub(rf"^{re.escape(str(path))}(: | |/)", "", error.reason))
    except OSError as error:
        return Known(name, path, origin, None, f"cannot be read: {(error.strerror or str(error)).lower()}")
