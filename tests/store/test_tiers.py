"""Tiers of stores: what is brought from where, what is passed over, what is handed on."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ordinary import NOBODY, as_ordinary_user, open_place
from tykky.digests import document_key, file_fingerprint, file_sha256
from tykky.progress import Phase, Silent, Unit
from tykky.site.model import Settings
from tykky.site.offer import Site
from tykky.store.images import Manifest, Store, dump_manifest
from tykky.store.tiers import Tiers, tiers_of

ROOT = Path(__file__).parents[2]
DOCUMENT = {"kind": "pypi", "prefix": "/tykky/demo"}
KEY = document_key(DOCUMENT)
CONTENT = b"an image" * 1000
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


class Said(Silent):
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.phases: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def phase(self, title: str, *, total: int | None = None, unit: Unit = "steps") -> Phase:
        self.phases.append(f"{title} {total} {unit}")
        return super().phase(title)


def manifest_of(image: Path) -> Manifest:
    return Manifest(
        key=KEY,
        kind="pypi",
        prefix="/tykky/demo",
        document=DOCUMENT,
        digest=file_sha256(image),
        fingerprint=file_fingerprint(image),
        size=image.stat().st_size,
        files={"bin/cowsay": 3},
        packages=(),
        programs=("cowsay",),
    )


def fill(directory: Path, content: bytes = CONTENT) -> Store:
    """Return a store that has the image."""
    store = Store(directory)
    with store.stage() as private:
        image = private / f"{KEY}.sqfs"
        image.write_bytes(content)
        store.commit(image, manifest_of(image))
    return store


def record(store: Store) -> Path:
    return store.directory / f"{KEY}.manifest"


def give_away(store: Store) -> None:
    for path in (store.directory, *store.directory.iterdir()):
        os.chown(path, NOBODY, NOBODY)


@pytest.fixture(params=["ours", "another's"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A site's store with the image: of us, or of another user."""
    store = fill(tmp_path / "site")
    if request.param == "another's":
        if os.geteuid() != 0:
            pytest.skip("only root can make files of another user")
        give_away(store)
    return store


@pytest.fixture
def own(tmp_path: Path) -> Store:
    return Store(tmp_path / "P/.tykky/layers")


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.directory.iterdir())


def assert_passed_over(tiers: Tiers, *reasons: str) -> None:
    said = Said()
    assert tiers.bring(KEY, said) is None
    assert said.warnings == [
        f"{store.image(KEY)} is passed over: {reason}" for store, reason in zip(tiers.site, reasons, strict=True)
    ]
    assert not tiers.own.directory.exists() or names(tiers.own) == []


def test_nobody_has_it(tmp_path, own):
    tiers = Tiers(own, Store(tmp_path / "user"), (Store(tmp_path / "no"), Store(tmp_path)))
    said = Said()
    assert (tiers.find(KEY), tiers.bring(KEY, said), said.warnings) == (None, None, [])
    assert not own.directory.exists()


def test_the_first_that_has_it_is_asked(tmp_path, own):
    user, first, second = (fill(tmp_path / name) for name in ("user", "first", "second"))
    tiers = Tiers(own, user, (first, second))
    assert tiers.find(KEY) is user
    shutil.rmtree(user.directory)
    assert tiers.find(KEY) is first
    record(first).unlink()
    assert tiers.find(KEY) is second
    assert tiers.bring(KEY) is not None
    assert tiers.find(KEY) is own


def test_what_is_brought_is_whole_and_ours_alone_to_write(site, own):
    said = Said()
    manifest = Tiers(own, None, (site,)).bring(KEY, said)
    assert manifest == manifest_of(site.image(KEY)) == own.manifest(KEY)
    image = own.image(KEY)
    assert image.read_bytes() == CONTENT
    assert (stat.S_IMODE(image.stat().st_mode), image.stat().st_uid) == (0o644, os.geteuid())
    assert names(own) == [f"{KEY}.manifest", f"{KEY}.sqfs"]
    same_file = image.stat().st_ino == site.image(KEY).stat().st_ino
    assert same_file == (site.image(KEY).stat().st_uid == os.geteuid())  # no link to what another can write
    assert said.warnings == []


