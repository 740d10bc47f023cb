"""Files that others may have put there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tykky.guard.regular import read_regular


def test_a_file_and_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link", 7) == b"content"


def test_what_is_no_file_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("fifo", "device"):
        with pytest.raises(OSError, match="it is no regular file") as caught:
            read_regular(tmp_path / name)
        assert caught.value.errno == errno.EINVAL


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has more than 4096 bytes") as caught:
        read_regular(tmp_path / "sparse", 4096)
    assert caught.value.errno == errno.EFBIG


def test_a_link_that_shall_not_be_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", follow=False) == b"content"
    with pytest.raises(OSError, match="link") as caught:
        read_regular(tmp_path / "link", follow=False)
    assert caught.value.errno == errno.ELOOP
