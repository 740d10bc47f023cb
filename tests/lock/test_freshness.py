"""Which changes of a spec leave its lock an answer, and what is said of those that do not."""

import pytest

from tests.lock.sample import conda, lock_of, pypi, python
from tykky.lock.asked import requirements_of
from tykky.lock.freshness import stale_reasons
from tykky.lock.model import Lock, LockedManifest, Requirements
from tykky.spec.read import parse_spec


def spec(body: str = "", *, environment: str = ""):
    return parse_spec(f'[environment]\nname = "test"\n{environment}\n{body}')


def dependencies(*requirements: str, more: str = "") -> str:
    listed = ", ".join(f'"{text}"' for text in requirements)
    return f"[pypi]\ndependencies = [{listed}]\n{more}\n"


def locked_from(text: str, *packages, environment: str = "", **fields) -> Lock:
    """Return the lock that was made from a spec, with these packages."""
    from msgspec.structs import replace

    return replace(lock_of(*packages, **fields), requirements=requirements_of(spec(text, environment=environment)))


GIT = "mylib @ git+https://git.example.org/mylib"

PYPI = [
    # id, spec when locked, packages, spec now, reasons
    ("unchanged", ["numpy>=2"], [pypi("numpy", "2.1.0")], ["numpy>=2"], []),
    ("other-spelling", ["numpy>=2,<3"], [pypi("numpy", "2.1.0")], ["NumPy <3, >=2"], []),
    ("tightened-and-satisfied", ["numpy"], [pypi("numpy", "2.1.0")], ["numpy==2.1.*"], []),
    ("loosened", ["numpy==2.1.0"], [pypi("numpy", "2.1.0")], ["numpy"], []),
    (
        "not-satisfied",
        ["numpy"],
        [pypi("numpy", "1.26.4")],
        ["numpy>=2"],
        ["numpy>=2 is asked for, numpy 1.26.4 is locked"],
    ),
    (
        "added",
        ["numpy"],
        [pypi("numpy")],
        ["numpy", "cowsay>=6"],
        ["cowsay>=6 is asked for but not locked"],
    ),
    (
        "added-and-there-as-a-dependency",
        ["dask"],
        [pypi("dask", depends=("toolz",)), pypi("toolz")],
        ["dask", "toolz"],
        [],
    ),
    (
        "removed",
        ["numpy", "cowsay"],
        [pypi("numpy"), pypi("cowsay")],
        ["numpy"],
        ["cowsay is locked but no longer asked for"],
    ),
    (
        "removed-and-still-needed",
        ["dask", "toolz"],
        [
            pypi("dask", depends=("PyYAML>=5 ; extra == 'x'", "distributed")),
            pypi("distributed", depends=("toolz",)),
            pypi("toolz"),
        ],
        ["dask"],
        [],
    ),
    (
        "all-removed",
        ["cowsay"],
        [pypi("cowsay")],
        [],
        ["cowsay is locked but no longer asked for"],
    ),
    ("pre-release-locked", ["numpy"], [pypi("numpy", "2.2.0rc1")], ["numpy>=2"], []),
    ("local-version", ["torch==2.6.*"], [pypi("torch", "2.6.0+cu126")], ["torch==2.6.0"], []),
    (
        "extra-added",
        ["dask"],
        [pypi("dask")],
        ["dask[distributed,array]"],
        ["dask[array,distributed] is asked for, dask is locked"],
    ),
    (
        "extra-removed",
        ["dask[array]"],
        [pypi("dask")],
        ["dask"],
        ["dask is asked for, dask[array] is locked"],
    ),
    ("extra-spelled-otherwise", ["dask[Array_X]"], [pypi("dask")], ["dask[array-x]"], []),
    (
        "extra-of-a-dependency",
        ["xarray"],
        [pypi("xarray", depends=("dask",)), pypi("dask")],
        ["xarray", "dask[array]"],
        ["dask[array] is asked for, dask is locked"],
    ),
    ("marker-that-does-not-hold", ["numpy"], [pypi("numpy")], ["numpy", "tomli; python_version < '3.11'"], []),
    (
        "marker-that-holds",
        ["numpy"],
        [pypi("numpy")],
        ["numpy", "tomli; python_version >= '3.11'"],
        ["tomli is asked for but not locked"],
    ),
    (
        "marker-turned-off",
        ["cowsay"],
        [pypi("cowsay")],
        ["cowsay; sys_platform == 'win32'"],
        ["cowsay is locked but no longer asked for"],
    ),
    ("marker-that-says-the-same-here", ["cowsay"], [pypi("cowsay")], ["cowsay; sys_platform == 'linux'"], []),
    ("git-unchanged", [f"{GIT}@v1"], [pypi("mylib")], [f"{GIT}@v1"], []),
    (
        "git-reference-changed",
        [f"{GIT}@v1"],
        [pypi("mylib")],
        [f"{GIT}@v2"],
        [f"{GIT}@v2 is asked for, {GIT}@v1 is locked"],
    ),
    (
        "git-extra-added",
        [f"{GIT}@v1"],
        [pypi("mylib")],
        [f"mylib[fast] {GIT[6:]}@v1"],
        [f"mylib[fast] {GIT[6:]}@v1 is asked for, {GIT}@v1 is locked"],
    ),
    (
        "index-to-git",
        ["mylib"],
        [pypi("mylib")],
        [f"{GIT}@v1"],
        [f"{GIT}@v1 is asked for, mylib is locked"],
    ),
    (
        "git-to-index",
        [f"{GIT}@v1"],
        [pypi("mylib")],
        ["mylib>=1"],
        [f"mylib>=1 is asked for, {GIT}@v1 is locked"],
    ),
    (
        "dependency-to-git",
        ["xarray"],
        [pypi("xarray", depends=("mylib",)), pypi("mylib")],
        ["xarray", f"{GIT}@v1"],
        [f"{GIT}@v1 is asked for, the lock has another source"],
    ),
    (
        "directory-unchanged",
        ["./local"],
        [pypi("thing", url=None, path="local", source="directory")],
        ["././local/"],
        [],
    ),
    (
        "directory-added",
        [],
        [],
        ["./local[plot]"],
        ["./local[plot] is asked for but not locked"],
    ),
    (
        "directory-removed",
        ["./local", "numpy"],
        [pypi("thing", url=None, path="local", source="directory"), pypi("numpy")],
        ["numpy"],
        ["./local is locked but no longer asked for"],
    ),
    (
        "directory-extra",
        ["./local"],
        [pypi("thing", url=None, path="local", source="directory")],
        ["./local[plot]"],
        ["./local[plot] is asked for, ./local is locked"],
    ),
    ("absolute-path", ["/appl/x"], [pypi("x", url="file:///appl/x", source="directory")], ["/appl/x/"], []),
    (
        "version-edited-by-hand",
        ["numpy"],
        [pypi("numpy", "not-a-version")],
        ["numpy>=1"],
        ["numpy>=1 is asked for, numpy not-a-version is locked"],
    ),
]


