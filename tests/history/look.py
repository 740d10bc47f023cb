"""`python look.py DIRECTORY` prints what is seen there, as JSON. Runs inside, where a stack is mounted."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from pathlib import Path

from tykky.digests import tree_fingerprint


def main(root: str) -> None:
    """Print the fingerprint, and every path with what makes it what it is."""
    found = {}
    for folder, directories, names in os.walk(root):
        for name in (*directories, *names):
            place = Path(folder, name)
            info = place.lstat()
            if stat.S_ISLNK(info.st_mode):
                what = f"-> {os.readlink(place)}"
            elif stat.S_ISREG(info.st_mode):
                content = place.read_bytes()
                what = f"{stat.filemode(info.st_mode)} {hashlib.md5(content).hexdigest()[:8]} {content[:40]!r}"
            else:
                what = stat.filemode(info.st_mode)
            found[os.path.relpath(place, root)] = what
    json.dump({"fingerprint": tree_fingerprint(Path(root)), "entries": found}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
