"""P, the environment directory: what is in it and how it is read.

P/bin/<name>                       names of one launcher: hard links, one inode for all
P/.tykky/launcher                  that launcher
P/.tykky/current -> generations/7  switched by rename
P/.tykky/generations/7/            environment.json (with the spec's text), launch.sh, tykky.lock
P/.tykky/layers/<key>.sqfs         images, and their manifests
P/.tykky/highest                   the number of the latest generation, where gc has removed that one
P/.tykky/leases/<digest>.json      environments that use images of this one
P/.tykky/host.sqfs                 mount points for backends that demand an image
P/.tykky/points.sqfs               those that a root of its own may lack, for such a backend
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from tykky.errors import EnvironmentDirectoryError
from tykky.guard.holder import user_name
from tykky.guard.regular import read_regular
from tykky.store.images import Manifest, Store, load_manifest

RECORD_FORMAT = 1
_LONG_NAME = 170  # bytes; file systems take 255, and a private name has up to 80 more in it


class NewerRecord(EnvironmentDirectoryError):
    """A generation that a newer Tykky published."""


class ClosedDirectory(EnvironmentDirectoryError):
    """One that its owner does not let us read. What it holds may be as good as ever."""


class LayerRecord(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """One layer of a generation. `image` is relative to the environment directory, or absolute: a parent's.

    Of a parent's image, `inode` and `modified` (seconds since 1970) are those of the file whose content was checked.
    """

    kind: str
    key: str
    digest: str
    fingerprint: str
    size: int
    image: str
    inode: int | None = None
    modified: int | None = None

    @staticmethod
    def own_image(key: str) -> str:
        """Return the `image` of a layer that is in the environment directory itself."""
        return f".tykky/layers/{key}.sqfs"

    @property
    def lent(self) -> bool:
        """Whether the image is in another environment directory."""
        return self.image.startswith("/")

    @property
    def another(self) -> bool:
        """Whether a parent's image is not the file that was checked, as it was then. Cheap."""
        if not self.lent or self.inode is None:
            return False
        try:
            status = Path(self.image).stat()
        except OSError:
            return False
        return (status.st_ino, int(status.st_mtime)) != (self.inode, self.modified)


class RootRecord(msgspec.Struct, frozen=True, rename="kebab"):
    """The image that programs see in place of the host's root.

    `written` is what the spec says, `image` the absolute path, or one relative to the environment directory: of an
    image that was made of a registry's `manifest` (its digest). `offset` are the bytes before the squashfs in it;
    `mounts` are the directories of the host that are seen all the same.
    """

    written: str
    image: str
    digest: str
    size: int
    offset: int
    mounts: tuple[str, ...] = ()
    manifest: str | None = None

    @property
    def key(self) -> str | None:
        """The key of an image that is in the environment directory itself; None for one that is not ours."""
        return None if self.image.startswith("/") else Path(self.image).stem

    @property
    def origin(self) -> str:
        """The word for where `size` and `digest` are from."""
        return "locked" if self.key is None else "written"


