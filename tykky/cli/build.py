"""`tykky build`: make what is missing and publish the environment directory."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common, spec_file
from tykky.cli.plain_words import Place
from tykky.cli.plan_report import show_plan
from tykky.cli.ports import LaunchPublisher, open_access, open_relatives, open_site, open_workshop
from tykky.cli.reporters import JsonReporter, human_bytes, reporter_for
from tykky.environment.build import Built, carry_out, unchanged
from tykky.environment.choice import ASKED_FOR, SITE_FLATTENS, How
from tykky.environment.directory import EnvironmentDirectory, RootRecord
from tykky.environment.leftovers import is_unfinished
from tykky.environment.parent import Relatives, check_content, lend
from tykky.environment.plan import Plan, Source, prepare
from tykky.environment.publish import check_place
from tykky.environment.registry_root import RegistryRoot
from tykky.environment.root_image import Named, root_record
from tykky.environment.sole import sole
from tykky.errors import TykkyError, UsageError
from tykky.layers.keys import counted
from tykky.lock.read import read_lock
from tykky.process import Commands
from tykky.progress import Reporter
from tykky.resolve.local import drifted_sources
from tykky.runtime.interpreter import Interpreter, find_interpreter
from tykky.site.cache import cache_directory
from tykky.spec.read import read_spec
from tykky.spec.record_exec import OneOff, plan_record, record, take_back
from tykky.store.images import Store
from tykky.store.tiers import Tiers, tiers_of

_CHECKED = "images-checked"  # in the cache: see tykky.environment.checked


@click.command()
@click.option("--prefix", "-p", type=Place(), help="The environment directory.  [default: ./NAME]")
@click.option("--dry-run", "-n", is_flag=True, help="Show the plan and write nothing.")
@click.option("--delta", is_flag=True, help="Append a layer, whatever it costs.")
@click.option("--rebuild", is_flag=True, help="Build the layers of a fresh build instead of appending one.")
@click.option("--flatten", is_flag=True, help="Make one layer of the result.")
@click.option("--exec", "commands", multiple=True, metavar="COMMAND", help="Run a command inside, and record it.")
@click.option("--offline", is_flag=True, help="Use only what is cached.")
@click.option("--no-check", is_flag=True, help="Build the lock even if it does not answer the spec any more.")
@click.option("--no-wait", is_flag=True, help="Fail if another build of this environment directory is running.")
@click.option("--keep", is_flag=True, help="Keep the staging directory of a build that fails.")
@spec_file
@common
def command(
    prefix: Path | None,
    dry_run: bool,
    delta: bool,
    rebuild: bool,
    flatten: bool,
    commands: tuple[str, ...],
    offline: bool,
    no_check: bool,
    no_wait: bool,
    keep: bool,
    spec_path: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Build the layers that are missing and publish them as the next generation of the environment directory.

    \b
    Examples:
      tykky build                       into ./NAME, NAME from the spec
      tykky build --prefix /proj/env    somewhere else
      tykky build --dry-run             which layers and packages, why, cached or not, sizes
      tykky build --rebuild             no layer on top: what a fresh build would have
      tykky build --exec 'pip install --no-build-isolation flash-attn'
                                        a script, recorded in [build] post-install
    """
    if delta and rebuild:
        raise click.UsageError("--delta and --rebuild exclude one another")
    if commands and dry_run:
        raise click.UsageError("what a command does is not known before it runs: leave --exec or --dry-run out")
    how: How = "delta" if delta else "rebuild" if rebuild else "best"
    wish = Wish(how, flatten, dry_run, not no_check, offline, not no_wait, keep)
    with recorded(spec_path, commands):
        source = _read(spec_path)
        target = _absolute(prefix or Path(source.spec.environment.name))
        _build(source, target, wish, Output(as_json, quiet))


@dataclass(frozen=True, slots=True)
class Wish:
    """How to build."""

    how: How
    flatten: bool
    dry_run: bool
    check: bool
    offline: bool
    wait: bool
    keep: bool


@dataclass(frozen=True, slots=True)
class Output:
    """How to say what was done."""

    as_json: bool
    quiet: bool


@contextlib.contextmanager
def recorded(spec_path: Path, commands: Sequence[str]) -> Iterator[None]:
    """Have commands recorded in the spec as scripts during the block, and for good if it ends well."""
    done: list[OneOff] = []
    try:
        for command in commands:
            one_off = plan_record(spec_path, command)
            record(spec_path, one_off)
            done.append(one_off)
        yield
    except BaseException as error:
        taken = [take_back(spec_path, one_off) for one_off in reversed(done) if one_off.changes]
        if taken and isinstance(error, TykkyError):
            said = "nothing was recorded" if all(taken) else f"{spec_path} was edited meanwhile: take the command out"
            error.hint = f"{error.hint}; {said}" if error.hint else said
        raise


