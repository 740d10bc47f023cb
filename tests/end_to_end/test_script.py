"""The script layer: what post-install scripts change, as a delta."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import Desk, record, run

Spec = Callable[..., str]

SCRIPT = """\
set -eu
site=$(python -c 'import alpha, os; print(os.path.dirname(os.path.dirname(alpha.__file__)))')
echo 'ADDED = 1' > "$site/added.py"
echo 'VERSION = "changed"' > "$site/alpha/__init__.py"
rm "$site/shared_ns/alpha_part.py"
mkdir -p "$TYKKY_BUILD_PREFIX/share"
echo "$HOME" > "$TYKKY_BUILD_PREFIX/share/home"
printf '#!/bin/sh\\necho made by the script\\n' > "$TYKKY_BUILD_PREFIX/bin/made"
chmod 700 "$TYKKY_BUILD_PREFIX/bin/made"
rm "$TYKKY_BUILD_PREFIX/bin/alpha"
"""


def test_a_script_becomes_a_layer(desk: Desk, wheels_spec: Spec) -> None:
    (desk.directory / "post.sh").write_text(SCRIPT)
    desk.write(wheels_spec("beta", more='\n[build]\npost-install = ["post.sh"]\n'))
    env = desk.environment()
    kinds = [layer["kind"] for layer in record(env)["layers"]]  # type: ignore[attr-defined]
    assert kinds == ["pypi", "script"]
    assert run([env / "bin" / "made"]) == "made by the script\n"
    assert not (env / "bin" / "alpha").exists()
    code = (
        "import added, alpha, shared_ns.beta_part, json, importlib.util as u;"
        "print(json.dumps([added.ADDED, alpha.VERSION, u.find_spec('shared_ns.alpha_part') is None]))"
    )
    assert json.loads(run([env / "bin" / "python", "-c", code])) == [1, "changed", True]
    (image,) = [env / x["image"] for x in record(env)["layers"] if x["kind"] == "script"]  # type: ignore[attr-defined]
    listing = subprocess.run(["unsquashfs", "-lln", image], capture_output=True, text=True, check=True).stdout
    assert "/site-packages/beta" not in listing, "only what changed"
    assert "root/tykky/demo/share/home" in listing
    home = run([env / "bin" / "python", "-c", "import sys; print(open(sys.prefix + '/share/home').read())"])
    assert "/tykky-" in home, "scripts see a private HOME"


def test_no_stale_bytecode(desk: Desk, wheels_spec: Spec) -> None:
    """Bytecode in an image is never checked against its source: it goes when a script changes or removes that."""
    (desk.directory / "post.sh").write_text(
        'cd "$(python -c "import alpha, os; print(os.path.dirname(alpha.__file__))")"\n'
        "echo 'def (' >__init__.py\nrm tool.py\n"
    )
    desk.write(wheels_spec("alpha", more='\n[build]\npost-install = ["post.sh"]\n'))
    env = desk.environment()
    code = (
        "try:\n    import alpha\nexcept SyntaxError as error:\n    print('no stale', error.text.strip())\n"
        "import glob, sys; print(glob.glob(sys.prefix + '/lib/python*/site-packages/alpha/__pycache__/*'))"
    )
    assert run([env / "bin" / "python", "-c", code]) == "no stale def (\n[]\n"


def test_a_site_whose_scripts_have_no_network(desk: Desk, wheels_spec: Spec, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[build]\nscript-network = false\n")
    script = desk.directory / "post.py"
    script.write_text(
        "#!/usr/bin/env python\nimport os, socket\n"
        "names = ' '.join(name for _, name in socket.if_nameindex())\n"
        "open(os.environ['TYKKY_BUILD_PREFIX'] + '/names', 'w').write(names)\n"
    )
    desk.write(wheels_spec("alpha", more='\n[build]\npost-install = ["post.py"]\n'))
    desk.tykky("lock")
    desk.tykky("build", "--prefix", "env", environ={"TYKKY_SITE": str(site)})
    env = desk.directory / "env"
    assert run([env / "bin" / "python", "-c", "import sys; print(open(sys.prefix + '/names').read())"]) == "lo\n"


def test_an_unchanged_script_is_not_run_again(desk: Desk, wheels_spec: Spec) -> None:
    script = desk.directory / "post.sh"
    script.write_text('date +%N > "$TYKKY_BUILD_PREFIX/moment"\n')
    spec = wheels_spec("alpha", more='\n[build]\npost-install = ["post.sh"]\n')
    env = desk.write(spec) and desk.environment()
    first = record(env)
    desk.tykky("build", "--prefix", env)
    assert record(env) == first
    script.write_text(script.read_text() + "# changed\n")
    plan = json.loads(desk.tykky("build", "--prefix", env, "--dry-run", "--json").out)
    assert [layer["cached"] for layer in plan["layers"]] == [True, False]


def test_a_failing_script_leaves_everything_as_it_was(desk: Desk, wheels_spec: Spec) -> None:
    (desk.directory / "post.sh").write_text("echo going to fail >&2\nexit 7\n")
    desk.write(wheels_spec("alpha", more='\n[build]\npost-install = ["post.sh"]\n'))
    desk.tykky("lock")
    failed = desk.tykky("build", "--prefix", "env", status=9)
    assert "error: post.sh failed: sh failed with exit status 7\n\n    going to fail\n" in failed.err
    assert "the whole log is " in failed.err
    assert sorted(p.name for p in desk.directory.iterdir()) == ["post.sh", "tykky.lock", "tykky.toml"]


def test_a_missing_script_is_named(desk: Desk, wheels_spec: Spec) -> None:
    desk.write(wheels_spec("alpha", more='\n[build]\npost-install = ["gone.sh"]\n'))
    desk.tykky("lock")
    failed = desk.tykky("build", status=3)
    assert failed.err == (
        f"error: {desk.directory}/tykky.toml: build.post-install[0]: gone.sh: no such file beside the spec\n"
    )
