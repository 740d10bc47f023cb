"""From a staged tree to a committed image: the part that all layer kinds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tykky import __version__
from tykky.digests import file_fingerprint, file_sha256
from tykky.layers import bytecode
from tykky.layers.keys import PlannedLayer
from tykky.layers.squashfs import pack, pack_argv
from tykky.layers.tree import Entry, remove_matching, scan
from tykky.layers.workshop import Workshop
from tykky.store.images import Manifest, PackagePaths, Store


@dataclass(frozen=True, slots=True)
class Staged:
    """A tree that is ready to be packed.

    `image_root` is what becomes the image's root; the tree itself stands below it at the prefix's path.
    `interpreter` is the argv that starts the environment's Python, None where there is none to compile for.
    """

    image_root: Path
    tree: Path
    packages: tuple[PackagePaths, ...]
    interpreter: tuple[str, ...] | None
    whiteouts: tuple[str, ...] = ()
    activation: Mapping[str, str] = field(default_factory=dict)


def finish(planned: PlannedLayer, staged: Staged, store: Store, workshop: Workshop) -> Manifest:
    """Exclude, byte-compile, pack, check and commit; return the manifest."""
    excluded = planned.document["exclude"]
    if excluded:
        removed = remove_matching(staged.tree, excluded)
        workshop.reporter.note(f"excluded {len(removed)} paths")
    entries = scan(staged.tree)
    if staged.interpreter is not None:
        for path in bytecode.stale_bytecode(entries):
            (staged.tree / path).unlink()
        compiled = bytecode.sources(entries, owners(staged.packages))
        bytecode.compile_tree(staged.tree, planned.document["prefix"], compiled, staged.interpreter, workshop)
        entries = scan(staged.tree)
    with store.stage() as private:
        image = private / f"{planned.key}.sqfs"
        tree_bytes = sum(entry.size for entry in entries)
        size = _pack(planned, staged, image, tree_bytes, workshop)
        owner = owners(staged.packages)
        manifest = Manifest(
            key=planned.key,
            kind=planned.kind,
            prefix=planned.document["prefix"],
            document=dict(planned.document),
            digest=file_sha256(image),
            fingerprint=file_fingerprint(image),
            size=size,
            tree_bytes=tree_bytes,
            packages=with_bytecode(staged.packages, entries, owner),
            shared=shared_paths(entries, owner),
            programs=programs(entries),
            whiteouts=staged.whiteouts,
            activation=dict(staged.activation),
            tools={"tykky": __version__, "mksquashfs": workshop.packer.text},
        )
        store.commit(image, manifest)
    return manifest


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
    for path in staged.whiteouts:
        # mksquashfs makes no parents for its pseudo files
        (staged.tree / path).parent.mkdir(parents=True, exist_ok=True)
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
        result.append(PackagePaths(package.name, package.version, package.kind, paths))
    return tuple(result)


def shared_paths(entries: Sequence[Entry], owner: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files and symlinks that belong to no package: the venv's own, scripts' results."""
    free = []
    for entry in entries:
        if entry.kind == "directory" or entry.path in owner:
            continue
        if entry.path.endswith(".pyc") and "/__pycache__/" in entry.path and bytecode.source_of(entry.path) in owner:
            continue
        free.append(entry.path)
    return tuple(free)


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