def test_what_is_there_is_not_brought_again(tmp_path, own):
    fill(own.directory)
    before = own.image(KEY).stat()
    other = fill(tmp_path / "site", b"other")
    assert Tiers(own, None, (other,)).bring(KEY) == manifest_of(own.image(KEY))
    assert os.path.samestat(own.image(KEY).stat(), before)
    assert own.image(KEY).read_bytes() == CONTENT


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    made = memory / f"tykky-tiers-{os.getpid()}"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def test_from_another_file_system_it_is_a_copy(elsewhere, own):
    site = fill(elsewhere / "site")
    said = Said()
    assert Tiers(own, None, (site,)).bring(KEY, said) is not None
    assert own.image(KEY).read_bytes() == CONTENT
    assert said.phases == [f"copy an image from a store {len(CONTENT)} bytes"]
    assert names(own) == [f"{KEY}.manifest", f"{KEY}.sqfs"]


CLONE = """
import os, sys
from pathlib import Path
from tests.store.test_tiers import KEY, Said, fill, give_away
from tykky.store.images import Store
from tykky.store.tiers import Tiers
site, own, said = fill(Path(sys.argv[1]) / "site"), Store(Path(sys.argv[1]) / "own"), Said()
give_away(site)
print(Tiers(own, None, (site,)).bring(KEY, said) is not None, said.phases, said.warnings)
print(own.image(KEY).read_bytes() == site.image(KEY).read_bytes(), own.image(KEY).stat().st_uid)
"""


@needs_root
def test_where_the_file_system_can_it_is_a_clone(tmp_path):
    tools = {"xfs": "mkfs.xfs", "btrfs": "mkfs.btrfs"}
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    kind = next((kind for kind, tool in tools.items() if shutil.which(tool, path=path)), None)
    if kind is None:
        pytest.skip("neither mkfs.xfs nor mkfs.btrfs is here")
    disk, at = tmp_path / "disk", tmp_path / "mounted"
    at.mkdir()
    disk.touch()
    os.truncate(disk, 400 << 20)
    subprocess.run([tools[kind], "-q", str(disk)], env={**os.environ, "PATH": path}, check=True)
    script = 'mount -t "$1" -o loop "$2" "$3" || exit 77; "$4" -c "$5" "$3"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", kind, str(disk), str(at), sys.executable, CLONE]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(f"no loop mount here: {done.stderr.strip()}")
    assert done.stdout == "True [] []\nTrue 0\n", done.stderr  # no phase: nothing was copied; and no link: it is ours


def _cut(store: Store) -> None:
    os.truncate(store.image(KEY), len(CONTENT) - 1)


def _flip(store: Store) -> None:
    with store.image(KEY).open("r+b") as file:
        file.seek(4000)
        file.write(b"?")


def _symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _rewrite(store: Store, **changes: object) -> None:
    owner = record(store).stat()
    record(store).write_bytes(dump_manifest(replace(store.manifest(KEY), **changes)))
    os.chown(record(store), owner.st_uid, owner.st_gid)


