"""The parent of an environment: found by path or name, written down in the child's lock, lent to its builds.

A child keeps the generation it was locked to. Its images are read where they are; what is taken from them is believed
only if their owner is trusted, nobody else can write to them, and they are what the lock says.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from tykky.environment.checked import check_sha256, was_checked
from tykky.environment.directory import EnvironmentDirectory, LayerRecord, closed, no_environment
from tykky.errors import EnvironmentDirectoryError
from tykky.guard.holder import user_name
from tykky.layers.merged import Merged, merge
from tykky.lock.model import Lock, Package, Parent, ParentLayer
from tykky.lock.read import read_lock
from tykky.progress import Reporter
from tykky.spec.names import canonical_name
from tykky.store.images import Manifest, Store, load_manifest

# What an installed distribution is called by its metadata directory or file (PEP 376, PEP 427).
_METADATA = re.compile(
    r"(?:^|/)site-packages/(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-/]+)"
    r"(?:-py[0-9.]+)?\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)$"
)


class Relatives(Struct, frozen=True):
    """How parents are found and whom to trust.

    `directory` is where relative paths start, `named` are the site's environments, `owners` the uids whose images may
    be used besides our own and root's.
    """

    directory: Path
    named: Mapping[str, Path]
    owners: frozenset[int] = frozenset()

    def place(self, asked: str) -> Path:
        """Return the directory that `extends` means. Raises `EnvironmentDirectoryError` for an unknown name."""
        if "/" in asked or asked.startswith("~"):
            return Path(os.path.normpath(self.directory / Path(asked).expanduser()))
        if asked in self.named:
            return self.named[asked]
        known = ", ".join(sorted(self.named))
        raise EnvironmentDirectoryError(
            f"{asked!r} is no environment of this site",
            hint=f"the site's environments are {known}" if known else f"site.toml names none; write a path, ./{asked}",
        )

    def trusts(self, owner: int) -> bool:
        """Return whether files of this user may be used."""
        return owner in (0, os.geteuid()) or owner in self.owners


class Became(Struct, frozen=True):
    """What has become of a parent, and what to do about it; with no `hint`, rebasing takes what is there now."""

    said: str
    hint: str | None = None

    @property
    def advice(self) -> str:
        """What to do so that the environment has what is there now, or can be used again."""
        return self.hint or "'tykky lock --rebase' and 'tykky build' take what is there now"


class ImageGone(EnvironmentDirectoryError):
    """An image of a parent's that is nowhere to be found."""


def find(asked: str, relatives: Relatives) -> EnvironmentDirectory:
    """Return the environment that `extends` means. Raises `EnvironmentDirectoryError` where there is none."""
    place = relatives.place(asked)
    directory = EnvironmentDirectory(place)
    if directory.exists():
        return directory
    error = no_environment(place)
    if not place.exists():
        whose = "tell whoever keeps site.toml" if asked in relatives.named else "ask whoever kept it"
        error.hint = f"{whose}, or correct 'extends' in [environment]"
    raise error


def parent_of(directory: EnvironmentDirectory, relatives: Relatives) -> Parent:
    """Return the current generation of an environment, as the lock of a child records it.

    Its place is the real one: a link such as `pytorch -> pytorch-2.6` may lead elsewhere tomorrow, and what was locked
    is still there then. Raises `EnvironmentDirectoryError` if it cannot be read or must not be believed.
    """
    directory = EnvironmentDirectory(directory.path.resolve())
    number = directory.current_number()  # one generation, even if another one takes its place now
    folder = directory.generations / str(number)
    for name in ("environment.json", "tykky.lock"):
        with contextlib.suppress(FileNotFoundError):  # which is said below
            _check_file(directory, folder / name, relatives)
    record = directory.record(number)
    if not record.content:
        raise EnvironmentDirectoryError(
            f"{directory.path} was built by {record.made_by}, which does not say what it holds",
            hint="build it again, then extend it",
        )
    for layer in record.layers:
        if layer.lent and not _is_there(Path(layer.image)):
            check_open(Path(layer.image))
            raise EnvironmentDirectoryError(
                f"{directory.path} cannot be extended: the image {layer.image}, lent to it, is gone",
                hint=f"first 'tykky lock --rebase' and 'tykky build' have to mend {directory.path} itself",
            )
    layers = tuple(_layer(directory, layer) for layer in record.layers)
    manifests = [_believed(layer, Path(layer.image), relatives) for layer in layers]
    lock = read_lock(folder / "tykky.lock")
    platform = lock.locked_platform(record.platform)
    return Parent(
        name=record.name,
        path=os.fspath(directory.path),
        generation=record.number,
        prefix=record.prefix,
        platform=record.platform,
        python=record.python,
        interpreter=record.interpreter,
        virtual_packages=platform.virtual_packages if platform is not None else (),
        content=record.content,
        layer=layers,
        package=_with_provides(lock.held(record.platform), merge(manifests)),
    )


