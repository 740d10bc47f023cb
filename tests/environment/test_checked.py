"""Big images are read once: what was read, and had the digest, is remembered; a changed file is read again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tykky.environment.checked import check_sha256, was_checked


def _image(path: Path, content: bytes = b"an image") -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _check(image: Path, digest: str, checked: Path) -> str:
    return check_sha256(image, digest, checked, lambda _count: None)


def test_a_file_with_the_digest_is_remembered(tmp_path: Path) -> None:
    image, checked = tmp_path / "image", tmp_path / "checked"
    digest = _image(image)
    assert not was_checked(image, digest, checked)
    assert _check(image, digest, checked) == digest
    assert was_checked(image, digest, checked)


def test_a_file_with_another_digest_is_not(tmp_path: Path) -> None:
    image, checked = tmp_path / "image", tmp_path / "checked"
    digest = _image(image)
    assert _check(image, "0" * 64, checked) == digest
    assert not was_checked(image, "0" * 64, checked)
    assert not was_checked(image, digest, checked)


def test_a_file_written_again_with_its_old_time_is_read_again(tmp_path: Path) -> None:
    image, checked = tmp_path / "image", tmp_path / "checked"
    digest = _image(image)
    _check(image, digest, checked)
    status = image.stat()
    _image(image, b"AN IMAGE")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not was_checked(image, digest, checked)


def test_a_directory_that_others_may_write_to_is_not_believed(tmp_path: Path) -> None:
    image, checked = tmp_path / "image", tmp_path / "checked"
    digest = _image(image)
    _check(image, digest, checked)
    checked.chmod(0o777)
    assert not was_checked(image, digest, checked)


def test_where_nothing_can_be_remembered_the_digest_is_returned_all_the_same(tmp_path: Path) -> None:
    image, checked = tmp_path / "image", tmp_path / "a file" / "checked"
    digest = _image(image)
    checked.parent.write_text("")
    assert _check(image, digest, checked) == digest
    assert not was_checked(image, digest, checked)
