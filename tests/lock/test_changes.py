"""What the report of a new lock says of an image."""

from msgspec.structs import replace

from tests.lock.sample import lock_of, pypi
from tykky.lock.changes import image_changes
from tykky.lock.model import LockedManifest


def test_an_image_that_came_moved_or_stayed():
    before = lock_of(pypi("numpy"), image="docker://debian:12")
    lock = replace(before, image_manifest=(LockedManifest("linux-64", "a" * 64, 7),))
    moved = replace(before, image_manifest=(LockedManifest("linux-64", "b" * 64, 7),))
    came = (("linux-64", "image docker://debian:12 sha256:aaaaaaaaaaaa"),)
    assert image_changes(None, lock) == image_changes(before, lock) == came
    assert image_changes(lock, lock) == image_changes(lock, before) == ()
    assert image_changes(lock, moved) == (
        ("linux-64", "image docker://debian:12 sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb"),
    )
