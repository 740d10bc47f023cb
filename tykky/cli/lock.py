"""`tykky lock`: choose exact artifacts and write tykky.lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tykky.access import Access
from tykky.cli.clicks import click
from tykky.cli.options import common, spec_file
from tykky.cli.ports import open_access, open_relatives, open_site, resolver_ports
from tykky.cli.reporters import reporter_for
from tykky.errors import LockError, LockStale, Problem, SpecError
from tykky.lock.model import Lock, LockedImage, LockedManifest, Parent
from tykky.lock.read import read_lock
from tykky.progress import Reporter
from tykky.resolve.solve import Question, Upgrade, ask
from tykky.spec.image_reference import is_reference
from tykky.spec.model import Spec
from tykky.spec.read import read_spec

if TYPE_CHECKING:
    from tykky.cli.lock_report import LockReport
    from tykky.environment.parent import Relatives
    from tykky.environment.root_image import Named
    from tykky.site.offer import Site


@click.command()
@click.option("--check", is_flag=True, help="Only say whether tykky.lock still answers the spec (exit code 5 if not).")
@click.option("--upgrade", "-U", "upgrade_all", is_flag=True, help="Let all locked versions move, or those of NAME….")
@click.option("--platform", "platforms", multiple=True, metavar="PLATFORM", help="Resolve only this platform again.")
@click.option("--rebase", is_flag=True, help="Take the extended environment as it is now.")
@click.option("--offline", is_flag=True, help="Use only what is cached.")
@click.argument("upgraded", nargs=-1, metavar="[NAME]...")
@spec_file
@common
def command(
    check: bool,
    upgrade_all: bool,
    platforms: tuple[str, ...],
    rebase: bool,
    offline: bool,
    upgraded: tuple[str, ...],
    spec_path: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Choose exact artifacts for every platform and write tykky.lock beside the spec.

    Locked versions stay as long as they satisfy the spec. With --upgrade all of them may move, or only those
    named: tykky lock --upgrade numpy scipy

    \b
    Examples:
      tykky lock                    after a change of tykky.toml
      tykky lock --check            in CI: is the lock still right?
      tykky lock --upgrade          newest versions of everything, and what the tag of an image names now
      tykky lock --upgrade numpy    newest numpy, the rest as it is
      tykky lock --rebase           on top of the extended environment's current generation
    """
    if upgraded and not upgrade_all:
        raise click.UsageError(f"{' '.join(upgraded)}: names go with --upgrade")
    spec = read_spec(spec_path)
    lock_path = spec_path.with_name("tykky.lock")
    site = open_site()
    directory = spec_path.absolute().parent
    if check:
        _check(spec, open_relatives(site, directory), _report(lock_path, as_json, quiet), _named(spec, spec_path))
        return
    _check_platforms(spec, spec_path, platforms)
    _check_not_empty(spec, spec_path)
    if rebase and spec.environment.extends is None:
        raise click.UsageError(f"--rebase: {spec_path} extends no environment")
    previous = _previous(lock_path)
    upgrade = _upgrade(upgrade_all, upgraded, previous)
    reporter = reporter_for(as_json=as_json, quiet=quiet)
    as_before = not platforms and not rebase and upgrade == Upgrade()
    named = _named(spec, spec_path)
    if previous is not None and as_before and not _reasons(spec, previous, lock_path, named):
        _report(lock_path, as_json, quiet).show(previous, None, site, written=False)
        return
    access = open_access(site, offline=offline)
    parent = _parent(spec, previous, site, directory, rebase=rebase)
    question = Question(spec, directory, previous, platforms, upgrade, parent)
    image = None if named is None else _lock_image(named, reporter)
    manifests = _lock_manifests(spec, previous, access, reporter, again=upgrade.all)
    with ask(question, resolver_ports(spec, access, reporter, site.python_downloads)) as asked:
        # While uv waits for its index, all is done that does not wait for uv: imports above all.
        from tykky.lock.write import prepare, write_lock

        report = _report(lock_path, as_json, quiet)
        prepare(parent)
        lock = msgspec.structs.replace(asked.lock(), image=image, image_manifest=manifests)
    written = write_lock(lock_path, lock)
    report.show(lock, previous, site, written=written)


