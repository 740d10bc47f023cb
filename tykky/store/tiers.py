"""Stores in the order of asking: the environment's own, the user's, the site's. What is in one is not built.

What lies in a store of others is believed only after a look: regular files that not everybody can write, the image
of the size and sha256 that its manifest says, the manifest of the key that was asked for. It is looked at under a
private name in our own store, so nobody can change it between the look and the use; and it becomes a hard link only
where the file is ours, because an owner can write to it for ever.

A group may be able to write to a store's directory, so a file in it is its owner's, ours, root's or that of somebody
whom the site trusts. A checked image is the one that its owner wanted us to have; whether to trust a store's owner is
for who wrote `stores` in site.toml.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tykky.digests import document_key, file_fingerprint, file_sha256
from tykky.errors import EnvironmentDirectoryError
from tykky.guard.holder import user_name
from tykky.process import Commands
from tykky.progress import Reporter, Silent
from tykky.site.model import Striping
from tykky.site.offer import Site
from tykky.store.images import Manifest, Store, load_manifest
from tykky.store.striping import stripe
from tykky.store.transfer import Source, place

_LARGEST_MANIFEST = 1 << 26  # bytes, packed; 60 times that of an environment with half a million files


class _PassedOver(Exception):
    """Why an image in a store cannot be taken. Ends in this module, as a warning."""


@dataclass(frozen=True, slots=True)
class _Offered:
    """An image in a store, open, with its manifest. `ours` says that both files belong to us."""

    image: Source
    manifest: Manifest
    ours: bool


@dataclass(frozen=True, slots=True)
class Tiers:
    """The stores of one environment: its own, which is written; the user's, which gets copies; others', only read.

    `lent` maps keys to images of a parent environment, which are used where they are. `owners` are users whose files
    are believed in any store, beside ourselves, root and the store's owner.
    """

    own: Store
    user: Store | None = None
    site: tuple[Store, ...] = ()
    lent: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    striping: Striping = field(default_factory=Striping)
    owners: frozenset[int] = frozenset()

    def image(self, key: str) -> Path:
        """Return the image of a layer that is there: our own, else the lent one."""
        if key in self.lent and not self.own.has(key):
            return self.lent[key]
        return self.own.image(key)

    def manifest(self, key: str) -> Manifest:
        """Return the manifest of a layer that is there. Raises `EnvironmentDirectoryError`."""
        return load_manifest(self.image(key).with_suffix(".manifest"))

    def find(self, key: str) -> Store | None:
        """Return the first store that has the image of a key, of the right size, with a manifest that can be read.

        The image's content is not looked at, so `bring` may still pass it over.
        """
        if self.own.whole_manifest(key) is not None:
            return self.own
        for store in self._others():
            with contextlib.suppress(_PassedOver, OSError), _offered(store, key, self.owners) as offered:
                if offered is not None:
                    return store
        return None

    def bring(self, key: str, reporter: Reporter | None = None) -> Manifest | None:
        """Have the image of a key in our own store; return its manifest, or None if no store has it whole.

        Damaged and untrustworthy ones are passed over with a warning. Raises `OSError` if our own store cannot be
        written.
        """
        said = reporter or Silent()
        if (manifest := self.own.whole_manifest(key)) is not None:
            return manifest
        passed_over = []
        for store in self._others():
            try:
                if self._brought(store, key, said):
                    if self.user in passed_over:
                        self.offer(key, said)
                    return self.own.manifest(key)
            except _PassedOver as reason:
                said.warn(f"{store.image(key)} is passed over: {reason}")
                passed_over.append(store)
        return None

    def offer(self, key: str, reporter: Reporter | None = None) -> None:
        """Put an image of our own store into the user's. What prevents that is a warning: the build has its image.

        One that is there and damaged, and belongs to us, is replaced: it would be passed over for ever.
        """
        if self.user is None or self.user.directory == self.own.directory:
            return
        said = reporter or Silent()
        try:
            if (wrong := _wrong_with(self.user, key, self.owners)) is None:
                return
            _make_directory(self.user.directory)
            _check_directory(self.user.directory)
            if (manifest := self.own.whole_manifest(key)) is not None:
                self._give(self.user, manifest, said, over=bool(wrong))
                if wrong:
                    said.note(f"{self.user.image(key)} is replaced by the new image: {wrong}")
        except (OSError, _PassedOver, EnvironmentDirectoryError) as failure:
            reason = failure.strerror.lower() if isinstance(failure, OSError) and failure.strerror else str(failure)
            said.warn(f"{self.user.directory} does not get the new image {key[:12]}: {reason}")

    def _others(self) -> Iterator[Store]:
        if self.user is not None:
            yield self.user
        yield from self.site

    def _brought(self, store: Store, key: str, reporter: Reporter) -> bool:
        """Bring one image from `store`; return False if it is not there."""
        with _offered(store, key, self.owners) as offered:
            if offered is None:
                return False
            with self.own.stage() as private:
                stripe(private, self.striping, Commands(), reporter)
                staged = private / f"{key}.sqfs"
                _place(offered, staged, reporter)
                _check_content(staged, offered)
                self.own.commit(staged, offered.manifest)
        return True

    def _give(self, store: Store, manifest: Manifest, reporter: Reporter, *, over: bool) -> None:
        with _regular(self.own.image(manifest.key), shared=False) as image, store.stage() as private:
            stripe(private, self.striping, Commands(), reporter)
            staged = private / image.path.name
            place(image, staged, reporter, link=image.status.st_uid == os.geteuid())
            store.commit(staged, manifest, over=over)


def tiers_of(own: Store, site: Site) -> Tiers:
    """Return the tiers that the settings name."""
    user = None if site.store is None else Store(site.store)
    return Tiers(
        own, user, tuple(Store(path) for path in site.stores), striping=site.striping, owners=site.trusted_owners
    )


@contextlib.contextmanager
def _offered(store: Store, key: str, owners: frozenset[int] = frozenset()) -> Iterator[_Offered | None]:
    """Open what a store has for a key; give None if it has nothing. Raises `_PassedOver` if it cannot be used."""
    with contextlib.ExitStack() as files:
        try:
            image = files.enter_context(_regular(store.image(key)))
            record = files.enter_context(_regular(store.image(key).with_suffix(".manifest")))
            _check_directory(store.directory)
            _check_owners(store.directory, (image, record), owners)
        except (FileNotFoundError, NotADirectoryError) as missing:
            if Path(missing.filename) == store.image(key):
                offered = None
            else:
                raise _PassedOver("it has no manifest") from None
        except OSError as failure:
            raise _PassedOver(_cannot_be_read(failure)) from None
        else:
            offered = _checked(store, key, image, record)
        yield offered


def _wrong_with(store: Store, key: str, owners: frozenset[int]) -> str | None:
    """Return what is wrong with the image of a key in a store of ours; "" if there is none, None if it is whole.

    Raises `_PassedOver` for one that is wrong and another user's: that one is not ours to replace.
    """
    try:
        with _offered(store, key, owners) as there:
            if there is None:
                return ""
            _check_content(Path(f"/proc/self/fd/{there.image.descriptor}"), there)
            return None
    except _PassedOver as reason:
        if os.lstat(store.image(key)).st_uid != os.geteuid():
            raise
        return str(reason)


def _checked(store: Store, key: str, image: Source, record: Source) -> _Offered:
    manifest = _manifest(record)
    ours = image.status.st_uid == os.geteuid() == record.status.st_uid
    if manifest.key != key or document_key(manifest.document) != key:
        raise _PassedOver("its manifest is that of another layer")
    if image.status.st_size != manifest.size:
        raise _PassedOver(f"it has {image.status.st_size} bytes, its manifest says {manifest.size}")
    return _Offered(image, manifest, ours)


def _manifest(record: Source) -> Manifest:
    if record.status.st_size > _LARGEST_MANIFEST:
        raise _PassedOver(f"its manifest has {record.status.st_size} bytes")
    try:
        return record.manifest()
    except EnvironmentDirectoryError as error:
        raise _PassedOver(str(error)) from None


@contextlib.contextmanager
def _regular(path: Path, *, shared: bool = True) -> Iterator[Source]:
    """Open a regular file that, if it is in a shared place, not everybody can write.

    No symlink is followed, no FIFO waited for.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno == errno.ELOOP:
            raise _PassedOver(f"{path.name} is a symbolic link") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _PassedOver(f"{path.name} is no regular file")
        if shared and status.st_mode & stat.S_IWOTH:
            raise _PassedOver(f"everybody can write to {path.name}")
        yield Source(path, descriptor, status)
    finally:
        os.close(descriptor)


