"""What this host offers for mounting images and building them: the findings of `tykky doctor`.

Every finding comes from a real try where one is possible. A launch makes its own, much smaller probe in sh; this
one explains.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tykky.errors import RuntimeUnavailable, ToolError
from tykky.process import Commands
from tykky.runtime.host_image import make_host_image
from tykky.runtime.inside import Inside
from tykky.runtime.model import BACKENDS, Binds, Stack

Status = Literal["ok", "warn", "missing"]

_GIB = 1 << 30
_ENOUGH_SCRATCH = 4 * _GIB  # of a scientific environment: tree, bytecode and image
_ENOUGH_MEMORY = 2 * _GIB
_UNSHARE = (2, 36)  # --map-user and --map-group
_PROBE_PREFIX = "/tykky/probe"

# What [programs] of site.toml calls them.
_KEYS = {"squashfuse_ll": "squashfuse"}
_GET = {
    "squashfuse_ll": "install squashfuse (Debian, EL with EPEL, conda-forge); Apptainer's packages bring one too",
    "unshare": "install util-linux 2.36 or newer (Debian 11, EL 9; conda-forge has it)",
    "mksquashfs": "install squashfs-tools (Debian, EL, conda-forge)",
    "apptainer": "install apptainer (EL with EPEL, conda-forge, or the .deb of its releases), or name it in site.toml",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `status` is ok, warn (works, but) or missing; `advice` is how to get it, or None."""

    name: str
    status: Status
    detail: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """Where to look: the root with /proc and /dev, programs and binds of the site, what says a mksquashfs is unfit.

    `programs` are those that launches run, `packer` is the site's mksquashfs.
    """

    root: Path = Path("/")
    programs: Mapping[str, str] = field(default_factory=dict)
    packer: Path | None = None
    binds: Binds = field(default_factory=Binds)
    commands: Commands = field(default_factory=Commands)
    image_tool_problem: Callable[[tuple[int, ...]], str | None] = lambda _: None

    def read(self, path: str) -> str | None:
        """Return the text of a file of the kernel's, or None if it is not there."""
        try:
            return (self.root / path).read_text().strip()
        except OSError:
            return None


def probe_host(host: Host, target: Path, scratch: Path) -> tuple[Finding, ...]:
    """Return all findings, backends last. `target` is where an environment would be, `scratch` where it is built."""
    return (
        *_kernel(host),
        fuse_device(host),
        program_version(host, "unshare", _UNSHARE),
        _squashfuse(host),
        *_apptainer(host),
        image_tool(host),
        *scratch_space(scratch),
        memory(host),
        file_guards(target),
        *backends(host, scratch),
    )


