"""What all measurements share: the private place they work in, and what a mark is."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

SCIENTIFIC = (
    *("numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "dask"),
    *("distributed", "jupyterlab", "xarray", "sympy", "networkx"),
)
TOOLS = Path(sysconfig.get_path("scripts"))
MEGA = 1_000_000
KIBI = 1024


@dataclass(frozen=True, slots=True)
class Mark:
    """One measured line. `value` and `limit` are in `unit`; `detail` says what they are made of."""

    name: str
    value: float
    limit: float
    unit: str
    detail: str

    @property
    def met(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a run works: a private directory with its own HOME and caches."""

    root: Path
    environ: dict[str, str]

    @property
    def spec(self) -> Path:
        """The directory of the scientific environment's spec."""
        return self.root / "scientific"

    @property
    def environment(self) -> Path:
        """The environment directory that is built."""
        return self.root / "env"

    def tykky(self, *words: str | Path) -> list[str]:
        """Return a command line of this checkout's tykky."""
        return [str(TOOLS / "tykky"), *map(str, words)]


def make_bench(root: Path) -> Bench:
    """Return a bench in `root`: nothing of the caller's settings or caches is used."""
    keep = ("PATH", "LANG", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
    environ = {name: os.environ[name] for name in keep if name in os.environ}
    for name in ("home", "tmp", "cache", "scientific"):
        (root / name).mkdir()
    environ |= {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "TYKKY_CACHE": str(root / "cache")}
    requirements = ", ".join(f'"{name}"' for name in SCIENTIFIC)
    minor = ".".join(map(str, sys.version_info[:2]))
    (root / "scientific" / "tykky.toml").write_text(
        f'[environment]\nname = "scientific"\n\n[pypi]\npython = "{minor}"\ndependencies = [{requirements}]\n'
    )
    return Bench(root, environ)
