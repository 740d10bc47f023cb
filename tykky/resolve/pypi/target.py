"""The machine that artifacts are chosen for: its wheel tags, its markers, and uv's name for it."""

from __future__ import annotations

import platform as host
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from tykky.errors import ResolveError

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.tags import Tag

_MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64", "linux-ppc64le": "ppc64le"}
# PEP 600: the older names of three glibc versions.
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST = {"x86_64": 5}  # glibc 2.x; every other machine began with manylinux2014
# The values of `uv pip compile --python-platform` (uv 0.11 to 0.13), by machine.
_UV_MINORS = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
_UV_MACHINES = ("x86_64", "aarch64")


class Target(Struct, frozen=True, dict=True):  # dict: for what is worked out once
    """A platform (conda subdir), a Python (`3.12` or `3.12.7`) and the oldest glibc that has to do (`2.28`)."""

    platform: str
    python: str
    glibc: str = "2.28"

    @property
    def machine(self) -> str:
        """The machine as the kernel names it: `x86_64`."""
        return _MACHINES[self.platform]

    @property
    def minor(self) -> tuple[int, int]:
        """Python's minor version: `(3, 12)`."""
        release = _release(self.python)
        return release[0], release[1]

    @property
    def uv_platform(self) -> str | None:
        """uv's name for this machine: the nearest glibc it knows that is not newer.

        None where uv has no name but runs on such a machine itself. Raises `ResolveError` where uv cannot answer.
        """
        machine = self.machine
        if machine not in _UV_MACHINES:
            if host.machine() == machine:
                return None
            raise ResolveError(
                f"uv cannot resolve for {self.platform} on another machine",
                hint=f"run tykky lock --platform {self.platform} on a {machine} host",
            )
        return f"{machine}-manylinux_2_{self._uv_glibc()}"

    def _uv_glibc(self) -> int:
        known = [minor for minor in _UV_MINORS if minor <= self._glibc_minor()]
        if not known:
            raise ResolveError(
                f"glibc {self.glibc} is older than any that uv knows (2.{_UV_MINORS[0]})",
                hint=f'set "__glibc" = "2.{_UV_MINORS[0]}" or newer under [conda.virtual-packages]',
            )
        return known[-1]

    def _glibc_minor(self) -> int:
        return _release(self.glibc)[1]

    @cached_property
    def tags(self) -> dict[Tag, int]:
        """The wheel tags that run here, each with its rank: the lower, the closer to this machine (PEP 425, 600)."""
        from packaging.tags import compatible_tags, cpython_tags  # only who reads an answer needs them

        python = f"cp{self.minor[0]}{self.minor[1]}"
        platforms = list(self._platform_tags())
        # The ABI is given, or packaging would ask how *our* interpreter was built.
        ranked = [
            *cpython_tags(self.minor, [python], platforms),
            *compatible_tags(self.minor, python, platforms),
        ]
        return {tag: rank for rank, tag in reversed(list(enumerate(ranked)))}

    def _platform_tags(self) -> Iterator[str]:
        machine = self.machine
        for minor in range(self._glibc_minor(), _OLDEST.get(machine, 17) - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{machine}"
        yield f"linux_{machine}"

    def wants(self, marker: Marker | None) -> bool:
        """Say whether a marker holds here. Kernel release and version are unknown, hence empty."""
        if marker is None:
            return True
        full = self.python if len(_release(self.python)) > 2 else f"{self.python}.0"
        environment = {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": f"{self.minor[0]}.{self.minor[1]}",
            "sys_platform": "linux",
        }
        return marker.evaluate(environment)


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version; what else it has (`rc1`) is left out."""
    parts = version.split(".")
    if all(part.isdecimal() for part in parts):
        return tuple(map(int, parts))
    from packaging.version import Version

    return Version(version).release
