"""The resolver that is in rattler (resolvo), in process: nothing but the request decides the answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from tykky.access import Access
from tykky.errors import ResolveError
from tykky.lock.model import Package
from tykky.progress import Reporter
from tykky.resolve.conda import explain
from tykky.resolve.conda.channels import Routes
from tykky.resolve.conda.network import REQUEST_TIMEOUT, client, failure_of, fetch_error
from tykky.resolve.conda.records import package_of, record_of
from tykky.resolve.conda.running import run
from tykky.resolve.conda.specs import as_asked, parsed, routes_of
from tykky.resolve.conda.virtual import default_virtual_packages
from tykky.resolve.ports import CondaRequest

if TYPE_CHECKING:
    from rattler import Channel, Gateway, GenericVirtualPackage, MatchSpec, RepoDataRecord
    from rattler.platform import Subdir

__all__ = ["RattlerResolver", "cutoff", "default_virtual_packages", "package_of", "record_of"]

_Answer = TypeVar("_Answer")

_TRIES = 3
_FIRST_PAUSE = 0.5  # seconds; doubled after each try


@dataclass(frozen=True, slots=True)
class RattlerResolver:
    """Chooses conda packages with rattler. `timeout` is in seconds, for one request."""

    access: Access
    timeout: int = REQUEST_TIMEOUT

    def identify(self) -> str:
        """Return `rattler 0.28.0`: the version of py-rattler."""
        import rattler

        return f"rattler {rattler.__version__}"

    def resolve(self, request: CondaRequest, reporter: Reporter) -> tuple[Package, ...]:
        """Return one package per artifact, sorted by name.

        Raises `ResolveError` when nothing satisfies the request and `FetchError` when a channel cannot be read.
        """
        with reporter.phase(f"resolve conda packages for {request.platform}"):
            query = _Query.of(request, self.access, self.timeout)
            records = query.ask(query.solve)
            packages = [package_of(query.recorded(record), request.platform) for record in records]
            return tuple(sorted(packages, key=lambda package: package.name))


@dataclass(frozen=True, slots=True)
class _Query:
    """One request, in rattler's terms."""

    request: CondaRequest
    routes: Routes
    gateway: Gateway
    requirements: tuple[MatchSpec, ...]
    constraints: tuple[MatchSpec, ...]

    @classmethod
    def of(cls, request: CondaRequest, access: Access, timeout: int) -> _Query:
        """Parse the request and make the gateway. Nothing is asked yet."""
        from rattler import Gateway, SourceConfig

        texts = (*request.requirements, *request.constraints)
        routes = routes_of(request.channels, texts, access)
        cache = access.cache / "conda" / "repodata"
        cache.mkdir(parents=True, exist_ok=True)
        source = SourceConfig(cache_action="force-cache-only" if access.offline else "cache-or-fetch")
        return cls(
            request,
            routes,
            Gateway(cache_dir=cache, default_config=source, client=client(timeout)),
            tuple(parsed(as_asked(text, routes)) for text in request.requirements),
            tuple(parsed(as_asked(text, routes)) for text in request.constraints),
        )

    @property
    def sources(self) -> list[Channel]:
        """The channels to ask, first one first."""
        from rattler import Channel

        return [Channel(route.asked) for route in self.routes.routes]

    @property
    def platforms(self) -> list[Subdir]:
        """The subdirs to ask."""
        from rattler.platform import Subdir

        return [Subdir(self.request.platform), Subdir("noarch")]

    async def solve(self) -> list[RepoDataRecord]:
        """Return rattler's choice."""
        from rattler import ChannelPriority, solve

        strict = self.request.channel_priority == "strict"
        return await solve(
            self.sources,
            self.requirements,
            gateway=self.gateway,
            platforms=self.platforms,
            locked_packages=[*await self._still_offered(), *map(self._asked_record, self.request.given)],
            virtual_packages=[_virtual(text) for text in self.request.virtual_packages],
            channel_priority=ChannelPriority.Strict if strict else ChannelPriority.Disabled,
            exclude_newer=None if self.request.exclude_newer is None else cutoff(self.request.exclude_newer),
            constraints=self.constraints,
            # Exactly the channels of the spec: none that a channel itself asks to add (CEP 42).
            channel_relations="disabled",
        )

    def ask(self, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Answer a question, trying again where that may help; translate rattler's errors."""
        from rattler.exceptions import FetchRepoDataError, GatewayError, SolverError

        pause = _FIRST_PAUSE
        for attempt in range(1, _TRIES + 1):
            try:
                return run(_awaited(question))
            except SolverError as error:
                raise self._unsatisfied(str(error)) from None
            except (GatewayError, FetchRepoDataError) as error:
                message = str(error)
                # rattler itself asks again when a body was cut short.
                if attempt == _TRIES or failure_of(message).kind != "server":
                    route = self.routes.asked_at(message) or self.routes.routes[0]
                    raise fetch_error(f"channel {route.shown}", route.asked, message) from None
            time.sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")

    def recorded(self, record: RepoDataRecord) -> RepoDataRecord:
        """Return the record with the URLs that a lock holds."""
        record.url = self.routes.canonical(record.url)
        record.channel = self.routes.canonical(record.channel.rstrip("/")) + "/"
        return record

    async def _still_offered(self) -> list[RepoDataRecord]:
        """Return the preferred packages that the channels still have and `exclude-newer` still allows.

        rattler would keep a locked package that a channel has taken back.
        """
        preferred = [self._asked_record(package) for package in self.request.preferred if self._old_enough(package)]
        if not preferred:
            return []
        names = sorted({record.name.normalized for record in preferred})
        found = await self.gateway.query(
            self.sources, self.platforms, names, recursive=False, channel_relations="disabled"
        )
        offered = {record.url for records in found for record in records}
        return [record for record in preferred if record.url in offered]

    def _old_enough(self, package: Package) -> bool:
        if self.request.exclude_newer is None:
            return True
        limit = cutoff(self.request.exclude_newer).timestamp() * 1000
        return package.timestamp is not None and package.timestamp <= limit

    def _asked_record(self, package: Package) -> RepoDataRecord:
        record = record_of(package)
        record.url = self.routes.asked(record.url)
        record.channel = self.routes.asked(record.channel.rstrip("/")) + "/"
        return record

    def _unsatisfied(self, explanation: str) -> ResolveError:
        """Return the error for an unsatisfiable request, after a look at what the channels do have."""
        names = [spec.name.normalized for spec in self.requirements]
        known = {name.normalized for name in self.ask(lambda: self.gateway.names(self.sources, self.platforms))}
        channels = [route.shown for route in self.routes.routes]
        missing = [name for name in names if name not in known and not name.startswith("__")]
        if missing:
            return explain.unknown(missing, known, channels, self.request.platform)
        return explain.unsatisfiable(explanation, self.request.platform, self._versions(explanation))

    def _versions(self, explanation: str) -> dict[str, list[str]]:
        """Return the versions there are of the requirement that has no candidate at all."""
        bare = explain.without_candidates(explanation)
        if bare is None:
            return {}
        found = self.ask(
            lambda: self.gateway.query(
                self.sources, self.platforms, [bare], recursive=False, channel_relations="disabled"
            )
        )
        versions = {record.version for records in found for record in records if record.name.normalized == bare}
        return {bare: [str(version) for version in sorted(versions)]}


async def _awaited(question: Callable[[], Awaitable[_Answer]]) -> _Answer:
    return await question()


def cutoff(text: str) -> datetime:
    """Return the last moment of `exclude-newer`, in UTC: of a date, its end, so that a day is always whole.

    A date-time without an offset is UTC: a lock must not depend on the time zone of who makes it.
    """
    moment = datetime.fromisoformat(text)
    moment = moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return moment + timedelta(days=1, milliseconds=-1) if len(text) == len("2026-11-01") else moment


def _virtual(text: str) -> GenericVirtualPackage:
    from rattler import BuildString, GenericVirtualPackage, PackageName, Version

    name, _, rest = text.partition("=")
    version, _, build = rest.partition("=")
    return GenericVirtualPackage(PackageName(name), Version(version or "0"), BuildString.new_unchecked(build or "0"))
