"""Packages no honest builder would write: each holds one thing that must be refused by name.

`hostile_packages()` maps a short name of the trick to the package that plays it. All are linux-64, depend on
nothing, and hold one innocent file too.
"""

from __future__ import annotations

import tarfile
from typing import Literal

from tests.channel.package import CondaPackage, Format, Member, text

OUTSIDE = "/tmp/tykky-hostile"

# trick -> the tar members that play it, in order
_TRICKS: dict[str, tuple[Member, ...]] = {
    "dotdot": (Member("../escape", data=b"out\n"),),
    "dotdot-inside": (Member("share/../../escape", data=b"out\n"),),
    "absolute": (Member(OUTSIDE, data=b"out\n"),),
    "symlink-absolute": (Member("share/link", tarfile.SYMTYPE, target="/etc/passwd"),),
    "symlink-dotdot": (Member("share/link", tarfile.SYMTYPE, target="../../escape"),),
    "symlink-then-write": (
        Member("share/away", tarfile.SYMTYPE, target="../.."),
        Member("share/away/escape", data=b"out\n"),
    ),
    "symlink-through-symlink": (
        Member("share/deep/top", tarfile.SYMTYPE, target="../.."),
        # reads like share/deep/etc, is /../etc below the prefix
        Member("share/deep/two", tarfile.SYMTYPE, target="top/../etc"),
    ),
    "symlink-loop": (
        Member("share/a", tarfile.SYMTYPE, target="b"),
        Member("share/b", tarfile.SYMTYPE, target="a"),
    ),
    "hardlink-dotdot": (Member("share/hard", tarfile.LNKTYPE, target="../escape"),),
    "hardlink-absolute": (Member("share/hard", tarfile.LNKTYPE, target="/etc/passwd"),),
    "character-device": (Member("dev/null", tarfile.CHRTYPE),),
    "block-device": (Member("dev/disk", tarfile.BLKTYPE),),
    "fifo": (Member("run/pipe", tarfile.FIFOTYPE),),
    "setuid": (Member("bin/root", data=b"#!/bin/sh\n", mode=0o4755),),
    "setgid": (Member("bin/group", data=b"#!/bin/sh\n", mode=0o2755),),
    "info-dotdot": (Member("info/../../escape", data=b"out\n", section="info"),),
}


def hostile_packages(format: Format = "conda") -> dict[str, CondaPackage]:
    """Return every hostile package in one format, by trick."""
    packages = {trick: _package(trick, format, extra=extra) for trick, extra in _TRICKS.items()}
    packages["paths-dotdot"] = _package("paths-dotdot", format, undeclared=("../x",))
    packages["paths-absolute"] = _package("paths-absolute", format, undeclared=(OUTSIDE,))
    packages["entry-point-dotdot"] = CondaPackage(
        "evil-entry-point",
        "1.0",
        subdir="noarch",
        noarch="python",
        files={"site-packages/evil.py": text("def main(): ...\n")},
        entry_points=["../../escape = evil:main"],
        format=format,
    )
    return packages


def _package(
    trick: str, format: Literal["conda", "tar.bz2"], *, extra: tuple[Member, ...] = (), undeclared: tuple[str, ...] = ()
) -> CondaPackage:
    return CondaPackage(
        f"evil-{trick}",
        "1.0",
        files={"share/innocent.txt": text("innocent\n")},
        extra=extra,
        undeclared=undeclared,
        format=format,
    )
