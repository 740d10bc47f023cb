"""The verbs over generations, on an environment that has grown by two deltas."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MINOR, Desk, record, run
from tests.end_to_end.traces import state
from tykky.environment.directory import EnvironmentDirectory
from tykky.environment.leases import end_lease, write_lease
from tykky.environment.sole import sole
from tykky.guard.ownership import make_private
from tykky.store.images import MANIFEST_FORMAT

VERSION = "import alpha; print(alpha.VERSION)"


def spec(wheelhouse: Path, *dependencies: str) -> str:
    listed = ", ".join(json.dumps(dependency) for dependency in dependencies)
    return (
        f'[environment]\nname = "demo"\n\n[pypi]\npython = "{MINOR}"\ndependencies = [{listed}]\n'
        f'find-links = ["{wheelhouse}"]\nindex-url = "file://{wheelhouse}"\n'
    )


@pytest.fixture(scope="session")
def grown_once(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Path:
    """A desk with three generations: alpha 1.0; beta comes; alpha 1.1. The second and third are deltas."""
    place = tmp_path_factory.mktemp("grown")
    environ = {"HOME": str(place), "XDG_CACHE_HOME": str(place / "cache"), "XDG_CONFIG_HOME": str(place / "config")}
    desk = Desk(place / "my désk")
    desk.directory.mkdir()
    for dependencies in (("alpha==1.0",), ("alpha==1.0", "beta"), ("alpha==1.1", "beta")):
        desk.write(spec(wheelhouse, *dependencies)).tykky("lock", environ=environ)
        first = dependencies == ("alpha==1.0",)
        desk.tykky("build", "--prefix", "env", *(() if first else ("--delta",)), environ=environ)
    return desk.directory


@pytest.fixture(autouse=True)
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where builds work and gc looks for what they left: not in /tmp, where other tests kill theirs."""
    made = tmp_path / "scratch"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    return made


@pytest.fixture
def grown(grown_once: Path, desk: Desk) -> Path:
    """The environment directory with three generations, for one test."""
    desk.directory.rmdir()
    subprocess.run(["cp", "-a", grown_once, desk.directory], check=True)
    return desk.directory / "env"


def version(env: Path) -> str:
    return run([env / "bin" / "python", "-c", VERSION]).strip()


def images(env: Path, number: int | None = None) -> list[str]:
    folder = "current" if number is None else f"generations/{number}"
    document = json.loads((env / ".tykky" / folder / "environment.json").read_text())
    return [layer["key"] for layer in document["layers"]]


def image(env: Path, key: str) -> Path:
    return env / ".tykky" / "layers" / f"{key}.sqfs"


def contents(env: Path) -> dict[str, tuple[int, bytes]]:
    """Return all paths with modes and contents; taking a guard changes the time of a directory."""
    return {name: (mode, content) for name, (mode, _, content) in state(env).items()}


def test_history(desk: Desk, grown: Path) -> None:
    shown = desk.tykky("history", "env").out.splitlines()
    assert [line.split()[:2] for line in shown[:1]] == [["*", "3"]]
    assert [line.split()[0] for line in shown[1:]] == ["2", "1"]
    assert "  ~1  3 layers, " in shown[0]
    assert "  +1  2 layers, " in shown[1]
    assert "  +1  1 layer, " in shown[2]
    entries = json.loads(desk.tykky("history", "env", "--json").out)
    third, second, first = entries
    assert [e["current"] for e in entries] == [True, False, False]
    assert third["packages"] == {
        "added": [],
        "changed": [{"name": "alpha", "kind": "pypi", "before": "1.0", "after": "1.1"}],
        "removed": [],
    }
    assert [p["name"] for p in second["packages"]["added"]] == ["beta"]
    assert first["new"] == first["size"]
    assert second["new"] == second["layers"][-1]["size"] < second["size"]
    assert all(entry["user"] and entry["created"] for entry in entries)
    details = desk.tykky("history", "env", "-v").out
    assert "~ alpha 1.0 -> 1.1 (pypi)\n" in details
    assert f"delta  {third['layers'][-1]['key'][:12]}" in details


