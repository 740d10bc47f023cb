"""The scenes of one worker, laid out once, and the points at which something happens to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.crash.scenes import SCENES, Laid, Scene, Step, Wants, lay_out, make_house, spec
from tests.crash.verdict import outcome
from tests.crash.warm import Warm

PARTS = 40
_INNER = re.compile(r"/temporary/tykky-[^/]*/|/\.host-[^/]*/tree/|/logs/build-|^/dev/null$")
_SPARSE = 8


@dataclass
class Stage:
    """The scenes of one worker, and the process that dies for them."""

    root: Path
    warm: Warm
    _steps: dict[tuple[Step, ...], Laid] = field(default_factory=dict)
    _laid: dict[str, tuple[Laid, list[int], dict[str, object]]] = field(default_factory=dict)

    def run(
        self, laid: Laid, words: tuple[str, ...], point: int | None = None, fail: int | None = None
    ) -> dict[str, Any]:
        """Run a verb in a scene, and kill it before its call number `point`, or let that call fail."""
        return self.warm.run(words, laid.desk.directory, environ=laid.environ, kill=point, fail=fail)

    def do(self, laid: Laid, *verbs: tuple[str, ...] | None) -> None:
        """Run verbs in a scene, undisturbed."""
        for words in verbs:
            if words is not None:
                self.warm.do(*words, cwd=laid.desk.directory, environ=laid.environ)

    def laid(self, scene: Scene) -> tuple[Laid, list[int], dict[str, object]]:
        """Return a scene, the calls before which it is killed, and what comes of it undisturbed."""
        if scene.name not in self._laid:
            laid = replace(self._after(scene.steps), scene=scene)
            copy = laid.copy(self.root / f"{scene.name}-undisturbed", others=False)
            told = self.run(copy, scene.words)
            assert told["status"] == 0, told["err"]
            self.do(copy, scene.after)
            self._laid[scene.name] = (laid, points(told["calls"], cold=scene.cold), outcome(copy))
        return self._laid[scene.name]

    def _after(self, steps: tuple[Step, ...]) -> Laid:
        """Return a desk after these steps; scenes share what they have in common."""
        if steps not in self._steps:
            before = self._after(steps[:-1]) if steps else None
            root = self.root / f"steps-{len(self._steps)}"
            if before is None:
                make_house(self.root / "house")
                laid = lay_out(root, self.root / "cache")
            else:
                laid = before.copy(root, others=False)
                self._take(laid, steps[-1])
            self._steps[steps] = laid
        return self._steps[steps]

    def _take(self, laid: Laid, step: Step) -> None:
        if isinstance(step, Wants):
            laid.desk.write(spec(self.root / "house", *step.packages))
        else:
            self.do(laid, step)


def points(calls: list[list[str]], *, cold: bool) -> list[int]:
    """Return the numbers of the calls that matter: all on what lasts, and some of the many others."""
    if cold:
        return [index for index, (_, path) in enumerate(calls) if "/cache/" in path and not _INNER.search(path)]
    inner = [index for index, (_, path) in enumerate(calls) if _INNER.search(path)]
    return sorted({*range(len(calls))} - set(inner) | set(inner[::_SPARSE]))


def parts() -> Iterator[Any]:
    for index, scene in enumerate(SCENES):
        # Every second point: two calls that follow one another seldom leave two different states.
        for part in range(0, PARTS, 2):
            # In `make test` another part of each scene, so that the parts that scenes share are met at more points.
            marks = [] if part == 2 * index % PARTS else [pytest.mark.thorough]
            yield pytest.param(scene, part, id=f"{scene.name}-{part}", marks=marks)
