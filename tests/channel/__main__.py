"""`python -m tests.channel DIR` writes the standard channel to DIR and prints its URL."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.channel.standard import standard_channel

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.channel DIR")
    print(standard_channel(Path(sys.argv[1])).resolve().as_uri())
