"""What the other rooms ask a site: the merged settings as values of their own kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from tykky.site.model import Backend, Init, Policy, Settings, Striping


class Site(Struct, frozen=True):
    """The merged settings.

    `origins` has, per dotted key that is set, the file that set it (for `tykky doctor`). `trusted_owners` are the uids
    of whom the site (or the user) trusts beside the user and root.
    """

    settings: Settings = field(default_factory=Settings)
    origins: Mapping[str, Path] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    trusted_owners: frozenset[int] = frozenset()

    @property
    def store(self) -> Path | None:
        """The user's own store of images, if there is one."""
        return None if self.settings.store is None else Path(self.settings.store)

    @property
    def stores(self) -> tuple[Path, ...]:
        """Stores of images that are only read, in the order of asking."""
        return tuple(Path(path) for path in self.settings.stores)

    @property
    def environments(self) -> Mapping[str, Path]:
        """Environments that a spec may extend by their name -> their environment directories."""
        return {name: Path(path) for name, path in self.settings.environments.items()}

    @property
    def policy(self) -> Policy:
        """How deep a stack of layers may grow, and what is done about it."""
        return self.settings.policy

    @property
    def mirrors(self) -> Mapping[str, str]:
        """URL prefix -> URL prefix to ask in its place."""
        return self.settings.mirrors

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The backends that may be used, in the order of trial."""
        return self.settings.runtime.backends

    @property
    def no_bind(self) -> tuple[str, ...]:
        """Directories of the host's root that programs do not see."""
        return self.settings.runtime.no_bind

    @property
    def bind(self) -> tuple[str, ...]:
        """Directories of the host that programs see although `no_bind` has what they lie in."""
        return self.settings.runtime.bind

    @property
    def scratch(self) -> Path | None:
        """The directory in which images are made, if the site names one."""
        return None if self.settings.build.scratch is None else Path(self.settings.build.scratch)

    @property
    def script_network(self) -> bool:
        """Whether `post-install` scripts may reach the network."""
        return self.settings.build.script_network

    @property
    def processors(self) -> int | None:
        """How many processors a build uses at most, if the site limits it."""
        return self.settings.build.processors

    @property
    def message(self) -> str | None:
        """What `tykky build` tells its user first."""
        return self.settings.build.message

    @property
    def striping(self) -> Striping:
        """How images are spread over the targets of a Lustre file system."""
        return self.settings.striping

    @property
    def init(self) -> Init:
        """What `tykky init` writes into a new spec."""
        return self.settings.init

    @property
    def python_downloads(self) -> str | None:
        """URL or path of the list of interpreters, if the site names one."""
        return self.settings.python.downloads

    def program(self, name: Literal["apptainer", "squashfuse", "mksquashfs"]) -> Path | None:
        """Return the path of a program, if the site names one."""
        path: str | None = getattr(self.settings.programs, name)
        return None if path is None else Path(path)
