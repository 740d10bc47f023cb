"""What a reference to an image of a registry names; bad ones are in `invalid/parser-only`."""

import pytest

from tykky.spec.image_reference import BadReference, is_reference, parse_reference

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "url", "tag"),
    [
        ("debian", "https://registry-1.docker.io/v2/library/debian", "latest"),
        ("rockylinux:9", "https://registry-1.docker.io/v2/library/rockylinux", "9"),
        ("group/root:9", "https://registry-1.docker.io/v2/group/root", "9"),
        ("docker.io/debian:12", "https://registry-1.docker.io/v2/library/debian", "12"),
        ("index.docker.io/group/root", "https://registry-1.docker.io/v2/group/root", "latest"),
        ("ghcr.io/a/b/c:v1.2_3-rc", "https://ghcr.io/v2/a/b/c", "v1.2_3-rc"),
        ("quay.io/rocky_linux/root--x", "https://quay.io/v2/rocky_linux/root--x", "latest"),
        ("host:5000/root:1", "https://host:5000/v2/root", "1"),
        # Docker's own rule: a registry of this machine needs no certificate.
        ("localhost/root", "http://localhost/v2/root", "latest"),
        ("localhost:5000/root:1", "http://localhost:5000/v2/root", "1"),
        ("127.0.0.1:5000/root:1", "http://127.0.0.1:5000/v2/root", "1"),
        ("127.8.0.1/root:1", "http://127.8.0.1/v2/root", "1"),
        ("[::1]:5000/root:1", "http://[::1]:5000/v2/root", "1"),
        # What only looks like this machine is not.
        ("localhost.example.org/root", "https://localhost.example.org/v2/root", "latest"),
        ("127.example.org/root", "https://127.example.org/v2/root", "latest"),
    ],
)
def test_what_a_reference_names(text, url, tag):
    found = parse_reference(f"docker://{text}")
    assert (found.url, found.tag, found.digest, found.written) == (url, tag, None, f"docker://{text}")


def test_a_digest_counts_with_and_without_a_tag():
    for text in (f"debian@sha256:{DIGEST}", f"debian:12@sha256:{DIGEST}"):
        found = parse_reference(f"docker://{text}")
        assert (found.image, found.digest) == ("docker.io/library/debian", DIGEST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "Debian",
        "a//b",
        "a:",
        "a:b:c",
        "a@",
        "a@sha512:00",
        "a@sha256:" + "A" * 64,
        "-x.y/a",
        "host:port/a",
        "a/.b",
        "x" * 256,
        "user@host.example.org/a",
        "../a",
        "a?b",
        "a b",
        "ä",
    ],
)
def test_what_names_nothing_is_refused(text):
    with pytest.raises(BadReference):
        parse_reference(f"docker://{text}")


def test_only_one_scheme_is_a_registrys():
    assert [is_reference(text) for text in ("docker://a", "host", "./docker://a", "oras://a")] == [
        True,
        False,
        False,
        False,
    ]
