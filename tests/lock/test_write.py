"""Lockfiles are byte-stable, diff by lines, and are replaced whole or not at all."""

import random
import stat

import msgspec
import pytest
from hypothesis import given, settings

from tests.lock.sample import COMMIT, SHA, conda, lock_of, locks, pypi
from tykky.errors import LockError
from tykky.lock.read import parse_lock, read_lock
from tykky.lock.write import render_lock, sorted_lock, write_lock

SAMPLE = lock_of(
    pypi("cowsay", "6.1", depends=()),
    pypi("mylib", "1.0", url="git+https://git.example.org/mylib", sha256=None, size=None, source="git", commit=COMMIT),
    pypi("cowsay", "6.1", "linux-aarch64"),
    conda("python", "3.12.7", depends=("libgcc >=13", "openssl >=3,<4.0a0"), license="PSF-2.0"),
    platforms=("linux-aarch64", "linux-64"),
    conda=("python 3.12.*",),
    channels=("conda-forge",),
    pypi=("cowsay", "mylib @ git+https://git.example.org/mylib@v1"),
    exclude_newer="2026-11-01",
)

TEXT = f"""\
# Written by 'tykky lock' from tykky.toml. Do not edit; keep it in git.

lock-version = "1.0"

[requirements]
conda = [
    "python 3.12.*",
]
channels = [
    "conda-forge",
]
pypi = [
    "cowsay",
    "mylib @ git+https://git.example.org/mylib@v1",
]
exclude-newer = "2026-11-01"

[resolvers]
pypi = "uv 0.11.0"

[[platform]]
name = "linux-64"
python = "3.12"
virtual-packages = [
    "__glibc=2.28",
]

[[platform]]
name = "linux-aarch64"
python = "3.12"
virtual-packages = [
    "__glibc=2.28",
]

[[package]]
name = "python"
version = "3.12.7"
kind = "conda"
platform = "linux-64"
url = "https://conda.example.org/forge/linux-64/python-3.12.7-h0_0.conda"
sha256 = "{SHA}"
size = 1000
depends = [
    "libgcc >=13",
    "openssl >=3,<4.0a0",
]
build = "h0_0"
channel = "https://conda.example.org/forge"
subdir = "linux-64"
license = "PSF-2.0"

[[package]]
name = "cowsay"
version = "6.1"
kind = "pypi"
platform = "linux-64"
url = "https://files.example.org/cowsay-6.1-py3-none-any.whl"
sha256 = "{SHA}"
size = 1000
source = "wheel"

[[package]]
name = "cowsay"
version = "6.1"
kind = "pypi"
platform = "linux-aarch64"
url = "https://files.example.org/cowsay-6.1-py3-none-any.whl"
sha256 = "{SHA}"
size = 1000
source = "wheel"

[[package]]
name = "mylib"
version = "1.0"
kind = "pypi"
platform = "linux-64"
url = "git+https://git.example.org/mylib"
source = "git"
commit = "{COMMIT}"
"""


def test_the_whole_text():
    assert render_lock(SAMPLE) == TEXT


def test_small_tables_do_not_change_the_layout():
    lock = msgspec.structs.replace(
        lock_of(), platform=(msgspec.structs.replace(SAMPLE.platform[0], virtual_packages=()),)
    )
    assert render_lock(lock) == (
        "# Written by 'tykky lock' from tykky.toml. Do not edit; keep it in git.\n\n"
        'lock-version = "1.0"\n\n[requirements]\n\n[resolvers]\npypi = "uv 0.11.0"\n\n'
        '[[platform]]\nname = "linux-aarch64"\npython = "3.12"\n'
    )


@settings(deadline=None)
@given(locks())
def test_what_is_written_is_read(lock):
    assert parse_lock(render_lock(lock)) == lock


@settings(deadline=None)
@given(locks())
def test_the_order_of_packages_and_platforms_does_not_show(lock):
    shuffled = msgspec.structs.replace(
        lock,
        package=tuple(random.sample(lock.package, len(lock.package))),
        platform=tuple(reversed(lock.platform)),
    )
    assert render_lock(shuffled) == render_lock(lock)
    assert sorted_lock(shuffled) == lock


def test_an_unchanged_lock_is_not_written_again(tmp_path):
    path = tmp_path / "tykky.lock"
    assert write_lock(path, SAMPLE) is True
    before = path.stat()
    assert write_lock(path, SAMPLE) is False
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert read_lock(path) == sorted_lock(SAMPLE)


def test_a_changed_lock_is_a_new_file_of_the_same_mode(tmp_path):
    path = tmp_path / "tykky.lock"
    write_lock(path, SAMPLE)
    path.chmod(0o664)
    with path.open() as reader:
        assert write_lock(path, lock_of()) is True
        assert reader.read() == TEXT  # who has the old one open reads it to its end
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert [entry.name for entry in tmp_path.iterdir()] == ["tykky.lock"]


def test_a_directory_that_is_not_there(tmp_path):
    path = tmp_path / "no" / "tykky.lock"
    with pytest.raises(LockError) as caught:
        write_lock(path, SAMPLE)
    assert str(caught.value) == f"{path}: cannot be written: no such file or directory"
