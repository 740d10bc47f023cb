"""The script layer: what `[build] post-install` changes, as a delta over the layers below.

The scripts see the merged tree writable at the prefix. Where the host has overlays that keep what is written, the lower
images stay mounted and only what the scripts wrote is looked at; elsewhere they are extracted, and what differs
afterwards is looked for. Both ways give the same layer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from msgspec import structs

from tykky.digests import file_fingerprint
from tykky.errors import BuildError, ToolError
from tykky.layers import bytecode, upper
from tykky.layers.difference import State, Tree, changed, stale_bytecode, whiteouts
from tykky.layers.keys import PlannedLayer
from tykky.layers.lower import extract, shown
from tykky.layers.network import Alone, without_network
from tykky.layers.staged import Staged
from tykky.layers.tree import make_scripts_relocatable, replace_file, scan, true_record
from tykky.layers.workshop import Start, Workshop
from tykky.process import CommandFailed, Commands, which

# Where a user's own settings and packages are, besides HOME.
_PERSONAL = frozenset(
    {"XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "PERL5LIB", "R_LIBS", "R_LIBS_USER", "R_PROFILE_USER"}
)
# A directory of a lower image cannot be renamed in an overlay; most programs copy it then, some fail.
_CROSS_DEVICE = re.compile(r"cross-device link|os error 18\b", re.I)

# When a script has ended, what it left in the background ends too: it would hold the mounts, write while the tree is
# looked at, and keep its output open. Of a script that a signal ended, this shell ends in the same way.
_TO_THE_END = """\
trap : HUP INT TERM
"$@"
status=$?
trap '' TERM
kill -TERM 0
[ $status -le 128 ] || kill -$((status - 128)) $$
exit $status
"""

_Enter: TypeAlias = Callable[[Sequence[str]], list[str]]


class ScriptFailed(BuildError):
    """A script ended with a status other than 0. `in_overlay` says that an overlay may be what it failed on."""

    def __init__(self, script: Path, error: CommandFailed) -> None:
        super().__init__(f"{script.name} failed: {error.reason}", output=error.output)
        self.in_overlay = _CROSS_DEVICE.search(error.finished.stdout) is not None


@dataclass(frozen=True, slots=True)
class Changed:
    """The tree at the prefix before and after the scripts. `root` holds, of `after`, at least what changed.

    `interpreter` starts the environment's Python, as it is after the scripts; None if there is none.
    """

    root: Path
    before: Tree
    after: Tree
    interpreter: Start | None


def stage(
    planned: PlannedLayer, scripts: Sequence[Path], below: Sequence[Path], workshop: Workshop, environ: dict[str, str]
) -> Staged:
    """Run the scripts over the stack `below`; return what they changed. `environ` is the environment's activation."""
    prefix: str = planned.document["prefix"]
    refused = upper.why_not(prefix, below, workshop)
    image_root = workshop.scratch / "script"
    tree = image_root / prefix.lstrip("/")
    tree.parent.mkdir(parents=True)
    if refused is None:
        try:
            found = in_overlay(scripts, prefix, below, workshop, environ)
        except ScriptFailed as error:
            if not error.in_overlay:
                raise
            refused = "in an overlay it cannot rename directories of lower layers"
    if refused is not None:
        workshop.reporter.note(f"the layers below are unpacked for the scripts: {refused}")
        found = in_copy(scripts, prefix, below, workshop, environ)
    kept = set(changed(found.before, found.after))
    if refused is not None:
        keep_copies(found.root, tree, sorted(kept))
    else:
        found.root.rename(tree)
        keep_only(tree, kept)
        found = replace(found, interpreter=_over(prefix, below, tree, found.after, workshop))
    relocate(tree, prefix)
    if found.interpreter is not None:
        drop_bytecode(tree, kept)
    hidden = whiteouts(found.before, found.after, _paths_when_compiled(tree, prefix, found, workshop))
    return Staged(image_root=image_root, tree=tree, packages=(), interpreter=found.interpreter, whiteouts=hidden)


