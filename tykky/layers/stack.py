"""Lock to plan: which layers an environment consists of, bottom first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tykky.digests import file_sha256
from tykky.errors import Problem, SpecError
from tykky.layers.keys import Base, PlannedLayer, conda_layer, interpreter_layer, pypi_layer, script_layer
from tykky.lock.model import Lock
from tykky.spec.model import Spec


def plan_stack(
    spec: Spec, lock: Lock, platform: str, base: Base, scripts: Sequence[tuple[str, str]]
) -> tuple[PlannedLayer, ...]:
    """Return the layers of one platform, bottom first. `scripts` are (path, sha256) of the post-install scripts."""
    layers = [interpreter_layer(spec, platform, package) for package in lock.packages(platform, "python")]
    conda = lock.packages(platform, "conda")
    if conda:
        layers.append(conda_layer(spec, platform, conda, base))
    pypi = lock.packages(platform, "pypi")
    if pypi or base.host_interpreter is not None:
        against = sorted(f"{p.name}=={p.version}" for p in lock.packages(platform))
        layers.append(pypi_layer(spec, platform, pypi, base, [layer.key for layer in layers], against))
    if scripts:
        layers.append(script_layer(spec, platform, scripts, [layer.key for layer in layers]))
    return tuple(layers)


def script_digests(spec: Spec, directory: Path) -> tuple[tuple[str, str], ...]:
    """Return (path as written, sha256) of every `post-install` script; raise `SpecError` for one that is missing."""
    found = []
    for index, name in enumerate(spec.build.post_install):
        path = directory / name
        if not path.is_file():
            problem = Problem(f"{name}: no such file beside the spec", f"build.post-install[{index}]")
            raise SpecError(str(directory / "tykky.toml"), [problem])
        found.append((name, file_sha256(path)))
    return tuple(found)