@pytest.mark.parametrize(
    ("before", "packages", "now", "reasons"), [row[1:] for row in PYPI], ids=[row[0] for row in PYPI]
)
def test_pypi_requirements(before, packages, now, reasons):
    lock = locked_from(dependencies(*before), *packages)
    assert stale_reasons(spec(dependencies(*now)), lock) == tuple(reasons)


BASE = "[conda.dependencies]\n"
GDAL = conda("gdal", "3.9.2", build="mpi_h1_0")

CONDA = [
    ("unchanged", 'gdal = ">=3.9"', [GDAL], 'gdal = ">=3.9"', []),
    ("other-spelling", 'gdal = ">=3.9,<4"', [GDAL], 'GDAL = ">= 3.9, <4"', []),
    ("tightened-and-satisfied", 'gdal = "*"', [GDAL], 'gdal = "3.9.*"', []),
    ("not-satisfied", 'gdal = "*"', [GDAL], 'gdal = ">=3.10"', ["gdal >=3.10 is asked for, gdal 3.9.2 is locked"]),
    ("exact-is-exact", 'gdal = "*"', [GDAL], 'gdal = "3.9"', ["gdal 3.9 is asked for, gdal 3.9.2 is locked"]),
    ("build-matches", 'gdal = "*"', [GDAL], 'gdal = { build = "mpi*" }', []),
    (
        "build-does-not",
        'gdal = "*"',
        [GDAL],
        'gdal = { build = "nompi*" }',
        ["gdal * nompi* is asked for, gdal 3.9.2 mpi_h1_0 is locked"],
    ),
    ("channel-matches", 'gdal = "*"', [GDAL], 'gdal = { channel = "forge" }', []),
    ("channel-url-matches", 'gdal = "*"', [GDAL], 'gdal = { channel = "https://conda.example.org/forge/" }', []),
    (
        "channel-does-not",
        'gdal = "*"',
        [GDAL],
        'gdal = { channel = "bioconda" }',
        ["bioconda::gdal is asked for, gdal 3.9.2 from https://conda.example.org/forge is locked"],
    ),
    ("added", 'gdal = "*"', [GDAL], 'gdal = "*"\nproj = ">=9"', ["proj >=9 is asked for but not locked"]),
    (
        "removed",
        'gdal = "*"\nproj = "*"',
        [GDAL, conda("proj")],
        'gdal = "*"',
        ["proj is locked but no longer asked for"],
    ),
    (
        "removed-and-still-needed",
        'gdal = "*"\nproj = "*"',
        [conda("gdal", depends=("libgdal 1.*",)), conda("libgdal", depends=("proj >=9,<10.0a0",)), conda("proj")],
        'gdal = "*"',
        [],
    ),
    (
        "constraint-satisfied",
        'gdal = "*"',
        [GDAL],
        'gdal = "*"\n[conda.constraints]\ngdal = "<4"\nproj = "<9"',
        [],
    ),
    (
        "constraint-not-satisfied",
        'gdal = "*"',
        [GDAL],
        'gdal = "*"\n[conda.constraints]\ngdal = "<3.9"',
        ["constraint gdal <3.9 excludes the locked gdal 3.9.2"],
    ),
    ("virtual-package", 'gdal = "*"', [GDAL], 'gdal = "*"\n__glibc = ">=2.28"', []),
    (
        "version-edited-by-hand",
        'gdal = "*"',
        [conda("gdal", "a b")],
        'gdal = "*"',
        ["gdal is asked for, gdal a b is locked"],
    ),
]