def in_overlay(
    scripts: Sequence[Path], prefix: str, below: Sequence[Path], workshop: Workshop, environ: Mapping[str, str]
) -> Changed:
    """Run the scripts over the mounted images; what they wrote is in the upper directory."""
    changes = workshop.scratch / "changes"

    def enter(command: Sequence[str]) -> list[str]:
        return workshop.inside.writable(prefix, below, changes, command)

    run_scripts(scripts, prefix, enter, workshop, environ)
    root = changes / "upper"
    upper.open_up(root)
    marks = upper.take_marks(root)
    with workshop.reporter.phase("compare with the layers below"):
        seen = shown(below, prefix, workshop)
        after = upper.after(seen, root, marks, below, prefix, workshop)
    return Changed(root, upper.before(seen), after, None)


def in_copy(
    scripts: Sequence[Path], prefix: str, below: Sequence[Path], workshop: Workshop, environ: Mapping[str, str]
) -> Changed:
    """Run the scripts in an extracted tree, and compare it with what it was."""
    merged_root = workshop.scratch / "merged"
    merged = merged_root / prefix.lstrip("/")
    extract(below, merged_root, workshop)
    merged.mkdir(parents=True, exist_ok=True)

    def enter(command: Sequence[str]) -> list[str]:
        return workshop.inside.argv(prefix, (), merged, command)

    before = snapshot(merged)
    run_scripts(scripts, prefix, enter, workshop, environ)
    upper.open_up(merged)
    after = snapshot(merged)
    program = [f"{prefix}/bin/python"]
    return Changed(merged, before, after, (lambda: enter(program)) if "bin/python" in after else None)


def _over(prefix: str, below: Sequence[Path], tree: Path, after: Tree, workshop: Workshop) -> Start | None:
    """Return what starts the environment's Python over the images, and over what is staged if that has one."""
    if "bin/python" not in after:
        return None
    own = (tree / "bin" / "python").is_symlink() or (tree / "bin" / "python").exists()
    return lambda: workshop.inside.argv(prefix, below, tree if own else None, [f"{prefix}/bin/python"])


def run_scripts(
    scripts: Sequence[Path], prefix: str, enter: _Enter, workshop: Workshop, environ: Mapping[str, str]
) -> None:
    """Run every script inside, in order, with a private HOME and TMPDIR and the environment's activation.

    `enter` makes command lines that run inside. Raises `ScriptFailed`.
    """
    commands = structs.replace(workshop.commands, environ=_impersonal(workshop.commands))
    variables = _variables(prefix, environ, workshop)
    alone = Alone() if workshop.inside.script_network else without_network(enter, commands)
    for script in scripts:
        with workshop.reporter.phase(f"run {script.name}"):
            argv = enter(
                ["/bin/sh", "-c", _TO_THE_END, "tykky", *alone.words, *_interpreter_of(script), os.fspath(script)]
            )
            try:
                commands.stream(argv, lambda line: None, environ={**variables, **alone.environ}, cwd=script.parent)
            except CommandFailed as error:
                raise ScriptFailed(script, error) from None


def _impersonal(commands: Commands) -> dict[str, str]:
    return {name: value for name, value in commands.environ.items() if name not in _PERSONAL}


