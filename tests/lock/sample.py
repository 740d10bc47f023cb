"""Locks for tests: small by hand, and any that the format can hold."""

import string

from hypothesis import strategies as st

from tykky.lock.model import LOCK_VERSION, Lock, LockedManifest, LockedPlatform, Package, Requirements, Resolvers

SHA = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4


def pypi(name: str, version: str = "1.0", platform: str = "linux-64", **fields: object) -> Package:
    """Return a wheel."""
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    given = {"url": f"https://files.example.org/{filename}", "sha256": SHA, "size": 1000, "source": "wheel"}
    return Package(name=name, version=version, kind="pypi", platform=platform, **(given | fields))


def conda(name: str, version: str = "1.0", platform: str = "linux-64", **fields: object) -> Package:
    """Return a conda package."""
    build = fields.get("build", "h0_0")
    given = {
        "url": f"https://conda.example.org/forge/{platform}/{name}-{version}-{build}.conda",
        "sha256": SHA,
        "size": 1000,
        "build": build,
        "channel": "https://conda.example.org/forge",
        "subdir": platform,
    }
    return Package(name=name, version=version, kind="conda", platform=platform, **(given | fields))


def python(version: str = "3.12.4", platform: str = "linux-64", **fields: object) -> Package:
    """Return an interpreter that uv manages."""
    url = f"https://github.com/astral-sh/python-build-standalone/releases/download/20260110/cpython-{version}.tar.gz"
    given = {"url": url, "sha256": SHA}
    return Package(**({"name": "cpython", "version": version, "kind": "python", "platform": platform} | given | fields))


def lock_of(
    *packages: Package, platforms: tuple[str, ...] = ("linux-64",), python: str = "3.12", **asked: object
) -> Lock:
    """Return a lock of these packages that answers these requirements."""
    return Lock(
        lock_version=LOCK_VERSION,
        requirements=Requirements(**asked),
        resolvers=Resolvers(pypi="uv 0.11.0"),
        platform=tuple(LockedPlatform(name, python, ("__glibc=2.28",)) for name in platforms),
        package=packages,
    )


_texts = st.text(st.characters(codec="utf-8"), max_size=12)
_tuples = st.lists(_texts, max_size=3).map(tuple)
_maybe = st.none() | _texts
_names = st.text(string.ascii_lowercase, min_size=1, max_size=3)
_versions = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}([a-z][0-9])?", fullmatch=True)
_sha256 = st.text("0123456789abcdef", min_size=64, max_size=64)
_requirements = st.builds(
    Requirements,
    conda=_tuples,
    channels=_tuples,
    pypi=_tuples,
    index_url=_maybe,
    python=_maybe,
    managed_python=st.booleans(),
    exclude_newer=_maybe,
)


@st.composite
def _wheels(draw, platform: str) -> Package:
    return pypi(
        draw(_names),
        draw(_versions),
        platform,
        sha256=draw(_sha256),
        size=draw(st.none() | st.integers(0, 2**62)),
        depends=draw(_tuples),
    )


@st.composite
def _git(draw, platform: str) -> Package:
    return pypi(
        draw(_names),
        draw(_versions),
        platform,
        url="git+https://git.example.org/a/b",
        sha256=None,
        source="git",
        commit=draw(st.text("0123456789abcdef", min_size=40, max_size=40)),
        subdirectory=draw(st.none() | st.just("python")),
    )


@st.composite
def _directories(draw, platform: str) -> Package:
    return pypi(
        draw(_names),
        draw(_versions),
        platform,
        url=None,
        sha256=None,
        path=draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)),
        source="directory",
        tree="ab" * 16,
        editable=draw(st.booleans()),
    )


@st.composite
def _conda(draw, platform: str) -> Package:
    return conda(
        draw(_names),
        draw(_versions),
        platform,
        build=draw(st.from_regex(r"[a-z0-9]{1,4}_[0-9]", fullmatch=True)),
        build_number=draw(st.integers(0, 9)),
        noarch=draw(st.sampled_from([None, "python", "generic"])),
        depends=draw(_tuples),
        constrains=draw(_tuples),
        license=draw(_maybe),
        timestamp=draw(st.none() | st.integers(0, 2**50)),
        provides=draw(_tuples),
    )


@st.composite
def _interpreters(draw, platform: str) -> Package:
    return python(f"3.12.{draw(st.integers(0, 99))}", platform, sha256=draw(_sha256))


@st.composite
def locks(draw) -> Lock:
    """Any lock that a resolver could give, in the order of the file."""
    platforms = draw(st.sampled_from([(), ("linux-64",), ("linux-64", "linux-aarch64")]))
    packages = []
    for platform in platforms:
        packages += draw(
            st.lists(
                st.one_of(
                    _wheels(platform), _git(platform), _directories(platform), _conda(platform), _interpreters(platform)
                ),
                max_size=4,
            )
        )
    unique = {(p.kind, p.name, p.platform): p for p in packages}
    return Lock(
        lock_version=LOCK_VERSION,
        requirements=draw(_requirements),
        resolvers=draw(st.builds(Resolvers, conda=_maybe, pypi=_maybe)),
        image_manifest=draw(st.sampled_from([(), tuple(LockedManifest(name, SHA, 7) for name in platforms)])),
        platform=tuple(LockedPlatform(name, draw(st.none() | st.just("3.12")), draw(_tuples)) for name in platforms),
        package=tuple(unique[key] for key in sorted(unique)),
    )