def _layer(directory: EnvironmentDirectory, layer: LayerRecord) -> ParentLayer:
    image = os.fspath(directory.image_path(layer))
    return ParentLayer(layer.kind, layer.key, layer.digest, layer.fingerprint, layer.size, image)


def _with_provides(packages: Iterable[Package], merged: Merged) -> tuple[Package, ...]:
    """Return the packages, conda's with the distributions in them, as their metadata's names tell."""

    def told(package: Package) -> Package:
        claims = merged.packages.get((package.kind, package.name))
        if package.kind != "conda" or package.provides or claims is None:
            return package
        return msgspec.structs.replace(package, provides=tuple(sorted(_distributions(claims.paths))))

    return tuple(told(package) for package in packages)


def _distributions(paths: Iterable[str]) -> set[str]:
    found = (_METADATA.search(path) for path in paths)
    return {f"{canonical_name(match['name'])}=={match['version']}" for match in found if match is not None}


def recorded_lock(directory: EnvironmentDirectory) -> Lock | None:
    """Return the lock of a directory's current generation if that extends another environment, else None.

    Raises `EnvironmentDirectoryError` or `LockError` if it cannot be read.
    """
    record = directory.record()
    return read_lock(directory.generations / str(record.number) / "tykky.lock") if record.parent else None


def lend(parent: Parent, asked: str, relatives: Relatives, own: Store | None = None) -> dict[str, Path]:
    """Return key -> image of the parent's layers, wherever they are now, but for those that our `own` store has.

    Looked for where the lock says, then in the environment that `extends` means today, which may have moved. Sizes and
    owners are checked, contents are not (`check_content`). Raises `EnvironmentDirectoryError` for one that is gone.
    """
    found = {}
    for layer in parent.layer:
        if own is not None and own.whole_manifest(layer.key) is not None:
            continue  # it was vendored
        image = next((path for path in _places(layer, asked, relatives) if _is_there(path)), None)
        if image is None:
            check_open(Path(layer.image))
            hint = f"{parent.name} moved on, or was moved: 'tykky lock --rebase' takes what is there now"
            try:
                find(asked, relatives)
            except EnvironmentDirectoryError as error:
                hint = f"{error.reason}: {error.hint}"
            raise ImageGone(f"the image {layer.key[:12]} of {parent.name} is gone: it was {layer.image}", hint=hint)
        _believed(layer, image, relatives)
        found[layer.key] = image
    return found


def check_content(parent: Parent, images: Mapping[str, Path], checked: Path, reporter: Reporter) -> None:
    """Raise `EnvironmentDirectoryError` for an image whose sha256 is not the lock's.

    `checked` is the directory that remembers which files were read already (`tykky.environment.checked`).
    """
    lent = [layer for layer in parent.layer if layer.key in images]
    waiting = [layer for layer in lent if not was_checked(images[layer.key], layer.digest, checked)]
    if not waiting:
        return
    total = sum(layer.size for layer in waiting)
    with reporter.phase(f"check images of {parent.name}", total=total, unit="bytes") as phase:
        for layer in waiting:
            image = images[layer.key]
            digest = check_sha256(image, layer.digest, checked, phase.advance)
            if digest != layer.digest:
                raise EnvironmentDirectoryError(
                    f"{image} is not what the lock says: expected sha256 {layer.digest}, got {digest}",
                    hint=f"do not use it; tell the owner of {parent.path}",
                )


def moved_on(lock: Lock, relatives: Relatives, *, at_home: bool = False) -> Became | None:
    """Return what has become of a lock's parent since the lock was made; None if it is the same.

    A relative path of the spec leads to it only `at_home`, where the spec is; elsewhere the recorded place counts.
    """
    parent, asked = lock.parent, lock.requirements.extends
    if parent is None:
        return None
    if asked is None or not (at_home or asked.startswith("/") or "/" not in asked):
        asked = parent.path
    try:
        place = find(asked, relatives).path
        record = EnvironmentDirectory(place).record()
    except EnvironmentDirectoryError as error:
        return Became(f"{parent.name} cannot be read any more: {error.reason}", error.hint)
    refused: EnvironmentDirectoryError | None = None
    try:
        lend(parent, asked, relatives)
    except EnvironmentDirectoryError as error:
        refused = error
    hint = None if refused is None or isinstance(refused, ImageGone) else refused.hint
    if record.content == parent.content and record.prefix == parent.prefix:
        return None if refused is None else Became(refused.reason, hint)
    if place.resolve() != Path(parent.path):
        said = f"{asked} leads to {record.name} ({place.resolve()}) now, {parent.path} is locked"
    else:
        said = f"{record.name} ({place}) moved on: generation {parent.generation} is locked, it has {record.number}"
    return Became(said if refused is None else f"{said}; {refused.reason}", hint)


