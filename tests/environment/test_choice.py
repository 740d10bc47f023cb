"""Which layers an environment gets, and what is said of it: decided over records and manifests, no image is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.layers.manifests import manifest
from tykky.environment.choice import SITE_FLATTENS, Choice, Current, How, choose
from tykky.environment.directory import EnvironmentDirectory, GenerationRecord, LayerRecord
from tykky.errors import BuildError
from tykky.layers.keys import Base, PlannedLayer
from tykky.layers.stack import Target, plan_stack
from tykky.lock.model import Lock, Package, Requirements
from tykky.site.model import Policy
from tykky.spec.model import Build, Conda, Environment, Pypi, Spec
from tykky.store.images import Manifest, PackagePaths, dump_manifest

SPEC = Spec(environment=Environment("demo"), conda=Conda(), pypi=Pypi())
BASE = Base("3.11")
MANY = {f"dep-{number}": "1" for number in range(10)}


def content(
    packages: Mapping[str, str], spec: Spec = SPEC, base: Base = BASE, scripts: Sequence[tuple[str, str]] = ()
) -> tuple[PlannedLayer, ...]:
    """Return the layers of packages, name -> version; PyPI's begin with `p-`. Each has 1000 bytes."""
    entries = [
        Package(name=n, version=v, kind="conda", platform="linux-64", url=f"file:///{n}-{v}.conda", build="0",
                sha256=f"{hash((n, v)) & 0xFFFF:064x}", size=1000)
        if not n.startswith("p-")
        else Package(name=n, version=v, kind="pypi", platform="linux-64", url=f"file:///{n}.whl", source="wheel",
                     sha256=f"{hash((n, v)) & 0xFFFF:064x}", size=1000)
        for n, v in sorted({"python": "3.11.7", "p-base": "1", **packages}.items())
    ]  # fmt: skip
    lock = Lock(lock_version="1.0", requirements=Requirements(), package=tuple(entries))
    return plan_stack(spec, lock, "linux-64", base, scripts)


def paths_of(kind: str, name: str) -> tuple[str, ...]:
    return (f"{kind}/{name}/a", f"{kind}/{name}/b")


@dataclass
class Desk:
    """An environment directory whose images are one byte."""

    directory: EnvironmentDirectory

    def publish(self, wanted: Sequence[PlannedLayer], stack: Sequence[PlannedLayer] | None = None) -> None:
        """Write a generation that holds `wanted`, by the layers of `stack` (else the same)."""
        private = self.directory.private
        number = self.directory.next_number() if self.directory.exists() else 1
        layers = []
        before: dict[tuple[str, str], str] = {}
        for layer in stack or wanted:
            image = self.directory.store.image(layer.key)
            image.parent.mkdir(parents=True, exist_ok=True)
            if not image.exists():
                image.write_bytes(b"x")
                image.with_suffix(".manifest").write_bytes(dump_manifest(self.manifest(layer, before)))
            made = self.directory.store.manifest(layer.key)
            before = {name: key for name, key in before.items() if name not in made.removed}
            before |= {(package.kind, package.name): package.identity for package in made.packages}
            layers.append(LayerRecord(layer.kind, layer.key, "", "", 1, f".tykky/layers/{image.name}"))
        record = GenerationRecord(
            format=1, name="demo", prefix="/tykky/demo", platform="linux-64", number=number, identity=str(number),
            created="", made_by="", layers=tuple(layers), programs=(), content=tuple(layer.key for layer in wanted),
        )  # fmt: skip
        generation = self.directory.generations / str(number)
        generation.mkdir(parents=True)
        (generation / "environment.json").write_bytes(msgspec.json.encode(record))
        (private / "current").unlink(missing_ok=True)
        (private / "current").symlink_to(f"generations/{number}")

    def manifest(self, layer: PlannedLayer, before: Mapping[tuple[str, str], str]) -> Manifest:
        new = {name: key for name, key in layer.identities.items() if before.get(name) != key}
        packages = [PackagePaths(n, "", kind, paths_of(kind, n), key) for (kind, n), key in sorted(new.items())]
        removed = tuple(sorted(set(before) - set(layer.identities))) if layer.kind == "delta" else ()
        files = {path: 100 for package in packages for path in package.paths}
        return manifest(
            files, key=layer.key, kind=layer.kind, packages=packages, removed=removed, document=dict(layer.document),
            whiteouts=[path for kind, n in removed for path in paths_of(kind, n)],
        )  # fmt: skip

    def choose(
        self,
        wanted: tuple[PlannedLayer, ...],
        how: How = "best",
        *,
        flatten: bool = False,
        spec: Spec = SPEC,
        policy: Policy | None = None,
    ) -> Choice:
        current = Current.of(self.directory)
        return choose(Target.of(spec, "linux-64", BASE, wanted), current, how=how, flatten=flatten, policy=policy)

    def update(self, wanted: tuple[PlannedLayer, ...], how: How = "best", *, flatten: bool = False) -> Choice:
        """Choose, and publish what was chosen."""
        choice = self.choose(wanted, how, flatten=flatten)
        self.publish(wanted, choice.stack)
        return choice


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(EnvironmentDirectory(tmp_path / "P"))