DAMAGES: dict[str, tuple[Callable[[Store], object], str]] = {
    "cut": (_cut, f"it has {len(CONTENT) - 1} bytes, its manifest says {len(CONTENT)}"),
    "no manifest": (lambda store: record(store).unlink(), "it has no manifest"),
    "image is a link": (lambda store: _symlink(store.image(KEY)), f"{KEY}.sqfs is a symbolic link"),
    "manifest is a link": (lambda store: _symlink(record(store)), f"{KEY}.manifest is a symbolic link"),
    "image is a FIFO": (lambda store: _fifo(store.image(KEY)), f"{KEY}.sqfs is no regular file"),
    "manifest is a FIFO": (lambda store: _fifo(record(store)), f"{KEY}.manifest is no regular file"),
    "open image": (lambda store: store.image(KEY).chmod(0o646), f"everybody can write to {KEY}.sqfs"),
    "open manifest": (lambda store: record(store).chmod(0o666), f"everybody can write to {KEY}.manifest"),
    "another key": (lambda store: _rewrite(store, key="a" * 64), "its manifest is that of another layer"),
    "another layer": (lambda store: _rewrite(store, document={}), "its manifest is that of another layer"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_doubtful_is_passed_over(site, own, damage):
    make, reason = DAMAGES[damage]
    make(site)
    tiers = Tiers(own, None, (site,))
    assert tiers.find(KEY) is None
    assert_passed_over(tiers, reason)


def test_a_flipped_bit_is_found(site, own):
    _flip(site)
    ours = site.image(KEY).stat().st_uid == os.geteuid()
    tiers = Tiers(own, None, (site,))
    assert tiers.find(KEY) is site  # a look at the manifest only
    assert_passed_over(tiers, f"its {'fingerprint' if ours else 'sha256'} is not that of its manifest")


@needs_root
def test_the_fingerprint_of_another_user_counts_for_nothing(tmp_path, own):
    """xxh3 is no cryptographic hash: who wants can make an image of the same fingerprint."""
    site = fill(tmp_path / "site")
    _rewrite(site, digest="0" * 64)
    give_away(site)
    assert_passed_over(Tiers(own, None, (site,)), "its sha256 is not that of its manifest")


def test_a_store_that_everybody_can_write_is_passed_over(site, own):
    site.directory.chmod(0o1777)
    assert_passed_over(Tiers(own, None, (site,)), f"everybody can write to {site.directory}")


def test_a_damaged_manifest_is_named_by_its_path(site, own):
    record(site).write_bytes(b"no gzip")
    reason = f"{record(site)} is damaged: Not a gzipped file (b'no')"
    assert_passed_over(Tiers(own, None, (site,)), reason)
    record(site).write_bytes(gzip.compress(b'{"format": 999}'))
    said = Said()
    assert Tiers(own, None, (site,)).bring(KEY, said) is None
    assert said.warnings[0].startswith(f"{site.image(KEY)} is passed over: {record(site)} has format 999, this tykky")


def test_after_a_damaged_one_the_next_store_is_asked(tmp_path, own):
    user, site = fill(tmp_path / "user"), fill(tmp_path / "site")
    _flip(user)
    said = Said()
    assert Tiers(own, user, (site,)).bring(KEY, said) == manifest_of(site.image(KEY))
    assert own.image(KEY).read_bytes() == CONTENT
    assert said.warnings == [f"{user.image(KEY)} is passed over: its fingerprint is not that of its manifest"]
    assert said.notes == [
        f"{user.image(KEY)} is replaced by the new image: its fingerprint is not that of its manifest"
    ]
    assert user.image(KEY).read_bytes() == CONTENT
    assert Tiers(Store(tmp_path / "next"), user).bring(KEY, said) is not None


def _no_manifest(store):
    record(store).unlink()


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (_flip, "its fingerprint is not that of its manifest"),
        (_cut, f"it has {len(CONTENT) - 1} bytes, its manifest says {len(CONTENT)}"),
        (_no_manifest, "it has no manifest"),
    ],
    ids=["flipped", "cut", "no manifest"],
)
def test_a_damaged_image_in_the_user_s_store_is_replaced_by_a_new_one(tmp_path, damage, wrong):
    own, user = fill(tmp_path / "own"), fill(tmp_path / "user")
    damage(user)
    with user.image(KEY).open("rb") as running:
        before = running.read()
        said = Said()
        Tiers(own, user).offer(KEY, said)
        running.seek(0)
        assert running.read() == before  # nobody wrote into it
    assert said.notes == [f"{user.image(KEY)} is replaced by the new image: {wrong}"]
    assert (said.warnings, names(user)) == ([], [f"{KEY}.manifest", f"{KEY}.sqfs"])
    assert user.image(KEY).read_bytes() == CONTENT
    inode = user.image(KEY).stat().st_ino
    shutil.rmtree(own.directory)
    Tiers(fill(tmp_path / "own"), user).offer(KEY, said)
    assert (user.image(KEY).stat().st_ino, len(said.notes)) == (inode, 1)  # a whole one stays