def test_diff(desk: Desk, grown: Path) -> None:
    assert desk.tykky("diff", "env").out == "~ alpha 1.0 -> 1.1 (pypi)\n"
    assert desk.tykky("diff", "env", "1").out == "+ beta 2.0 (pypi)\n~ alpha 1.0 -> 1.1 (pypi)\n"
    assert desk.tykky("diff", "env", "3", "1").out == "~ alpha 1.1 -> 1.0 (pypi)\n- beta 2.0 (pypi)\n"
    assert desk.tykky("diff", "env", "2", "2").out == "generations 2 and 2 have the same packages\n"
    site = f"lib/python{MINOR}/site-packages"
    files = json.loads(desk.tykky("diff", "env", "--files", "--json").out)["files"]
    assert f"{site}/alpha/__init__.py" in files["changed"]
    assert f"{site}/alpha-1.1.dist-info/METADATA" in files["added"]
    assert f"{site}/alpha-1.0.dist-info/METADATA" in files["removed"]
    # The same in both wheels: installed anew, read from both images, and found to be the same.
    assert f"{site}/alpha/tool.py" not in str(files)
    assert "pyvenv.cfg" not in str(files)
    assert "beta" not in str(files)
    assert f"~ {site}/alpha/__init__.py\n" in desk.tykky("diff", "env", "--files").out


def test_diff_against_what_is_not_there(desk: Desk, grown: Path) -> None:
    assert desk.tykky("rollback", "env", "1").status == 0
    said = desk.tykky("diff", "env", status=11).err
    assert said == (
        f"error: {grown} has no generation before 1 to compare it with\n\n"
        "hint: name two generations; 'tykky history' lists them\n"
    )


def test_rollback_and_forward_again(desk: Desk, grown: Path) -> None:
    assert version(grown) == "1.1"
    said = desk.tykky("rollback", "env").out
    assert said.startswith("env runs generation 2 again, made ")
    assert version(grown) == "1.0"
    assert desk.tykky("rollback", "env", "2").out == "env runs generation 2 already\n"
    answer = json.loads(desk.tykky("rollback", "env", "1", "--json").out)
    assert answer == {"directory": str(grown), "generation": 1, "before": 2, "changed": True}
    assert desk.tykky("rollback", "env", "3", "-q").out == ""
    assert version(grown) == "1.1"
    assert record(grown)["number"] == 3


def test_programs_follow_a_rollback(desk: Desk, grown: Path, wheelhouse: Path) -> None:
    (grown / "bin" / "mine").write_text("#!/bin/sh\n")
    desk.write(spec(wheelhouse)).tykky("lock")
    desk.tykky("build", "--prefix", "env")
    assert not (grown / "bin" / "alpha").exists()
    desk.tykky("rollback", "env")
    assert json.loads(run([grown / "bin" / "alpha"]))["executable"] == str(grown / "bin" / "python")
    desk.tykky("rollback", "env", "4")
    assert not (grown / "bin" / "alpha").exists()
    assert (grown / "bin" / "mine").exists()


def test_mount_points_follow_a_rollback(desk: Desk, wheelhouse: Path) -> None:
    """What stands at the top of the tree is linked in the host image, for both sides of a switch."""
    (desk.directory / "post.sh").write_text(
        'set -eu\nmkdir "$TYKKY_BUILD_PREFIX/extra"\n: >"$TYKKY_BUILD_PREFIX/extra/x"\n'
    )
    scripted = spec(wheelhouse, "alpha==1.0") + '\n[build]\npost-install = ["post.sh"]\n'
    for text in (scripted, spec(wheelhouse, "alpha==1.1")):
        desk.write(text).tykky("lock")
        desk.tykky("build", "--prefix", "env")
    env = desk.directory / "env"
    host = env / ".tykky" / "host.sqfs"
    assert "/.identity/extra" in run(["unsquashfs", "-l", host]), "of the generation before"
    host.unlink()
    desk.tykky("rollback", "env")
    assert "/.identity/extra" in run(["unsquashfs", "-l", host])
    made = host.stat().st_ino
    desk.tykky("rollback", "env", "1")
    assert host.stat().st_ino == made, "nothing to do"
    assert run([env / "bin" / "python", "-c", "import os, sys; print(os.listdir(sys.prefix + '/extra'))"]) == "['x']\n"


def test_a_build_after_a_rollback_makes_the_next_number(desk: Desk, grown: Path, wheelhouse: Path) -> None:
    desk.tykky("rollback", "env", "1")
    desk.write(spec(wheelhouse, "beta", "alpha==1.0")).tykky("lock")
    assert desk.tykky("build", "--prefix", "env").out.startswith(f"published generation 4 of {grown}: ")
    assert record(grown)["number"] == 4
    assert images(grown, 4) == images(grown, 2), "nothing is made twice"


