"""What images show at a prefix: names and kinds from their listing, content where it is asked for."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tykky.errors import BuildError
from tykky.layers.squashfs import INSTALL_HINT
from tykky.layers.workshop import Workshop
from tykky.process import Commands, Finished, which

# A line of `unsquashfs -lln`: kind and mode, owner, size (of a symlink: of its target) or device, time, path.
_LINE = re.compile(
    r"^([-dlcbps])([-rwxsStT]{9}) \d+/\d+ +(?:(\d+)|\d+, *\d+) \d{4}-\d\d-\d\d \d\d:\d\d squashfs-root(?:/(.*))?$", re.S
)
_KINDS = {"-": "file", "d": "directory", "l": "symlink", "c": "whiteout"}


@dataclass(frozen=True, slots=True)
class Lower:
    """One path that images show. `size` is a file's, in bytes; `target` a symlink's; `image` the one that has it."""

    kind: str  # "file", "directory", "symlink"; in a single listing also "whiteout"
    size: int
    executable: bool
    target: str
    image: int


def shown(images: Sequence[Path], prefix: str, workshop: Workshop) -> dict[str, Lower]:
    """Return all that `images` (bottom first) show below the prefix, by path relative to it."""
    return merge([listing(list_image(image, workshop.commands), prefix, number) for number, image in enumerate(images)])


def list_image(image: Path, commands: Commands) -> str:
    """Return the output of `unsquashfs -lln`. Raises `ToolError` if the image cannot be listed."""
    argv: list[str | Path] = [which("unsquashfs", hint=INSTALL_HINT), "-lln", "-no-progress", image]
    return commands.run(argv, hint=INSTALL_HINT).stdout


def listing(text: str, prefix: str, image: int = 0) -> dict[str, Lower]:
    """Return what the output of `unsquashfs -lln` names below the prefix. `image` is noted down."""
    top = f"{prefix.strip('/')}/".lstrip("/")
    found = {}
    for kind, mode, size, words in _entries(text):
        path, target = words, ""
        if kind == "l":
            # The name may hold an arrow too; the size says where the target starts.
            encoded = os.fsencode(words)
            target = os.fsdecode(encoded[len(encoded) - size :])
            path = words.removesuffix(f" -> {target}")
        if path.startswith(top) and path != top and kind in _KINDS:
            executable = kind == "-" and mode[2] in "xs"
            length = size if kind == "-" else 0
            found[path.removeprefix(top)] = Lower(_KINDS[kind], length, executable, target, image)
    return found


def _entries(text: str) -> Iterable[tuple[str, str, int, str]]:
    """Return kind, mode, size and words of every entry. A name may hold line ends."""
    pending = ""
    for line in text.split("\n"):
        starts = _LINE.match(line) is not None
        if starts and pending:
            yield _entry(pending)
        if starts:
            pending = line
        elif pending:
            pending += f"\n{line}"
    if pending:
        yield _entry(pending.removesuffix("\n"))


def _entry(line: str) -> tuple[str, str, int, str]:
    match = _LINE.match(line)
    assert match is not None
    return match[1], match[2], int(match[3] or 0), match[4] or ""


def merge(listings: Sequence[Mapping[str, Lower]]) -> dict[str, Lower]:
    """Return what overlayfs shows of several images, bottom first: a whiteout, or what is no directory, hides."""
    seen: dict[str, Lower] = {}
    for upper in listings:
        hiding = {path for path, entry in upper.items() if entry.kind != "directory" and path in seen}
        seen = without(seen, hiding)
        seen.update((path, entry) for path, entry in upper.items() if entry.kind != "whiteout")
    return seen


def without(seen: Mapping[str, Lower], hiding: Collection[str], emptied: Collection[str] = ()) -> dict[str, Lower]:
    """Return `seen` without the paths of `hiding` and what is below them, and without what is below `emptied`."""
    if not hiding and not emptied:
        return dict(seen)
    known = {"": False}

    def gone(path: str) -> bool:
        answer = known.get(path)
        if answer is None:
            parent = path.rpartition("/")[0]
            answer = known[path] = path in hiding or parent in emptied or gone(parent)
        return answer

    return {path: entry for path, entry in seen.items() if not gone(path)}


def same_content(
    paths: Iterable[str], seen: Mapping[str, Lower], tree: Path, images: Sequence[Path], prefix: str, workshop: Workshop
) -> set[str]:
    """Return those of `paths`, files of `tree`, that have the content that `images` show. Only these are extracted."""
    wanted: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        if "\n" not in path:  # the list is one of lines; such a file counts as changed
            wanted[seen[path].image].append(path)
    same: set[str] = set()
    for number, chosen in wanted.items():
        with tempfile.TemporaryDirectory(prefix="lower-", dir=workshop.scratch) as folder:
            root = Path(folder) / "root"
            extract_only(images[number], root, [f"{prefix.strip('/')}/{path}" for path in chosen], workshop.commands)
            below = root / prefix.lstrip("/")
            same.update(path for path in chosen if _equal(below / path, tree / path))
    return same


def extract_only(image: Path, root: Path, paths: Sequence[str], commands: Commands) -> Finished:
    """Unpack `paths` of an image, and nothing else, into the new directory `root`; return what unsquashfs said.

    What it does not find is missing afterwards: a path that is not there, and a name with a line end, for it reads
    names from a list of lines.
    """
    names = root.with_name("names")
    # They are patterns of the shell's kind.
    lines = "".join(re.sub(r"([\\*?\[\]])", r"\\\1", path) + "\n" for path in paths)
    names.write_bytes(lines.encode("utf-8", "surrogateescape"))
    argv: list[str | Path] = [which("unsquashfs", hint=INSTALL_HINT), "-no-progress", "-quiet", "-no-xattrs"]
    return commands.run([*argv, "-d", root, "-ef", names, image], check=False, hint=INSTALL_HINT)


def _equal(lower: Path, upper: Path) -> bool:
    return lower.is_file() and not lower.is_symlink() and filecmp.cmp(lower, upper, shallow=False)


def extract(images: Sequence[Path], root: Path, workshop: Workshop) -> None:
    """Unpack images over one another, bottom first, honouring the whiteouts of each."""
    unsquashfs = which("unsquashfs", hint=INSTALL_HINT)
    root.mkdir(parents=True)
    for number, image in enumerate(images):
        with workshop.reporter.phase(f"unpack {image.name[:12]}"):
            entries = listing(list_image(image, workshop.commands), "/")
            if number:
                _make_way(root, entries)
            # -f: over what is there already; devices cannot be made without privilege and are not wanted
            argv: list[str | Path] = [unsquashfs, "-f", "-no-progress", "-quiet", "-no-xattrs", "-d", root, image]
            result = workshop.commands.run(argv, check=False, hint=INSTALL_HINT)
            if result.status not in (0, 2):
                raise BuildError(f"{image} cannot be unpacked", output=result.stderr)
            for path, entry in entries.items():
                if entry.kind == "whiteout":
                    _remove(root / path)


def _make_way(root: Path, entries: Mapping[str, Lower]) -> None:
    """Remove what an image hides. unsquashfs itself would follow a symlink that a directory replaces."""
    for path, entry in sorted(entries.items()):
        place = root / path
        if entry.kind != "directory" or place.is_symlink() or not place.is_dir():
            _remove(place)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)