def _check_owners(directory: Path, files: Iterable[Source], owners: frozenset[int]) -> None:
    """Raise for a file of somebody who may write to the directory (a group's, perhaps) and whom nobody named."""
    trusted = {0, os.geteuid(), directory.stat().st_uid, *owners}
    for file in files:
        if file.status.st_uid not in trusted:
            name = user_name(file.status.st_uid)
            raise _PassedOver(f"{file.path.name} belongs to {name}, who neither owns the store nor is trusted here")


def _check_directory(path: Path) -> None:
    if path.stat().st_mode & stat.S_IWOTH:
        raise _PassedOver(f"everybody can write to {path}")


def _place(offered: _Offered, staged: Path, reporter: Reporter) -> None:
    try:
        place(offered.image, staged, reporter, link=offered.ours)
    except OSError as failure:
        if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM):
            raise  # our own store's; the image was opened already
        raise _PassedOver(_cannot_be_read(failure)) from None


def _check_content(staged: Path, offered: _Offered) -> None:
    manifest, size = offered.manifest, staged.stat().st_size
    if size != manifest.size:  # cut or grown since it was opened
        raise _PassedOver(f"it has {size} bytes, its manifest says {manifest.size}")
    if offered.ours:
        if file_fingerprint(staged) != manifest.fingerprint:
            raise _PassedOver("its fingerprint is not that of its manifest")
    elif file_sha256(staged) != manifest.digest:
        raise _PassedOver("its sha256 is not that of its manifest")


def _cannot_be_read(failure: OSError) -> str:
    return f"it cannot be read: {(failure.strerror or str(failure)).lower()}"


def _make_directory(path: Path) -> None:
    """Make a directory and those above it, none of them for everybody to write, whatever the umask."""
    if not path.is_dir():
        _make_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o755)
