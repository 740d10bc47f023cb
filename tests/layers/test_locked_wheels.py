"""Locked wheels in the cache: what a killed build was fetching goes, what another one is fetching stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.channel.server import serve
from tests.wheelmaker import make_wheel
from tykky.access import Access
from tykky.digests import file_sha256
from tykky.guard.ownership import make_private
from tykky.layers.locked_wheels import locked_wheels
from tykky.lock.model import Package
from tykky.progress import Silent

_DIES = "import sys; from pathlib import Path; from tykky.guard.ownership import make_private as make\n"
_DIES += "print(make(Path(sys.argv[1]), '.part-'))"


def test_what_a_killed_build_was_fetching_is_removed_by_the_next(tmp_path: Path) -> None:
    house, root = tmp_path / "house", tmp_path / "cache" / "wheels-checked"
    make_wheel(house, "alpha", "1.0", files={"alpha.py": ""})
    (wheel,) = house.iterdir()
    root.mkdir(parents=True)
    argv = [sys.executable, "-c", _DIES, root]
    left = Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())
    (left / "part").write_text("half a wheel")
    others = make_private(root, ".part-")
    with serve(house) as served:
        sha256 = file_sha256(wheel)
        package = Package(
            "alpha", "1.0", "pypi", "linux-64", url=f"{served.url}/{wheel.name}", sha256=sha256, source="wheel"
        )
        found = locked_wheels([package], Access(tmp_path / "cache"), dict(os.environ), Silent())
    assert found["alpha"].read_bytes() == wheel.read_bytes()
    assert sorted(path.name for path in root.iterdir()) == sorted([others.name, sha256[:2]])
