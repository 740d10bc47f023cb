"""`tykky lock`: choose exact artifacts and write tykky.lock."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from tykky.cli.options import common, spec_file
from tykky.cli.ports import open_access, open_site, resolver_ports
from tykky.cli.reporters import JsonReporter, reporter_for
from tykky.errors import LockError, LockStale, Problem, SpecError
from tykky.lock.changes import Change, changes
from tykky.lock.freshness import stale_reasons
from tykky.lock.model import Lock
from tykky.lock.read import read_lock
from tykky.lock.write import write_lock
from tykky.resolve.local import drifted_sources
from tykky.resolve.solve import Question, Upgrade, resolve
from tykky.spec.model import Spec
from tykky.spec.read import read_spec


@click.command()
@click.option("--check", is_flag=True, help="Only say whether tykky.lock still answers the spec (exit code 5 if not).")
@click.option("--upgrade", "-U", "upgrade_all", is_flag=True, help="Let all locked versions move, or those of NAME….")
@click.option("--platform", "platforms", multiple=True, metavar="PLATFORM", help="Resolve only this platform again.")
@click.option("--offline", is_flag=True, help="Use only what is cached.")
@click.argument("upgraded", nargs=-1, metavar="[NAME]...")
@spec_file
@common
def command(
    check: bool,
    upgrade_all: bool,
    platforms: tuple[str, ...],
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
      tykky lock --upgrade          newest versions of everything
      tykky lock --upgrade numpy    newest numpy, the rest as it is
    """
    if upgraded and not upgrade_all:
        raise click.UsageError(f"{' '.join(upgraded)}: names go with --upgrade")
    spec = read_spec(spec_path)
    lock_path = spec_path.with_name("tykky.lock")
    if check:
        _check(spec, lock_path, as_json=as_json, quiet=quiet)
        return
    _check_platforms(spec, spec_path, platforms)
    _check_not_empty(spec, spec_path)
    previous = _previous(lock_path)
    upgrade = _upgrade(upgrade_all, upgraded, previous)
    reporter = reporter_for(as_json=as_json, quiet=quiet)
    if previous is not None and not platforms and upgrade == Upgrade() and not _reasons(spec, previous, lock_path):
        _report(lock_path, (), written=False, as_json=as_json, quiet=quiet)
        return
    site = open_site()
    access = open_access(site, offline=offline)
    question = Question(spec, spec_path.absolute().parent, previous, platforms, upgrade)
    lock = resolve(question, resolver_ports(spec, access, reporter, site.python_downloads))
    written = write_lock(lock_path, lock)
    _report(lock_path, changes(previous, lock), written=written, as_json=as_json, quiet=quiet)


def _reasons(spec: Spec, lock: Lock, lock_path: Path) -> tuple[str, ...]:
    return (*stale_reasons(spec, lock), *drifted_sources(lock, lock_path.absolute().parent))


def _check(spec: Spec, lock_path: Path, *, as_json: bool, quiet: bool) -> None:
    reasons = _reasons(spec, read_lock(lock_path), lock_path)
    if reasons:
        lines = "\n".join(f"  {reason}" for reason in reasons)
        raise LockStale(f"{lock_path} is out of date:\n{lines}", hint="run 'tykky lock'")
    if as_json:
        print(json.dumps({"fresh": True}))
    elif not quiet:
        print(f"{lock_path} answers the spec")


def _previous(lock_path: Path) -> Lock | None:
    return read_lock(lock_path) if lock_path.exists() else None


def _check_platforms(spec: Spec, spec_path: Path, platforms: tuple[str, ...]) -> None:
    for name in platforms:
        if name not in spec.environment.platforms:
            problem = Problem(f"{name} is not among them; --platform chooses from them", "environment.platforms")
            raise SpecError(str(spec_path), [problem])


def _check_not_empty(spec: Spec, spec_path: Path) -> None:
    if spec.conda is None and spec.pypi is None:
        raise SpecError(
            str(spec_path), [Problem("neither [conda] nor [pypi] asks for anything")], hint="try 'tykky add numpy'"
        )


def _upgrade(everything: bool, names: tuple[str, ...], previous: Lock | None) -> Upgrade:
    if not names:
        return Upgrade(all=everything)
    from difflib import get_close_matches

    from packaging.utils import canonicalize_name

    wanted = frozenset(canonicalize_name(name) for name in names)
    known = {canonicalize_name(p.name) for p in previous.package} if previous is not None else set()
    for name in sorted(wanted - known):
        close = get_close_matches(name, sorted(known), n=1)
        problem = Problem(f"{name} is not locked", suggestion=close[0] if close else None)
        raise LockError("tykky.lock", [problem], hint="names are those of packages in the lock")
    return Upgrade(names=wanted)


def _report(lock_path: Path, changed: tuple[Change, ...], *, written: bool, as_json: bool, quiet: bool) -> None:
    if as_json:
        import sys

        JsonReporter(sys.stdout).emit(
            "result", lock=str(lock_path), written=written, changes=[change.as_json() for change in changed]
        )
        return
    if quiet:
        return
    if not written:
        print(f"{lock_path} is up to date")
        return
    for change in changed:
        print(change.render())
    print(f"wrote {lock_path}")