@pytest.mark.parametrize(
    ("before", "packages", "now", "reasons"), [row[1:] for row in CONDA], ids=[row[0] for row in CONDA]
)
def test_conda_requirements(before, packages, now, reasons):
    lock = locked_from(BASE + before, *packages)
    assert stale_reasons(spec(BASE + now), lock) == tuple(reasons)


NUMPY = dependencies("numpy")

SETTINGS = [
    (
        "channels",
        f'[conda]\n{{}}\n{BASE}gdal = "*"',
        "",
        'channels = ["conda-forge", "bioconda"]',
        ["conda.channels changed from conda-forge to conda-forge, bioconda"],
    ),
    (
        "channel-order",
        f'[conda]\n{{}}\n{BASE}gdal = "*"',
        'channels = ["a", "b"]',
        'channels = ["b", "a"]',
        ["conda.channels changed from a, b to b, a"],
    ),
    (
        "channel-priority",
        f'[conda]\n{{}}\n{BASE}gdal = "*"',
        "",
        'channel-priority = "disabled"',
        ["conda.channel-priority changed from strict to disabled"],
    ),
    ("channel-priority-spelled-out", f'[conda]\n{{}}\n{BASE}gdal = "*"', "", 'channel-priority = "strict"', []),
    (
        "virtual-package",
        f'[conda]\n{{}}\n{BASE}gdal = "*"',
        "",
        'virtual-packages = { __cuda = "12.4" }',
        ["conda.virtual-packages __cuda=12.4 was added"],
    ),
    (
        "index-added",
        NUMPY + "{}",
        "",
        'index-url = "https://a.example.org/simple"',
        ["pypi.index-url https://a.example.org/simple was added"],
    ),
    (
        "index-removed",
        NUMPY + "{}",
        'index-url = "https://a.example.org/simple"',
        "",
        ["pypi.index-url https://a.example.org/simple was removed"],
    ),
    (
        "index-slash",
        NUMPY + "{}",
        'index-url = "https://a.example.org/simple/"',
        'index-url = "https://a.example.org/simple"',
        [],
    ),
    (
        "index-password",
        NUMPY + "{}",
        'index-url = "https://u:secret@a.example.org/s"',
        'index-url = "https://a.example.org/s"',
        [],
    ),
    (
        "extra-index",
        NUMPY + "{}",
        'extra-index-url = ["https://a.example.org"]',
        'extra-index-url = ["https://b.example.org"]',
        ["pypi.extra-index-url changed from https://a.example.org to https://b.example.org"],
    ),
    ("find-links", NUMPY + "{}", "", 'find-links = ["./wheels"]', ["pypi.find-links ./wheels was added"]),
    ("find-links-order", NUMPY + "{}", 'find-links = ["./a", "./b"]', 'find-links = ["./b", "./a"]', []),
    (
        "prerelease",
        NUMPY + "{}",
        "",
        'prerelease = "allow"',
        ["pypi.prerelease changed from if-necessary-or-explicit to allow"],
    ),
    ("no-binary", NUMPY + "{}", "", 'no-binary = ["numpy"]', ["pypi.no-binary numpy was added"]),
    ("only-binary", NUMPY + "{}", 'only-binary = [":all:"]', "", ["pypi.only-binary :all: was removed"]),
    ("override", NUMPY + "{}", "", 'overrides = ["pillow>=11"]', ["pypi.overrides pillow>=11 was added"]),
    ("constraint-satisfied", NUMPY + "{}", "", 'constraints = ["numpy<3", "other>9"]', []),
    (
        "constraint-not-satisfied",
        NUMPY + "{}",
        "",
        'constraints = ["numpy<1"]',
        ["constraint numpy<1 excludes the locked numpy 1.0"],
    ),
    ("constraint-removed", NUMPY + "{}", 'constraints = ["numpy<3"]', "", []),
    (
        "python-changed",
        NUMPY + "{}",
        'python = "3.12"',
        'python = "3.13"',
        ["Python 3.13 is asked for, 3.12 is locked"],
    ),
    ("python-spelled-out", NUMPY + "{}", "", 'python = "3.12"', []),
    ("python-no-matter", NUMPY + "{}", 'python = "3.12"', "", []),
    (
        "python-path",
        NUMPY + "{}",
        'python = "3.12"',
        'python = "/usr/bin/python3.12"',
        ["pypi.python changed from 3.12 to /usr/bin/python3.12"],
    ),
    ("managed-python", NUMPY + "{}", "", "managed-python = true", ["pypi.managed-python changed from false to true"]),
    ("resolver", NUMPY + "{}", "", 'resolver = "pip-tools"', []),
    ("how-to-build", NUMPY + "{}", "", 'no-build-isolation = ["numpy"]\nconfig-settings = { numpy = { a = "b" } }', []),
]