def kinds(choice: Choice) -> list[str]:
    return [layer.kind for layer in choice.stack]


def test_nothing_is_there_yet(desk: Desk) -> None:
    choice = desk.choose(content(MANY))
    assert (kinds(choice), choice.why) == (["conda", "pypi"], "")
    with pytest.raises(BuildError) as refused:
        desk.choose(content(MANY), "delta")
    assert refused.value.reason == "no delta can be made: nothing is there yet"
    assert refused.value.hint == "leave --delta out: fresh layers will be built"


def test_what_is_there_already_stays_as_it_is(desk: Desk) -> None:
    desk.publish(content(MANY))
    desk.update(content({**MANY, "new": "1"}))
    choice = desk.choose(content({**MANY, "new": "1"}))
    assert (kinds(choice), choice.why) == (["conda", "pypi", "delta"], "")
    assert kinds(desk.choose(content({**MANY, "new": "1"}), "delta")) == ["conda", "pypi", "delta"]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ({**MANY, "new": "1"}, "add 1 package"),
        ({**MANY, "p-new": "1", "new": "1"}, "add 2 packages"),
        ({**MANY, "dep-0": "2"}, "change 1 package"),
        ({**dict(list(MANY.items())[1:])}, "remove 1 package"),
        ({**dict(list(MANY.items())[2:]), "dep-9": "2", "p-dep-0": "1"},
         "add 1 package, change 1 package, remove 2 packages"),
    ],
)  # fmt: skip
def test_a_small_change_is_a_delta(desk: Desk, after: Mapping[str, str], reason: str) -> None:
    desk.publish(content(MANY))
    choice = desk.choose(content(after))
    assert (kinds(choice), choice.why, choice.passing) == (["conda", "pypi", "delta"], "", ())
    assert choice.stack[-1].reason == reason
    assert choice.moves is not None and choice.cost is not None
    assert choice.cost.delta == 1000 * len(choice.moves.install)


def test_most_of_it_changes(desk: Desk) -> None:
    desk.publish(content(MANY))
    after = content(dict.fromkeys(MANY, "2"))
    choice = desk.choose(after)
    assert (choice.stack, choice.why) == (after, "most of it changes")
    assert choice.moves is not None and len(choice.moves.install) == 10  # for a dry run to show
    assert kinds(desk.choose(after, "delta")) == ["conda", "pypi", "delta"]


def test_most_of_it_would_be_dead(desk: Desk) -> None:
    desk.publish(content(MANY))
    after = content({"dep-0": "1"})
    choice = desk.choose(after)  # what is left is no download, but 18 of 24 files would be hidden
    assert (choice.stack, choice.why) == (after, "75% of the bytes below would be dead")
    assert kinds(desk.choose(after, "delta"))[-1] == "delta"


def test_forced_fresh_layers(desk: Desk) -> None:
    desk.publish(content(MANY))
    after = content({**MANY, "new": "1"})
    choice = desk.choose(after, "rebuild")
    assert (choice.stack, choice.why) == (after, "asked for")


def test_fresh_layers_that_are_there_cost_nothing(desk: Desk) -> None:
    first = content(MANY)
    desk.publish(first)
    desk.update(content({**MANY, "new": "1"}))
    choice = desk.choose(first)
    assert (kinds(choice), choice.why) == (["conda", "pypi"], "")


