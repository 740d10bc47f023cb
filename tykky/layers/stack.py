"""Lock to plan: which layers an environment consists of, bottom first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tykky.digests import file_sha256
from tykky.errors import Problem, SpecError
from tykky.layers.keys import Base, PlannedLayer, child_layer, conda_layer, interpreter_layer, pypi_layer, script_layer
from tykky.lock.model import Lock, Parent
from tykky.spec.model import Spec


@dataclass(frozen=True, slots=True)
class Target:
    """What a build leads to.

    `layers` are those of a fresh build, bottom first; the lowest `lent` of them are a parent's, which are there.
    `content` are the keys that say what the result holds, whatever layers it consists of in the end.
    """

    spec: Spec
    platform: str
    base: Base
    layers: tuple[PlannedLayer, ...]
    content: tuple[str, ...]
    lent: int = 0

    @classmethod
    def of(cls, spec: Spec, platform: str, base: Base, layers: tuple[PlannedLayer, ...]) -> Target:
        """Return the target without a parent: what it holds is what its layers are."""
        return cls(spec, platform, base, layers, tuple(layer.key for layer in layers))

    @property
    def scripts(self) -> tuple[PlannedLayer, ...]:
        """The layer of the environment's own scripts, which lies on top of all others, if it has one."""
        return tuple(layer for layer in self.layers[self.lent :] if layer.kind == "script")

    @property
    def packaged(self) -> tuple[PlannedLayer, ...]:
        """The layers without that of the scripts."""
        return self.layers[: len(self.layers) - len(self.scripts)]

    @property
    def packaged_content(self) -> tuple[str, ...]:
        """The content without what the scripts make."""
        return self.content[: len(self.content) - len(self.scripts)]


def plan_target(spec: Spec, lock: Lock, platform: str, base: Base, scripts: Sequence[tuple[str, str]]) -> Target:
    """Return what a build of the lock leads to. `scripts` are (path, sha256) of the post-install scripts."""
    if lock.parent is None:
        return Target.of(spec, platform, base, plan_stack(spec, lock, platform, base, scripts))
    parent = lock.parent
    spec = at_home(spec, parent)
    lent = tuple(PlannedLayer(x.kind, x.key, {}, (), f"of {parent.name}") for x in parent.layer)
    own = plan_stack(spec, lock, platform, base, ())
    content = parent.content
    layers = lent
    if own:
        added = child_layer(spec, platform, base, parent.content, own, lock.held(platform))
        layers, content = (*layers, added), (*content, added.key)
    if scripts:
        script = script_layer(spec, platform, scripts, content)
        layers, content = (*layers, script), (*content, script.key)
    return Target(spec, platform, base, layers, content, len(lent))


def at_home(spec: Spec, parent: Parent | None) -> Spec:
    """Return the spec as its layers see it: a child lives at its parent's prefix, whose software knows no other."""
    if parent is None:
        return spec
    environment = msgspec.structs.replace(spec.environment, name=parent.prefix.rpartition("/")[2])
    return msgspec.structs.replace(spec, environment=environment)


def plan_stack(
    spec: Spec, lock: Lock, platform: str, base: Base, scripts: Sequence[tuple[str, str]]
) -> tuple[PlannedLayer, ...]:
    """Return the layers of an environment's own packages for one platform, bottom first."""
    layers = [interpreter_layer(spec, platform, package) for package in lock.packages(platform, "python")]
    conda = lock.packages(platform, "conda")
    if conda:
        layers.append(conda_layer(spec, platform, conda, base))
    pypi = lock.packages(platform, "pypi")
    if pypi or (base.host_interpreter is not None and lock.parent is None):
        against = sorted(f"{p.name}=={p.version}" for p in lock.held(platform))
        below = [*(lock.parent.content if lock.parent is not None else ()), *(layer.key for layer in layers)]
        layers.append(pypi_layer(spec, platform, pypi, base, below, against))
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
