"""Write `tykky.lock`: the same lock gives the same bytes, and a change of one package changes its lines only."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import tomli_w
from msgspec import Struct

from tykky.errors import LockError
from tykky.lock.model import Lock, Package, Parent, Resolvers
from tykky.toml.files import replace_text

# No version of Tykky here: a newer one must not change the bytes of an unchanged lock.
_HEADER = "# Written by 'tykky lock' from tykky.toml. Do not edit; keep it in git.\n"


def sorted_lock(lock: Lock) -> Lock:
    """Return the lock in the order of the file: platforms by name, packages by kind, name and platform.

    The artifacts of one package for two platforms stand side by side, since they change together.
    """
    return msgspec.structs.replace(
        lock,
        platform=tuple(sorted(lock.platform, key=lambda platform: platform.name)),
        image_manifest=tuple(sorted(lock.image_manifest, key=lambda manifest: manifest.platform)),
        package=tuple(sorted(lock.package, key=_order)),
    )


def render_lock(lock: Lock) -> str:
    """Return the text of the lockfile: one line per field, arrays with one line per element."""
    lock = sorted_lock(lock)
    parts = [_HEADER, tomli_w.dumps({"lock-version": lock.lock_version})]
    parts.append(_table("[requirements]", lock.requirements))
    if lock.resolvers != Resolvers():
        parts.append(_table("[resolvers]", lock.resolvers))
    parts += [_table("[[platform]]", platform) for platform in lock.platform]
    if lock.parent is not None:
        parts.append(_parent(lock.parent))
    if lock.image is not None:
        parts.append(_table("[image]", lock.image))
    parts += [_table("[[image-manifest]]", manifest) for manifest in lock.image_manifest]
    parts += [_table("[[package]]", package) for package in lock.package]
    return "\n".join(parts)


@cache
def _parent(parent: Parent) -> str:
    parts = [_table("[parent]", msgspec.structs.replace(parent, layer=(), package=()))]
    parts += [_table("[[parent.layer]]", layer) for layer in parent.layer]
    parts += [_table("[[parent.package]]", package) for package in sorted(parent.package, key=_order)]
    return "\n".join(parts)


def prepare(parent: Parent | None) -> None:
    """Render what is known of a lock before its packages are; `render_lock` then has it."""
    if parent is not None:
        _parent(parent)


def write_lock(path: Path, lock: Lock) -> bool:
    """Write the lockfile whole or not at all; return whether its bytes changed. Raises `LockError`."""
    return replace_text(path, render_lock(lock), LockError)


def _table(header: str, table: Struct) -> str:
    """Return one table. Each by itself: tomli_w would write a list of small tables as an inline array."""
    return f"{header}\n{tomli_w.dumps(msgspec.to_builtins(table))}"


def _order(package: Package) -> tuple[str, str, str, str]:
    return package.kind, package.name, package.platform, package.version