def _variables(prefix: str, activation: Mapping[str, str], workshop: Workshop) -> dict[str, str]:
    """Return what scripts see besides the cleaned variables of the host: the environment, activated, and no user's."""
    scratch = workshop.scratch
    temporary = tempfile.mkdtemp(prefix="tmp-", dir=scratch)
    host = os.environ.get("PATH", "/usr/bin:/bin")
    path = (f"{prefix}/bin", activation.get("PATH", ""), os.fspath(_tools(prefix, workshop)), host)
    return {
        **activation,
        "PATH": ":".join(entries for entries in path if entries),
        "HOME": tempfile.mkdtemp(prefix="home-", dir=scratch),
        "TMPDIR": temporary,
        "TMP": temporary,
        "TEMP": temporary,
        "TYKKY_BUILD_PREFIX": prefix,
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


_PIP = """#!/bin/sh
uv={uv} prefix={prefix}
export UV_PYTHON="$prefix/bin/python" UV_NO_CONFIG=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
export UV_BREAK_SYSTEM_PACKAGES=1 UV_CACHE_DIR="$HOME/.cache/uv"
"$uv" pip "$@"
status=$?
[ -s "$prefix/.lock" ] || rm -f "$prefix/.lock"
exit "$status"
"""


def _tools(prefix: str, workshop: Workshop) -> Path:
    """Return a directory with a `pip` for environments that have none: uv, for the environment's interpreter.

    It stands behind the environment's own `bin` in PATH and before the host's: the host's pip would install into the
    host.
    """
    directory = workshop.scratch / "script-tools"
    directory.mkdir(exist_ok=True)
    text = _PIP.format(uv=shlex.quote(os.fspath(workshop.uv)), prefix=shlex.quote(prefix))
    for name in ("pip", "pip3"):
        tool = directory / name
        tool.write_text(text, encoding="utf-8")
        tool.chmod(0o755)
    return directory


def _interpreter_of(script: Path) -> list[str]:
    """Return the argv of the script's own `#!` line, or bash (what the ancestor used), or sh."""
    with script.open("rb") as file:
        first = file.readline(512)
    if first.startswith(b"#!"):
        return os.fsdecode(first[2:].strip()).split(None, 1)
    try:
        return [os.fspath(which("bash", hint=""))]
    except ToolError:
        return ["/bin/sh"]


def snapshot(root: Path) -> dict[str, State]:
    """Return every path of a tree, with its content's fingerprint or link target."""
    found = {}
    for entry in scan(root):
        path = root / entry.path
        content = os.fspath(path.readlink()) if entry.kind == "symlink" else ""
        if entry.kind == "file":
            content = file_fingerprint(path)
        found[entry.path] = State(entry.kind, content, entry.executable)
    return found


def keep_copies(root: Path, target: Path, kept: Sequence[str]) -> None:
    """Copy the paths of `kept`, sorted, from `root` to `target`: the tree itself still serves the interpreter."""
    target.mkdir()
    for path in kept:
        destination = target / path
        if (root / path).is_dir() and not (root / path).is_symlink():
            destination.mkdir(parents=True, exist_ok=True)
        else:
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, destination, follow_symlinks=False)


def keep_only(tree: Path, kept: set[str]) -> None:
    """Remove from `tree` all files that are not in `kept`, and what is left empty by that."""
    for entry in reversed(scan(tree)):
        if entry.path in kept:
            continue
        if entry.kind != "directory":
            (tree / entry.path).unlink()
            continue
        with _tolerating(errno.ENOTEMPTY, errno.EEXIST):
            (tree / entry.path).rmdir()


def relocate(tree: Path, prefix: str) -> None:
    """Let the console scripts that the scripts installed start the `python` beside them (invariant 9)."""
    if (tree / "bin").is_symlink():
        return
    scripts = make_scripts_relocatable(tree / "bin", (f"{prefix}/bin".encode(),))
    if not scripts:
        return
    for entry in scan(tree):
        if entry.kind == "file" and entry.path.endswith(".dist-info/RECORD"):
            record = tree / entry.path
            up = os.path.relpath(tree / "bin", record.parent.parent)
            true = true_record(record.read_text("utf-8"), {f"{up}/{name}": text for name, text in scripts.items()}, ())
            replace_file(record, true.encode())


def drop_bytecode(tree: Path, kept: set[str]) -> None:
    """Remove the bytecode that the scripts made. What the layer's own sources need is compiled anew."""
    gone = set(bytecode.stale_bytecode(scan(tree)))
    keep_only(tree, kept - gone - {path.rpartition("/")[0] for path in gone})


def _paths_when_compiled(tree: Path, prefix: str, found: Changed, workshop: Workshop) -> set[str]:
    """Return all paths that the layer will have.

    Bytecode below must go if its source has changed and brings no new one: a source that is no Python of this version.
    So it is compiled here already; the bytecode cache keeps it.
    """
    if found.interpreter is not None and stale_bytecode(found.before, found.after):
        compiled = bytecode.sources(scan(tree), {})
        bytecode.compile_tree(tree, prefix, compiled, found.interpreter, workshop)
    return {entry.path for entry in scan(tree)}


@contextlib.contextmanager
def _tolerating(*numbers: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
