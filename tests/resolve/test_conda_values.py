"""The values behind conda resolving: channels, virtual packages, and records as a lock holds them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.channel import Channel, CondaPackage
from tests.resolve.conda_asking import CANONICAL
from tykky.access import Access
from tykky.errors import ResolveError
from tykky.lock.model import Package
from tykky.resolve.conda.channels import Routes, channel_url, redacted, without_credentials
from tykky.resolve.conda.explain import conflicting, shortened
from tykky.resolve.conda.network import failure_of
from tykky.resolve.conda.records import file_name, package_of, record_of
from tykky.resolve.conda.virtual import default_virtual_packages

# Channels


@pytest.mark.parametrize(
    ("channel", "url"),
    [
        ("conda-forge", CANONICAL),
        ("conda-forge/label/dev", f"{CANONICAL}/label/dev"),
        ("https://conda.anaconda.org/conda-forge/", CANONICAL),
        ("https://user:secret@host.example/c", "https://host.example/c"),
        ("https://host.example/t/se-cret/c", "https://host.example/c"),
        ("http://host.example:8080/a/b/", "http://host.example:8080/a/b"),
        ("/appl/channel", "file:///appl/channel"),
        ("/appl/my channel/ü", "file:///appl/my%20channel/%C3%BC"),
        ("file:///appl/t/x/c", "file:///appl/t/x/c"),
    ],
)
def test_a_channel_has_one_url(channel: str, url: str) -> None:
    assert channel_url(channel) == url
    assert channel_url(url) == url


def test_what_is_no_channel_keeps_its_secrets() -> None:
    with pytest.raises(ResolveError) as caught:
        channel_url("ftp:///user:secret@x y")
    assert str(caught.value) == "'ftp:///user:secret@x y' is no conda channel"


def test_secrets_leave_messages() -> None:
    text = "error for url (https://user:secret@host.example/t/to-ken/c/noarch/repodata.json)"
    assert redacted(text) == "error for url (https://***@host.example/t/***/c/noarch/repodata.json)"
    assert without_credentials("s3://bucket/c") == "s3://bucket/c"


def test_routes_go_there_and_back(tmp_path: Path) -> None:
    access = Access(tmp_path, mirrors={CANONICAL: "file:///mirror/cf", "https://a.example": "http://b.example/x"})
    routes = Routes.of(["conda-forge", "https://a.example/c", "/own", "conda-forge"], access)
    assert [(r.canonical, r.asked) for r in routes.routes] == [
        (CANONICAL, "file:///mirror/cf"),
        ("https://a.example/c", "http://b.example/x/c"),
        ("file:///own", "file:///own"),
    ]
    for url in (f"{CANONICAL}/noarch/x-1-0.conda", "https://a.example/c/noarch/y.conda", "file:///own/noarch/z"):
        assert routes.canonical(routes.asked(url)) == url
    assert routes.canonical("https://user:secret@else.example/x") == "https://else.example/x"
    assert routes.asked(f"{CANONICAL}-fork/noarch/x") == f"{CANONICAL}-fork/noarch/x"


# Virtual packages


def test_the_oldest_supported_node() -> None:
    assert default_virtual_packages("linux-64", {}) == (
        "__archspec=1=x86_64",
        "__glibc=2.28",
        "__linux=4.18",
        "__unix=0",
    )
    assert default_virtual_packages("linux-aarch64", {})[0] == "__archspec=1=aarch64"


def test_overrides_replace_add_and_take_away() -> None:
    overrides = {"__glibc": "2.34", "__cuda": "12.4", "__archspec": "x86_64_v3", "__unix": "", "__linux": "false"}
    assert default_virtual_packages("linux-64", overrides) == (
        "__archspec=1=x86_64_v3",
        "__cuda=12.4",
        "__glibc=2.34",
    )


# Records

FULL = Package(
    name="full",
    version="1!2.0.post1+local",
    kind="conda",
    platform="linux-64",
    url="https://conda.anaconda.org/conda-forge/linux-64/full-1!2.0.post1+local-h0_3.conda",
    sha256="a1" * 32,
    size=123_456_789_012,
    depends=("python >=3.12,<3.13.0a0", "__glibc >=2.17,<3.0.a0", "other[version='>=1']"),
    build="h0_3",
    build_number=3,
    channel=CANONICAL,
    subdir="linux-64",
    md5="b2" * 16,
    constrains=("left <2", "right 1.* *_cp312"),
    track_features=("feature", "other-feature"),
    license="BSD-3-Clause AND MIT",
    timestamp=1_734_567_890_123,
    python_site_packages_path="lib/python3.13t/site-packages",
)


@pytest.mark.parametrize(
    "package",
    [
        FULL,
        Package(
            name="python-noarch",
            version="1",
            kind="conda",
            platform="linux-64",
            url=f"{CANONICAL}/noarch/python-noarch-1-py_0.tar.bz2",
            sha256="c3" * 32,
            build="py_0",
            channel=CANONICAL,
            subdir="noarch",
            noarch="python",
        ),
        Package(
            name="generic-noarch",
            version="2024a",
            kind="conda",
            platform="linux-aarch64",
            url="file:///appl/ch/noarch/generic-noarch-2024a-0.conda",
            sha256="d4" * 32,
            build="0",
            channel="file:///appl/ch",
            subdir="noarch",
            noarch="generic",
            timestamp=0,
        ),
    ],
    ids=lambda package: package.name,
)
def test_what_linking_needs_survives_the_lock(package: Package) -> None:
    assert package_of(record_of(package), package.platform) == package


def test_a_record_of_the_lock_says_what_the_channels_own_says(tmp_path: Path) -> None:
    package = CondaPackage(
        "thing",
        "1.0",
        "h_2",
        2,
        depends=["a", "b >=1"],
        constrains=["c <2"],
        track_features=["f"],
        license="MIT",
        purls=["pkg:pypi/thing@1.0", "pkg:pypi/no-version", "pkg:github/x/y@1"],
    )
    Channel(tmp_path).add(package).index()
    from rattler import Channel as RattlerChannel
    from rattler import RepoData

    (record,) = RepoData.from_path(tmp_path / "linux-64/repodata.json").into_repo_data(RattlerChannel(CANONICAL))
    locked = package_of(record, "linux-64")
    ours, theirs = json.loads(record_of(locked).to_json()), json.loads(record.to_json())
    assert theirs.pop("purls")
    assert ours == theirs
    assert locked.provides == ("thing==1.0",)
    assert file_name(locked) == "thing-1.0-h_2.conda"


def test_a_record_from_an_archive_is_the_same_record(conda_channel: Path) -> None:
    from rattler import RepoDataRecord

    archive = conda_channel / "linux-64/hello-1.1-h1234567_0.conda"
    record = asyncio.run(RepoDataRecord.from_package_archive(archive))
    record.url, record.channel = f"{CANONICAL}/linux-64/{archive.name}", f"{CANONICAL}/"
    locked = package_of(record, "linux-64")
    assert record_of(locked).sha256 == record.sha256
    assert (locked.name, locked.version, locked.build, locked.size) == (
        "hello",
        "1.1",
        "h1234567_0",
        archive.stat().st_size,
    )


# Messages

TREE = """Cannot solve the request because of: The following packages are incompatible
├─ needs-new >=1 can be installed with any of the following options:
│  └─ needs-new 1.0 would require
│     └─ greeter >=2, which can be installed with any of the following options:
│        └─ greeter 2.0
└─ conda-forge::needs-old * cannot be installed because there are no viable options:
   └─ needs-old 1.0 would require
      └─ greeter <2, which cannot be installed because there are no viable options:
"""


def test_the_spec_s_own_requirements_are_found_in_a_tree() -> None:
    assert conflicting(TREE) == ["needs-new", "needs-old"]


def test_a_long_tree_is_cut() -> None:
    long = "The following packages are incompatible\n" + "".join(f"├─ p{n} * cannot be\n" for n in range(40))
    lines = shortened(long).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (25, "├─ p0 * cannot be", "… 16 more lines")


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ("HTTP status client error (404 Not Found) for url (x)", "missing", "HTTP 404 Not Found"),
        ("HTTP status client error (429 Too Many Requests)", "server", "HTTP 429 Too Many Requests"),
        ("HTTP status server error (599) for", "server", "HTTP 599"),
        ("x\nCaused by: invalid peer certificate: UnknownIssuer", "unreachable", "its certificate is not trusted"),
        ("x\nCaused by: operation timed out", "timeout", "no answer in time"),
        ("who knows", "other", "the request failed"),
    ],
)
def test_what_rattler_says_of_the_network(message: str, kind: str, words: str) -> None:
    assert (failure_of(message).kind, failure_of(message).words) == (kind, words)