class GenerationRecord(msgspec.Struct, frozen=True, rename="kebab"):
    """`environment.json`: one published state of P.

    `identity` is the key of all that makes this generation what it is: what it holds and how that is launched. Two
    generations of one identity run the same. `content` are the keys of the layers that a fresh build would have:
    what this generation holds, whatever layers it consists of. `activation` are the variables its packages set.
    `why` says what made it other than a build. `parent` is the directory of the environment it extends. `spec` is the
    text of the tykky.toml it was built from, `top` the names at the top of the merged tree.
    """

    format: int
    name: str
    prefix: str
    platform: str
    number: int
    identity: str
    created: str  # UTC, ISO 8601
    made_by: str
    layers: tuple[LayerRecord, ...]
    programs: tuple[str, ...]
    content: tuple[str, ...] = ()
    activation: dict[str, str] = {}
    user: str = ""
    why: str = ""
    parent: str = ""
    spec: str = ""
    top: tuple[str, ...] = ()
    python: str | None = None
    interpreter: str | None = None  # the host's, for a venv-type environment
    root: RootRecord | None = None  # None: the host's own
    packages: int | None = None  # how many; None in records of older versions

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all images that this generation needs, wherever they are; of its root, if that is one of ours."""
        root = None if self.root is None else self.root.key
        return (*(layer.key for layer in self.layers), *(() if root is None else (root,)))


class EnvironmentDirectory(Struct, frozen=True):
    """One P. Nothing is read before it is asked for."""

    path: Path

    @property
    def private(self) -> Path:
        """Tykky's own corner of P."""
        return self.path / ".tykky"

    @property
    def store(self) -> Store:
        """P's own images."""
        return Store(self.private / "layers")

    @property
    def generations(self) -> Path:
        """Where the generations are."""
        return self.private / "generations"

    @property
    def current(self) -> Path:
        """The link to the generation that launches use."""
        return self.private / "current"

    @property
    def highest(self) -> Path:
        """The number of the latest generation, if that is not there any more: numbers are given once."""
        return self.private / "highest"

    @property
    def leases(self) -> Path:
        """Where the environments that use images of this one are named."""
        return self.private / "leases"

    @property
    def guard(self) -> Path:
        """The guard of who changes P."""
        return self.private / "guard"

    @property
    def beside(self) -> Path:
        """What all private names beside P begin with; not all of a very long name fits into them."""
        real = self.path.resolve() if self.path.is_symlink() else self.path
        name = real.name if len(os.fsencode(real.name)) < _LONG_NAME else ""
        return real.parent / f".{name}.tykky-"

    @property
    def first_guard(self) -> Path:
        """The guard of who makes P, while there is none."""
        return self.beside.with_name(f"{self.beside.name}guard")

    def exists(self) -> bool:
        """Return whether this is an environment directory with a published generation.

        Raises `ClosedDirectory` if we may not look.
        """
        try:
            return self.current.is_symlink()
        except PermissionError:
            raise closed(self.path, self.current) from None

    def record(self, number: int | None = None) -> GenerationRecord:
        """Return the record of a generation, by default the current one.

        Raises `EnvironmentDirectoryError` if there is none to read.
        """
        if not self.exists():
            raise no_environment(self.path)
        folder = self.current if number is None else self.generations / str(number)
        file = folder / "environment.json"
        try:
            record = msgspec.json.decode(read_regular(file), type=GenerationRecord)
        except FileNotFoundError:
            name = self.current.readlink().name if number is None else number
            raise EnvironmentDirectoryError(f"{self.path}: generation {name} is missing", hint=_REPAIR) from None
        except PermissionError:
            raise closed(self.path, file) from None
        except (msgspec.DecodeError, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise EnvironmentDirectoryError(f"{file} is damaged: {reason}", hint=_REPAIR) from None
        if record.format > RECORD_FORMAT:
            raise NewerRecord(
                f"{file} has format {record.format}, this tykky reads {RECORD_FORMAT}",
                hint=f"it was made by {record.made_by}; use that or a newer one",
            )
        return record

    def current_number(self) -> int:
        """Return the number of the current generation. Raises `EnvironmentDirectoryError` if this is no P."""
        if not self.exists():
            raise no_environment(self.path)
        name = self.current.readlink().name
        return int(name) if name.isdigit() else 0

    def readable_record(self) -> GenerationRecord | None:
        """Return the current generation's record, None if there is none or it is damaged: a build makes another one.

        Raises `NewerRecord` and `ClosedDirectory`: what a newer Tykky made, or others keep closed, is not damaged.
        """
        try:
            return self.record() if self.exists() else None
        except (NewerRecord, ClosedDirectory):
            raise
        except EnvironmentDirectoryError:
            return None

    def damage(self, record: GenerationRecord) -> dict[str, str]:
        """Return key -> what is wrong with the images of a generation, as far as a look at names and sizes tells."""
        found = {}
        for layer in record.layers:
            image = self.image_path(layer)
            name = os.fspath(image) if layer.lent else image.name
            try:
                size = image.stat().st_size
            except OSError:
                found[layer.key] = f"{name} is missing"
                continue
            if size != layer.size:
                found[layer.key] = f"{name} has {size} bytes, {layer.size} were written"
            elif not image.with_suffix(".manifest").is_file():
                found[layer.key] = f"{name.removesuffix('.sqfs')}.manifest is missing"
        return found

    def root_damage(self, root: RootRecord | None) -> str | None:
        """Return what is wrong with the image of a root, as far as its size tells; None if nothing is."""
        if root is None:
            return None
        image = self.root_path(root)
        try:
            size = image.stat().st_size
        except OSError as error:
            return f"{image} cannot be read: {(error.strerror or str(error)).lower()}"
        return None if size == root.size else f"{image} has {size} bytes, {root.size} were {root.origin}"

    def root_path(self, root: RootRecord) -> Path:
        """Return where the image of a root is."""
        return self.path / root.image  # an absolute `image` wins

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the generations that are there, the oldest first."""
        return tuple(sorted(int(p.name) for p in self.generations.glob("[0-9]*") if p.name.isdigit()))

    def image_path(self, layer: LayerRecord) -> Path:
        """Return where the image of a layer is."""
        return self.path / layer.image  # an absolute `image` wins

    def manifests(self, record: GenerationRecord) -> tuple[Manifest, ...]:
        """Return the manifests of a generation's layers, bottom first. Raises `EnvironmentDirectoryError`."""
        for image in (Path(layer.image) for layer in record.layers if layer.lent):
            try:
                image.stat()
                readable = os.access(image.with_suffix(".manifest"), os.R_OK)
            except PermissionError:
                readable = False
            except OSError:
                reason = f"the image {image.stem[:12]}, lent by another environment, is gone: it was {image}"
                raise EnvironmentDirectoryError(reason, hint=LENT) from None
            if not readable:
                raise closed(image.parent.parent.parent, image.with_suffix(".manifest"))
        return tuple(load_manifest(self.image_path(layer).with_suffix(".manifest")) for layer in record.layers)

    def moment(self) -> tuple[object, ...]:
        """Return what is different as soon as a generation is published or switched to, or an image comes or goes."""
        if not self.exists():
            return ()
        layers = self.store.directory
        return (self.current.readlink(), self.numbers(), layers.stat().st_mtime_ns if layers.is_dir() else None)

    def next_number(self) -> int:
        """Return the number of the generation to come. None is given twice: children know a parent's by it."""
        try:
            text = read_regular(self.highest, 20).decode("ascii", "replace").strip()
        except OSError:  # gc has never removed the latest one
            text = ""
        return max((*self.numbers(), int(text) if text.isdigit() else 0), default=0) + 1


_REPAIR = "run 'tykky build' with the spec and lock it was made from"
LENT = "'tykky build' looks where its environment is now; after 'tykky lock --rebase' it takes what is there"


def is_of_ancestor(path: Path) -> bool:
    """Return whether hpc-container-wrapper made this directory."""
    return (path / "common.sh").exists() and (path / "bin").is_dir()


def no_environment(path: Path) -> EnvironmentDirectoryError:
    """Return the error for a directory that should be an environment and is not."""
    if not path.exists():
        return EnvironmentDirectoryError(
            f"{path}: no such directory", hint="build it with 'tykky build'; 'tykky list' shows what there is"
        )
    if not path.is_dir():
        return EnvironmentDirectoryError(f"{path} is a file, not an environment directory")
    if is_of_ancestor(path):
        return EnvironmentDirectoryError(
            f"{path} was made by hpc-container-wrapper, not by this tykky",
            hint="write a tykky.toml for it and build a new environment directory",
        )
    return EnvironmentDirectoryError(
        f"{path} is no environment directory", hint="name the directory that 'tykky build' published"
    )


def closed(environment: Path, file: Path) -> ClosedDirectory:
    """Return the error for a file of an environment that may not be read: it names what its owner has to open."""
    file = Path(os.path.realpath(file))  # `current` is a link
    above = [path for path in reversed(file.parents) if not os.access(path, os.X_OK)]
    door = above[0] if above else file
    try:
        owner = user_name(door.stat().st_uid)
    except OSError:  # gone meanwhile
        owner = "its owner"
    if above:
        reason, hint = f"{owner} does not let you into {door}", f"ask for it: chmod a+rx {door}"
    else:
        reason, hint = f"{owner} does not let you read {file.name}", f"ask for it: chmod a+r {file}"
    return ClosedDirectory(f"{environment} cannot be read: {reason}", hint=hint)
