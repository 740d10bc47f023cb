"""Virtual packages: what a node offers. They come from the spec, never from the host that makes the lock."""

from __future__ import annotations

from collections.abc import Mapping

# The oldest node that is supported: EL8 (kernel 4.18, glibc 2.28), and the architecture's base instruction set.
_DEFAULTS = {"__unix": "0", "__linux": "4.18", "__glibc": "2.28"}
_ARCHSPEC = {"linux-64": "x86_64", "linux-aarch64": "aarch64", "linux-ppc64le": "ppc64le"}
_REMOVED = ("", "false")


def default_virtual_packages(platform: str, overrides: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the virtual packages of a platform as `name=version` or `name=version=build`, sorted.

    `overrides` (the spec's `[conda.virtual-packages]`) replaces or adds: `{"__glibc": "2.34", "__cuda": "12.4"}`.
    The value of `__archspec` is a microarchitecture, as in conda's own `CONDA_OVERRIDE_ARCHSPEC`. An empty value or
    `false` takes a virtual package away.
    """
    versions = {**_DEFAULTS, "__archspec": _ARCHSPEC[platform], **(overrides or {})}
    return tuple(
        sorted(_text(name, value) for name, value in versions.items() if value.strip().lower() not in _REMOVED)
    )


def _text(name: str, value: str) -> str:
    # conda: the version of __archspec is always 1, its build string is the name of the microarchitecture
    return f"{name}=1={value}" if name == "__archspec" and not value.startswith("1=") else f"{name}={value}"