@needs_root
def test_a_damaged_image_of_another_user_is_left(tmp_path):
    own, user = fill(tmp_path / "own"), fill(tmp_path / "user")
    _flip(user)
    os.chown(user.image(KEY), NOBODY, NOBODY)
    damaged, said = user.image(KEY).read_bytes(), Said()
    Tiers(own, user, owners=frozenset({NOBODY})).offer(KEY, said)
    assert user.image(KEY).read_bytes() == damaged
    reason = "its sha256 is not that of its manifest"
    assert said.warnings == [f"{user.directory} does not get the new image {KEY[:12]}: {reason}"]
    assert said.notes == []


def test_a_store_that_may_not_be_read_is_passed_over():
    with open_place() as place:

        def work() -> None:
            site, own = fill(place / "site"), Store(place / "own")
            site.image(KEY).chmod(0)
            assert_passed_over(Tiers(own, None, (site,)), "it cannot be read: permission denied")
            site.directory.chmod(0)
            assert_passed_over(Tiers(own, None, (site,)), "it cannot be read: permission denied")

        as_ordinary_user(work)


@needs_root
def test_an_ordinary_user_gets_a_copy_of_what_root_provides(tmp_path):
    with open_place() as place:
        site = fill(place / "site")  # root's, in a directory that everybody can read
        site.directory.chmod(0o755)

        def work() -> None:
            own = Store(place / "own")
            assert Tiers(own, None, (site,)).bring(KEY) is not None
            assert own.image(KEY).stat().st_uid == NOBODY
            assert own.image(KEY).read_bytes() == CONTENT

        as_ordinary_user(work)


def test_an_own_store_that_cannot_be_written_is_an_error():
    with open_place() as place:

        def work() -> None:
            site, own = fill(place / "site"), Store(place / "own")
            own.directory.mkdir(mode=0o555)
            with pytest.raises(PermissionError):
                Tiers(own, None, (site,)).bring(KEY)

        as_ordinary_user(work)


# --- handing on


def test_a_new_image_goes_to_the_users_store(tmp_path):
    own, user = fill(tmp_path / "P"), Store(tmp_path / "home/tykky/store")
    before = os.umask(0)
    try:
        Tiers(own, user).offer(KEY)
    finally:
        os.umask(before)
    assert user.manifest(KEY) == manifest_of(own.image(KEY))
    assert user.image(KEY).stat().st_ino == own.image(KEY).stat().st_ino
    assert names(user) == [f"{KEY}.manifest", f"{KEY}.sqfs"]
    for path in (tmp_path / "home", tmp_path / "home/tykky", user.directory, *user.directory.iterdir()):
        assert not path.stat().st_mode & 0o022, path


def test_what_the_user_has_is_not_given_again_and_what_is_damaged_there_does_not_hurt(tmp_path):
    own, user = fill(tmp_path / "P"), fill(tmp_path / "user", b"equal, but made elsewhere")
    said = Said()
    Tiers(own, user).offer(KEY, said)
    assert user.image(KEY).read_bytes() == b"equal, but made elsewhere"
    assert said.warnings == []


def test_without_a_user_store_nothing_is_handed_on(tmp_path):
    own, said = fill(tmp_path / "P"), Said()
    Tiers(own, None).offer(KEY, said)
    Tiers(own, own).offer(KEY, said)
    assert names(own) == [f"{KEY}.manifest", f"{KEY}.sqfs"]
    assert said.warnings == []


def test_a_user_store_that_cannot_be_written_is_a_warning():
    with open_place() as place:

        def work() -> None:
            own, user, said = fill(place / "P"), Store(place / "user"), Said()
            user.directory.mkdir(mode=0o555)
            Tiers(own, user).offer(KEY, said)
            assert said.warnings == [f"{user.directory} does not get the new image {KEY[:12]}: permission denied"]

        as_ordinary_user(work)


def test_a_user_store_that_is_no_directory_or_open_to_all_is_a_warning(tmp_path):
    own, said = fill(tmp_path / "P"), Said()
    (tmp_path / "file").touch()
    Tiers(own, Store(tmp_path / "file/store")).offer(KEY, said)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    Tiers(own, Store(tmp_path / "open")).offer(KEY, said)
    assert said.warnings == [
        f"{tmp_path}/file/store does not get the new image {KEY[:12]}: not a directory",
        f"{tmp_path}/open does not get the new image {KEY[:12]}: everybody can write to {tmp_path}/open",
    ]
    assert list((tmp_path / "open").iterdir()) == []