def test_rollback_to_what_was_never_there(desk: Desk, grown: Path) -> None:
    for verb in ("rollback", "diff", "verify"):
        assert desk.tykky(verb, "env", "9", status=11).err == (
            f"error: {grown} has no generation 9\n\nhint: there are 1, 2, 3; see 'tykky history'\n"
        )
    shutil.rmtree(grown / ".tykky" / "generations" / "2")
    for verb in ("rollback", "diff", "verify"):
        assert desk.tykky(verb, "env", "2", status=11).err == (
            f"error: generation 2 of {grown} was collected: 'tykky gc' has removed it\n\n"
            "hint: there are 1, 3; see 'tykky history'\n"
        )
    assert version(grown) == "1.1"


def test_rollback_to_a_generation_whose_image_is_gone(desk: Desk, grown: Path) -> None:
    lost = image(grown, images(grown, 2)[1])
    lost.unlink()
    before = contents(grown)
    failed = desk.tykky("rollback", "env", "2", status=11)
    assert failed.err == (
        f"error: generation 2 of {grown} cannot be used:\n  image {lost.name} is missing\n\n"
        f"hint: nothing was changed; 'tykky build' with its lock, {grown}/.tykky/generations/2/tykky.lock, "
        "makes the images again\n"
    )
    assert contents(grown) == before


def test_tree(desk: Desk, grown: Path) -> None:
    base, beta, alpha = images(grown)
    shown = desk.tykky("tree", "env").out.splitlines()
    assert shown[0] == "demo: env, generation 3"
    assert shown[1].startswith(f"  delta {alpha[:12]}: ")
    assert shown[2] == "    alpha 1.1 (pypi)"
    assert shown[3].startswith(f"  delta {beta[:12]}: ")
    assert shown[4] == "    beta 2.0 (pypi)"
    assert shown[5].startswith(f"  pypi {base[:12]}: ")
    assert "0 packages" in shown[5]
    assert " dead" in shown[5]
    document = json.loads(desk.tykky("tree", "env", "--json").out)
    assert document["live"] == sum(layer["live"] for layer in document["layers"])
    assert [bool(layer["dead"]) for layer in document["layers"]] == [True, False, False]
    assert document["layers"][2]["whiteouts"] > 0


def test_flatten(desk: Desk, grown: Path) -> None:
    for name in ("tykky.toml", "tykky.lock"):
        (desk.directory / name).unlink()
    before = record(grown)
    said = desk.tykky("flatten", "env").out
    assert said.startswith("published generation 4 of env: 1 layer in place of 3, ")
    after = record(grown)
    assert [layer["kind"] for layer in after["layers"]] == ["flat"]  # type: ignore[attr-defined]
    for field in ("content", "identity", "programs", "spec", "top", "python", "interpreter"):
        assert after[field] == before[field], field
    assert after["why"] == "flattened from generation 3"
    assert version(grown) == "1.1"
    generations = grown / ".tykky" / "generations"
    assert (generations / "4" / "tykky.lock").read_bytes() == (generations / "3" / "tykky.lock").read_bytes()
    assert desk.tykky("diff", "env", "3", "4", "--files").out == "generations 3 and 4 have the same files\n"
    assert desk.tykky("flatten", "env").out == "env is flat already (generation 4)\n"
    document = json.loads(desk.tykky("tree", "env", "--json").out)
    assert document["dead"] == 0


def test_flatten_makes_what_a_build_would_flatten(desk: Desk, grown: Path) -> None:
    """The same key and the same bytes, from images alone and from spec and lock."""
    subprocess.run(["cp", "-a", grown, desk.directory / "built"], check=True)
    desk.tykky("flatten", "env")
    desk.tykky("build", "--prefix", "built", "--flatten")
    assert record(grown)["layers"] == record(desk.directory / "built")["layers"]
    assert len(images(grown)) == 1


