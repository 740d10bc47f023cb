"""The channel most tests use: small, real packages, one for each thing a conda package can do.

| package | what it shows |
|---|---|
| python, python_abi | the interpreter of this machine (for linux-aarch64: for locks only) |
| pip, packaging, jinja2, click | real distributions, noarch: python, with entry points |
| markupsafe | a real distribution with a compiled module (for linux-aarch64: for locks only) |
| greeter 1.0, 1.1, 2.0 | noarch: python, console script `greet`, several versions, both formats |
| greeter-extra | its PyPI distribution is called `Greeter.Extra.Dist`: known by purl and by dist-info |
| hello 1.0, 1.1 | text and binary placeholder, activate.d, deactivate.d, post-link script, symbolic links |
| clobber-a, clobber-b | both have share/clobber.txt |
| variant | builds `nompi_*`, `mpi_openmpi_*`, build numbers, track_features |
| gpu | a build for `__cuda >=12` and one without |
| newglibc | needs `__glibc >=2.39` |
| fast | needs `__archspec 1 x86_64_v3` |
| clock 1.0, 2.0, 3.0, 4.0 | published in January 2023, 2024, 2025; 4.0 does not say when |
| needs-old, needs-new | cannot stand side by side: greeter <2, greeter >=2 |
| odd-names | names in bin with spaces, quotes, `$`, a leading dash |
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.channel.distributions import Distribution, arch_package, installed, made_up, noarch_package
from tests.channel.index import Channel
from tests.channel.native import program
from tests.channel.package import PLACEHOLDER, CondaPackage, File, Link, script, text
from tests.channel.python import foreign_python_package, interpreter, python_abi_package, python_package

ODD_NAMES = ("with space", "qu'ote", 'double"quote', "dol$lar", "-dash", "back`tick", "semi;colon")


def standard_channel(root: Path, executable: str = sys.executable) -> Path:
    """Write the standard channel below `root`, with the Python of `executable`, and return `root`."""
    source = interpreter(executable)
    channel = Channel(root)
    channel.add(python_package(source), python_abi_package(source), foreign_python_package(source, "linux-aarch64"))
    for name, depends in (("pip", ()), ("packaging", ()), ("click", ()), ("Jinja2", ("markupsafe >=2.0",))):
        channel.add(noarch_package(installed(name), depends=depends))
    for subdir in ("linux-64", "linux-aarch64"):
        channel.add(arch_package(installed("MarkupSafe"), source.minor, subdir=subdir))
        channel.add(hello("1.0", subdir), hello("1.1", subdir), *_solver_cases(subdir))
    channel.add(*_greeters(), *clobbering(), odd_names())
    channel.index()
    return root


def greeter(version: str) -> Distribution:
    """Return the distribution `greeter`: `greet NAME` prints a greeting and its own version."""
    code = (
        "import sys\n\n"
        f"__version__ = {version!r}\n\n\n"
        "def main():\n"
        f"    print('hello', *sys.argv[1:], 'from greeter {version}')\n"
    )
    return made_up("greeter", version, {"greeter/__init__.py": code}, entry_points=["greet = greeter:main"])


def _greeters() -> list[CondaPackage]:
    extra = made_up("Greeter.Extra.Dist", "3.2.1", {"greeter_extra.py": "NAME = 'extra'\n"})
    return [
        noarch_package(greeter("1.0"), format="tar.bz2"),
        noarch_package(greeter("1.1")),
        noarch_package(greeter("2.0")),
        noarch_package(greeter("2.0"), build_number=1),
        noarch_package(extra, name="greeter-extra", depends=["greeter"], purls=["pkg:pypi/greeter-extra-dist@3.2.1"]),
        CondaPackage("needs-old", "1.0", subdir="noarch", noarch="generic", depends=["greeter <2"]),
        CondaPackage("needs-new", "1.0", subdir="noarch", noarch="generic", depends=["greeter >=2"]),
    ]


def hello(version: str, subdir: str = "linux-64") -> CondaPackage:
    """Return `hello`: everything that linking or activating a package can involve."""
    files: dict[str, File | Link] = {
        "bin/hello": script(
            f"#!/bin/sh\n# made for {PLACEHOLDER}\nexec cat '{PLACEHOLDER}/share/hello/greeting.txt'\n"
        ),
        "bin/.hello-post-link.sh": script('#!/bin/sh\necho "linked in $PREFIX" >"$PREFIX/share/hello/post-link.txt"\n'),
        "etc/conda/activate.d/hello.sh": text(
            f'export HELLO_HOME="$CONDA_PREFIX/share/hello"\nexport HELLO_BUILT="{PLACEHOLDER}"\n'
        ),
        "etc/conda/deactivate.d/hello.sh": text("unset HELLO_HOME HELLO_BUILT\n"),
        "share/hello/greeting.txt": text(f"hello {version}\n"),
        "share/hello/v1/data.txt": text("data\n"),
        "share/hello/current": Link("v1"),
        "share/hello/empty": File(b""),
        "lib/libhello.so.1": File(b"\x7fELF not really\n", 0o755),
        "lib/libhello.so": Link("libhello.so.1"),
    }
    if subdir == "linux-64":
        files["bin/hello-native"] = program()
    return CondaPackage(
        "hello",
        version,
        "h1234567_0",
        subdir=subdir,
        depends=["__glibc >=2.17"],
        license="MIT",
        files=files,
        format="tar.bz2" if version == "1.0" else "conda",
    )


def clobbering() -> tuple[CondaPackage, CondaPackage]:
    """Return two packages that both have share/clobber.txt, each with its own text."""
    first, second = (
        CondaPackage(
            f"clobber-{letter}",
            "1.0",
            subdir="noarch",
            noarch="generic",
            files={
                "share/clobber.txt": text(f"from clobber-{letter}\n"),
                f"share/clobber-{letter}.txt": text(f"only in clobber-{letter}\n"),
            },
        )
        for letter in "ab"
    )
    return first, second


def odd_names() -> CondaPackage:
    """Return a package whose programs have names a careless shell would trip over."""
    files = {f"bin/{name}": script("#!/bin/sh\nprintf '%s\\n' odd \"$@\"\n") for name in ODD_NAMES}
    return CondaPackage("odd-names", "1.0", subdir="noarch", noarch="generic", files=files)


def _solver_cases(subdir: str) -> list[CondaPackage]:
    """Return packages that differ only in what a solver sees; each holds one small file."""

    def case(name: str, version: str, build: str = "0", build_number: int = 0, **fields: object) -> CondaPackage:
        files = {f"share/{name}/{version}-{build}.txt": text(f"{name} {version} {build}\n")}
        return CondaPackage(name, version, build, build_number, subdir, files=files, **fields)  # type: ignore[arg-type]

    return [
        case("variant", "1.0", "nompi_h0_0", 0),
        case("variant", "1.0", "nompi_h0_1", 1),
        case("variant", "1.0", "mpi_openmpi_h0_1", 1, track_features=("variant-mpi",)),
        case("variant", "0.9", "nompi_h0_0", 0),
        case("gpu", "1.0", "cuda12_0", 1, depends=("__cuda >=12",)),
        case("gpu", "1.0", "cpu_0", 0),
        case("newglibc", "1.0", depends=("__glibc >=2.39,<3.0.a0",)),
        case("fast", "1.0", depends=("__archspec 1 x86_64_v3",)),
        case("clock", "1.0", timestamp=_milliseconds(2023)),
        case("clock", "2.0", timestamp=_milliseconds(2024)),
        case("clock", "3.0", timestamp=_milliseconds(2025)),
        case("clock", "4.0", timestamp=None),
    ]


def _milliseconds(year: int) -> int:
    return int(datetime(year, 1, 15, tzinfo=UTC).timestamp() * 1000)
