"""Which images of a directory the running processes of this host use.

A mounted image shows as an open file or among the words of its squashfuse server, among the words of an Apptainer, as
the file behind a loop device, or, while a launch is on its way, in the variables and open scripts of its shells.
Processes of others may be hidden from us; their servers then still show where /proc shows words.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_IMAGE = re.compile(rb"([0-9a-f]{64})\.sqfs")
_SCRIPT = re.compile(r"(.*)/(\d+)/launch\.sh")
_ON_ITS_WAY = b"_tykky_image_"


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in use: image keys and generation numbers, each with a few words about by whom."""

    images: Mapping[str, str]
    generations: Mapping[int, str]


def usage(private: Path, proc: Path = Path("/proc"), devices: Path = Path("/sys/block")) -> Usage:
    """Return which images and generations in `private` (P/.tykky) are in use on this host.

    Files are told by their inodes, so that no mount namespace, link or move hides one; what cannot be told is in use.
    """
    private = private.resolve()
    known = {path.stem: path for path in sorted((private / "layers").glob("*.sqfs"))}
    images: dict[str, str] = {}
    generations: dict[int, str] = {}
    for process in proc.iterdir():
        if not process.name.isdigit() or process.name == str(os.getpid()):
            continue
        targets = _open_files(process)
        hidden = targets is None
        targets = targets or []
        used = set(_open_images(targets, known)) | set(_named_images(process, known, hidden=hidden))
        running = set(_scripts(targets, private / "generations"))
        if used or running:
            who = f"pid {process.name} ({_command(process)})"
            images.update((key, who) for key in used if key not in images)
            generations.update((number, who) for number in running if number not in generations)
    for device in sorted(devices.glob("loop*")):
        for key, path in _mentions(_read(device / "loop" / "backing_file")):
            if key in known and _is_same(known[key], [path]):
                images.setdefault(key, f"a mount ({device.name})")
    return Usage(images, generations)


def _open_files(process: Path) -> list[tuple[Path, str]] | None:
    """Return the descriptors of a process and what they lead to; None for one that is hidden from us or ended."""
    found = []
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return None
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed meanwhile
            found.append((descriptor, str(descriptor.readlink())))
    return found


def _open_images(targets: Iterable[tuple[Path, str]], known: Mapping[str, Path]) -> Iterator[str]:
    for descriptor, target in targets:
        for key, _ in _mentions(os.fsencode(target)):
            if key in known and _is_same(known[key], [descriptor]):
                yield key


def _scripts(targets: Iterable[tuple[Path, str]], generations: Path) -> Iterator[int]:
    """Give the generations whose `launch.sh` a shell is just reading."""
    for _, target in targets:
        match = _SCRIPT.fullmatch(target)
        if match and match[1] == str(generations):
            yield int(match[2])


def _named_images(process: Path, known: Mapping[str, Path], *, hidden: bool) -> Iterator[str]:
    """Give the images among the words of a process, or among what a launch hands from shell to shell.

    A key may be named that is of no file: by who builds the same layer elsewhere, or has just ended. Where we can look
    into the process, what it does not find where it says, and has not open, it does not use.
    """
    variables = [word for word in _read(process / "environ").split(b"\0") if word.startswith(_ON_ITS_WAY)]
    for key, path in _mentions(b"\0".join([_read(process / "cmdline"), *variables])):
        # Its root directory may be another one than ours.
        inside = process / "root" / path.relative_to("/")
        if key in known and (hidden or not _is_missing(inside)) and _is_same(known[key], [inside, path]):
            yield key


def _is_missing(path: Path) -> bool:
    """Say whether nothing is there; what may not be looked at is not missing."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def _mentions(words: bytes) -> Iterator[tuple[str, Path]]:
    """Give key and path of every image that is named in `words`; only the name's, where the path is relative."""
    done = 0
    for match in _IMAGE.finditer(words):
        # From the first slash of the word, or of what follows another image in it: `--overlay=/p/a.sqfs:ro`. A path may
        # hold anything else.
        word = words[max(done, words.rfind(b"\0", 0, match.start()) + 1) : match.end()]
        path = word[word.find(b"/") :] if b"/" in word else b"/" + match[0]
        done = match.end()
        yield match[1].decode(), Path(os.fsdecode(path))


def _is_same(image: Path, places: Iterable[Path]) -> bool:
    """Say whether the first of `places` that can be looked at is this image; if none can, it counts as that."""
    for place in places:
        try:
            return place.stat().st_ino == image.stat().st_ino and place.stat().st_dev == image.stat().st_dev
        except OSError:
            continue
    return True


def _command(process: Path) -> str:
    """Return the name of a process's program, as far as it is harmless to print."""
    name = _read(process / "comm").decode(errors="replace").strip()
    return "".join(c for c in name if c.isprintable()) or "?"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # ended meanwhile, or hidden from us
        return b""
