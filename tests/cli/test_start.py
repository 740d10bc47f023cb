"""What is imported before a verb does its work: each of these would make every call wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SPEC = """[environment]
name = "x"

[pypi]
dependencies = ["numpy>=2", "dask[array]"]
"""
# Shows what is there when uv is started, and ends.
UNTIL_UV = """
import os, sys
def watch(event, arguments):
    if event == "subprocess.Popen" and "compile" in arguments[1]:
        print(*sorted(sys.modules), flush=True)
        os._exit(0)
sys.addaudithook(watch)
sys.argv = ["tykky", *sys.argv[1:]]
from tykky.cli.main import main
main()
"""
HEAVY = {
    *("click", "inspect", "typing_extensions"),
    *("rich", "rich_click", "packaging", "tomlkit", "tomli_w", "jinja2", "rattler", "_hashlib"),
    *("json", "logging", "tempfile", "random", "ssl", "http"),
    *("tykky.environment", "tykky.layers", "tykky.store", "tykky.site.checks", "tykky.lock.freshness"),
    *("tykky.lock.write", "tykky.resolve.conda", "tykky.resolve.pypi.uv_reading", "tykky.toml.mismatch"),
}


def test_lock_imports_little_before_uv_is_started(tmp_path: Path) -> None:
    (tmp_path / "tykky.toml").write_text(SPEC)
    argv = [sys.executable, "-c", UNTIL_UV, "lock", "--upgrade", "-q"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    imported = set(done.stdout.split())
    assert "tykky.resolve.pypi.uv" in imported, done.stderr
    assert not {name for name in imported if any(f"{name}.".startswith(f"{heavy}.") for heavy in HEAVY)}