def became(environment: EnvironmentDirectory, lock: Lock, relatives: Relatives) -> Became | None:
    """Return what has become of the parent of an environment that was built with `lock`, as its launches see it too.

    Raises `EnvironmentDirectoryError` if the environment cannot be read.
    """
    moved = moved_on(lock, relatives)
    if moved is not None:
        return moved
    record = environment.record()
    damage = environment.damage(record)
    for layer in record.layers:
        if layer.lent and layer.key in damage:
            return Became(f"the image {damage[layer.key]}", "'tykky build' takes it from where it is now")
        if layer.another:
            said = f"the image {layer.image} was written to, or replaced, after this was built"
            return Became(said, "'tykky build' with its spec and lock says whether it is still the same")
    return None


def check_trust(path: Path, relatives: Relatives) -> None:
    """Raise `EnvironmentDirectoryError` for a file whose owner is not trusted, or that others can write to."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise EnvironmentDirectoryError(f"{path} is no regular file", hint="tell the owner of that environment")
    if not relatives.trusts(status.st_uid):
        raise _distrusted(path, status.st_uid, relatives)
    if status.st_mode & 0o022:
        who = "everybody" if status.st_mode & 0o002 else "its group"
        raise EnvironmentDirectoryError(
            f"{who} can write to {path}", hint=f"its owner has to change that: chmod go-w {path}"
        )


def _distrusted(path: Path, owner: int, relatives: Relatives) -> EnvironmentDirectoryError:
    # One file's list takes another one's place, so the hint is the whole list.
    trusted = ", ".join(_written(uid) for uid in (*sorted(relatives.owners), owner))
    return EnvironmentDirectoryError(
        f"{path} belongs to {user_name(owner)}, who is not trusted here",
        hint=f"if you trust them, write owners = [{trusted}] under [trust] in site.toml",
    )


def _written(uid: int) -> str:
    """Return how site.toml has a user: the name, or the number of one without."""
    name = user_name(uid)
    return name if name == str(uid) else f'"{name}"'


def _check_file(directory: EnvironmentDirectory, path: Path, relatives: Relatives) -> None:
    try:
        check_trust(path, relatives)
    except PermissionError:
        raise closed(directory.path, path) from None


def _check_folder(folder: Path, relatives: Relatives) -> None:
    """Raise for a directory whose owner could put anything under the names in it, and is not trusted.

    Its group may write to it: who shares a project's directory shares what is in it, and the owners of the files are
    looked at as well.
    """
    status = folder.stat()
    if not relatives.trusts(status.st_uid):
        raise _distrusted(folder, status.st_uid, relatives)
    if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
        raise EnvironmentDirectoryError(
            f"everybody can write to {folder}", hint=f"its owner has to change that: chmod o-w {folder}"
        )


def check_open(path: Path) -> None:
    """Raise `ClosedDirectory` for a file in a directory that is closed to us, or that we may not read."""
    try:
        path.stat()
        readable = not path.is_file() or os.access(path, os.R_OK)
    except PermissionError:
        readable = False
    except OSError:
        return
    if not readable:
        raise closed(path, path)


def _believed(layer: ParentLayer, image: Path, relatives: Relatives) -> Manifest:
    """Return the manifest of an image after a look at both files."""
    record = image.with_suffix(".manifest")
    check_open(image)
    for path in (image, record):
        try:
            check_trust(path, relatives)
            _check_folder(path.parent, relatives)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise EnvironmentDirectoryError(
                f"{path} cannot be read: {reason}", hint="ask the owner of that environment"
            ) from None
    size = image.stat().st_size
    if size != layer.size:
        raise EnvironmentDirectoryError(
            f"{image} has {size} bytes, {layer.size} were written",
            hint="ask the owner of that environment to repair it",
        )
    manifest = load_manifest(record)
    if (manifest.key, manifest.digest) != (layer.key, layer.digest):
        raise EnvironmentDirectoryError(
            f"{record} is that of another image", hint="ask the owner of that environment to repair it"
        )
    return manifest


def _places(layer: ParentLayer, asked: str, relatives: Relatives) -> Iterator[Path]:
    yield Path(layer.image)
    try:
        directory = EnvironmentDirectory(relatives.place(asked))
    except EnvironmentDirectoryError:
        return
    yield directory.store.image(layer.key)
    try:
        numbers = directory.numbers()
    except OSError:
        return
    for number in reversed(numbers):  # of its own parents
        try:
            record = directory.record(number)
        except EnvironmentDirectoryError:
            continue
        yield from (directory.image_path(x) for x in record.layers if x.key == layer.key)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
