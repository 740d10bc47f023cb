"""The conda layer: locked packages linked for the prefix into a staged tree, their scripts run, their activation kept.

Linking needs no container and no namespace: every file is made as if it stood at the prefix. Only what packages *run*
(post-link scripts, activation) happens inside, with the staged tree mounted at the prefix.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from tykky.errors import BuildError
from tykky.layers.activation import shell
from tykky.layers.bare_python import bare_python
from tykky.layers.conda_packages import fetch_and_check, link
from tykky.layers.keys import PlannedLayer
from tykky.layers.staged import Ground, Staged
from tykky.layers.tree import make_scripts_relocatable, replace_file
from tykky.layers.workshop import Workshop
from tykky.lock.model import Package
from tykky.process import CommandFailed
from tykky.store.images import PackagePaths

# Fields of conda-meta/*.json that tell of this host, this moment, or the way files were linked.
_OF_THIS_HOST = ("extracted_package_dir", "package_tarball_full_path", "link", "requested_spec", "requested_specs")


def stage(planned: PlannedLayer, platform: str, workshop: Workshop) -> Staged:
    """Link the layer's packages into a staged tree; return what to pack."""
    prefix: str = planned.document["prefix"]
    image_root = workshop.scratch / "conda"
    tree = image_root / prefix.lstrip("/")
    tree.mkdir(parents=True)
    paths = _linked(planned.packages, (), tree, prefix, platform, workshop)

    def start() -> Sequence[str]:
        bare = bare_python(planned.packages, platform, workshop, fetch=False)
        return [bare] if bare is not None else workshop.inside.argv(prefix, (), tree, [f"{prefix}/bin/python"])

    if planned.document["post-link-scripts"]:
        run_post_link(planned.packages, tree, prefix, workshop)
    has_python = (tree / "bin" / "python").exists()
    return Staged(image_root=image_root, tree=tree, packages=paths, interpreter=start if has_python else None)


def stage_some(
    packages: Sequence[Package], kept: Sequence[Package], ground: Ground, platform: str, workshop: Workshop
) -> Staged:
    """Link `packages` into a tree of their own, for a delta over a stack that has `kept`."""
    tree = ground.tree
    tree.mkdir(parents=True)
    paths = _linked(packages, kept, tree, ground.prefix, platform, workshop)
    (tree / "conda-meta" / "history").unlink(missing_ok=True)  # the same in every layer

    def start() -> Sequence[str]:
        bare = bare_python(ground.packages, platform, workshop, fetch=ground.fetch)
        program = f"{ground.prefix}/bin/python"
        return [bare] if bare is not None else workshop.inside.argv(ground.prefix, ground.below, None, [program])

    return Staged(ground.image_root, tree, paths, interpreter=start if ground.has_python else None)


def _linked(
    packages: Sequence[Package], kept: Sequence[Package], tree: Path, prefix: str, platform: str, workshop: Workshop
) -> tuple[PackagePaths, ...]:
    fetch_and_check(packages, workshop.access, workshop.reporter)
    paths = link(packages, tree, prefix, workshop.access, platform, workshop.reporter, kept=kept)
    tidy(tree, prefix)
    # By name: of several that claim a path the last one counts as the one whose bytecode it is, in every stack.
    ordered = sorted(packages, key=lambda package: package.name)
    return tuple(PackagePaths(p.name, p.version, "conda", paths.get(p.name, ())) for p in ordered)


def tidy(tree: Path, prefix: str) -> None:
    """Make what linking wrote independent of where and when it was written."""
    make_scripts_relocatable(tree / "bin", (f"{prefix}/bin".encode(), os.fsencode(tree / "bin")))
    meta = tree / "conda-meta"
    for record in sorted(meta.glob("*.json")):
        replace_file(record, true_meta(record.read_bytes()))
    # conda reads this file to know that the directory is an environment; its content is a diary with dates.
    if meta.is_dir():
        replace_file(meta / "history", b"")
    for leftover in (".messages.txt",):
        (tree / leftover).unlink(missing_ok=True)


def true_meta(content: bytes) -> bytes:
    """Return a conda-meta record without what tells of this host, with sorted keys."""
    record = json.loads(content)
    for name in _OF_THIS_HOST:
        record.pop(name, None)
    return json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def run_post_link(packages: Sequence[Package], tree: Path, prefix: str, workshop: Workshop) -> None:
    """Run the packages' post-link scripts inside, dependencies first, with conda's variables.

    See https://docs.conda.io/projects/conda-build/en/stable/resources/link-scripts.html.
    """
    for package in in_order(packages):
        script = tree / "bin" / f".{package.name}-post-link.sh"
        if not script.is_file():
            continue
        variables = {
            "PREFIX": prefix,
            "PKG_NAME": package.name,
            "PKG_VERSION": package.version,
            "PKG_BUILDNUM": str(package.build_number),
            "CONDA_PREFIX": prefix,
            "PATH": f"{prefix}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
        }
        command = [shell(), f"{prefix}/bin/{script.name}"]
        with workshop.reporter.phase(f"post-link script of {package.name}"):
            try:
                argv = workshop.inside.argv(prefix, (), tree, command)
                workshop.commands.stream(argv, lambda line: None, environ=variables, cwd=Path("/"))
            except CommandFailed as error:
                raise BuildError(
                    f"the post-link script of {package.name} failed: {error.reason}",
                    hint="leave it out with 'post-link-scripts = false' in [conda], if the package works without",
                    output=_messages(tree) or error.output,
                ) from None
        said = _messages(tree)
        if said:
            workshop.reporter.note(f"{package.name}: {said}")


def _messages(tree: Path) -> str:
    """Return and remove what a link script wrote for the user to read."""
    file = tree / ".messages.txt"
    if not file.is_file():
        return ""
    text = file.read_text("utf-8", "replace").strip()
    file.unlink()
    return text


def in_order(packages: Sequence[Package]) -> list[Package]:
    """Return the packages with dependencies before their dependents; cycles are cut by name."""
    by_name = {package.name: package for package in packages}
    done: dict[str, Package] = {}
    for root in sorted(by_name):
        stack = [(root, False)]
        seen: set[str] = set()
        while stack:
            name, ready = stack.pop()
            if name in done or name not in by_name:
                continue
            if ready:
                done[name] = by_name[name]
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((dependency.split()[0], False) for dependency in reversed(by_name[name].depends))
    return list(done.values())
