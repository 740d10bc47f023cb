"""Spread large images over the targets of a Lustre file system, as the site says.

A directory gets a default layout before any image is written in it: files made there take it and keep it when they are
renamed (lfs-setstripe(1), "Progressive File Layout"). So it makes no difference who writes the image, or copies it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tykky.errors import ToolError
from tykky.process import Commands
from tykky.progress import Reporter
from tykky.site.model import Striping

_PATIENCE = 20.0  # seconds; a server that is down holds lfs up


def stripe_argv(lfs: Path, striping: Striping, directory: Path) -> list[str] | None:
    """Return the command line that gives a directory its layout, None if the site wants none."""
    if striping.count is None and striping.size is None and striping.pool is None:
        return None
    common = [] if striping.size is None else ["-S", striping.size]
    common += [] if striping.pool is None else ["-p", striping.pool]
    argv = [os.fspath(lfs), "setstripe"]
    if striping.count is None:
        return [*argv, *common, os.fspath(directory)]
    if striping.above == "0":
        return [*argv, "-c", str(striping.count), *common, os.fspath(directory)]
    first = ["-E", striping.above, "-c", "1", *common]
    rest = ["-E", "-1", "-c", str(striping.count), *common]
    return [*argv, *first, *rest, os.fspath(directory)]


def stripe(directory: Path, striping: Striping, commands: Commands, reporter: Reporter) -> None:
    """Give a directory its layout, if it is on a Lustre file system. What prevents it is a warning."""
    lfs = shutil.which("lfs")
    argv = None if lfs is None else stripe_argv(Path(lfs), striping, directory)
    if argv is None:
        return
    try:
        # Only the file system's own tool knows whether this is one.
        if commands.run([argv[0], "getstripe", "-d", directory], check=False, timeout=_PATIENCE).status == 0:
            commands.run(argv, timeout=_PATIENCE)
    except ToolError as error:
        said = (error.output or error.reason).splitlines()[-1]
        reporter.warn(f"images are not striped as site.toml says: {said}")
