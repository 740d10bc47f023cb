"""The pypi layer: locked wheels installed by uv into a staged prefix.

Where the interpreter is the host's, the layer is a whole venv. Where conda brings it, or uv manages it, the layer holds
only what uv adds, and uv asks an interpreter like it for its layout (`bare_python`). Where there is none to be had, uv
runs inside, with the lower layers mounted at the prefix; so do the builds of what is no wheel yet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import tomli_w

from tykky.digests import file_sha256
from tykky.errors import ArtifactError, BuildError
from tykky.layers.bare_python import bare_python
from tykky.layers.installed import give_to_owners, installed_paths, tidy
from tykky.layers.keys import Base, PlannedLayer
from tykky.layers.squashfs import make_parents, pack, pack_argv
from tykky.layers.staged import Ground, Staged
from tykky.layers.venv_base import make_base
from tykky.layers.workshop import Enter, Workshop
from tykky.lock.model import Package
from tykky.process import CommandFailed, full_disk_hint
from tykky.spec.model import Pypi, Spec
from tykky.spec.names import canonical_name

if TYPE_CHECKING:
    from tykky.layers.wheels import Surroundings

_MISMATCH = re.compile(
    r"Expected:\s*(?:sha256:)?(?P<expected>[0-9a-f]{64}).*?Computed:\s*(?:sha256:)?(?P<actual>[0-9a-f]{64})",
    re.S,
)
# uv breaks its lines where the width, and so the length of a path, wants it.
_INVALID = re.compile(
    r"Failed\s+to\s+install:\s+(?P<wheel>\S+\.whl).*?"
    r"cause:\s+The\s+wheel\s+is\s+invalid:\s+(?P<why>.+?)(?=\n\s*cause:|\n\s*\n|\Z)",
    re.S,
)


@dataclass(frozen=True, slots=True)
class Project:
    """The part of a spec and lock that installing needs. `base` is the directory of both, `packages` are all locked."""

    base: Path
    pypi: Pypi
    exclude_newer: str | None
    against: tuple[str, ...]
    packages: tuple[Package, ...] = ()

    @classmethod
    def of(cls, spec: Spec, packages: Sequence[Package], base: Path) -> Project:
        """Return the project of a spec and the packages of one platform."""
        against = tuple(sorted(f"{p.name}=={p.version}" for p in packages))
        return cls(base, spec.pypi or Pypi(), spec.environment.exclude_newer, against, tuple(packages))

    def surroundings(self, base: Base, interpreter: str, enter: Enter) -> Surroundings:
        """Return what wheels are built with."""
        from tykky.layers.wheels import Surroundings

        assert base.python is not None
        return Surroundings(
            base=self.base,
            python=base.python,
            interpreter=interpreter,
            run_inside=enter,
            against=self.against,
            no_build_isolation=self.pypi.no_build_isolation,
            config_settings=self.pypi.config_settings,
            index_url=self.pypi.index_url,
            extra_index_url=self.pypi.extra_index_url,
            find_links=self.pypi.find_links,
            exclude_newer=self.exclude_newer,
        )


def _names(minor: str) -> tuple[str, ...]:
    """Return the names of a venv's interpreter."""
    return ("python", "python3", f"python{minor}")


def make_venv(root: Path, interpreter: Path, minor: str) -> None:
    """Write the skeleton of a venv (PEP 405) whose interpreter is the host's."""
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python").symlink_to(interpreter)
    for name in _names(minor)[1:]:
        (root / "bin" / name).symlink_to("python")
    (root / "lib" / f"python{minor}" / "site-packages").mkdir(parents=True)
    (root / "lib64").symlink_to("lib")
    # `version` is the minor one: the host may get a new patch release under a finished image.
    (root / "pyvenv.cfg").write_text(
        f"home = {interpreter.parent}\ninclude-system-site-packages = false\nversion = {minor}\n"
    )


def pylock(packages: Sequence[Package], wheels: Mapping[str, Path]) -> bytes:
    """Return a pylock.toml (PEP 751) with exactly one artifact per package: `wheels` are their files, by name.

    uv checks every sha256 before its first use: of a locked wheel the lock's, of one that was built here its own.
    """
    entries = []
    for package in sorted(packages, key=lambda p: p.name):
        local = wheels[package.name]
        sha256 = package.sha256 if package.source == "wheel" else None
        artifact = {"path": os.fspath(local), "hashes": {"sha256": sha256 or file_sha256(local)}}
        entries.append({"name": package.name, "version": package.version, "wheels": [artifact]})
    return tomli_w.dumps({"lock-version": "1.0", "created-by": "tykky", "packages": entries}).encode()