@pytest.mark.parametrize(
    ("body", "before", "now", "reasons"), [row[1:] for row in SETTINGS], ids=[row[0] for row in SETTINGS]
)
def test_settings(body, before, now, reasons):
    packages = [conda("gdal")] if "gdal" in body else [pypi("numpy")]
    lock = locked_from(body.replace("{}", before), *packages)
    assert stale_reasons(spec(body.replace("{}", now)), lock) == tuple(reasons)


@pytest.mark.parametrize(
    ("before", "now", "reasons"),
    [
        ("", 'exclude-newer = "2026-11-01"', ["environment.exclude-newer 2026-11-01 was added"]),
        ("exclude-newer = 2026-11-01", 'exclude-newer = "2026-11-01"', []),
        (
            "exclude-newer = 2026-11-01",
            "exclude-newer = 2026-12-01",
            ["environment.exclude-newer changed from 2026-11-01 to 2026-12-01"],
        ),
        ("exclude-newer = 2026-11-01", "", ["environment.exclude-newer 2026-11-01 was removed"]),
    ],
)
def test_cut_off_date(before, now, reasons):
    lock = locked_from(NUMPY, pypi("numpy"), environment=before)
    assert stale_reasons(spec(NUMPY, environment=now), lock) == tuple(reasons)


def test_platforms_added_and_removed():
    lock = locked_from(
        NUMPY, pypi("numpy"), pypi("numpy", platform="linux-ppc64le"), platforms=("linux-64", "linux-ppc64le")
    )
    now = spec(NUMPY, environment='platforms = ["linux-64", "linux-aarch64"]')
    assert stale_reasons(now, lock) == (
        "platform linux-aarch64 is asked for but not locked",
        "platform linux-ppc64le is locked but no longer asked for",
    )


def test_a_reason_of_some_platforms_names_them_and_one_of_all_does_not():
    both = 'platforms = ["linux-64", "linux-aarch64"]'
    lock = locked_from(
        dependencies("numpy", "torch"),
        pypi("numpy", "1.26"),
        pypi("numpy", "1.26", "linux-aarch64"),
        pypi("torch", "2.6"),
        pypi("torch", "2.5", "linux-aarch64"),
        environment=both,
        platforms=("linux-64", "linux-aarch64"),
    )
    now = spec(dependencies("numpy>=2", "torch>=2.6"), environment=both)
    assert stale_reasons(now, lock) == (
        "numpy>=2 is asked for, numpy 1.26 is locked",
        "torch>=2.6 is asked for, torch 2.5 is locked (linux-aarch64)",
    )


