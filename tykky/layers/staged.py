"""From a staged tree to a committed image: the part that all layer kinds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from tykky import __version__
from tykky.digests import file_fingerprint, file_sha256
from tykky.layers import bytecode
from tykky.layers.keys import PlannedLayer
from tykky.layers.merged import directories
from tykky.layers.squashfs import make_parents, pack, pack_argv
from tykky.layers.tree import Entry, remove_empty_directories, remove_matching, scan
from tykky.layers.workshop import Start, Workshop
from tykky.lock.model import Package
from tykky.store.images import Manifest, PackagePaths, Store
from tykky.store.striping import stripe


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a tree is staged (`image_root`), and over which images (`below`, bottom first) it will stand.

    `hidden` are paths of theirs that will not be seen any more; `has_python` says whether they have an interpreter.
    `packages` are all of the environment, which tell what interpreter it has; `fetch` says whether one like it is to be
    got, or only used if it is at hand.
    """

    image_root: Path
    prefix: str
    below: tuple[Path, ...] = ()
    hidden: tuple[str, ...] = ()
    has_python: bool = False
    packages: tuple[Package, ...] = ()
    platform: str = ""
    fetch: bool = False

    @property
    def tree(self) -> Path:
        """The place of the prefix below `image_root`."""
        return self.image_root / self.prefix.lstrip("/")


@dataclass(frozen=True, slots=True)
class Staged:
    """A tree that is ready to be packed.

    `image_root` is what becomes the image's root; the tree itself stands below it at the prefix's path.
    `interpreter` starts the environment's Python or one like it, None where there is none to compile for.
    `skeleton` are paths that were needed to make the tree and are not part of it. `entries` are all paths of a tree in
    its last form: who looked at it last hands them on, for there may be many.
    """

    image_root: Path
    tree: Path
    packages: tuple[PackagePaths, ...]
    interpreter: Start | None
    whiteouts: tuple[str, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    skeleton: tuple[str, ...] = ()
    entries: Sequence[Entry] | None = None


def finish(planned: PlannedLayer, staged: Staged, store: Store, workshop: Workshop) -> Manifest:
    """Exclude, byte-compile, pack, check and commit; return the manifest."""
    return commit(planned, settle(planned, staged, workshop), store, workshop)


def settle(planned: PlannedLayer, staged: Staged, workshop: Workshop) -> Staged:
    """Bring a staged tree into its last form: exclude, byte-compile; return it with its packages' bytecode."""
    excluded = planned.document["exclude"]
    if excluded:
        removed = remove_matching(staged.tree, excluded)
        workshop.reporter.note(f"excluded {len(removed)} paths")
    if planned.kind != "script":
        # No package owns them, so nobody could say when they have to go.
        remove_empty_directories(staged.tree)
    entries = scan(staged.tree)
    if staged.interpreter is not None:
        for path in bytecode.stale_bytecode(entries):
            (staged.tree / path).unlink()
        compiled = bytecode.sources(entries, owners(staged.packages))
        bytecode.compile_tree(staged.tree, planned.document["prefix"], compiled, staged.interpreter, workshop)
        entries = scan(staged.tree)
    packages = with_bytecode(staged.packages, entries, owners(staged.packages))
    return replace(staged, packages=packages, entries=entries)


def commit(planned: PlannedLayer, staged: Staged, store: Store, workshop: Workshop) -> Manifest:
    """Pack, check and commit a tree in its last form; return the manifest."""
    entries = scan(staged.tree) if staged.entries is None else staged.entries
    files = content(entries)
    with store.stage() as private:
        stripe(private, workshop.striping, workshop.commands, workshop.reporter)
        image = private / f"{planned.key}.sqfs"
        size = _pack(planned, staged, image, sum(files.values()), workshop)
        manifest = Manifest(
            key=planned.key,
            kind=planned.kind,
            prefix=planned.document["prefix"],
            document=dict(planned.document),
            digest=file_sha256(image),
            fingerprint=file_fingerprint(image),
            size=size,
            files=files,
            packages=_identified(staged.packages, planned),
            programs=programs(entries),
            whiteouts=staged.whiteouts,
            removed=staged.removed,
            tools={"tykky": __version__, "mksquashfs": workshop.packer.text},
        )
        store.commit(image, manifest)
    return manifest


def _identified(packages: Sequence[PackagePaths], planned: PlannedLayer) -> tuple[PackagePaths, ...]:
    """Return the packages with their identities, as the plan names them."""
    return tuple(
        structs.replace(package, identity=planned.identities.get((package.kind, package.name), package.identity))
        for package in packages
    )


def content(entries: Sequence[Entry]) -> dict[str, int]:
    """Return path -> bytes of a tree's files, symlinks and empty directories."""
    full = directories(entry.path for entry in entries)
    return {entry.path: entry.size for entry in entries if entry.kind != "directory" or entry.path not in full}


def _pack(planned: PlannedLayer, staged: Staged, image: Path, tree_bytes: int, workshop: Workshop) -> int:
    """Write the image; return its size in bytes."""
    below_root = planned.document["prefix"].lstrip("/")
    argv = pack_argv(
        workshop.packer.program,
        staged.image_root,
        image,
        level=planned.document["squashfs"]["level"],
        whiteouts=[f"{below_root}/{path}" for path in staged.whiteouts],
        processors=workshop.processors,
    )
    make_parents(staged.tree, staged.whiteouts)
    done = 0
    with workshop.reporter.phase(f"pack {planned.kind} layer", total=tree_bytes, unit="bytes") as phase:

        def on_percent(percent: int) -> None:
            nonlocal done
            reached = tree_bytes * percent // 100
            phase.advance(max(0, reached - done))
            done = max(done, reached)

        return pack(argv, workshop.commands, image, on_percent)


def owners(packages: Sequence[PackagePaths]) -> dict[str, str]:
    """Return which package a path belongs to. The last one wins, as the last one installed does."""
    found: dict[str, str] = {}
    for package in packages:
        name = f"{package.kind}:{package.name}"
        for path in package.paths:
            found[path] = name
    return found


def with_bytecode(
    packages: Sequence[PackagePaths], entries: Sequence[Entry], owner: Mapping[str, str]
) -> tuple[PackagePaths, ...]:
    """Return the packages with the bytecode of their sources, and without paths that are not in the tree."""
    present = {entry.path for entry in entries if entry.kind != "directory"}
    compiled: dict[str, list[str]] = {}
    for path in present:
        if path.endswith(".pyc") and "/__pycache__/" in path:
            name = owner.get(bytecode.source_of(path))
            if name is not None:
                compiled.setdefault(name, []).append(path)
    result = []
    for package in packages:
        extra = compiled.get(f"{package.kind}:{package.name}", [])
        paths = tuple(sorted({path for path in (*package.paths, *extra) if path in present}))
        result.append(structs.replace(package, paths=paths))
    return tuple(result)


def programs(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the names in `bin` that can be executed: files with the bit set, and symlinks to whatever."""
    names = []
    for entry in entries:
        directory, _, name = entry.path.rpartition("/")
        if directory != "bin" or name.startswith("."):
            continue
        if entry.kind == "symlink" or (entry.kind == "file" and entry.executable):
            names.append(name)
    return tuple(names)