def install(request: Path, root: Path, target: Sequence[str], enter: Enter, count: int, workshop: Workshop) -> None:
    """Install what the pylock file `request` names: `count` packages.

    `target` are uv's options that say where to; `enter` makes the lower layers visible at the prefix.
    Raises `ArtifactError` or `BuildError`.
    """
    cache = workshop.access.cache
    argv = [os.fspath(workshop.uv), "pip", "install", *target]
    argv += ["--requirements", os.fspath(request)]
    argv += ["--no-deps", "--no-config", "--no-build", "--no-python-downloads", "--break-system-packages"]
    argv += ["--offline"]  # all it needs is local, and has been looked into
    argv += ["--cache-dir", os.fspath(cache / "uv"), "--link-mode", link_mode(cache, root)]
    argv += ["--color", "never", "--no-progress", "--preview-features", "pylock"]
    with workshop.reporter.phase("install PyPI packages", total=count, unit="packages") as phase:
        try:
            workshop.commands.stream(enter(argv), lambda line: phase.advance() if line.startswith(" + ") else None)
        except CommandFailed as error:
            raise _translate(error) from None


def link_mode(cache: Path, root: Path) -> str:
    """Return uv's link mode: hard links cost six times less than copies, where both are on one file system."""
    anchor = next(p for p in (cache, *cache.parents) if p.exists())
    return "hardlink" if anchor.stat().st_dev == root.stat().st_dev else "copy"


def _translate(error: CommandFailed) -> ArtifactError | BuildError:
    text = error.finished.stdout
    mismatch = _MISMATCH.search(text)
    if mismatch is not None:
        named = re.search(r"[Hh]ash mismatch for `([^`]+)`", text)
        name = named.group(1) if named else "an artifact"
        return ArtifactError(
            f"{name} is not what the lock says: expected sha256 {mismatch['expected']}, got {mismatch['actual']}",
            hint="its file changed in the cache, or where the lock found it; remove it and build again",
        )
    invalid = _INVALID.search(" ".join(text.split()))  # uv breaks its lines
    if invalid is not None:
        why = " ".join(invalid["why"].split())
        return ArtifactError(
            f"{invalid['wheel']} cannot be installed: {why[:1].lower()}{why[1:]}",
            hint="do not use it; tell its authors, or the keepers of the index it came from",
        )
    return BuildError(
        f"installing PyPI packages failed: {error.reason}", hint=full_disk_hint(text), output=error.output
    )


def stage(planned: PlannedLayer, project: Project, base: Base, below: Sequence[Path], workshop: Workshop) -> Staged:
    """Install the layer's packages into a staged tree; return what to pack.

    `below` are the images of the lower layers, bottom first; they hold the interpreter unless it is the host's.
    """
    prefix: str = planned.document["prefix"]
    ground = Ground(
        image_root=workshop.scratch / "pypi",
        prefix=prefix,
        below=tuple(below),
        packages=project.packages,
        platform=planned.document["platform"],
    )
    staged = _staged(planned.packages, project, base, ground, workshop)
    if base.host_interpreter is not None and base.python is not None:
        make_base(staged.tree, Path(base.host_interpreter), base.python, workshop.commands)
    return staged


def stage_some(
    packages: Sequence[Package], project: Project, base: Base, ground: Ground, workshop: Workshop, *, links: bool
) -> Staged:
    """Install `packages` into a tree of their own, for a delta over the stack below.

    With `links` the tree is a base (`make_base`): the stack will lack one of a base's links.
    """
    staged = _staged(packages, project, base, ground, workshop)
    if base.host_interpreter is None or base.python is None:
        return staged
    if links:
        make_base(staged.tree, Path(base.host_interpreter), base.python, workshop.commands)
    return replace(staged, skeleton=("pyvenv.cfg", "lib64", *(f"bin/{name}" for name in _names(base.python))))


def _staged(packages: Sequence[Package], project: Project, base: Base, ground: Ground, workshop: Workshop) -> Staged:
    tree = ground.tree
    tree.mkdir(parents=True)
    if base.host_interpreter is not None:
        place = _host_venv(base, ground, workshop)
    else:
        bare = bare_python(ground.packages, ground.platform, workshop, fetch=ground.fetch)
        place = _on_top(ground, bare, workshop)
    installed = _install_all(packages, project, base, place, workshop)
    scripts = give_to_owners(tree, installed, lambda p, wheel, root: _install_alone(p, wheel, root, place, workshop))
    tidy(tree, ground.prefix, scripts, place.named)
    program, enter = place.installer
    return Staged(
        image_root=ground.image_root,
        tree=tree,
        packages=installed_paths(tree, packages),
        interpreter=lambda: enter([program]),
    )


_Python: TypeAlias = tuple[str, Enter]  # an interpreter's path, and what makes it visible there