def test_flatten_leaves_what_scripts_did_on_top(desk: Desk, wheelhouse: Path) -> None:
    script = desk.directory / "post.sh"
    script.write_text('#!/bin/sh\nset -eu\necho made >"$TYKKY_BUILD_PREFIX/made"\nrm "$TYKKY_BUILD_PREFIX/bin/alpha"\n')
    script.chmod(0o755)
    more = '\n[build]\npost-install = ["post.sh"]\n'
    for dependencies in (("alpha==1.0",), ("alpha==1.0", "beta")):
        desk.write(spec(wheelhouse, *dependencies) + more).tykky("lock")
        desk.tykky("build", "--prefix", "env", *(() if len(dependencies) == 1 else ("--delta",)))
    env = desk.directory / "env"
    assert [x["kind"] for x in record(env)["layers"]] == ["pypi", "delta", "script"]  # type: ignore[attr-defined]
    top = images(env)[-1]
    script.unlink()
    desk.tykky("flatten", "env")
    assert [x["kind"] for x in record(env)["layers"]] == ["flat", "script"]  # type: ignore[attr-defined]
    assert images(env)[-1] == top, "it was not run again"
    assert desk.tykky("diff", "env", "--files").out == "generations 2 and 3 have the same files\n"
    code = "import sys, shared_ns.beta_part; print(open(sys.prefix + '/made').read(), end='')"
    assert run([env / "bin" / "python", "-c", code]) == "made\n"
    assert not (env / "bin" / "alpha").exists()
    assert desk.tykky("flatten", "env").out == "env is flat already (generation 3)\n"
    assert desk.tykky("verify", "env", "--full", "-q").status == 0


def test_generations_of_a_conda_environment(desk: Desk, conda_channel: Path) -> None:
    """Clobbered and oddly named files, activation, and programs that come and go."""

    def conda_spec(*names: str) -> str:
        listed = "".join(f'{name} = "*"\n' for name in names)
        text = f'[environment]\nname = "demo"\n\n[conda]\nchannels = ["{conda_channel.as_uri()}"]\n'
        return f'{text}[conda.dependencies]\npython = "{MINOR}.*"\n{listed}'

    base = ("odd-names", "clobber-a")
    for names in (base, (*base, "clobber-b", "greeter"), ("odd-names", "greeter")):
        desk.write(conda_spec(*names)).tykky("lock")
        desk.tykky("build", "--prefix", "env", *(() if names == base else ("--delta",)))
    env = desk.directory / "env"
    said = run([env / "bin" / "greet"])
    desk.tykky("flatten", "env")
    assert [layer["kind"] for layer in record(env)["layers"]] == ["flat"]  # type: ignore[attr-defined]
    assert desk.tykky("diff", "env", "3", "4", "--files").out == "generations 3 and 4 have the same files\n"
    assert run([env / "bin" / "greet"]) == said
    assert desk.tykky("verify", "env", "--full", "-q").status == 0
    desk.tykky("rollback", "env", "1")
    assert not (env / "bin" / "greet").exists()
    said = desk.tykky("diff", "env", "2", "--files").out
    assert "- greeter " in said, "from generation 2 to the current one"
    assert "- bin/greet\n" in said
    desk.tykky("rollback", "env", "3")
    assert desk.tykky("verify", "env", "2", "--full", "-q").status == 0


def test_flatten_of_a_damaged_environment(desk: Desk, grown: Path) -> None:
    lost = image(grown, images(grown)[1])
    lost.unlink()
    before = contents(grown)
    failed = desk.tykky("flatten", "env", status=11).err
    assert failed == (
        f"error: {grown} cannot be flattened: {lost.name} is missing\n\n"
        "hint: run 'tykky build' with the spec and lock it was made from; it makes the image again\n"
    )
    assert contents(grown) == before


