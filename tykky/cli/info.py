"""`tykky info`: show an environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from tykky.cli.clicks import click
from tykky.cli.options import common
from tykky.cli.plain_words import Place
from tykky.cli.ports import open_relatives, open_site
from tykky.cli.reporters import human_bytes
from tykky.environment.description import Description, describe
from tykky.environment.directory import EnvironmentDirectory, RootRecord
from tykky.environment.parent import Became, became, recorded_lock
from tykky.lock.model import Lock
from tykky.process import Commands
from tykky.runtime.enter import backend_here


@click.command()
@click.argument("directory", type=Place())
@click.option("--packages", is_flag=True, help="List the packages too.")
@click.option(
    "--spec", is_flag=True, help="Print the tykky.toml that the current generation was built from, only that."
)
@common
def command(directory: Path, packages: bool, spec: bool, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Show an environment directory: layers, sizes, packages, backend, generation.

    \b
    Examples:
      tykky info ./climate
      tykky info ./climate --packages
      tykky info ./climate --json
      tykky info ./climate --spec > tykky.toml
    """
    if spec:
        text = EnvironmentDirectory(directory.absolute()).record().spec
        print(json.dumps({"spec": text}, ensure_ascii=False) if as_json else text, end="\n" if as_json else "")
        return
    environment = EnvironmentDirectory(directory.absolute())
    description = describe(environment)
    lock = recorded_lock(environment)
    backend = backend_here(description.path, Commands(environ=os.environ)) or "none works here; see 'tykky doctor'"
    if as_json:
        document = _as_json(description, backend)
        if lock is not None and (parent := lock.parent) is not None:
            counts = {"layer": len(parent.layer), "package": len(parent.package)}
            document["parent"] = {**msgspec.to_builtins(parent), **counts}
            moved = _became(environment, lock)
            document["parent-moved-on"] = moved and moved.said
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show(description, backend, lock, packages=packages or verbose)


def _became(environment: EnvironmentDirectory, lock: Lock) -> Became | None:
    return became(environment, lock, open_relatives(open_site(), Path("/")))


def _show(description: Description, backend: str, lock: Lock | None, *, packages: bool) -> None:
    record = description.record
    print(f"{record.name}: {description.path}")
    print(f"  generation  {record.number}, made {record.created} by {record.made_by}")
    if lock is not None and (parent := lock.parent) is not None:
        print(f"  extends     {parent.name} ({parent.path}), generation {parent.generation}")
        if moved := _became(EnvironmentDirectory(description.path), lock):
            print(f"              {moved.said}; {moved.advice}")
    print(f"  prefix      {record.prefix}")
    print(f"  platform    {record.platform}" + (f", Python {record.python}" if record.python else ""))
    if (root := record.root) is not None:
        print(f"  root        {_root(root)}  {human_bytes(root.size)}  sha256 {root.digest[:12]}")
        print(f"  mounts      {', '.join(root.mounts) or 'none'}")
    print(f"  backend     {backend}")
    print(f"  on disk     {human_bytes(description.bytes_on_disk)} in {description.inodes} inodes")
    print(f"  programs    {len(record.programs)}")
    known = description.packages
    print(f"  packages    {'unknown' if known is None else len(known)}")
    print("  layers, bottom first")
    for layer in record.layers:
        lent = f"  in {Path(layer.image).parent.parent.parent}" if layer.lent else ""
        print(f"    {layer.kind:<6}  {layer.key[:12]}  {human_bytes(layer.size):>9}  sha256 {layer.digest[:12]}{lent}")
    if packages and known is not None:
        width = max((len(p.name) for p in known), default=0)
        for package in known:
            print(f"    {package.name:<{width}}  {package.version}  ({package.kind})")


def _root(root: RootRecord) -> str:
    return root.image if root.manifest is None else f"{root.written} ({root.manifest[:19]})"


def _as_json(description: Description, backend: str) -> dict[str, object]:
    record = description.record
    return {
        "name": record.name,
        "directory": str(description.path),
        "generation": record.number,
        "created": record.created,
        "made-by": record.made_by,
        "prefix": record.prefix,
        "platform": record.platform,
        "python": record.python,
        "backend": backend,
        "bytes": description.bytes_on_disk,
        "inodes": description.inodes,
        "programs": list(record.programs),
        "layers": [
            {"kind": x.kind, "key": x.key, "digest": x.digest, "size": x.size, "image": x.image} for x in record.layers
        ],
        **({} if record.root is None else {"root": msgspec.to_builtins(record.root)}),
        "packages": None
        if description.packages is None
        else [{"name": p.name, "version": p.version, "kind": p.kind} for p in description.packages],
    }
