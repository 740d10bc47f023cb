"""Record a one-off command in the spec: `tykky build --exec 'pip install --no-build-isolation flash-attn'`.

The command becomes a script beside the spec and the last of `[build] post-install`:

    scripts/01-pip-install-flash-attn.sh        #!/bin/sh
                                                set -e
                                                pip install --no-build-isolation flash-attn

So the next build, and the next reader, find it where all scripts are. What runs is that file, whose text the user
typed; no value of the spec is ever evaluated.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tykky.errors import SpecError, UsageError
from tykky.spec.edit import add_post_install
from tykky.spec.read import parse_spec
from tykky.toml.document import read_text
from tykky.toml.files import refusal, replace_text

FOLDER = "scripts"
_SLUG_LENGTH = 40  # characters


@dataclass(frozen=True, slots=True)
class OneOff:
    """What recording a command comes to. `script` is its path, relative to the spec, `content` its text.

    `new_script` says whether that file has to be written, `before` and `after` are the texts of the spec.
    """

    script: str
    content: str
    new_script: bool
    before: str
    after: str

    @property
    def changes(self) -> bool:
        """Whether anything has to be written: not if the same command is recorded already."""
        return self.new_script or self.before != self.after


def decide(command: str, text: str, listed: Iterable[str], present: Mapping[str, str | None]) -> OneOff:
    """Return how to record `command` in the spec `text`, whose `post-install` is `listed`.

    `present` has every path that is listed, or is in the folder of the scripts, with the text of its file (None: it is
    no text). A script with the very text that this one would have is used as it is. Raises `UsageError` for a command
    that no script can hold.
    """
    listed = tuple(listed)
    content = script_text(command)
    same = sorted((path for path, there in present.items() if there == content), key=lambda path: path not in listed)
    script = same[0] if same else _free_name(command, {*listed, *present})
    after = text if script in listed else add_post_install(text, script)
    return OneOff(script, content, not same, text, after)


def script_text(command: str) -> str:
    """Return the script that runs a command line, which may have several lines. Raises `UsageError`."""
    if not command.strip():
        raise UsageError("there is no command to run", hint="write it as one word: --exec 'pip install …'")
    if "\0" in command:
        raise UsageError("a command cannot hold a NUL character")
    try:
        command.encode()
    except UnicodeEncodeError:
        raise UsageError(
            "the command is not UTF-8", hint="write a script, and name it in [build] post-install"
        ) from None
    return f"#!/bin/sh\nset -e\n{command.rstrip(chr(10))}\n"


def slug(command: str) -> str:
    """Return a few words of a command for a file name: no options, no assignments; `[a-z0-9-]`, at most 40."""
    words = [word for word in command.split() if not word.startswith("-") and not re.match(r"\w+=", word)]
    found = ""
    for word in re.findall(r"[a-z0-9]+", " ".join(words).lower()):
        longer = f"{found}-{word}" if found else word[:_SLUG_LENGTH]
        if len(longer) > _SLUG_LENGTH:
            break
        found = longer
    return found or "command"


def _free_name(command: str, taken: Iterable[str]) -> str:
    """Return a path with the next number; two digits, so that most folders list in order."""
    numbers = [0]
    for path in taken:
        name = PurePosixPath(path)
        match = re.match(r"(\d{1,6})-", name.name)
        if match and name.parent == PurePosixPath(FOLDER):
            numbers.append(int(match[1]))
    return f"{FOLDER}/{max(numbers) + 1:02d}-{slug(command)}.sh"


def plan_record(spec_path: Path, command: str) -> OneOff:
    """Return how to record `command` in the spec at `spec_path`. Nothing is written.

    Raises `SpecError` for a spec that is not in order, `UsageError` for a command that no script can hold.
    """
    text = read_text(spec_path, SpecError, missing="make one with 'tykky init'")
    listed = parse_spec(text, str(spec_path)).build.post_install
    directory = spec_path.parent
    paths = {*listed, *_in_folder(directory)}
    return decide(command, text, listed, {path: _text_of(directory / path) for path in paths})


def _in_folder(directory: Path) -> list[str]:
    try:
        return [f"{FOLDER}/{path.name}" for path in (directory / FOLDER).iterdir()]
    except OSError:  # not there, or not to be read: writing will say so
        return []


def _text_of(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError):
        return None


def record(spec_path: Path, one_off: OneOff) -> None:
    """Write the script, then the spec. Raises `SpecError` if that is not possible; then nothing new is left.

    A file that is there is never written over.
    """
    parse_spec(one_off.after, str(spec_path))
    script = spec_path.parent / one_off.script
    if one_off.new_script:
        _write_new(script, one_off.content)
    try:
        replace_text(spec_path, one_off.after, SpecError)
    except BaseException:
        if one_off.new_script:
            _remove(script)
        raise


def take_back(spec_path: Path, one_off: OneOff) -> bool:
    """Undo `record`, say because the command failed. Return False, and do nothing, if the spec was edited since."""
    if read_text(spec_path, SpecError) != one_off.after:
        return False
    replace_text(spec_path, one_off.before, SpecError)
    script = spec_path.parent / one_off.script
    if one_off.new_script and _text_of(script) == one_off.content:
        _remove(script)
    return True


def _write_new(script: Path, content: str) -> None:
    """Write a script that must not be there yet; a full disk leaves none."""
    try:
        script.parent.mkdir(exist_ok=True)
        with script.open("xb") as file:
            try:
                file.write(content.encode())
                file.flush()
                readable = script.stat().st_mode & 0o444
                script.chmod(readable | 0o200 | readable >> 2)
            except BaseException:
                script.unlink()
                raise
    except OSError as failure:
        raise refusal(script, failure, SpecError) from None


def _remove(script: Path) -> None:
    """Remove a script, and its folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        script.unlink()
        script.parent.rmdir()
