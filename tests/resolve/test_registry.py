"""Images of registries: what a lock takes from an answer, how files come, and every way in which that goes wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.registry.images import (
    CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    HERE,
    LAYER,
    OCI_INDEX,
    OTHER,
    Stored,
    archive,
    digest,
    make_image,
    make_index,
    member,
)
from tests.registry.servers import ADA, real_registry, serve
from tests.registry.servers import Registry as Server
from tykky.access import Access
from tykky.errors import ArtifactError, FetchError, ResolveError, TykkyError
from tykky.lock.model import LockedManifest
from tykky.resolve.registry.choose import choose
from tykky.resolve.registry.files import fetch_layer, manifest_of
from tykky.resolve.registry.manifests import Descriptor
from tykky.resolve.registry.server import CREDENTIALS_HINT, Registry
from tykky.spec.image_reference import parse_reference

CONDA = {"amd64": "linux-64", "arm64": "linux-aarch64", "ppc64le": "linux-ppc64le"}
NATIVE, FOREIGN = CONDA[HERE], CONDA[OTHER]
PLAIN = archive([member("etc/mark", b"a root")])
IMAGE = make_image([PLAIN])


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def ask(server: Server, tmp_path: Path, home: Path):
    """Give a registry as a lock or build asks it; no try is repeated unless a test says so."""

    def make(name: str = "group/root:1", *, offline: bool = False, **more: str) -> Registry:
        environ = {"HOME": str(home), "UV_HTTP_RETRIES": "0", **more}
        reference = parse_reference(f"docker://{server.address}/{name}")
        return Registry(reference, Access(tmp_path / "cache", offline=offline), environ)

    return make


def locked(image: Stored, platform: str = NATIVE) -> LockedManifest:
    return LockedManifest(platform, image.digest.removeprefix("sha256:"), image.size)


def layer_of(content: bytes, size: int | None = None) -> Descriptor:
    return Descriptor(digest(content), len(content) if size is None else size)


def fails(kind: type[TykkyError], work) -> tuple[str, str | None]:
    with pytest.raises(kind) as caught:
        work()
    return str(caught.value), caught.value.hint


class TestChoosing:
    """What a lock holds."""

    @pytest.mark.parametrize("media_type", [IMAGE.media_type, DOCKER_MANIFEST])
    def test_an_image_for_one_platform(self, server: Server, ask, media_type: str):
        image = make_image([PLAIN], media_type=media_type, layer_type=f"{LAYER}+gzip")
        server.put("group/root", "1", image)
        assert choose(ask(), [NATIVE], {}) == (locked(image),)

    @pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
    def test_an_index_gives_each_platform_its_own(self, server: Server, ask, media_type: str):
        other = make_image([PLAIN, PLAIN], architecture=OTHER)
        server.put("group/root", "1", make_index({OTHER: other, HERE: IMAGE}, media_type))
        found = choose(ask(), [NATIVE, FOREIGN], {})
        assert found == tuple(sorted((locked(IMAGE), locked(other, FOREIGN)), key=lambda one: one.platform))

    def test_of_several_variants_the_one_that_every_machine_runs(self, server: Server, ask):
        newer = make_image([PLAIN, PLAIN])
        server.put("group/root", "1", make_index({f"{HERE}/v9": newer, HERE: IMAGE}))
        assert choose(ask(), [NATIVE], {}) == (locked(IMAGE),)
        server.put("group/root", "1", make_index({"arm64/v9": newer, "arm64/v8": IMAGE}))
        assert choose(ask(), ["linux-aarch64"], {}) == (locked(IMAGE, "linux-aarch64"),)

    def test_by_digest_the_tag_says_nothing(self, server: Server, ask):
        index = make_index({HERE: IMAGE})
        server.put("group/root", "1", index)
        for stored in (index, IMAGE):
            assert choose(ask(f"group/root:none@{stored.digest}"), [NATIVE], {}) == (locked(IMAGE),)

    def test_what_is_locked_stays_and_nobody_is_asked(self, server: Server, ask):
        kept = LockedManifest(NATIVE, "a" * 64, 7)
        assert choose(ask(offline=True), [NATIVE], {NATIVE: kept, "linux-none": kept}) == (kept,)
        assert server.requests == []

    def test_a_platform_more_is_asked_for_alone(self, server: Server, ask):
        kept = LockedManifest(NATIVE, "a" * 64, 7)
        other = make_image([PLAIN, PLAIN], architecture=OTHER)
        server.put("group/root", "1", make_index({OTHER: other, HERE: IMAGE}))
        assert set(choose(ask(), [NATIVE, FOREIGN], {NATIVE: kept})) == {kept, locked(other, FOREIGN)}

    def test_a_platform_that_it_is_not_there_for(self, server: Server, ask):
        server.put("group/root", "1", make_index({HERE: IMAGE, "riscv64": make_image([])}))
        assert fails(ResolveError, lambda: choose(ask(), [NATIVE, FOREIGN], {})) == (
            f"docker://{server.address}/group/root:1 is not there for {FOREIGN}: it is for {NATIVE}, linux/riscv64",
            f"name an image that is, or leave {FOREIGN} out of environment.platforms",
        )
        server.put("group/root", "1", make_image([PLAIN], architecture=OTHER))
        assert fails(ResolveError, lambda: choose(ask(), [NATIVE], {})) == (
            f"docker://{server.address}/group/root:1 is not there for {NATIVE}: it is for {FOREIGN}",
            f"name an image that is, or leave {NATIVE} out of environment.platforms",
        )

    @pytest.mark.parametrize(
        ("stored", "why"),
        [
            (
                Stored(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
                "its manifest is of the type 'application/vnd.docker.distribution.manifest.v1+prettyjws', which is of "
                "no use here",
            ),
            (Stored(b"{}", ""), "its manifest is of the type '', which is of no use here"),
            (
                Stored(b"not json", OCI_INDEX),
                "its manifest cannot be read: JSON is malformed: invalid character (byte 4)",
            ),
            (
                Stored(b'{"manifests": [{"digest": "../../etc", "size": 1}]}', OCI_INDEX),
                "its manifest cannot be read: expected `str` matching regex '^sha256:[0-9a-f]{64}$(?!\\\\n)' - at "
                "`$.manifests[0].digest`",
            ),
            (make_image([]), "it has no layers"),
            (
                make_image([PLAIN], layer_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
                "it has a layer of the type 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', which is of "
                "no use here",
            ),
            (
                Stored(
                    IMAGE.body.replace(CONFIG.encode(), b"application/vnd.cncf.helm.config.v1+json"), IMAGE.media_type
                ),
                "it is no image of a system but something else: 'application/vnd.cncf.helm.config.v1+json'",
            ),
        ],
    )
    def test_what_is_no_image_of_a_system(self, server: Server, ask, stored: Stored, why: str):
        server.put("group/root", "1", stored)
        assert fails(ResolveError, lambda: choose(ask(), [NATIVE], {})) == (
            f"docker://{server.address}/group/root:1 cannot be used: {why}",
            "name an image of a system: 'docker pull' and 'apptainer pull' would have to accept it",
        )

    def test_another_manifest_than_the_digest_names(self, server: Server, ask):
        wrong = make_image([PLAIN, PLAIN])
        server.put("group/root", "1", make_index({HERE: IMAGE}))
        server.fault(f"/v2/group/root/manifests/{IMAGE.digest}", wrong.body)
        expected, actual = (one.digest.removeprefix("sha256:") for one in (IMAGE, wrong))
        for name in ("group/root:1", f"group/root@{IMAGE.digest}"):
            assert fails(ArtifactError, lambda name=name: choose(ask(name), [NATIVE], {})) == (
                f"a file of docker://{server.address}/{name} is another one: expected sha256 {expected}, got {actual}",
                "the registry, a mirror or something on the way gives a wrong file; try again, or take another one",
            )

    def test_another_config_than_the_manifest_names(self, server: Server, ask):
        server.put("group/root", "1", IMAGE)
        config = json.loads(IMAGE.body)["config"]["digest"]
        server.fault(f"/v2/group/root/blobs/{config}", b"{}")
        said, _ = fails(ArtifactError, lambda: choose(ask(), [NATIVE], {}))
        assert said == (
            f"a file of docker://{server.address}/group/root:1 is another one: expected sha256 {config[7:]}, got "
            f"{hashlib.sha256(b'{}').hexdigest()}"
        )


class TestTrouble:
    """What is said where nothing can be had."""

    def test_no_such_tag(self, server: Server, ask):
        for tag in ("9.4", "9.5", "latest"):
            server.put("group/root", tag, IMAGE)
        for tag, there in (("9.6", "9.5, 9.4"), ("x", "latest, 9.5, 9.4")):
            assert fails(FetchError, lambda tag=tag: choose(ask(f"group/root:{tag}"), [NATIVE], {})) == (
                f"docker://{server.address}/group/root:{tag} cannot be had: {server.address}/group/root has no tag "
                f"{tag}",
                f"there are {there}",
            )

    def test_no_such_image(self, server: Server, ask):
        assert fails(FetchError, lambda: choose(ask("nobodys:1"), [NATIVE], {})) == (
            f"docker://{server.address}/nobodys:1 cannot be had: {server.address} has no image nobodys",
            CREDENTIALS_HINT,
        )

    def test_no_such_digest(self, server: Server, ask):
        server.put("group/root", "1", IMAGE)
        gone = "0" * 64
        assert fails(FetchError, lambda: choose(ask(f"group/root@sha256:{gone}"), [NATIVE], {})) == (
            f"docker://{server.address}/group/root@sha256:{gone} cannot be had: {server.address}/group/root has no "
            f"manifest sha256:{gone}",
            "check the digest; a registry may remove what no tag names",
        )
        assert fails(FetchError, lambda: manifest_of(ask(), gone)) == (
            f"docker://{server.address}/group/root:1 cannot be had: {server.address}/group/root has no manifest "
            f"sha256:{gone}",
            "'tykky lock --upgrade' takes what the tag names now; a registry may remove what no tag names",
        )

    @pytest.mark.parametrize(("code", "status"), [(401, "401 Unauthorized"), (403, "403 Forbidden")])
    def test_who_may_not_have_it(self, server: Server, ask, code: int, status: str):
        server.fault("/v2/", code)
        assert fails(FetchError, lambda: choose(ask(), [NATIVE], {})) == (
            f"docker://{server.address}/group/root:1 cannot be had: {server.address} answered {status}",
            CREDENTIALS_HINT,
        )

    def test_a_registry_that_is_unwell(self, server: Server, ask):
        server.fault("/v2/", 500)
        assert fails(FetchError, lambda: choose(ask(UV_HTTP_RETRIES="1"), [NATIVE], {})) == (
            f"http://{server.address}/v2/group/root answered 500 Internal Server Error (2 tries)",
            "the server is unwell: try again later, or name a mirror in site.toml",
        )
        server.fault("/v2/", 429)
        assert fails(FetchError, lambda: choose(ask(), [NATIVE], {})) == (
            f"http://{server.address}/v2/group/root answered 429 Too Many Requests",
            f"too much was asked for: try again later, or be known there; {CREDENTIALS_HINT}",
        )

    def test_no_registry_there(self, tmp_path: Path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        reference = parse_reference(f"docker://127.0.0.1:{port}/root:1")
        registry = Registry(reference, Access(tmp_path), {"UV_HTTP_RETRIES": "0"})
        said, hint = fails(FetchError, lambda: choose(registry, [NATIVE], {}))
        assert said == f"http://127.0.0.1:{port}/v2/root cannot be reached: the connection was refused"
        assert hint is not None
        assert hint.startswith("check the network and the proxy variables")

    def test_without_a_network(self, ask, server: Server):
        for work in (lambda: choose(ask(offline=True), [NATIVE], {}), lambda: manifest_of(ask(offline=True), "0" * 64)):
            assert fails(FetchError, work) == (
                f"docker://{server.address}/group/root:1 is not in the cache, and --offline allows no network",
                "run the same command once without --offline; after that the cache answers",
            )
        assert server.requests == []

    def test_an_answer_without_end(self, server: Server, ask):
        server.put("group/root", "1", IMAGE)
        server.fault("/v2/group/root/manifests/", b" " * ((1 << 22) + 1))
        assert fails(ArtifactError, lambda: choose(ask(), [NATIVE], {})) == (
            f"manifests/1 of docker://{server.address}/group/root:1 has more than {1 << 22} bytes",
            "the registry, or something on the way, gives something else than it should",
        )


class TestLayers:
    """Files into the cache."""

    def test_a_layer_is_fetched_once(self, server: Server, ask):
        server.put("group/root", "1", IMAGE)
        counts: list[int] = []
        place = fetch_layer(ask(), layer_of(PLAIN), counts.append)
        assert (place.read_bytes(), sum(counts)) == (PLAIN, len(PLAIN))
        asked = len(server.requests)
        assert fetch_layer(ask(offline=True), layer_of(PLAIN), counts.append) == place
        assert (len(server.requests), sum(counts)) == (asked, 2 * len(PLAIN))

    def test_one_that_was_damaged_in_the_cache_is_fetched_again(self, server: Server, ask):
        server.put("group/root", "1", IMAGE)
        place = fetch_layer(ask(), layer_of(PLAIN), lambda count: None)
        place.write_bytes(b"damaged")
        assert fetch_layer(ask(), layer_of(PLAIN), lambda count: None).read_bytes() == PLAIN
        body = manifest_of(ask(), IMAGE.digest[7:])
        manifest = place.parents[2] / IMAGE.digest[7:9] / IMAGE.digest[7:] / "blob"
        manifest.write_bytes(b"damaged")
        assert manifest_of(ask(), IMAGE.digest[7:]) == body
        assert manifest.read_bytes() == IMAGE.body

    def test_another_file_than_the_digest_names_is_not_kept(self, server: Server, ask, tmp_path: Path):
        server.put("group/root", "1", IMAGE)
        wrong = bytes(len(PLAIN))
        server.fault("/v2/group/root/blobs/", wrong)
        said, _ = fails(ArtifactError, lambda: fetch_layer(ask(), layer_of(PLAIN), lambda count: None))
        assert said == (
            f"a file of docker://{server.address}/group/root:1 is another one: expected sha256 {digest(PLAIN)[7:]}, "
            f"got {digest(wrong)[7:]}"
        )
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]

    def test_more_bytes_than_were_said_are_not_taken(self, server: Server, ask, tmp_path: Path):
        server.put("group/root", "1", IMAGE)
        server.fault("/v2/group/root/blobs/", PLAIN + b"more")
        counts: list[int] = []
        assert fails(ArtifactError, lambda: fetch_layer(ask(), layer_of(PLAIN), counts.append)) == (
            f"{digest(PLAIN)} of docker://{server.address}/group/root:1 has more than {len(PLAIN)} bytes",
            "the registry, or something on the way, gives something else than it should",
        )
        assert sum(counts) == 0
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]

    def test_fewer_bytes_than_were_said_are_asked_for_again(self, server: Server, ask):
        server.put("group/root", "1", IMAGE)
        server.fault("/v2/group/root/blobs/", PLAIN[:20])
        counts: list[int] = []
        work = lambda: fetch_layer(ask(UV_HTTP_RETRIES="1"), layer_of(PLAIN), counts.append)  # noqa: E731
        said, _ = fails(FetchError, work)
        assert said == f"http://{server.address}/v2/group/root cannot be reached: the connection was closed (2 tries)"
        assert (len(server.requests), sum(counts)) == (2, 0)

    def test_a_file_that_was_lost(self, server: Server, ask):
        assert fails(FetchError, lambda: fetch_layer(ask(), layer_of(PLAIN), lambda count: None)) == (
            f"docker://{server.address}/group/root:1 cannot be had: {server.address}/group/root has lost "
            f"{digest(PLAIN)}",
            "push the image again, or take another one",
        )

    def test_a_disk_that_is_full_is_no_trouble_of_the_network(self, server: Server, ask):
        server.put("group/root", "1", IMAGE)
        with pytest.raises(OSError, match="No space left") as caught:
            ask().save(digest(PLAIN)[7:], len(PLAIN), Path("/dev/full"), lambda count: None)
        assert caught.value.filename == "/dev/full"

    def test_a_mirror_is_asked_in_its_place(self, server: Server, tmp_path: Path):
        server.put("cache/root", "1", IMAGE)
        mirrors = {"https://registry.example.org/v2": f"http://{server.address}/v2/cache"}
        access = Access(tmp_path, mirrors=mirrors)
        registry = Registry(parse_reference("docker://registry.example.org/root:1"), access, {"UV_HTTP_RETRIES": "0"})
        assert choose(registry, [NATIVE], {}) == (locked(IMAGE),)


def config_of(home: Path, auths: Mapping[str, object]) -> None:
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))


def encoded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


class TestWhoAsks:
    """Tokens and credentials."""

    def test_a_token_is_given_to_anybody_and_used_again(self, server: Server, ask):
        server.wants_token = True
        server.put("group/root", "1", make_index({HERE: IMAGE}))
        registry = ask()
        assert choose(registry, [NATIVE], {}) == (locked(IMAGE),)
        fetch_layer(registry, layer_of(PLAIN), lambda count: None)
        assert server.scopes == ["repository:group/root:pull"]

    def test_a_token_that_ran_out_is_asked_for_again(self, server: Server, ask):
        server.wants_token = True
        server.put("group/root", "1", IMAGE)
        registry = ask()
        choose(registry, [NATIVE], {})
        server.expired.add("token-1")
        assert fetch_layer(registry, layer_of(PLAIN), lambda count: None).read_bytes() == PLAIN
        assert server.given == 2

    def test_a_token_does_not_follow_a_redirect_to_another_place(self, server: Server, ask):
        server.wants_token = True
        server.put("group/root", "1", IMAGE)
        with serve() as other:
            server.elsewhere = f"http://{other.address}"
            other.files |= IMAGE.files
            assert fetch_layer(ask(), layer_of(PLAIN), lambda count: None).read_bytes() == PLAIN
            assert other.authorizations == [None]

    @pytest.mark.parametrize("way", ["auth", "names", "url", "DOCKER_CONFIG"])
    def test_credentials_of_dockers_own_file(self, server: Server, ask, home: Path, tmp_path: Path, way: str):
        server.wants_token, server.credentials = True, ("ada", "pass:wörd")
        server.put("group/root", "1", IMAGE)
        named = f"https://{server.address}" if way == "url" else server.address
        entry = {"auth": encoded("ada:pass:wörd")} if way != "names" else {"username": "ada", "password": "pass:wörd"}
        config_of(home, {"elsewhere.example.org": {"auth": encoded("eve:x")}, named: entry})
        more = {}
        if way == "DOCKER_CONFIG":
            more["DOCKER_CONFIG"] = str(tmp_path / "docker")
            (home / ".docker").rename(tmp_path / "docker")
        assert choose(ask(**more), [NATIVE], {}) == (locked(IMAGE),)

    @pytest.mark.parametrize(
        "auths",
        [
            None,
            [],
            {"HOST": None},
            {"HOST": {}},
            {"HOST": {"auth": "%%%"}},
            {"HOST": {"auth": encoded("no colon")}},
            {"HOST": {"auth": encoded("ada:wrong")}},
            {"other.example.org": {"auth": encoded("ada:right")}},
        ],
    )
    def test_with_other_credentials_or_none_it_is_said_so(self, server: Server, ask, home: Path, auths: object):
        server.wants_token, server.credentials = True, ("ada", "right")
        server.put("group/root", "1", IMAGE)
        if isinstance(auths, dict):
            auths = {server.address if name == "HOST" else name: entry for name, entry in auths.items()}
        config_of(home, auths)  # type: ignore[arg-type]
        assert fails(FetchError, lambda: choose(ask(), [NATIVE], {})) == (
            f"docker://{server.address}/group/root:1 cannot be had: {server.address} answered 401 Unauthorized",
            CREDENTIALS_HINT,
        )

    def test_a_mirror_gets_its_own_credentials(self, server: Server, tmp_path: Path, home: Path):
        """And a token for the name that the image has there."""
        server.wants_token, server.credentials = True, ("ada", "of the mirror")
        server.put("cache/root", "1", IMAGE)
        registrys, mirrors = ({"auth": encoded(f"ada:{whose}")} for whose in ("of the registry", "of the mirror"))
        config_of(home, {"registry.example.org": registrys, server.address: mirrors})
        access = Access(tmp_path, mirrors={"https://registry.example.org/v2": f"http://{server.address}/v2/cache"})
        registry = Registry(parse_reference("docker://registry.example.org/root:1"), access, {"HOME": str(home)})
        assert choose(registry, [NATIVE], {}) == (locked(IMAGE),)
        assert server.scopes == ["repository:cache/root:pull"]

    def test_credentials_are_not_sent_in_the_clear(self, tmp_path: Path, home: Path, server: Server):
        """A registry on https whose tokens are given over http: nobody is asked."""
        config_of(home, {"registry.example.org": {"auth": encoded("ada:secret")}})
        registry = Registry(
            parse_reference("docker://registry.example.org/root"), Access(tmp_path), {"HOME": str(home)}
        )
        realm = f"http://{server.address}/token"
        assert fails(FetchError, lambda: registry._token({"realm": realm, "service": "a registry"}, "c2VjcmV0")) == (
            f"registry.example.org wants a token from '{realm}', which is no https address",
            "the registry, or something on the way to it, is set up wrongly",
        )
        assert server.requests == []

    def test_what_is_no_token_is_not_used(self, server: Server, ask):
        server.wants_token = True
        server.realm = f"http://{server.address}/v2/x/tags/list"
        server.put("x", "1", IMAGE)
        server.wants_token = True
        server.fault("/v2/x/tags/list", 200)
        assert fails(FetchError, lambda: choose(ask(), [NATIVE], {})) == (
            f"{server.realm} gives no token",
            "try again; if it stays so, the registry is broken",
        )

    def test_docker_hub_by_its_own_name(self, home: Path):
        from tykky.resolve.registry.credentials import basic_credentials

        config_of(home, {"https://index.docker.io/v1/": {"auth": encoded("ada:hub")}})
        assert basic_credentials("docker.io", {"HOME": str(home)}) == encoded("ada:hub")
        assert basic_credentials("ghcr.io", {"HOME": str(home)}) is None


class TestReal:
    """Debian's registry, whose answers nobody here has written."""

    def test_what_was_pushed_is_what_comes(self, tmp_path: Path, home: Path):
        with real_registry(tmp_path) as server:
            other = make_image([PLAIN], architecture=OTHER)
            server.push("group/root", "9", make_index({HERE: IMAGE, OTHER: other}))
            server.push("group/root", "one", IMAGE)
            access = Access(tmp_path / "cache")

            def registry(name: str) -> Registry:
                return Registry(parse_reference(f"docker://{server.address}/{name}"), access, {"HOME": str(home)})

            assert {*choose(registry("group/root:9"), [NATIVE, FOREIGN], {})} == {locked(IMAGE), locked(other, FOREIGN)}
            assert choose(registry("group/root:one"), [NATIVE], {}) == (locked(IMAGE),)
            assert choose(registry(f"group/root@{IMAGE.digest}"), [NATIVE], {}) == (locked(IMAGE),)
            place = fetch_layer(registry("group/root:9"), layer_of(PLAIN), lambda count: None)
            assert place.read_bytes() == PLAIN
            said, hint = fails(FetchError, lambda: choose(registry("group/root:8"), [NATIVE], {}))
            assert said == (
                f"docker://{server.address}/group/root:8 cannot be had: {server.address}/group/root has no tag 8"
            )
            assert hint == "there are one, 9"
            said, _ = fails(FetchError, lambda: choose(registry("nobodys:1"), [NATIVE], {}))
            assert said == f"docker://{server.address}/nobodys:1 cannot be had: {server.address} has no image nobodys"

    def test_one_that_is_not_public(self, tmp_path: Path, home: Path):
        with real_registry(tmp_path, public=False) as server:
            server.push("group/root", "9", IMAGE)
            reference = parse_reference(f"docker://{server.address}/group/root:9")

            def asked() -> tuple[LockedManifest, ...]:
                return choose(Registry(reference, Access(tmp_path / "cache"), {"HOME": str(home)}), [NATIVE], {})

            assert fails(FetchError, asked) == (
                f"{reference.written} cannot be had: {server.address} answered 401 Unauthorized",
                CREDENTIALS_HINT,
            )
            config_of(home, {server.address: {"auth": encoded(ADA)}})
            assert asked() == (locked(IMAGE),)