FULL = """
import sys
from pathlib import Path
from tests.store.test_tiers import KEY, Said, fill, names
from tykky.store.images import Store
from tykky.store.tiers import Tiers
small, large, said = Store(Path(sys.argv[1]) / "store"), Path(sys.argv[2]), Said()
own = fill(large / "own", b"x" * 200_000)
Tiers(own, small).offer(KEY, said)
print(said.warnings[0].replace(sys.argv[1], "SMALL"), names(small))
try:
    Tiers(small, own).bring(KEY, said)
except OSError as error:
    print(error.strerror, names(small))
"""


@needs_root
def test_a_full_user_store_is_a_warning_and_a_full_own_one_an_error(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    script = 'mount -t tmpfs -o size=64k small "$1" && exec "$2" -c "$3" "$1" "$4"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(small), sys.executable, FULL, str(large)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if "mount" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr}")
    assert done.stdout == (
        f"SMALL/store does not get the new image {KEY[:12]}: no space left on device []\nNo space left on device []\n"
    ), done.stderr


def test_the_settings_name_the_tiers(tmp_path):
    own = Store(tmp_path)
    assert tiers_of(own, Site()) == Tiers(own)
    site = Site(Settings(store="/home/me/store", stores=("/appl/a", "/appl/b")))
    assert tiers_of(own, site) == Tiers(
        own, Store(Path("/home/me/store")), (Store(Path("/appl/a")), Store(Path("/appl/b")))
    )


# --- two at once


def test_many_bring_one_image_at_once(tmp_path, own):
    site = fill(tmp_path / "site", os.urandom(1 << 20))
    code = (
        "import sys; from pathlib import Path; from tests.store.test_tiers import KEY\n"
        "from tykky.store.images import Store; from tykky.store.tiers import Tiers\n"
        "sys.stdin.read()\n"
        "assert Tiers(Store(Path(sys.argv[1])), None, (Store(Path(sys.argv[2])),)).bring(KEY) is not None\n"
    )
    argv = [sys.executable, "-c", code, str(own.directory), str(site.directory)]
    started = [subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE) for _ in range(6)]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in started] == [0] * 6
    assert file_sha256(own.image(KEY)) == own.manifest(KEY).digest == file_sha256(site.image(KEY))
    assert names(own) == [f"{KEY}.manifest", f"{KEY}.sqfs"]


def test_of_two_builds_with_other_bytes_one_wins_with_image_and_manifest(tmp_path):
    """Equal trees, packed by other versions of mksquashfs: whoever wins, its manifest is beside its image."""
    processes, rounds = 4, 15
    code = (
        "import random, sys, time; from pathlib import Path; from tests.store.test_tiers import KEY, manifest_of\n"
        "from tykky.store.images import Store\n"
        # A short sleep before each step that others can see makes the steps of all mix in every order.
        "slow = ('os.rename', 'os.link', 'os.remove')\n"
        "sys.addaudithook(lambda event, _: time.sleep(random.random() / 200) if event in slow else None)\n"
        "place, name = Path(sys.argv[1]), sys.argv[2]\n"
        f"for n in range({rounds}):\n"
        "    store = Store(place / str(n))\n"
        "    with store.stage() as private:\n"
        "        image = private / f'{KEY}.sqfs'; image.write_bytes(name.encode() * (n + 1))\n"
        "        manifest = manifest_of(image)\n"
        "        (place / f'ready-{n}-{name}').touch()\n"
        f"        while len(list(place.glob(f'ready-{{n}}-*'))) < {processes}: time.sleep(0.001)\n"
        "        store.commit(image, manifest)\n"
        "    assert store.manifest(KEY).digest\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen([*argv, "abcdef"[index]], cwd=ROOT) for index in range(processes)]
    assert [process.wait() for process in started] == [0] * processes
    mixed = [
        n
        for n in range(rounds)
        if file_sha256(Store(tmp_path / str(n)).image(KEY)) != Store(tmp_path / str(n)).manifest(KEY).digest
    ]
    assert mixed == []
