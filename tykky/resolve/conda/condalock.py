"""The resolver of a site's own conda, mamba or micromamba, driven through the conda-lock library.

Two things those programs have no option for are said by a channel of our own, first in the list: the virtual packages
of the request (conda-lock's own way), and a package whose `constrains` are the request's constraints and the versions
to keep. `exclude-newer` cannot be said, so it is refused rather than passed over.

conda-lock reads os.environ and prints; it runs in a process of its own (`condalock_worker`). That process has an empty
home directory, so that no .condarc or .mambarc of the user counts; the site's own (/etc/conda) does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast

from tykky.access import Access
from tykky.errors import FetchError, ResolveError, ToolError, TykkyError
from tykky.guard.ownership import private_directory, temporary_place
from tykky.lock.model import Package
from tykky.process import CommandFailed, Commands, clean_environ
from tykky.progress import Reporter
from tykky.resolve.conda import explain
from tykky.resolve.conda.channels import Routes, redacted
from tykky.resolve.conda.network import client, failure_of
from tykky.resolve.conda.records import record_of
from tykky.resolve.conda.running import run
from tykky.resolve.conda.specs import as_asked, parsed, routes_of
from tykky.resolve.ports import CondaRequest

PROGRAMS = ("mamba", "micromamba", "conda")
CONSTRAINTS = "tykky-constraints"

_HINT = (
    "load the site's module for conda, install micromamba (https://mamba.readthedocs.io), "
    'or set resolver = "rattler" in [conda]'
)
_UNSATISFIABLE = re.compile(
    r"[Uu]nsatisfiable|nothing provides|PackagesNotFound|Could not solve|solver_problems|conflict|incompatible"
)
_MISSING = (
    re.compile(r"^\s*- (?:\S+::)?([a-z0-9_.-]+)[^\n]*$", re.MULTILINE),  # conda: PackagesNotFoundError
    re.compile(r"nothing provides requested (?:\S+::)?([a-z0-9_.-]+)"),  # libmamba
    re.compile(r"(?:\S+::)?([a-z0-9_.-]+) [^\n]*does not exist"),  # libmamba 1.5 and newer
)
# conda gives seconds in some versions, milliseconds in others; ten digits are seconds until the year 2286.
_MILLISECONDS_FROM = 10**11


@dataclass(frozen=True, slots=True)
class CondaLockResolver:
    """Chooses conda packages with a conda, mamba or micromamba of this host: `program`, or the first on PATH."""

    access: Access
    program: Path | None = None

    def identify(self) -> str:
        """Return `conda-lock 4.0.3, micromamba 2.0.5`. Raises `ToolError` if there is no such program."""
        program = self._program()
        said = Commands().run([program, "--version"], hint=_HINT).stdout.split()
        return f"conda-lock {metadata.version('conda-lock')}, {program.name} {said[-1] if said else 'unknown'}"

    def resolve(self, request: CondaRequest, reporter: Reporter) -> tuple[Package, ...]:
        """Return one package per artifact, sorted by name.

        Raises `ResolveError` when nothing satisfies the request, `FetchError` when a channel cannot be read, and
        `ToolError` when there is no conda.
        """
        program = self._program()
        if request.exclude_newer is not None:
            raise ResolveError(
                "the conda-lock resolver cannot leave out newer packages",
                hint='remove exclude-newer, or set resolver = "rattler" in [conda]',
            )
        with reporter.phase(f"resolve conda packages for {request.platform}"):
            question = _Question.of(request, self.access, program)
            return question.answered_keeping(request.preferred)

    def _program(self) -> Path:
        if self.program is not None:
            return self.program
        found = next((path for name in PROGRAMS if (path := shutil.which(name)) is not None), None)
        if found is None:
            raise ToolError("conda-lock needs conda, mamba or micromamba, and none is on PATH", hint=_HINT)
        return Path(found)


class _Refused(Exception):
    """conda said no; `message` is what it said."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class _Question:
    """One request, in conda's terms."""

    request: CondaRequest
    access: Access
    program: Path
    routes: Routes
    specs: tuple[str, ...]
    constraints: tuple[str, ...]

    @classmethod
    def of(cls, request: CondaRequest, access: Access, program: Path) -> _Question:
        texts = (*request.requirements, *request.constraints)
        routes = routes_of(request.channels, texts, access)
        for text in request.constraints:
            if parsed(text).channel is not None:
                raise ResolveError(
                    f"the conda-lock resolver cannot keep a constraint to a channel: {text}",
                    hint='leave the channel out, or set resolver = "rattler" in [conda]',
                )
        specs = tuple(as_asked(text, routes) for text in request.requirements)
        return cls(request, access, program, routes, specs, request.constraints)

    def answered_keeping(self, preferred: Sequence[Package]) -> tuple[Package, ...]:
        """Return the answer in which as many preferred packages as possible stay what they were.

        conda is asked with all of them pinned; those that its refusal names are let go, and it is asked again.
        """
        kept = [package for package in preferred if self._satisfies(package)]
        while True:
            try:
                return self._answer([f"{p.name} {p.version} {p.build}" for p in kept])
            except _Refused as refusal:
                if not kept:
                    raise self._error(refusal.message) from None
                staying = [p for p in kept if not _names(refusal.message, p.name)]
                kept = staying if len(staying) < len(kept) else []

    def _satisfies(self, package: Package) -> bool:
        record = record_of(package)
        own = [spec for text in self.request.requirements if (spec := parsed(text)).name.normalized == package.name]
        return all(spec.matches(record) for spec in own if spec.channel is None)

    def _answer(self, pins: Sequence[str]) -> tuple[Package, ...]:
        with private_directory(temporary_place(), "tykky-conda-") as scratch:
            own = scratch / "channel"
            _write_constraints(own, (*self.constraints, *pins))
            document = {
                "program": os.fspath(self.program),
                "channels": [own.as_uri(), *(route.asked for route in self.routes.routes)],
                "specs": [CONSTRAINTS, *self.specs],
                "platform": self.request.platform,
                "virtual": list(self.request.virtual_packages),
                "pkgs": os.fspath(self.access.cache / "conda" / "condalock"),
            }
            actions = self._run(document, scratch)
        packages = [self._package(action) for action in actions if not _made_up(action)]
        return tuple(sorted(packages, key=lambda package: package.name))

    def _run(self, document: Mapping[str, Any], scratch: Path) -> list[dict[str, Any]]:
        commands = Commands(environ=clean_environ(self._environ(scratch)))
        argv = [sys.executable, "-I", "-m", "tykky.resolve.conda.condalock_worker"]
        try:
            done = commands.run(argv, stdin=json.dumps(document), cwd=scratch)
        except CommandFailed as error:
            raise ToolError(
                f"conda-lock with {self.program} failed", hint=_HINT, output=redacted(error.output or "")
            ) from None
        answer = json.loads(done.stdout)
        if "broken" in answer:
            raise ToolError(f"{self.program} failed", hint=_HINT, output=redacted(str(answer["broken"])))
        if "refused" in answer:
            raise _Refused(str(answer["refused"]))
        return cast("list[dict[str, Any]]", answer["actions"])

    def _environ(self, scratch: Path) -> dict[str, str]:
        priority = self.request.channel_priority
        offline = "true" if self.access.offline else "false"
        named = {"CHANNEL_PRIORITY": priority, "OFFLINE": offline, "ALWAYS_YES": "true"}
        variables = {f"{program}_{name}": value for program in ("CONDA", "MAMBA") for name, value in named.items()}
        netrc = Path.home() / ".netrc"
        credentials = {"NETRC": os.fspath(netrc)} if netrc.is_file() else {}
        return {**variables, **credentials, "HOME": os.fspath(scratch), "XDG_CONFIG_HOME": os.fspath(scratch)}

    def _package(self, action: Mapping[str, Any]) -> Package:
        url = self.routes.canonical(str(action["url"]))
        timestamp = action.get("timestamp")
        features = action.get("track_features") or ()
        noarch = action.get("noarch") or None
        if timestamp is not None and 0 < timestamp < _MILLISECONDS_FROM:
            timestamp *= 1000
        return Package(
            name=action["name"],
            version=action["version"],
            kind="conda",
            platform=self.request.platform,
            url=url,
            sha256=action.get("sha256") or None,
            size=action.get("size"),
            depends=tuple(action.get("depends") or ()),
            build=action.get("build") or action.get("build_string"),
            build_number=action.get("build_number") or 0,
            channel=url.rsplit("/", 2)[0],
            subdir=url.rsplit("/", 2)[1],
            noarch=cast("Literal['python', 'generic'] | None", "generic" if noarch is True else noarch),
            md5=action.get("md5") or None,
            constrains=tuple(action.get("constrains") or ()),
            track_features=tuple(features.split() if isinstance(features, str) else features),
            license=action.get("license"),
            timestamp=None if timestamp is None else int(timestamp),
            python_site_packages_path=action.get("python_site_packages_path"),
        )

    def _error(self, message: str) -> TykkyError:
        """Return the error for what conda said."""
        if not _UNSATISFIABLE.search(message):
            return self._fetch_error(message)
        own = {parsed(text).name.normalized for text in self.request.requirements}
        named = {found for pattern in _MISSING for found in pattern.findall(message)}
        if "PackagesNotFound" in message or "nothing provides requested" in message or "does not exist" in message:
            known = self._known()
            missing = sorted(name for name in own & named if name not in known)
            if missing:
                shown = [route.shown for route in self.routes.routes]
                return explain.unknown(missing, known, shown, self.request.platform)
        return explain.unsatisfiable(redacted(message), self.request.platform, {})

    def _fetch_error(self, message: str) -> FetchError:
        route = self.routes.asked_at(message) or self.routes.routes[0]
        status = re.search(r"HTTP (?:error )?(\d{3})(?: ([A-Z][A-Za-z ]*[a-z]))?", message)
        failure = failure_of(f"HTTP status client error ({status[1]})" if status else message)
        return FetchError(
            f"channel {route.shown} cannot be read: {failure.words}",
            hint=failure.hint,
            output=redacted(message.strip()),
        )

    def _known(self) -> set[str]:
        """Return the names the channels have, for a guess at what was meant; none if they cannot be asked."""
        from rattler import Channel, Gateway
        from rattler.platform import Subdir

        gateway = Gateway(cache_dir=self.access.cache / "conda" / "repodata", client=client())
        sources = [Channel(route.asked) for route in self.routes.routes]
        subdirs = [Subdir(self.request.platform), Subdir("noarch")]

        async def names() -> set[str]:
            return {name.normalized for name in await gateway.names(sources, subdirs)}

        try:
            return run(names())
        except Exception:  # a guess is worth no error of its own
            return set()


def _write_constraints(root: Path, constraints: Sequence[str]) -> None:
    """Write a channel with one empty package that constrains others."""
    record = {
        "name": CONSTRAINTS,
        "version": "1",
        "build": "0",
        "build_number": 0,
        "depends": [],
        "constrains": list(constraints),
        "md5": "0" * 32,
        "sha256": "0" * 64,
        "size": 0,
        "subdir": "noarch",
        "noarch": "generic",
    }
    for subdir in ("noarch", "linux-64", "linux-aarch64", "linux-ppc64le"):
        packages = {f"{CONSTRAINTS}-1-0.tar.bz2": record} if subdir == "noarch" else {}
        (root / subdir).mkdir(parents=True)
        document = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
        (root / subdir / "repodata.json").write_text(json.dumps(document))


def _made_up(action: Mapping[str, Any]) -> bool:
    return str(action["name"]).startswith("__") or action["name"] == CONSTRAINTS


def _names(message: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", message) is not None
