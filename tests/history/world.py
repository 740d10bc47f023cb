"""Environment directories that take one step after another, and fresh builds to compare them with.

What is locked is written down by hand: no resolver is asked. Everything else is what `tykky build` does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from tests.channel.nasty import BULK, MINOR, NASTY, put, slim_python
from tests.history.wheels import BULK_WHEELS, WHEELS
from tykky.access import Access
from tykky.cli.ports import LaunchPublisher, find_uv, open_inside
from tykky.environment.build import Built, carry_out
from tykky.environment.choice import How
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.parent import Relatives, lend, parent_of
from tykky.environment.plan import Plan, Source, prepare
from tykky.errors import BuildError
from tykky.layers.merged import merge, top_names
from tykky.layers.squashfs import mksquashfs
from tykky.layers.workshop import Workshop
from tykky.lock.model import Lock, LockedPlatform, Package, Requirements
from tykky.lock.write import render_lock
from tykky.process import Commands
from tykky.progress import Silent
from tykky.resolve.parent import own
from tykky.runtime.interpreter import find_interpreter
from tykky.site.offer import Site
from tykky.spec.model import Build, Conda, Environment, Pypi, Spec
from tykky.store.images import Store
from tykky.store.tiers import Tiers

_LOOK = Path(__file__).with_name("look.py")


@dataclass(frozen=True)
class Wanted:
    """What an environment shall hold: `conda` and `pypi` are keys of `NASTY` and `WHEELS`.

    Without `based_on_conda` it is a venv of the host's Python. `scripts` are texts of post-install scripts.
    """

    based_on_conda: bool = True
    conda: frozenset[str] = frozenset()
    pypi: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: str, **more: Any) -> Wanted:
        """Return what is named, with spaces between; `p:` stands before PyPI packages."""
        words = names.split()
        pypi = frozenset(word.removeprefix("p:") for word in words if word.startswith("p:"))
        return cls(conda=frozenset(word for word in words if not word.startswith("p:")), pypi=pypi, **more)


@dataclass(frozen=True)
class Shown:
    """What a generation shows. `claims` are the installed packages with their identities and paths."""

    entries: Mapping[str, str]
    fingerprint: str
    programs: tuple[str, ...]
    activation: Mapping[str, str]
    top: tuple[str, ...]
    claims: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]]


@dataclass
class World:
    """A channel, a wheelhouse and the caches below `root`, and the fresh builds by what they hold."""

    root: Path
    _locked: dict[tuple[str, str], Package] = field(default_factory=dict)
    _fresh: dict[Wanted, Shown] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._locked["conda", "python"] = put(slim_python(), self.root / "channel")

    def package(self, kind: str, name: str) -> Package:
        """Return the locked package; its archive is made the first time."""
        known = self._locked.get((kind, name))
        if known is None:
            if kind == "conda":
                made = put({**NASTY, **BULK}[name], self.root / "channel")
            else:
                made = {**WHEELS, **BULK_WHEELS}[name](self.root)
            known = self._locked[kind, name] = made
        return known

    def source(self, wanted: Wanted) -> Source:
        """Return the spec and lock of what is wanted."""
        packages = [self.package("pypi", name) for name in sorted(wanted.pypi)]
        if wanted.based_on_conda:
            packages += [self.package("conda", name) for name in ("python", *sorted(wanted.conda))]
        scripts = []
        for number, text in enumerate(wanted.scripts):
            scripts.append(f"post-{number}-{abs(hash(text))}.sh")
            (self.root / scripts[-1]).write_text(text)
        spec = Spec(
            environment=Environment("nasty"),
            conda=Conda(channels=((self.root / "channel").as_uri(),)) if wanted.based_on_conda else None,
            pypi=Pypi(python=None if wanted.based_on_conda else os.path.realpath(sys.executable)),
            build=Build(exclude=wanted.exclude, post_install=tuple(scripts), compression_level=1),
        )
        return self.sourced(spec, packages)

    def extended(self, wanted: Wanted, parent: Path) -> Source:
        """Return the spec and lock of an environment that adds to `parent` what it lacks of what is wanted."""
        whole = self.source(wanted)
        environment = Environment("child", extends=os.fspath(parent), extends_policy="upgrade")
        spec = msgspec.structs.replace(whole.spec, environment=environment, pypi=Pypi())
        found = parent_of(EnvironmentDirectory(parent), self.relatives)
        lock = msgspec.structs.replace(whole.lock, parent=found, package=own(whole.lock.package, found))
        return replace(whole, spec=spec, lock=lock, lock_bytes=render_lock(lock).encode())

    @property
    def relatives(self) -> Relatives:
        """Whose environments may be extended."""
        return Relatives(self.root, {})

    def sourced(self, spec: Spec, packages: Iterable[Package]) -> Source:
        """Return the source of a spec and the packages that are locked for it."""
        lock = Lock(
            lock_version="1.0",
            requirements=Requirements(),
            platform=(LockedPlatform("linux-64", MINOR),),
            package=tuple(sorted(packages, key=lambda p: (p.kind, p.name))),
        )
        return Source(spec, lock, self.root / "tykky.toml", b"", render_lock(lock).encode())

    def workshop(self, scratch: Path) -> Workshop:
        """Return the tools of a build."""
        commands = Commands()
        return Workshop(
            access=Access(cache=self.root / "cache", offline=True, mirrors={}),
            commands=commands,
            reporter=Silent(),
            inside=open_inside(Site(), scratch),
            packer=mksquashfs(commands),
            uv=find_uv(),
            scratch=scratch,
        )

    def plan(self, prefix: Path, source: Source, how: How = "best", *, flatten: bool = False) -> Plan:
        """Return the plan for P at `prefix`."""
        commands = Commands()
        return prepare(
            source,
            prefix,
            lambda w: find_interpreter(w, commands),
            check=False,
            how=how,
            flatten=flatten,
            tiers=self.tiers(source),
        )

    def tiers(self, source: Source) -> Callable[[Store], Tiers]:
        """Return what gives the stores of a build: its own, and what the parent lends."""
        parent = source.lock.parent
        lent = {} if parent is None else lend(parent, parent.path, self.relatives)
        return lambda store: Tiers(store, lent=lent)

    def build(self, prefix: Path, wanted: Wanted, how: How = "best", *, flatten: bool = False) -> Built:
        """Bring P at `prefix` to what is wanted. A delta that is forced and impossible becomes the best way."""
        return self.build_source(prefix, self.source(wanted), how, flatten=flatten)

    def build_source(self, prefix: Path, source: Source, how: How = "best", *, flatten: bool = False) -> Built:
        """Bring P at `prefix` to what is locked."""
        try:
            return self.carry_out(self.plan(prefix, source, how, flatten=flatten))
        except BuildError as error:
            if how != "delta" or not error.reason.startswith("no delta can be made: "):
                raise
            return self.carry_out(self.plan(prefix, source, flatten=flatten))

    def carry_out(self, plan: Plan) -> Built:
        """Carry out a plan."""
        return carry_out(
            plan,
            LaunchPublisher(Site()),
            self.workshop,
            Silent(),
            scratch_directory=self.root,
            tiers=self.tiers(plan.source),
        )

    def fresh(self, wanted: Wanted) -> Shown:
        """Return what a fresh build of it shows."""
        if wanted not in self._fresh:
            with tempfile.TemporaryDirectory(dir=self.root, prefix="fresh-") as folder:
                prefix = Path(folder) / "P"
                self.build(prefix, wanted)
                self._fresh[wanted] = self.look(prefix)
        return self._fresh[wanted]

    def look(self, prefix: Path) -> Shown:
        """Return what the current generation of P shows, mounted; its manifests must say the same."""
        directory = EnvironmentDirectory(prefix)
        record = directory.record()
        manifests = directory.manifests(record)
        images = [directory.image_path(layer) for layer in record.layers]
        with tempfile.TemporaryDirectory(dir=self.root, prefix="look-") as scratch:
            inside = open_inside(Site(), Path(scratch))
            argv = inside.argv(record.prefix, images, None, [sys.executable, os.fspath(_LOOK), record.prefix])
            done = subprocess.run(argv, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        seen = json.loads(done.stdout)
        merged = merge(manifests)
        _same("the manifests' files", set(merged.files), _ends(seen["entries"]))
        return Shown(
            entries=seen["entries"],
            fingerprint=seen["fingerprint"],
            programs=record.programs,
            activation=record.activation,
            top=top_names(merged.files),
            claims={name: (p.identity, p.paths) for name, p in merged.packages.items()},
        )

    def place(self) -> Path:
        """Return a new place for an environment directory."""
        return Path(tempfile.mkdtemp(dir=self.root, prefix="steps-")) / "P"

    def forget(self, prefix: Path) -> None:
        """Remove an environment directory that `place` gave."""
        shutil.rmtree(prefix.parent)


def _ends(entries: Mapping[str, str]) -> set[str]:
    """Return the files, links and empty directories."""
    full = {path.rpartition("/")[0] for path in entries}
    return {path for path, what in entries.items() if not what.startswith("d") or path not in full}


def _same(what: str, found: set[str], wanted: set[str]) -> None:
    assert found == wanted, f"{what}: too many {sorted(found - wanted)}, missing {sorted(wanted - found)}"


def difference(found: Shown, wanted: Shown) -> list[str]:
    """Return what differs, one line each; nothing if a program could not tell the two apart."""
    lines = [
        f"{path!r}: {found.entries.get(path)} instead of {wanted.entries.get(path)}"
        for path in sorted({*found.entries, *wanted.entries})
        if found.entries.get(path) != wanted.entries.get(path)
    ]
    for name in ("fingerprint", "programs", "activation", "top"):
        if getattr(found, name) != getattr(wanted, name):
            lines.append(f"{name}: {getattr(found, name)} instead of {getattr(wanted, name)}")
    for package in sorted({*found.claims, *wanted.claims}):
        if found.claims.get(package) != wanted.claims.get(package):
            lines.append(f"{package} claims {found.claims.get(package)} instead of {wanted.claims.get(package)}")
    return lines
