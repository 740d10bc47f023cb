"""Asking a conda resolver as the program does, for the tests of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tykky.access import Access
from tykky.lock.model import Package
from tykky.progress import Silent
from tykky.resolve.conda.condalock import CondaLockResolver
from tykky.resolve.conda.rattler import RattlerResolver
from tykky.resolve.conda.virtual import default_virtual_packages
from tykky.resolve.ports import CondaRequest, CondaResolver

CANONICAL = "https://conda.anaconda.org/conda-forge"
PLATFORM = "linux-64"


@dataclass
class Asking:
    """One resolver of the kind `kind`, whose conda-forge is the channel at `mirror`."""

    kind: str
    cache: Path
    mirror: str
    offline: bool = False
    program: Path | None = None  # conda-lock's conda
    more_mirrors: dict[str, str] = field(default_factory=dict)

    @property
    def access(self) -> Access:
        return Access(self.cache, self.offline, {CANONICAL: self.mirror, **self.more_mirrors})

    @property
    def resolver(self) -> CondaResolver:
        if self.kind == "rattler":
            return RattlerResolver(self.access, timeout=5)
        return CondaLockResolver(self.access, self.program)

    def __call__(
        self,
        *requirements: str,
        platform: str = PLATFORM,
        channels: Sequence[str] = ("conda-forge",),
        virtual: dict[str, str] | None = None,
        **more: Any,
    ) -> tuple[Package, ...]:
        request = CondaRequest(
            platform=platform,
            channels=tuple(channels),
            requirements=requirements,
            virtual_packages=default_virtual_packages(platform, virtual),
            **more,
        )
        return self.resolver.resolve(request, Silent())


def chosen(packages: Sequence[Package]) -> dict[str, str]:
    """Return name -> `version build` of a resolver's answer."""
    return {package.name: f"{package.version} {package.build}" for package in packages}