def test_flatten_on_a_full_disk(desk: Desk, grown: Path, own_scratch: Path) -> None:
    """Where images are unpacked there is no room: P is as it was, and nothing is left."""
    before = contents(grown)
    mount = 'mount -t tmpfs -o nr_inodes=20 tykky "$1" && cd "$2" && shift 2 && exec "$@"'
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", own_scratch, desk.directory]
    tykky = [sys.executable, "-m", "tykky", "flatten", "env"]
    done = subprocess.run([*map(str, argv), *tykky], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    assert "a disk is full: free some space, or set TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(grown) == before


def test_a_build_finds_a_flattened_environment_up_to_date(desk: Desk, grown: Path) -> None:
    desk.tykky("flatten", "env")
    assert desk.tykky("build", "--prefix", "env").out == f"{grown} is up to date (generation 4)\n"


def test_verify(desk: Desk, grown: Path) -> None:
    assert desk.tykky("verify", "env", "-q").out == ""
    assert desk.tykky("verify", "env").out == "env: 3 images as they were made\n"
    assert desk.tykky("verify", "env", "--full").out == "env: 3 images as they were made\n"
    assert len(json.loads(desk.tykky("verify", "env", "1", "--json").out)["layers"]) == 1


def damage_truncate(path: Path) -> str:
    size = path.stat().st_size
    os.truncate(path, 2048)
    return f"{path} has 2048 bytes, {size} were written"


def damage_flip(path: Path) -> str:
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    return f"{path} has changed: expected fingerprint "


def damage_remove(path: Path) -> str:
    path.unlink()
    return f"{path} is missing"


def damage_manifest(path: Path) -> str:
    path.with_suffix(".manifest").unlink()
    return f"{path.with_suffix('.manifest')} is missing"


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_remove, damage_manifest])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_damaged_image_is_named_and_mended(
    desk: Desk, grown: Path, damage: Callable[[Path], str], layer: int
) -> None:
    broken = image(grown, images(grown)[layer])
    reason = damage(broken)
    failed = desk.tykky("verify", "env", status=11).err
    said = failed[failed.index("error: ") :]
    assert said.startswith(f"error: {reason}")
    hint = f"remove {broken.name} from {broken.parent} and run 'tykky build', which makes it again from the lock"
    assert said.endswith(f"\n\nhint: {hint}\n")
    broken.unlink(missing_ok=True)
    desk.tykky("build", "--prefix", "env")
    assert desk.tykky("verify", "env", "--full", "-q").status == 0
    assert version(grown) == "1.1"