def test_an_earlier_generation_that_holds_the_same(desk: Desk) -> None:
    desk.publish(content(MANY))
    second = desk.update(content({**MANY, "new": "1"}))
    desk.update(content({**MANY, "newer": "1"}), "rebuild")
    choice = desk.choose(content({**MANY, "new": "1"}))
    assert [layer.key for layer in choice.stack] == [layer.key for layer in second.stack]
    assert choice.why == "as in generation 2"
    assert desk.choose(content({**MANY, "new": "1"}), "delta").why == ""
    desk.directory.store.image(second.stack[-1].key).unlink()
    assert desk.choose(content({**MANY, "new": "1"})).why == ""


def test_a_delta_back_and_forth_is_one_onto_what_is_there(desk: Desk) -> None:
    desk.publish(content(MANY))
    desk.update(content({**MANY, "new": "1"}), "delta")
    choice = desk.update(content(MANY), "delta")
    assert choice.moves is not None and choice.moves.gone == {("conda", "new")}
    assert len(choice.stack) == 4


def test_a_deep_stack_is_squashed_to_one_delta_on_its_base(desk: Desk) -> None:
    desk.publish(content(MANY))
    held = dict(MANY)
    for number in range(Policy().depth - 2):
        held[f"new-{number}"] = "1"
        assert len(desk.update(content(held)).stack) == 3 + number
    choice = desk.choose(content({**held, "last": "1"}))
    assert kinds(choice) == ["conda", "pypi", "delta"]
    assert choice.stack[-1].reason == f"add {Policy().depth - 1} packages"
    assert [layer.key for layer in choice.stack[:2]] == [layer.key for layer in content(MANY)]
    again = Desk(EnvironmentDirectory(desk.directory.path.with_name("Q")))
    again.publish(content(MANY))
    direct = again.choose(content({**held, "last": "1"}), "delta")
    assert direct.stack[-1].key == choice.stack[-1].key, "a delta has the same key, whichever way led to it"


def test_scripts_count_for_the_depth_and_are_made_anew_on_top(desk: Desk) -> None:
    scripts = [("post.sh", "0" * 64)]
    desk.publish(content(MANY, scripts=scripts))
    held = dict(MANY)
    for number in range(Policy().depth - 3):
        held[f"new-{number}"] = "1"
        choice = desk.update(content(held, scripts=scripts))
        assert kinds(choice) == ["conda", "pypi", *["delta"] * (number + 1), "script"]
    assert kinds(desk.choose(content({**held, "last": "1"}, scripts=scripts))) == ["conda", "pypi", "delta", "script"]


def test_a_script_alone_changes_what_is_on_top_alone(desk: Desk) -> None:
    desk.publish(content(MANY, scripts=[("post.sh", "0" * 64)]))
    choice = desk.choose(content(MANY, scripts=[("post.sh", "1" * 64)]), "delta")
    assert (kinds(choice), choice.moves) == (["conda", "pypi", "script"], None)


def test_flattening_makes_one_layer_of_what_there_is(desk: Desk) -> None:
    wanted = content({**MANY, "new": "1"}, scripts=[("post.sh", "0" * 64)])
    desk.publish(content(MANY))
    choice = desk.choose(wanted, flatten=True)
    assert (kinds(choice), choice.why) == (["flat", "script"], "asked for")
    assert [layer.kind for layer in choice.passing] == ["conda", "pypi", "delta"]
    assert choice.stack[0].reason == "3 layers in one"


def test_a_site_says_how_deep_a_stack_may_be(desk: Desk) -> None:
    desk.publish(content(MANY))
    desk.update(content({**MANY, "one": "1"}))
    two = content({**MANY, "one": "1", "two": "2"})
    assert kinds(desk.choose(two)) == ["conda", "pypi", "delta", "delta"]
    shallow = desk.choose(two, policy=Policy(depth=3))
    assert (kinds(shallow), shallow.stack[-1].reason) == (["conda", "pypi", "delta"], "add 2 packages")
    most = content({f"{name}-new": "2" for name in MANY})
    assert desk.choose(most, policy=Policy(depth=3)).why == (
        "with 3 layers one delta has to replace 1, and most has changed since the base"
    )


