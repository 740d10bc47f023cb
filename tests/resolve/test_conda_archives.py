"""What a download is written by: errors of the disk name the file, however little was written."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from tykky.resolve.conda.archives import _Writer


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_named_at_the_first_byte():
    with Path("/dev/full").open("wb", buffering=0) as file:
        writer = _Writer(file, lambda count: None)
        with pytest.raises(OSError, match="No space left"):
            writer.write(b"x")
    assert writer.failed is not None
    assert (writer.failed.errno, writer.failed.filename) == (errno.ENOSPC, "/dev/full")


class _Short:
    """A file that takes three bytes at a time, as the kernel may."""

    name = "short"

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: memoryview) -> int:
        self.taken += data[:3]
        return len(data[:3])


def test_a_short_write_is_gone_on_with():
    short, counted = _Short(), []
    writer = _Writer(short, counted.append)  # type: ignore[arg-type]
    writer.write(b"0123456789")
    assert short.taken == b"0123456789"
    assert (writer.count, counted, writer.digest.hexdigest()) == (10, [10], hashlib.sha256(short.taken).hexdigest())
