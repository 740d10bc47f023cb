"""Ask one registry for what belongs to one image, by the API of the OCI distribution specification.

A registry that wants to know who asks answers 401 and says where tokens are given, to anybody or for credentials
("Docker Registry v2 authentication via central service", github.com/distribution/distribution). A token is kept in
memory, for one lock or build.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from email.message import Message
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from tykky.access import Access
from tykky.errors import ArtifactError, FetchError
from tykky.resolve.pypi.download import opener, retried, status_of, timeout_of
from tykky.resolve.pypi.trouble import answered, offline_missing
from tykky.resolve.registry.credentials import basic_credentials
from tykky.resolve.registry.manifests import ACCEPTED
from tykky.spec.image_reference import ImageReference

_T = TypeVar("_T")

_CHUNK = 1 << 20
# Registries take manifests up to 4 MiB (the distribution specification asks for no less).
_LARGEST_DOCUMENT = 1 << 22
_SHOWN_TAGS = 8
_PARAMETER = re.compile(r'([A-Za-z]+)="((?:[^"\\]|\\.)*)"')
CREDENTIALS_HINT = (
    "check its name; for one that is not public, credentials are read from the 'auths' of ~/.docker/config.json "
    "(or of config.json in DOCKER_CONFIG), where 'docker login' writes them"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry gave: the bytes and their media type."""

    body: bytes
    media_type: str