def usable(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Return the backends that work."""
    return tuple(
        f.name.removeprefix("backend ") for f in findings if f.name.startswith("backend ") and f.status == "ok"
    )


def _kernel(host: Host) -> Iterator[Finding]:
    release = host.read("proc/sys/kernel/osrelease") or "unknown"
    numbers = _numbers(release)
    if numbers >= (5, 11):
        yield Finding("kernel", "ok", release)
    else:
        detail = f"{release}: overlays in user namespaces came with 5.11 (EL 8 has them from 4.18.0-305)"
        yield Finding("kernel", "warn", detail, "the backend 'apptainer' with setuid needs no newer one")
    yield user_namespaces(host)


def user_namespaces(host: Host) -> Finding:
    """Say whether this user can make a user and mount namespace, by making one."""
    name = "user namespaces"
    settings = [
        ("user.max_user_namespaces", "proc/sys/user/max_user_namespaces", "0"),
        ("kernel.unprivileged_userns_clone", "proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ]
    against = [f"{key} = {bad}" for key, path, bad in settings if host.read(path) == bad]
    try:
        tried = host.commands.run(["unshare", "--user", "--map-root-user", "--mount", "true"], check=False)
    except ToolError as error:
        return Finding(name, "missing", error.reason, _GET["unshare"])
    if tried.status == 0:
        return Finding(name, "ok", "can be made" + "".join(f" ({setting})" for setting in against))
    reason = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"status {tried.status}"
    advice = "ask the administrators for user namespaces, or use the backend 'apptainer' with setuid"
    if against:
        advice = f"{' and '.join(against)} forbids them; {advice}"
    return Finding(name, "missing", reason, advice)


def _named_amiss(path: str | Path | None, name: str, status: Status) -> Finding | None:
    """Say that site.toml names a program that cannot be started; None if it names none, or one that can."""
    if path is None or os.access(path, os.X_OK):
        return None
    key = _KEYS.get(name, name)
    return Finding(name, status, f"{path} cannot be started", f"site.toml names it: correct {key} under [programs]")


def fuse_device(host: Host) -> Finding:
    """Say whether /dev/fuse can be opened for reading and writing."""
    advice = "ask the administrators for mode 666 of /dev/fuse (the package fuse3 sets it)"
    try:
        os.close(os.open(host.root / "dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Finding("/dev/fuse", "missing", (error.strerror or str(error)).lower(), advice)
    return Finding("/dev/fuse", "ok", "can be opened")


def program_version(host: Host, program: str, oldest: tuple[int, ...]) -> Finding:
    """Say which version of a program of util-linux is there, and whether it is new enough."""
    path = host.programs.get(program) or shutil.which(program)
    if path is None:
        return Finding(program, "missing", "not on PATH", _GET[program])
    said = host.commands.run([path, "--version"], check=False)
    text = said.stdout.strip() or said.stderr.strip()
    if _numbers(text) < oldest:
        wanted = ".".join(map(str, oldest))
        return Finding(program, "missing", f"{path}: {text or 'no version'}, {wanted} is needed", _GET[program])
    return Finding(program, "ok", f"{path}: {text}")


def _squashfuse(host: Host) -> Finding:
    name = "squashfuse_ll"
    path = host.programs.get(name) or shutil.which(name)
    if path is None:
        apptainer = _apptainer_path(host)
        home = Path(apptainer).parent.parent if apptainer else Path("/usr")
        places = [*home.glob("libexec/apptainer/bin/squashfuse_ll"), *home.glob("lib/*/apptainer/bin/squashfuse_ll")]
        if not places:
            return Finding(name, "missing", "not on PATH, nor beside an Apptainer", _GET[name])
        return Finding(name, "ok", f"{places[0]} (Apptainer's own)")
    return _named_amiss(host.programs.get(name), name, "missing") or Finding(name, "ok", path)


def _apptainer_path(host: Host) -> str | None:
    return host.programs.get("apptainer") or shutil.which("apptainer") or shutil.which("singularity")


def _apptainer(host: Host) -> Iterator[Finding]:
    path = _apptainer_path(host)
    if (amiss := _named_amiss(host.programs.get("apptainer"), "apptainer", "warn")) is not None:
        yield amiss
        return
    if path is None:
        yield Finding("apptainer", "warn", "neither apptainer nor singularity is on PATH", _GET["apptainer"])
        return
    try:
        said = host.commands.run([path, "--version"], check=False)
        built = host.commands.run([path, "buildcfg"], check=False).stdout
    except ToolError as error:
        yield Finding("apptainer", "warn", error.reason, _GET["apptainer"])
        return
    if said.status != 0:
        yield Finding("apptainer", "warn", f"{path} does not start: {said.stderr.strip()}", _GET["apptainer"])
        return
    mode = "setuid" if _SETUID.search(built) else "user namespaces"
    yield Finding("apptainer", "ok", f"{path}: {said.stdout.strip()}, {mode}")
    configured = _CONFIGURATION.search(built)
    if configured is not None:
        yield from _apptainer_settings(Path(configured.group(1)))


_SETUID = re.compile(r"^(?:APPTAINER|SINGULARITY)_SUID_INSTALL=1$", re.MULTILINE)
_CONFIGURATION = re.compile(r"^(?:APPTAINER|SINGULARITY)_CONF_FILE=(.+)$", re.MULTILINE)


def _apptainer_settings(file: Path) -> Iterator[Finding]:
    """Say which of an installation's settings stand in the way of a launch."""
    try:
        text = file.read_text()
    except OSError:
        return
    wanted = {"enable overlay": ("yes", "try", "driver"), "user bind control": ("yes",), "mount dev": ("yes",)}
    for key, good in wanted.items():
        found = re.search(rf"^{key} *= *(\S+)", text, re.MULTILINE)
        if found is not None and found.group(1) not in good:
            advice = f"ask the administrators for '{key} = {good[0]}'"
            yield Finding("apptainer settings", "warn", f"'{key} = {found.group(1)}' in {file}", advice)


def image_tool(host: Host) -> Finding:
    """Say which mksquashfs is there and what is known against its version."""
    name = "mksquashfs"
    if (amiss := _named_amiss(host.packer, name, "missing")) is not None:
        return amiss
    path = host.packer or shutil.which(name)
    if path is None:
        return Finding(name, "missing", "not on PATH", _GET[name])
    said = host.commands.run([path, "-version"], check=False)
    numbers = _numbers(said.stdout)
    if not numbers:
        return Finding(name, "missing", f"{path} does not start: {said.stderr.strip()}", _GET[name])
    version = ".".join(map(str, numbers))
    problem = host.image_tool_problem(numbers)
    if problem is not None:
        return Finding(name, "missing", f"{path}: {version}, which {problem}", _GET[name])
    if numbers == (4, 6):
        return Finding(name, "warn", f"{path}: {version} may damage images made with -tailends", "4.6.1 mends it")
    return Finding(name, "ok", f"{path}: {version}")


def scratch_space(scratch: Path) -> Iterator[Finding]:
    """Say how much room there is to build, and whether programs may run there."""
    places = {"scratch": scratch, "/dev/shm": Path("/dev/shm")}  # noqa: S108 - looked at, nothing is written
    for name, place in places.items():
        try:
            state = os.statvfs(place)
        except OSError as error:
            if name == "scratch":
                advice = "set TMPDIR, or [build] scratch in site.toml, to a directory on this node"
                yield Finding(name, "missing", f"{place}: {(error.strerror or '').lower()}", advice)
            continue
        if name == "scratch" and not os.access(place, os.W_OK | os.X_OK):
            advice = "name one that all may write to under [build] scratch in site.toml, or none: then TMPDIR counts"
            yield Finding(name, "missing", f"{place} cannot be written", advice)
            continue
        free = state.f_bavail * state.f_frsize
        detail = f"{place}: {free / _GIB:.1f} GiB free"
        if name == "scratch" and state.f_flag & os.ST_NOEXEC:
            yield Finding(
                name, "warn", f"{detail}, noexec", "builds of sdists run programs there; set TMPDIR elsewhere"
            )
        elif name == "scratch" and free < _ENOUGH_SCRATCH:
            yield Finding(name, "warn", detail, "a large environment needs some GiB; set TMPDIR elsewhere")
        else:
            yield Finding(name, "ok", detail)


def memory(host: Host) -> Finding:
    """Say how much memory is available."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", host.read("proc/meminfo") or "", re.MULTILINE)
    if found is None:
        return Finding("memory", "warn", "unknown")
    available = int(found.group(1)) * 1024
    detail = f"{available / _GIB:.1f} GiB available"
    if available < _ENOUGH_MEMORY:
        return Finding("memory", "warn", detail, "build where there is more: mksquashfs takes what it gets")
    return Finding("memory", "ok", detail)


def file_guards(target: Path) -> Finding:
    """Say whether flock works on the file system of `target` (a Lustre may be mounted without)."""
    place = next(path for path in (target, *target.parents) if path.is_dir())
    name = "flock"
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".tykky-flock-") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return Finding(name, "warn", f"{place} cannot be written", "name a directory of yours: tykky doctor DIR")
        advice = "builds still exclude one another, by links"
        return Finding(name, "warn", f"{place}: {(error.strerror or str(error)).lower()}", advice)
    return Finding(name, "ok", f"works in {place}")


def backends(host: Host, scratch: Path) -> Iterator[Finding]:
    """Try each backend with two real images."""
    usable_scratch = scratch.is_dir() and os.access(scratch, os.W_OK | os.X_OK)
    with tempfile.TemporaryDirectory(prefix="tykky-doctor-", dir=scratch if usable_scratch else None) as folder:
        images = [Path(folder) / "bottom.sqfs", Path(folder) / "top.sqfs"]
        try:
            for image in images:
                make_host_image(image, _PROBE_PREFIX, (), program=host.packer)
        except ToolError as error:
            yield from (Finding(f"backend {name}", "missing", error.reason, error.hint) for name in BACKENDS)
            return
        stack = Stack(_PROBE_PREFIX, tuple(map(str, images)))
        for name in BACKENDS:
            yield _backend(name, Inside(Path(folder) / name, (name,), host.programs, binds=host.binds), stack)


def _backend(name: str, inside: Inside, stack: Stack) -> Finding:
    try:
        inside.require(stack)
    except RuntimeUnavailable as error:
        lines = [line.strip() for line in (error.output or error.reason).splitlines()]
        detail = next((line for line in lines if line.startswith(f"{name}: ")), lines[0]).removeprefix(f"{name}: ")
        return Finding(f"backend {name}", "missing", detail)
    return Finding(f"backend {name}", "ok", "ran a program with two images")


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(map(int, found.group(0).split("."))) if found else ()