def test_a_site_flattens_deep_stacks_unasked(desk: Desk) -> None:
    site = Policy(flatten="do", flatten_from=4)
    desk.publish(content(MANY))
    one, two = content({**MANY, "one": "1"}), content({**MANY, "one": "1", "two": "2"})
    assert kinds(desk.choose(one, policy=site)) == ["conda", "pypi", "delta"]
    desk.update(one)
    choice = desk.choose(two, policy=site)
    assert (kinds(choice), choice.why) == (["flat"], SITE_FLATTENS)
    assert [layer.kind for layer in choice.passing] == ["conda", "pypi", "delta", "delta"]
    assert kinds(desk.choose(two, "delta", policy=site)) == ["conda", "pypi", "delta", "delta"], "asked for"
    assert kinds(desk.choose(two, policy=Policy(flatten_from=4))) == ["conda", "pypi", "delta", "delta"]
    assert desk.choose(two, flatten=True, policy=site).why == "asked for"
    desk.update(two)
    assert kinds(desk.choose(two, policy=site)) == ["flat"], "also one that became so deep before the site said so"


def test_scripts_do_not_make_a_site_flatten_for_nothing(desk: Desk) -> None:
    site = Policy(flatten="do", flatten_from=3)
    wanted = content(MANY, scripts=[("post.sh", "0" * 64)])
    assert kinds(desk.choose(wanted, policy=site)) == ["conda", "pypi", "script"], "two that a flatten makes one of"


def test_a_delta_on_a_flat_layer(desk: Desk) -> None:
    desk.publish(content(MANY))
    desk.update(content({**MANY, "new": "1"}))
    desk.update(content({**MANY, "new": "1"}), flatten=True)
    choice = desk.choose(content({**MANY, "new": "1", "p-newer": "1"}))
    assert (kinds(choice), choice.stack[-1].reason) == (["flat", "delta"], "add 1 package")
    assert desk.choose(content({**MANY, "new": "1"}), flatten=True).stack[0].kind == "flat"


def changed(**build: object) -> Spec:
    return msgspec.structs.replace(SPEC, build=Build(**build))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (content(MANY, base=Base("3.12")), "Python's minor version changes: 3.11 -> 3.12"),
        (content(MANY, msgspec.structs.replace(SPEC, environment=Environment("other"))),
         "the prefix changes: /tykky/demo -> /tykky/other"),
        (content(MANY, changed(exclude=("*.a",))), "[build] exclude changes: [] -> ['*.a']"),
        (content({**MANY, "python": "3.11.8"}), "python itself changes, and with it all bytecode"),
        (content(MANY, msgspec.structs.replace(SPEC, conda=Conda(post_link_scripts=False))),
         "[conda] post-link-scripts changes: True -> False"),
        (content({**MANY, "new": "1"})[:1], "the pypi layer goes"),
    ],
)  # fmt: skip
def test_changes_that_no_delta_can_make(desk: Desk, after: tuple[PlannedLayer, ...], reason: str) -> None:
    desk.publish(content(MANY))
    choice = desk.choose(after)
    assert (choice.stack, choice.why) == (after, reason)
    with pytest.raises(BuildError) as refused:
        desk.choose(after, "delta")
    assert refused.value.reason == f"no delta can be made: {reason}"


def test_an_image_that_is_not_whole_is_made_again_with_the_layers(desk: Desk) -> None:
    desk.publish(content(MANY))
    image = desk.directory.store.image(content(MANY)[1].key)
    image.write_bytes(b"xx")
    choice = desk.choose(content({**MANY, "new": "1"}))
    assert (kinds(choice), choice.why) == (["conda", "pypi"], f"{image.name} has 2 bytes, 1 were written")
    image.unlink()
    assert desk.choose(content(MANY)).why == f"{image.name} is missing"


def test_a_manifest_that_cannot_be_read_means_fresh_layers(desk: Desk) -> None:
    desk.publish(content(MANY))
    path = desk.directory.store.image(content(MANY)[1].key).with_suffix(".manifest")
    path.unlink()
    assert desk.choose(content({**MANY, "new": "1"})).why == f"{path.name} is missing"