def test_markers_are_those_of_each_platform():
    both = 'platforms = ["linux-64", "linux-aarch64"]'
    asked = dependencies(
        "numpy", "torch==2.6; platform_machine == 'x86_64'", "torch==2.5; platform_machine == 'aarch64'"
    )
    packages = [pypi("numpy"), pypi("numpy", platform="linux-aarch64"), pypi("torch", "2.6")]
    platforms = ("linux-64", "linux-aarch64")
    without = locked_from(asked, *packages, environment=both, platforms=platforms)
    assert stale_reasons(spec(asked, environment=both), without) == (
        "torch==2.5 is asked for but not locked (linux-aarch64)",
    )
    complete = locked_from(
        asked, *packages, pypi("torch", "2.5", "linux-aarch64"), environment=both, platforms=platforms
    )
    assert stale_reasons(spec(asked, environment=both), complete) == ()


def test_an_override_takes_the_place_of_the_requirement():
    asked = dependencies("pillow>=11", more='overrides = ["pillow==10.*"]')
    lock = locked_from(asked, pypi("pillow", "10.4"))
    assert stale_reasons(spec(asked), lock) == ()


def test_conda_answers_pypi_requirements_at_its_own_version():
    body = f'{BASE}python = "3.12.*"\nnumpy = "*"\n' + dependencies("NumPy>={}", "scipy")
    python, numpy = conda("python", "3.12.7"), conda("numpy-base", "2.1", provides=("numpy==2.1.0",))
    lock = locked_from(body.replace("{}", "2"), python, conda("numpy", "2.1"), numpy, pypi("scipy"))
    assert stale_reasons(spec(body.replace("{}", "2.1")), lock) == ()
    assert stale_reasons(spec(body.replace("{}", "2.2")), lock) == (
        "numpy>=2.2 is asked for, numpy 2.1.0 of conda package numpy-base is locked",
    )


def test_markers_see_the_exact_python_of_conda():
    body = f'{BASE}python = "3.12.*"\n' + dependencies("cowsay; python_full_version < '3.12.4'")
    assert stale_reasons(spec(body), locked_from(body, conda("python", "3.12.7"))) == ()
    assert stale_reasons(spec(body), locked_from(body, conda("python", "3.12.2"))) == (
        "cowsay is asked for but not locked",
    )


def test_a_package_that_moved_from_pypi_to_conda():
    before = f'{BASE}python = "3.12.*"\n' + dependencies("numpy", "cowsay")
    now = f'{BASE}python = "3.12.*"\nnumpy = "*"\n' + dependencies("cowsay")
    lock = locked_from(before, conda("python", "3.12.7"), pypi("numpy"), pypi("cowsay"))
    assert stale_reasons(spec(now), lock) == (
        "numpy is asked for but not locked",
        "numpy is locked but no longer asked for",
    )


def test_a_lock_of_another_hand_with_unreadable_requirements_is_compared_all_the_same():
    lock = lock_of(pypi("numpy"), pypi=("numpy", "??", "-e x"))
    assert stale_reasons(spec(NUMPY), lock) == ()


def test_nothing_asked_and_nothing_locked():
    assert stale_reasons(spec(), lock_of()) == ()


def test_requirements_are_normalised_and_sorted():
    asked = spec(
        """
[conda]
channels = ["b", "a"]
channel-priority = "disabled"
virtual-packages = { __glibc = "2.28", __cuda = "12" }
[conda.dependencies]
Zlib = "*"
gdal = { version = ">= 3.9, <4", build = "*mpi*", channel = "conda-forge" }
hdf5 = { channel = "https://conda.example.org/x" }
[conda.constraints]
OpenSSL = "3.*"
[pypi]
dependencies = ["Zarr", "Dask[Distributed, array_x]<3 ,>=2 ; python_version<'3.13'", "./b/../a/[X]", "."]
constraints = ["B_b<2", "a"]
overrides = ["C>1"]
index-url = "https://user:${TOKEN}@a.example.org/simple/"
extra-index-url = ["https://z.example.org", "https://y.example.org"]
find-links = ["z", "y"]
prerelease = "disallow"
no-binary = ["z", "y"]
only-binary = ["b", "a"]
""",
        environment="exclude-newer = 2026-11-01T00:00:00Z",
    )
    assert requirements_of(asked) == Requirements(
        conda=("conda-forge::gdal >=3.9,<4 *mpi*", 'hdf5[channel="https://conda.example.org/x"]', "zlib"),
        conda_constraints=("openssl 3.*",),
        channels=("b", "a"),
        channel_priority="disabled",
        virtual_packages=("__cuda=12", "__glibc=2.28"),
        pypi=(".", "./a[x]", 'dask[array-x,distributed]<3,>=2 ; python_version < "3.13"', "zarr"),
        pypi_constraints=("a", "b-b<2"),
        pypi_overrides=("c>1",),
        index_url="https://a.example.org/simple",
        extra_index_url=("https://z.example.org", "https://y.example.org"),
        find_links=("y", "z"),
        prerelease="disallow",
        no_binary=("y", "z"),
        only_binary=("a", "b"),
        exclude_newer="2026-11-01T00:00:00Z",
    )