def _report(lock_path: Path, as_json: bool, quiet: bool) -> LockReport:
    from tykky.cli.lock_report import LockReport

    return LockReport(lock_path, as_json, quiet)


def _named(spec: Spec, spec_path: Path) -> Named | None:
    if spec.runtime.image == "host":
        return None
    from tykky.environment.root_image import Named  # few specs name an image, and each lock waits for imports

    return Named.of(spec, spec_path)


def _lock_image(named: Named, reporter: Reporter) -> LockedImage:
    from tykky.environment.root_image import lock_image
    from tykky.process import Commands

    return lock_image(named, Commands(), reporter)


def _lock_manifests(
    spec: Spec, previous: Lock | None, access: Access, reporter: Reporter, *, again: bool
) -> tuple[LockedManifest, ...]:
    if not is_reference(spec.runtime.image):
        return ()
    from tykky.environment.registry_root import lock_manifests

    return lock_manifests(spec, previous, access, reporter, again=again)


def _reasons(spec: Spec, lock: Lock, lock_path: Path, named: Named | None) -> tuple[str, ...]:
    from tykky.lock.freshness import stale_reasons
    from tykky.resolve.local import drifted_sources

    stale = (*stale_reasons(spec, lock), *drifted_sources(lock, lock_path.absolute().parent))
    if named is None or stale:
        return stale
    from tykky.environment.root_image import drift

    moved = drift(named, lock)
    return () if moved is None else (moved,)


def _check(spec: Spec, relatives: Relatives, report: LockReport, named: Named | None) -> None:
    lock = read_lock(report.lock_path)
    reasons = _reasons(spec, lock, report.lock_path, named)
    if reasons:
        lines = "\n".join(f"  {reason}" for reason in reasons)
        raise LockStale(f"{report.lock_path} is out of date:\n{lines}", hint="run 'tykky lock'")
    report.fresh(lock, relatives)


def _parent(spec: Spec, previous: Lock | None, site: Site, directory: Path, *, rebase: bool) -> Parent | None:
    """Return the environment to add to: the generation that is locked, unless another one is asked for."""
    asked = spec.environment.extends
    if asked is None:
        return None
    if previous is not None and previous.parent is not None and previous.requirements.extends == asked and not rebase:
        return previous.parent
    from tykky.environment.parent import find, parent_of

    relatives = open_relatives(site, directory)
    return parent_of(find(asked, relatives), relatives)


def _previous(lock_path: Path) -> Lock | None:
    return read_lock(lock_path) if lock_path.exists() else None


def _check_platforms(spec: Spec, spec_path: Path, platforms: tuple[str, ...]) -> None:
    for name in platforms:
        if name not in spec.environment.platforms:
            problem = Problem(f"{name} is not among them; --platform chooses from them", "environment.platforms")
            raise SpecError(str(spec_path), [problem])


def _check_not_empty(spec: Spec, spec_path: Path) -> None:
    if spec.conda is None and spec.pypi is None and spec.environment.extends is None:
        raise SpecError(
            str(spec_path), [Problem("neither [conda] nor [pypi] asks for anything")], hint="try 'tykky add numpy'"
        )


def _upgrade(everything: bool, names: tuple[str, ...], previous: Lock | None) -> Upgrade:
    if not names:
        return Upgrade(all=everything)
    from difflib import get_close_matches

    from tykky.spec.names import canonical_name

    wanted = frozenset(canonical_name(name) for name in names)
    known = {canonical_name(p.name) for p in previous.package} if previous is not None else set()
    for name in sorted(wanted - known):
        close = get_close_matches(name, sorted(known), n=1)
        problem = Problem(f"{name} is not locked", suggestion=close[0] if close else None)
        raise LockError("tykky.lock", [problem], hint="names are those of packages in the lock")
    return Upgrade(names=wanted)
