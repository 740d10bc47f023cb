"""`tykky doctor`: say what this host offers, what is missing and how to get it, and what the site has set."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.ports import open_relatives, site_binds, site_programs
from tykky.cli.shadow import shadowing_function
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.parent import became, moved_on, recorded_lock
from tykky.errors import EnvironmentDirectoryError, RuntimeUnavailable, TykkyError
from tykky.layers.squashfs import known_problem
from tykky.lock.read import read_lock
from tykky.runtime.probe import Finding, Host, probe_host, usable
from tykky.site.load import load_site
from tykky.site.offer import Site
from tykky.site.table import Setting, settings_table
from tykky.store.striping import stripe_argv
from tykky.toml.document import dotted

_MARKS = {"ok": "found", "warn": "look", "missing": "missing"}
_WIDEST = 60  # characters of a value; all of it is in --json


@click.command("doctor")
@click.argument("directory", default=".", type=Place())
@common
def command(directory: Path, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Say what this host offers, what is missing and how to get it; DIRECTORY is where an environment would be.

    Below that stands every setting of site.toml with its value and the file it comes from. The exit status is 0 if at
    least one backend can start programs here, else 12.

    \b
    Examples:
      tykky doctor
      tykky doctor /scratch/project/envs
      tykky doctor --json               findings, backends and settings for a program
    """
    site = load_site(os.environ)
    host = Host(
        programs=site_programs(site),
        packer=site.program("mksquashfs"),
        binds=site_binds(site),
        image_tool_problem=known_problem,
    )
    findings = (
        *probe_host(host, directory.absolute(), site.scratch or Path(tempfile.gettempdir())),
        *named_places(site),
        *effects(site, directory.absolute(), os.environ.get("HOME")),
        *shadowing_function(os.environ),
        *extended(site, directory.absolute()),
        *rooted(directory.absolute()),
    )
    here = usable(findings)
    working = tuple(backend for backend in site.backends if backend in here)
    if as_json:
        print(json.dumps(_document(findings, working, site), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(findings, quiet=quiet)))
        print(f"\n{_said(working, here)}")
        if not quiet:
            print("\n".join(_settings(site)))
    return 0 if working else RuntimeUnavailable.exit_code


def named_places(site: Site) -> Iterator[Finding]:
    """Yield what the site names and is not there."""
    for name, path in site.environments.items():
        key = dotted(("environments", name))
        try:
            if not EnvironmentDirectory(path).exists():
                yield Finding(key, "warn", f"{path} is no environment directory", "no spec can extend it by this name")
        except EnvironmentDirectoryError as error:  # closed to us
            yield Finding(key, "warn", error.reason, error.hint)
    for path in site.stores:
        if not os.access(path, os.R_OK | os.X_OK):
            yield Finding("stores", "warn", f"{path} cannot be read", "its images are built or downloaded again")


def extended(site: Site, directory: Path) -> Iterator[Finding]:
    """Yield what has become of the environment that the one at `directory` extends, or its lock there."""
    environment, beside = EnvironmentDirectory(directory), directory / "tykky.lock"
    built = False
    try:
        built = environment.exists()
        lock = recorded_lock(environment) if built else None
        if lock is None and beside.is_file():
            lock = read_lock(beside)
    except TykkyError as error:
        yield Finding("extends", "warn", error.reason, error.hint)
        return
    if lock is None or (parent := lock.parent) is None:
        return
    relatives = open_relatives(site, directory)
    moved = became(environment, lock, relatives) if built else moved_on(lock, relatives, at_home=True)
    if moved is None:
        yield Finding("extends", "ok", f"{parent.name} ({parent.path}), generation {parent.generation}")
    else:
        yield Finding("extends", "warn", moved.said, moved.advice)


def rooted(directory: Path) -> Iterator[Finding]:
    """Yield whether the image that the environment at `directory` has as its root is there, by its size."""
    try:
        environment = EnvironmentDirectory(directory)
        root = environment.record().root
    except TykkyError:
        return
    if root is None:
        return
    problem = environment.root_damage(root)
    if problem is None:
        said = f"{environment.root_path(root)}: {root.size} bytes, as {root.origin}"
        yield Finding("image", "ok", said)
    elif root.key is None:
        yield Finding("image", "missing", problem, "'tykky lock' and 'tykky build' take what is there now")
    else:
        yield Finding("image", "missing", problem, "'tykky build' with its spec and lock makes it again")


def effects(site: Site, directory: Path, home: str | None) -> Iterator[Finding]:
    """Yield what of the site's settings does something here that may surprise, or nothing."""
    binds = site_binds(site)
    for path in dict.fromkeys([str(directory), *([home] if home else [])]):
        if binds.hides(path):
            yield Finding(
                "no-bind", "warn", f"programs do not see {path}", "name it under bind in [runtime] of site.toml"
            )
    if stripe_argv(Path("lfs"), site.striping, directory) is not None and shutil.which("lfs") is None:
        yield Finding("striping", "warn", "lfs is not on PATH", "images that are built here are not striped")


def _lines(findings: Sequence[Finding], *, quiet: bool) -> list[str]:
    """Return the table: what is found, and under what is not, how to get it."""
    shown = [finding for finding in findings if not quiet or finding.status != "ok"]
    width = max((len(finding.name) for finding in shown), default=0)
    lines = []
    for finding in shown:
        lines.append(f"{_MARKS[finding.status]:<8} {finding.name:<{width}}  {finding.detail}")
        if finding.advice is not None:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.advice}")
    return lines


def _said(working: Sequence[str], here: Sequence[str]) -> str:
    if working:
        return f"backends that work here: {', '.join(working)}"
    return f"no backend of site.toml works here; {', '.join(here)} would" if here else "no backend works here"


def _settings(site: Site) -> list[str]:
    """Return the table of settings: key, value, file."""
    rows = [(setting.key, _value(setting), _origin(setting)) for setting in settings_table(site)]
    keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    files = ", ".join(map(str, site.files)) or "no site.toml is there"
    lines = [f"{key:<{keys}}  {value:<{values}}  {origin}" for key, value, origin in rows]
    return ["", f"settings ({files}):", *lines]


def _value(setting: Setting) -> str:
    if setting.value is None or setting.value == {}:
        return "-"
    text = json.dumps(setting.value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _origin(setting: Setting) -> str:
    return "default" if setting.origin is None else str(setting.origin)


def _document(findings: Sequence[Finding], working: Sequence[str], site: Site) -> dict[str, object]:
    return {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "backends": list(working),
        "site-files": [str(file) for file in site.files],
        "settings": [
            {"key": row.key, "value": row.value, "origin": None if row.origin is None else str(row.origin)}
            for row in settings_table(site)
        ],
    }