def test_defaults_leave_no_trace():
    assert requirements_of(spec(NUMPY)) == Requirements(pypi=("numpy",))
    assert requirements_of(spec()) == Requirements()


MANAGED = "[pypi]\nmanaged-python = true\n"


@pytest.mark.parametrize(
    ("before", "packages", "now", "reasons"),
    [
        (MANAGED, [python("3.12.4")], MANAGED, []),
        (MANAGED, [python("3.12.4")], MANAGED + 'python = "3.12"', []),
        (MANAGED, [python("3.12.4")], MANAGED + 'python = "3.13"', ["Python 3.13 is asked for, 3.12 is locked"]),
        (MANAGED, [], MANAGED, ["a managed Python is asked for but not locked"]),
        ("", [python("3.12.4")], "", ["cpython 3.12.4 is locked but not asked for"]),
        (MANAGED, [python("3.12.4")], "[pypi]", ["pypi.managed-python changed from true to false"]),
    ],
)
def test_the_managed_interpreter(before, packages, now, reasons):
    assert stale_reasons(spec(now), locked_from(before, *packages)) == tuple(reasons)


def test_markers_see_the_exact_version_of_the_managed_interpreter():
    body = MANAGED + "dependencies = [\"cowsay; python_full_version >= '3.12.4'\"]"
    assert stale_reasons(spec(body), locked_from(body, python("3.12.3"))) == ()
    assert stale_reasons(spec(body), locked_from(body, python("3.12.4"))) == ("cowsay is asked for but not locked",)


def test_what_is_needed_is_locked():
    text = '[conda.dependencies]\ngdal = "*"\n[pypi]\ndependencies = ["dask"]\n'
    packages = [
        conda("gdal", depends=("libgdal 1.*", "__glibc >=2.17", "python_abi 3.12.* *_cp312", "conda-forge::proj")),
        conda("proj", provides=("pyproj==3.7",)),
        pypi("dask", depends=("pyproj", "Tool.Z", "pyyaml ; python_version < '3'")),
    ]
    assert stale_reasons(spec(text), locked_from(text, *packages)) == (
        "gdal needs libgdal, which is not locked",
        "gdal needs python_abi, which is not locked",
        "dask needs tool-z, which is not locked",
    )
    packages += [conda("libgdal"), conda("python_abi"), pypi("tool_z")]
    assert stale_reasons(spec(text), locked_from(text, *packages)) == ()


def image(text: str) -> str:
    return dependencies("numpy") + f'managed-python = true\n[runtime]\nimage = "{text}"\n'


def test_an_image_of_a_registry_is_locked_for_every_platform():
    from msgspec.structs import replace

    two = 'platforms = ["linux-64", "linux-aarch64"]\n'
    body = image("docker://debian:12")
    packages = [
        one for name in ("linux-64", "linux-aarch64") for one in (pypi("numpy", platform=name), python(platform=name))
    ]
    lock = locked_from(body, *packages, environment=two, platforms=("linux-64", "linux-aarch64"))
    one, other = (LockedManifest(name, "ab" * 32, 7) for name in ("linux-64", "linux-aarch64"))
    assert stale_reasons(spec(body, environment=two), replace(lock, image_manifest=(one, other))) == ()
    assert stale_reasons(spec(body, environment=two), replace(lock, image_manifest=(one,))) == (
        "the image docker://debian:12 is not locked for linux-aarch64",
    )
    # Another tag is another image; what is locked of the first one says nothing about it.
    moved = stale_reasons(
        spec(image("docker://debian:13"), environment=two), replace(lock, image_manifest=(one, other))
    )
    assert moved == ("runtime.image changed from docker://debian:12 to docker://debian:13",)