@dataclass(slots=True)
class Registry:
    """The registry of one image. Nothing is asked before it is needed."""

    reference: ImageReference
    access: Access
    environ: Mapping[str, str]
    _authorization: str | None = field(default=None, repr=False)

    def manifest(self, which: str) -> Answer:
        """Return the manifest or index of a tag or digest (`sha256:…`), which is not checked. Raises `FetchError`."""
        return self._document(f"manifests/{which}", ACCEPTED, lambda: self._no_manifest(which))

    def document(self, sha256: str) -> bytes:
        """Return a small file of the image. Raises `FetchError`; the digest is not checked."""
        return self._document(f"blobs/sha256:{sha256}", "*/*", lambda: self._no_file(sha256)).body

    def save(self, sha256: str, size: int, target: Path, on_bytes: Callable[[int], object]) -> str:
        """Write a file of the image to `target` and return its sha256.

        `on_bytes` hears how many more bytes have come (fewer than none where it starts again). Raises `FetchError`,
        `ArtifactError` for one with more than `size` bytes, or `OSError` if `target` cannot be written.
        """
        self._require_network()

        def once() -> str:
            state, count, told = hashlib.sha256(), 0, 0
            try:
                with self._opened(f"blobs/sha256:{sha256}", "*/*") as answer, target.open("wb") as file:
                    while chunk := answer.read(_CHUNK):
                        count += len(chunk)
                        if count > size:
                            raise self._too_long(f"sha256:{sha256}", size)
                        file.write(chunk)
                        state.update(chunk)
                        on_bytes(len(chunk))
                        told = count
                if count < size:
                    raise http.client.IncompleteRead(b"", size - count)
            except BaseException:
                on_bytes(-told)
                raise
            return state.hexdigest()

        return self._asked(once, lambda: self._no_file(sha256), target)

    def _document(self, path: str, accepted: str, missing: Callable[[], FetchError]) -> Answer:
        self._require_network()

        def once() -> Answer:
            with self._opened(path, accepted) as answer:
                body = answer.read(_LARGEST_DOCUMENT + 1)
                if len(body) > _LARGEST_DOCUMENT:
                    raise self._too_long(path, _LARGEST_DOCUMENT)
                return Answer(body, answer.headers.get("Content-Type", ""))

        return self._asked(once, missing)

    def _require_network(self) -> None:
        if self.access.offline:
            raise offline_missing(self.reference.written)

    def _opened(self, path: str, accepted: str) -> http.client.HTTPResponse:
        """Send one request, once more with a token if one is asked for. Raises `HTTPError` and what urllib raises."""
        headers = {"User-Agent": "tykky", "Accept": accepted}
        request = urllib.request.Request(self._url(path), headers=headers)  # noqa: S310
        for first in (True, False):
            if self._authorization is not None:
                # Not carried over to another host: files often come from there, by a link that is signed.
                request.add_unredirected_header("Authorization", self._authorization)
            try:
                return opener(self.environ).open(request, timeout=timeout_of(self.environ))  # type: ignore[no-any-return]
            except urllib.error.HTTPError as error:
                if error.code != 401 or not first or (granted := self._granted(error.headers)) is None:
                    raise
                self._authorization = granted
        raise AssertionError("unreachable")

    def _url(self, path: str) -> str:
        return self.access.mirrored(f"{self.reference.url}/{path}")

    def _granted(self, headers: Message) -> str | None:
        """Return what to say to a registry that wants to know who asks; None if there is nothing to say."""
        credentials = basic_credentials(self._asked_server(), self.environ)
        for challenge in headers.get_all("WWW-Authenticate") or ():
            scheme, _, rest = challenge.strip().partition(" ")
            if scheme.lower() == "bearer":
                return f"Bearer {self._token(dict(_PARAMETER.findall(rest)), credentials)}"
            if scheme.lower() == "basic" and credentials is not None:
                return f"Basic {credentials}"
        return None

    def _asked_server(self) -> str:
        """Return who is asked: a mirror gets its own credentials, not those of the registry."""
        asked = self._url("")
        return self.reference.registry if asked == f"{self.reference.url}/" else urlsplit(asked).netloc

    def _token(self, challenge: Mapping[str, str], credentials: str | None) -> str:
        realm = challenge.get("realm", "")
        # A mirror may have another name for the image.
        scope = challenge.get("scope") or f"repository:{self.reference.name}:pull"
        asked = {"service": challenge.get("service"), "scope": scope}
        query = urlencode({key: value for key, value in asked.items() if value})
        url = self.access.mirrored(f"{realm}{'&' if '?' in realm else '?'}{query}")
        schemes = {"https", urlsplit(self._url("")).scheme}
        if urlsplit(url).scheme not in schemes:
            raise FetchError(
                f"{self.reference.registry} wants a token from {realm!r}, which is no https address",
                hint="the registry, or something on the way to it, is set up wrongly",
            )
        request = urllib.request.Request(url, headers={"User-Agent": "tykky"})  # noqa: S310 - see above
        if credentials is not None:
            request.add_unredirected_header("Authorization", f"Basic {credentials}")

        def once() -> str:
            with opener(self.environ).open(request, timeout=timeout_of(self.environ)) as answer:
                body = answer.read(_LARGEST_DOCUMENT)
            try:
                found = json.loads(body)
                token = found.get("token") or found["access_token"]
            except (ValueError, KeyError, AttributeError, RecursionError):
                token = None
            if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
                raise FetchError(f"{realm} gives no token", hint="try again; if it stays so, the registry is broken")
            return token

        return self._asked(once, lambda: answered(realm, "404 Not Found"), url=realm)

    def _asked(
        self,
        once: Callable[[], _T],
        missing: Callable[[], FetchError],
        target: Path | None = None,
        *,
        url: str | None = None,
    ) -> _T:
        """Return what `once` returns; try again where that may help. Raises `FetchError`."""
        root = url or self._url("").rstrip("/")
        return retried(once, root, self.environ, lambda code, tries: self._trouble(code, root, missing, tries), target)

    def _trouble(self, code: int, url: str, missing: Callable[[], FetchError], tries: int) -> FetchError:
        status = status_of(code)
        if code in (401, 403):
            # Docker Hub says so of images that it does not have.
            return FetchError(
                f"{self.reference.written} cannot be had: {self.reference.registry} answered {status}",
                hint=CREDENTIALS_HINT,
            )
        if code == 404:
            return missing()
        found = answered(url, status, tries=tries)
        if code == 429:
            found.hint = f"too much was asked for: try again later, or be known there; {CREDENTIALS_HINT}"
        return found

    def _no_manifest(self, which: str) -> FetchError:
        """Return the error for a tag or digest that is not there, with the tags that are."""
        image, written = self.reference.image, self.reference.written
        try:
            body = self._document("tags/list", "application/json", self._no_image).body
            tags = [tag for tag in json.loads(body)["tags"] or () if isinstance(tag, str)]
        except FetchError:
            return self._no_image()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            tags = []
        if which.startswith("sha256:"):
            advice = (
                "check the digest" if self.reference.digest else "'tykky lock --upgrade' takes what the tag names now"
            )
            return FetchError(
                f"{written} cannot be had: {image} has no manifest {which}",
                hint=f"{advice}; a registry may remove what no tag names",
            )
        close = get_close_matches(which, tags, n=_SHOWN_TAGS) or sorted(tags, reverse=True)[:_SHOWN_TAGS]
        hint = f"there are {', '.join(close)}" if close else "it has no tags"
        return FetchError(f"{written} cannot be had: {image} has no tag {which}", hint=hint)

    def _no_image(self) -> FetchError:
        reference = self.reference
        return FetchError(
            f"{reference.written} cannot be had: {reference.registry} has no image {reference.name}",
            hint=CREDENTIALS_HINT,
        )

    def _no_file(self, sha256: str) -> FetchError:
        return FetchError(
            f"{self.reference.written} cannot be had: {self.reference.image} has lost sha256:{sha256}",
            hint="push the image again, or take another one",
        )

    def _too_long(self, what: str, largest: int) -> ArtifactError:
        return ArtifactError(
            f"{what} of {self.reference.written} has more than {largest} bytes",
            hint="the registry, or something on the way, gives something else than it should",
        )