def _build(source: Source, target: Path, wish: Wish, output: Output) -> None:
    reporter = reporter_for(as_json=output.as_json, quiet=output.quiet)
    site = open_site()
    if site.message and not output.as_json and not output.quiet:
        print(site.message.rstrip("\n"), file=sys.stderr, flush=True)
    lent = _Lent(source, open_relatives(site, source.directory), EnvironmentDirectory(target).store)

    def tiers(own: Store) -> Tiers:
        return replace(tiers_of(own, site), lent=lent.images)

    @cache
    def named_root() -> RootRecord | None:
        named = Named.of(source.spec, source.spec_path)
        if named is None:
            return None
        return root_record(named, source.lock, cache_directory(os.environ) / _CHECKED, Commands(), reporter)

    def planned() -> Plan:
        plan = prepare(
            source,
            target,
            find_interpreter_here,
            check=wish.check,
            how=wish.how,
            flatten=wish.flatten,
            tiers=tiers,
            policy=site.policy,
        )
        return replace(plan, root=_registry_root(plan) or named_root())

    check_place(target)
    parent = source.lock.parent
    if parent is not None and os.path.realpath(target) == parent.path:
        raise UsageError(
            f"{target} is what it extends itself", hint="name another directory with --prefix, or correct 'extends'"
        )
    seen = EnvironmentDirectory(target).moment()
    plan = planned()
    for drift in drifted_sources(source.lock, source.directory) if wish.check else ():
        reporter.warn(f"{drift} since it was locked; 'tykky lock' takes the new state")
    if wish.dry_run:
        show_plan(plan, as_json=output.as_json)
        return
    publisher = LaunchPublisher(site)
    started = time.monotonic()
    lent.check(cache_directory(os.environ), reporter)
    built = unchanged(plan, publisher)
    if built is None or is_unfinished(EnvironmentDirectory(target)):
        with sole(target, "build", wait=wish.wait, say=reporter.note), logged() as log:
            if EnvironmentDirectory(target).moment() != seen:
                plan = planned()  # another build, or a gc, has ended meanwhile
            if plan.missing and plan.why not in ("", ASKED_FOR, SITE_FLATTENS):
                reporter.note(f"{'made anew on its parent' if plan.target.lent else 'no delta'}: {plan.why}")
            workshop = open_workshop(site, open_access(site, offline=wish.offline), Commands(log=log), reporter)
            built = carry_out(
                plan, publisher, workshop, reporter, scratch_directory=site.scratch, keep=wish.keep, tiers=tiers
            )
    _report(built, time.monotonic() - started, output, site.policy.flatten_from)


def _registry_root(plan: Plan) -> RootRecord | RegistryRoot | None:
    """Return the root of a registry's image, if a spec names one: what the environment has, or what is to be made."""
    source = plan.source
    root = RegistryRoot.of(source.spec, source.lock, source.spec_path, plan.platform)
    return None if root is None else root.there(EnvironmentDirectory(plan.prefix).store) or root


@dataclass(frozen=True)
class _Lent:
    """The images that a build uses where the extended environment has them."""

    source: Source
    relatives: Relatives
    own: Store

    @cached_property
    def images(self) -> dict[str, Path]:
        """Key -> image, after a look at owners and sizes. Raises `EnvironmentDirectoryError`."""
        parent = self.source.lock.parent
        if parent is None:
            return {}
        return lend(parent, self.source.spec.environment.extends or parent.path, self.relatives, self.own)

    def check(self, cache: Path, reporter: Reporter) -> None:
        """Raise `EnvironmentDirectoryError` if an image is not what the lock says."""
        if self.source.lock.parent is not None:
            check_content(self.source.lock.parent, self.images, cache / _CHECKED, reporter)


def find_interpreter_here(wanted: str | None) -> Interpreter:
    """Return the host's interpreter for what a spec or lock says."""
    return find_interpreter(wanted, Commands())


def _read(spec_path: Path) -> Source:
    lock_path = spec_path.with_name("tykky.lock")
    spec, lock = read_spec(spec_path), read_lock(lock_path)
    return Source(spec, lock, spec_path, spec_path.read_bytes(), lock_path.read_bytes())


def _absolute(path: Path) -> Path:
    """Return the path as it was typed, but without `..`: what such a path names changes with what it passes."""
    return path.resolve() if ".." in path.parts else path.absolute()


@contextlib.contextmanager
def logged() -> Iterator[Path]:
    """Give the path of this build's log. It stays when the build fails, and the error names it."""
    directory = cache_directory(os.environ) / "logs"
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"build-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        yield log
    except TykkyError as error:
        if log.exists() and str(log) not in (error.hint or ""):
            place = f"the whole log is {log}"
            error.hint = f"{error.hint}; {place}" if error.hint else place
        raise
    except Exception:
        raise
    except BaseException:  # interrupted: nobody asks why
        _forget(log)
        raise
    _forget(log)


def _forget(log: Path) -> None:
    with contextlib.suppress(OSError):  # what was built is built
        log.unlink(missing_ok=True)


def _report(built: Built, seconds: float, output: Output, flatten_from: int) -> None:
    if output.as_json:
        emit_built(built, seconds)
        return
    if output.quiet:
        return
    if not built.changed:
        print(f"{built.path} is up to date (generation {built.record.number})")
        return
    count, lent = len(built.record.layers), sum(layer.lent for layer in built.record.layers)
    layers = counted(count - lent, "layer") + (f" on top of {lent} of {built.record.parent}" if lent else "")
    print(
        f"published generation {built.record.number} of {built.path}: "
        f"{layers}, {human_bytes(built.size)}, in {seconds:.1f} s"
    )
    flattened = sum(layer.kind != "script" for layer in built.record.layers[lent:])  # scripts stay on top
    if flattened >= flatten_from:
        how = "tykky build --rebuild" if lent else f"tykky flatten {_quoted(built.path)}"
        print(f"it is {count} layers deep: '{how}' makes one of {'its own' if lent else 'them'}")
    example = "python" if "python" in built.record.programs else next(iter(built.record.programs), None)
    if example is not None and built.record.number == 1:
        print(f"try  {_quoted(built.path / 'bin' / example)}")


def emit_built(built: Built, seconds: float) -> None:
    """Print what a build did as a line of JSON."""
    JsonReporter(sys.stdout).emit(
        "result",
        directory=str(built.path),
        generation=built.record.number,
        changed=built.changed,
        size=built.size,
        seconds=round(seconds, 3),
        layers=[layer.key for layer in built.record.layers],
    )


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