@dataclass(frozen=True, slots=True)
class _Place:
    """Where packages go and which interpreters serve them, each with what makes it visible.

    `installer` installs and compiles, `builder` builds wheels in isolation and `against` those that are built against
    what is staged by now. `base` is that of a venv, whose skeleton `target` makes.
    """

    tree: Path
    installer: _Python
    builder: _Python
    against: _Python
    base: Base | None = None

    @property
    def named(self) -> tuple[bytes, ...]:
        """The directories whose interpreter uv may write into scripts, besides where it installs and the prefix."""
        program = Path(self.installer[0])
        return tuple(os.fsencode(path.parent) for path in (program, program.resolve()))

    def target(self, root: Path) -> tuple[str, ...]:
        """Return uv's options for installing into `root`; a venv there is made if need be."""
        if self.base is None:
            return ("--python", self.installer[0], "--prefix", os.fspath(root))
        assert self.base.host_interpreter is not None and self.base.python is not None
        if not (root / "pyvenv.cfg").exists():
            make_venv(root, Path(self.base.host_interpreter), self.base.python)
        return ("--python", os.fspath(root / "bin" / "python"))


def _host_venv(base: Base, ground: Ground, workshop: Workshop) -> _Place:
    """Make the venv. Its own python runs where it is staged: nothing has to be mounted."""
    assert base.host_interpreter is not None
    host: _Python = (base.host_interpreter, list)
    if not ground.below:
        against: _Python = (os.fspath(ground.tree / "bin" / "python"), list)
    else:
        against = (f"{ground.prefix}/bin/python", _enter_installed(ground, workshop))
    place = _Place(ground.tree, host, host, against, base)
    place.target(ground.tree)
    return place


def _on_top(ground: Ground, bare: str | None, workshop: Workshop) -> _Place:
    """Install beside the lower layers: with an interpreter like theirs, `bare`, or with theirs at its final path.

    What is built is built with theirs: its settings for compilers are paths.
    """

    def enter(argv: Sequence[str]) -> list[str]:
        return workshop.inside.argv(ground.prefix, ground.below, None, argv)

    program = f"{ground.prefix}/bin/python"
    mounted: _Python = (program, enter)
    installer: _Python = mounted if bare is None else (bare, list)
    return _Place(ground.tree, installer, mounted, (program, _enter_installed(ground, workshop)))


def _enter_installed(ground: Ground, workshop: Workshop) -> Enter:
    def enter(argv: Sequence[str]) -> list[str]:
        # What is staged by now as one more image: a directory on top of images is more than every backend can show.
        staged = workshop.scratch / f"{ground.image_root.name}-staged.sqfs"
        if not staged.exists():
            whiteouts = [f"{ground.prefix.lstrip('/')}/{path}" for path in ground.hidden]
            argv_pack = pack_argv(workshop.packer.program, ground.image_root, staged, level=1, whiteouts=whiteouts)
            make_parents(ground.tree, ground.hidden)
            pack(argv_pack, workshop.commands, staged, _ignore)
        return workshop.inside.argv(ground.prefix, [*ground.below, staged], None, argv)

    return enter


def _ignore(percent: int) -> None:
    """Take no notice of how far a short piece of work is."""


def _install_all(
    packages: Sequence[Package], project: Project, base: Base, place: _Place, workshop: Workshop
) -> dict[str, tuple[Package, Path]]:
    """Install wheels and what builds in isolation first, then what is built against them.

    Returns the packages and the wheels they came from, by name.
    """
    unisolated = {canonical_name(name) for name in project.pypi.no_build_isolation}
    first = [p for p in packages if p.source == "wheel" or canonical_name(p.name) not in unisolated]
    second = [p for p in packages if p not in first]
    files = _install_batch(first, project, base, place.builder, place, workshop)
    files |= _install_batch(second, project, base, place.against, place, workshop)
    return {package.name: (package, files[package.name]) for package in packages}


def _install_batch(
    packages: Sequence[Package],
    project: Project,
    base: Base,
    builder: _Python,
    place: _Place,
    workshop: Workshop,
) -> dict[str, Path]:
    """Build what is no wheel with the interpreter of `builder`, then install all of `packages`; return their wheels."""
    if not packages:
        return {}
    from tykky.layers.locked_wheels import locked_wheels
    from tykky.layers.wheels import build_wheel, local_wheel

    surroundings = project.surroundings(base, *builder)
    files = {p.name: build_wheel(p, surroundings, workshop) for p in packages if p.source != "wheel"}
    wheels = [p for p in packages if p.source == "wheel"]
    files |= {p.name: local_wheel(p, project.base) for p in wheels if p.path is not None}
    by_url = [p for p in wheels if p.path is None]
    files |= locked_wheels(by_url, workshop.access, workshop.commands.environ, workshop.reporter)
    _install_wheels(packages, files, place.tree, place, workshop)
    return files


def _install_wheels(
    packages: Sequence[Package], files: Mapping[str, Path], root: Path, place: _Place, workshop: Workshop
) -> None:
    request = workshop.scratch / "pylock.toml"
    request.write_bytes(pylock(packages, files))
    install(request, root, place.target(root), place.installer[1], len(packages), workshop)


def _install_alone(package: Package, wheel: Path, root: Path, place: _Place, workshop: Workshop) -> None:
    """Install one package where no other can overwrite its files."""
    root.mkdir(parents=True)
    _install_wheels([package], {package.name: wheel}, root, place, workshop)