def test_a_launch_names_an_image_that_is_gone(desk: Desk, grown: Path) -> None:
    lost = image(grown, images(grown)[1])
    lost.unlink()
    done = subprocess.run([grown / "bin" / "python", "-V"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (122, "")
    assert done.stderr == (
        f"tykky: {grown} is damaged: the image {lost} cannot be read; "
        "'tykky build' with its spec and lock makes it again\n"
    )


def test_few_inodes_however_many_generations(desk: Desk, grown: Path, wheelhouse: Path) -> None:
    """Invariant 10."""
    for number in range(4, 9):
        pinned = "alpha==1.0" if number % 2 else "alpha==1.1"
        more = ("beta",) if number % 3 else ()
        desk.write(spec(wheelhouse, pinned, *more)).tykky("lock")
        desk.tykky("build", "--prefix", "env")
        inodes = {path.lstat().st_ino for path in (grown, *grown.rglob("*"))}
        assert len(inodes) <= 24 + 6 * record(grown)["number"]  # type: ignore[operator]
    desk.tykky("flatten", "env")
    desk.tykky("rollback", "env", "1")
    inodes = {path.lstat().st_ino for path in (grown, *grown.rglob("*"))}
    assert len(inodes) <= 24 + 6 * len(list((grown / ".tykky" / "generations").iterdir()))


def test_the_spec_of_a_generation(desk: Desk, grown: Path) -> None:
    written = (desk.directory / "tykky.toml").read_text()
    assert desk.tykky("info", "env", "--spec").out == written
    assert json.loads(desk.tykky("info", "env", "--spec", "--json").out) == {"spec": written}


def test_a_copy_and_a_move_are_as_good(desk: Desk, grown: Path, wheelhouse: Path) -> None:
    """Copied without hard links and times, as `cp -r` does; moved; and everything still works there."""
    subprocess.run(["cp", "-r", grown, desk.directory / "copy"], check=True)
    shutil.rmtree(grown)
    copy = desk.directory / "moved to"
    (desk.directory / "copy").rename(copy)
    assert version(copy) == "1.1"
    desk.tykky("rollback", "moved to")
    assert version(copy) == "1.0"
    assert json.loads(run([copy / "bin" / "alpha"]))["executable"] == str(copy / "bin" / "python")
    names = {path.stat().st_ino for path in (copy / "bin").iterdir()}
    assert names == {(copy / ".tykky" / "launcher").stat().st_ino}, "one inode again"
    desk.write(spec(wheelhouse)).tykky("lock")
    desk.tykky("build", "--prefix", "moved to")
    assert "alpha" not in os.listdir(copy / "bin")
    assert "nothing to remove" in desk.tykky("gc", "moved to").out
    assert desk.tykky("verify", "moved to", "--full", "-q").status == 0


def test_rollback_is_quick_because_it_imports_little(desk: Desk, grown: Path) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "tykky", "rollback", "env"]
    done = subprocess.run(argv, cwd=desk.directory, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tykky.environment.rollback" in imported
    slow = {"rattler", "rich", "rich_click", "jinja2", "tomlkit", "packaging", "tykky.site"}
    assert not imported & slow
    assert not {name for name in imported if name.startswith(("tykky.layers.", "tykky.resolve", "tykky.spec"))}


def hold(env: Path) -> subprocess.Popen[str]:
    """Start a program of the environment that runs until its input ends, and wait until it does."""
    argv = [
        str(env / "bin" / "python"),
        "-c",
        "print('ready', flush=True); input(); import alpha; print(alpha.VERSION)",
    ]
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    return running


def let_go(running: subprocess.Popen[str]) -> str:
    out, _ = running.communicate("\n")
    assert running.returncode == 0
    return out.strip()


def gc(desk: Desk, *words: str) -> dict[str, list[str]]:
    """Run gc; return what it removed and kept, in a few words each."""
    document = json.loads(desk.tykky("gc", "env", "--json", *words).out)
    assert document["bytes"] == sum(removal["bytes"] for removal in document["removed"])
    kept = [f"{kept['what']}: {kept['why']}" for kept in document["kept"]]
    return {"removed": [removal["what"] for removal in document["removed"]], "kept": kept}


def test_gc_with_nothing_to_do(desk: Desk, grown: Path) -> None:
    before = contents(grown)
    assert desk.tykky("gc", "env").out == "nothing to remove in env\n"
    assert contents(grown) == before


def test_gc_of_old_generations(desk: Desk, grown: Path) -> None:
    desk.tykky("flatten", "env")
    first, second, third = images(grown, 3)
    expected = [f"generation {n}" for n in (1, 2, 3)] + [f"image {key[:12]}" for key in sorted((first, second, third))]
    before = contents(grown)
    listed = gc(desk, "--older-than", "0m", "--dry-run")
    assert listed == {"removed": expected, "kept": ["generation 4: it is the current one"]}
    assert contents(grown) == before, "a dry run changes nothing"
    assert gc(desk, "--older-than", "1d")["removed"] == [], "nothing is that old"
    verbose = desk.tykky("gc", "env", "--older-than", "0m", "--dry-run", "-v").out
    assert f"    {grown}/.tykky/generations/1\n" in verbose
    assert f"    {image(grown, first)}\n    {image(grown, first).with_suffix('.manifest')}\n" in verbose
    said = desk.tykky("gc", "env", "--older-than", "0m").out.splitlines()
    assert [line.partition(",")[0] for line in said[:6]] == [f"removed {what}" for what in expected]
    assert said[6] == "kept generation 4: it is the current one"
    assert said[7].endswith(" are free")
    assert sorted(p.name for p in (grown / ".tykky" / "generations").iterdir()) == ["4"]
    (left,) = images(grown)
    assert sorted(p.name for p in (grown / ".tykky" / "layers").iterdir()) == [f"{left}.manifest", f"{left}.sqfs"]
    assert version(grown) == "1.1"
    assert desk.tykky("rollback", "env", "2", status=11).err.startswith(
        f"error: generation 2 of {grown} was collected: 'tykky gc' has removed it\n"
    )
    desk.tykky("history", "env")


def test_gc_keeps_what_runs(desk: Desk, grown: Path) -> None:
    """Invariant 5: a program that runs keeps its files, the generation it runs stays, and both go later."""
    desk.tykky("rollback", "env", "1")
    running = hold(grown)
    try:
        desk.tykky("rollback", "env", "3")
        desk.tykky("flatten", "env")
        found = gc(desk, "--older-than", "0m")
        assert found["removed"][:2] == ["generation 2", "generation 3"]
        kept = [why for why in found["kept"] if why.startswith("generation 1: pid ")]
        assert kept
        assert kept[0].endswith(") may be running it")
        assert image(grown, images(grown, 1)[0]).exists()
    finally:
        said = let_go(running)
    assert said == "1.0"


def test_a_number_is_given_once(desk: Desk, grown: Path, wheelhouse: Path) -> None:
    """Also where gc has removed the latest generation: children know a parent's generation by its number."""
    desk.tykky("rollback", "env", "2")
    assert gc(desk, "--older-than", "0m")["removed"][:2] == ["generation 1", "generation 3"]
    assert desk.tykky("rollback", "env", "3", status=11).err.startswith(
        f"error: generation 3 of {grown} was collected: 'tykky gc' has removed it\n"
    )
    desk.write(spec(wheelhouse, "alpha==1.1")).tykky("lock")
    assert "published generation 4 of " in desk.tykky("build", "--prefix", "env").out
    assert gc(desk, "--older-than", "0m")["removed"][:1] == ["generation 2"]


def test_gc_keeps_an_image_that_runs_though_its_generation_is_gone(desk: Desk, grown: Path) -> None:
    desk.tykky("rollback", "env", "1")
    running = hold(grown)
    try:
        (key,) = images(grown)
        desk.tykky("rollback", "env", "3")
        desk.tykky("flatten", "env")
        for number in (1, 2, 3):
            shutil.rmtree(grown / ".tykky" / "generations" / str(number))
        found = gc(desk)
        assert len(found["removed"]) == 2
        (kept,) = found["kept"]
        assert kept.startswith(f"image {key[:12]}: pid ")
        assert kept.endswith(" uses it")
        assert image(grown, key).with_suffix(".manifest").exists()
    finally:
        let_go(running)


def test_gc_keeps_what_a_lease_names(desk: Desk, grown: Path) -> None:
    base, _, top = images(grown, 3)
    child = desk.directory / "child"
    write_lease(EnvironmentDirectory(grown), child, [base])
    desk.tykky("flatten", "env")
    found = gc(desk, "--older-than", "0m")
    (lease,) = (grown / ".tykky" / "leases").iterdir()
    why = f"{child} uses it, which is not to be seen from here; if it is gone, remove {lease}"
    assert found["kept"][1:] == [f"image {base[:12]}: {why}"]
    assert image(grown, base).exists()
    assert not image(grown, top).exists()
    child.mkdir()
    assert gc(desk)["kept"] == [f"image {base[:12]}: {child} uses it"]
    end_lease(EnvironmentDirectory(grown), child)
    assert gc(desk)["removed"] == [f"image {base[:12]}"]


def test_gc_with_a_lease_that_cannot_be_read(desk: Desk, grown: Path) -> None:
    lease = write_lease(EnvironmentDirectory(grown), desk.directory / "child", [])
    lease.write_text("{")
    before = contents(grown)
    assert desk.tykky("gc", "env", status=11).err == (
        f"error: {lease} is damaged: Input data was truncated\n\n"
        "hint: it names images that another environment uses; build that one again, or remove the file if it is gone\n"
    )
    assert contents(grown) == before


def test_gc_with_a_generation_that_cannot_be_read(desk: Desk, grown: Path) -> None:
    folder = grown / ".tykky" / "generations" / "2"
    (folder / "environment.json").unlink()
    assert desk.tykky("gc", "env", status=11).err == (
        f"error: {grown}: generation 2 is missing\n\n"
        f"hint: nothing was removed: which images it needs is not known; if nobody needs it, remove {folder}\n"
    )
    assert desk.tykky("history", "env").out.splitlines()[1] == f"  2  {grown}: generation 2 is missing"


def test_gc_removes_what_killed_builds_left(desk: Desk, grown: Path, own_scratch: Path) -> None:
    scratch = own_scratch
    places = {
        ".stage-": grown / ".tykky" / "layers",
        ".stage-x": grown / ".tykky" / "generations",
        ".env.tykky-": desk.directory,
        "tykky-": scratch,
    }
    code = "import sys; from pathlib import Path; from tykky.guard.ownership import make_private as make\n"
    code += "for place, start in zip(sys.argv[1::2], sys.argv[2::2]):\n"
    code += "    (make(Path(place), start.rstrip('x')) / 'half').write_text('x' * 100)\n"
    words = [str(word) for start, place in places.items() for word in (place, start)]
    run([sys.executable, "-c", code, *words])
    kept = scratch / next(p.name for p in scratch.iterdir())
    run([sys.executable, "-c", code, str(scratch), "tykky-"])
    (kept / ".kept").touch()
    (scratch / "tykky-somebody-elses").mkdir()
    living = make_private(grown / ".tykky" / "layers", ".stage-")
    document = json.loads(desk.tykky("gc", "env", "--json").out)
    ours = [Path(removal["paths"][0]) for removal in document["removed"]]
    assert sorted(path.parent for path in ours) == sorted(places.values())
    assert not any(path.exists() for path in ours)
    assert sorted(p.name for p in scratch.iterdir()) == sorted([kept.name, "tykky-somebody-elses"])
    assert living.exists(), "its maker, this process, lives"


@pytest.mark.parametrize(("age", "said"), [("30", "'30'"), ("d", "'d'"), ("1y", "'1y'"), ("-1d", "'-1d'")])
def test_an_age_is_a_number_with_a_unit(desk: Desk, grown: Path, age: str, said: str) -> None:
    failed = desk.tykky("gc", "env", f"--older-than={age}", status=2)
    assert failed.err.endswith(
        f"Error: Invalid value for '--older-than': {said} is no length of time; write 90m, 12h, 30d or 4w\n"
    )


def test_manifest_of_a_newer_format(desk: Desk, grown: Path) -> None:
    manifest = image(grown, images(grown)[0]).with_suffix(".manifest")
    document = json.loads(gzip.decompress(manifest.read_bytes()))
    manifest.write_bytes(gzip.compress(json.dumps({**document, "format": 99}).encode()))
    reason = f"{manifest} has format 99, this tykky reads {MANIFEST_FORMAT}"
    for verb in ("tree", "diff"):
        assert desk.tykky(verb, "env", status=11).err == (
            f"error: {reason}\n\nhint: use the tykky that made it, or a newer one\n"
        )
    assert desk.tykky("verify", "env", "-q", status=11).err.startswith(f"error: {reason}\n")
    assert "packages unknown" in desk.tykky("history", "env").out
    assert version(grown) == "1.1", "it runs all the same"


@pytest.mark.parametrize("verb", ["rollback", "gc", "flatten"])
def test_on_a_read_only_file_system(desk: Desk, grown: Path, verb: str) -> None:
    """Everything is read-only but HOME and the like; what only reads works, what writes says why not."""
    code = (
        'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" && "$1/env/bin/python" -c "$2" && '
        'shift 2 && exec "$@"'
    )
    tykky = [sys.executable, "-m", "tykky"]
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", code, "sh", str(desk.directory), VERSION]
    done = subprocess.run([*argv, *tykky, verb, "env"], capture_output=True, text=True, check=False)
    assert done.stdout == "1.1\n", done.stderr
    assert (done.returncode, done.stderr) == (
        11,
        f"error: {grown} cannot be written: read-only file system\n\nhint: it is mounted read-only here: do this on a "
        "host where it is not (programs of an environment run here)\n",
    )
    for reading in (["history", "env"], ["gc", "env", "--dry-run"], ["verify", "env", "--full"], ["tree", "env"]):
        subprocess.run([*argv, *tykky, *reading], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("verb", ["history", "diff", "rollback", "tree", "flatten", "gc", "verify"])
def test_what_is_no_environment(desk: Desk, verb: str) -> None:
    assert desk.tykky(verb, "nowhere", status=11).err == (
        f"error: {desk.directory}/nowhere: no such directory\n\n"
        "hint: build it with 'tykky build'; 'tykky list' shows what there is\n"
    )
    failed = json.loads(desk.tykky(verb, ".", "--json", status=11).out)
    assert failed["reason"] == f"{desk.directory} is no environment directory"
    if (numbers := {"diff": ["1", "2"], "rollback": ["1"], "verify": ["1"]}.get(verb)) is not None:
        said = desk.tykky(verb, "nowhere", *numbers, status=11).err
        assert said.startswith(f"error: {desk.directory}/nowhere: no such directory\n")


@pytest.mark.parametrize("verb", ["rollback", "gc", "flatten"])
def test_one_at_a_time(desk: Desk, grown: Path, verb: str) -> None:
    before = contents(grown)
    with sole(grown, "build", wait=False, say=print):
        failed = desk.tykky(verb, "env", "--no-wait", status=14).err
    assert failed.startswith(f"error: the build of {grown} is running (pid {os.getpid()} on ")
    assert failed.endswith("\n\nhint: wait for its end, or run this without --no-wait, which does\n")
    assert contents(grown) == before
