"""The command line's composition root: which adapters stand behind the core's ports."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from tykky import runtime
from tykky.access import Access
from tykky.errors import SiteError
from tykky.lock.model import Package
from tykky.process import Commands, which
from tykky.progress import Reporter
from tykky.runtime.interpreter import find_interpreter
from tykky.site.cache import cache_directory
from tykky.site.load import load_site
from tykky.site.offer import Site
from tykky.spec.model import Spec

if TYPE_CHECKING:
    from tykky.digests import Json
    from tykky.environment.directory import EnvironmentDirectory, GenerationRecord
    from tykky.environment.parent import Relatives
    from tykky.layers.workshop import Inside, Workshop
    from tykky.resolve.ports import CondaResolver, PypiResolver, PythonChooser
    from tykky.resolve.solve import Ports
    from tykky.runtime.model import Binds, Launch

UV_HINT = "uv comes with tykky: reinstall tykky, or install uv (PyPI and conda: uv); see 'tykky doctor'"


def open_site() -> Site:
    """Return the site's and the user's settings."""
    return load_site(os.environ)


def open_relatives(site: Site, directory: Path) -> Relatives:
    """Return how the environments that a spec in `directory` extends are found, and whose are believed."""
    from tykky.environment.parent import Relatives

    return Relatives(directory, site.environments, site.trusted_owners)


def open_access(site: Site, *, offline: bool) -> Access:
    """Return how artifacts and indexes are reached."""
    return Access(cache=cache_directory(os.environ), offline=offline, mirrors=site.mirrors)


def find_uv() -> Path:
    """Return the uv that belongs to this Tykky, else the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    if sys.prefix != sys.base_prefix and beside.is_file():  # in a venv scripts stand beside its Python (PEP 405)
        return beside
    import sysconfig

    own = Path(sysconfig.get_path("scripts")) / "uv"
    return own if own.is_file() else which("uv", hint=UV_HINT)


def resolver_ports(spec: Spec, access: Access, reporter: Reporter, python_downloads: str | None = None) -> Ports:
    """Return what `resolve` needs for the resolvers that the spec names.

    `python_downloads` is the site's list of interpreters, if it has one.
    """
    from tykky.resolve.solve import Ports

    commands = Commands()

    def conda() -> CondaResolver:
        assert spec.conda is not None
        if spec.conda.resolver == "conda-lock":
            from tykky.resolve.conda.condalock import CondaLockResolver

            return CondaLockResolver(access)
        from tykky.resolve.conda.rattler import RattlerResolver

        return RattlerResolver(access)

    def pypi() -> PypiResolver:
        assert spec.pypi is not None
        if spec.pypi.resolver == "pip-tools":
            from tykky.resolve.pypi.piptools import PipToolsResolver

            return PipToolsResolver(access, commands)
        from tykky.resolve.pypi.uv import UvResolver

        return UvResolver(access, find_uv(), commands)

    def managed_python() -> PythonChooser:
        from tykky.resolve.managed_python import UvPythons

        return UvPythons(access, find_uv(), python_downloads, commands)

    def provides(packages: Sequence[Package]) -> tuple[Package, ...]:
        if not packages:
            return ()
        from tykky.resolve.conda.provides import with_provides

        return with_provides(tuple(packages), access, reporter)

    def virtual_packages(platform: str, overrides: dict[str, str]) -> tuple[str, ...]:
        from tykky.resolve.conda.virtual import default_virtual_packages

        return default_virtual_packages(platform, overrides)

    return Ports(
        conda=conda,
        pypi=pypi,
        provides=provides,
        virtual_packages=virtual_packages,
        interpreter=lambda wanted: find_interpreter(wanted, commands),
        managed_python=managed_python,
        reporter=reporter,
    )


def keep_templates() -> None:
    """Have the templates of what is rendered compiled once for many runs, if the cache can be used."""
    from tykky.runtime.render import keep_compiled

    with contextlib.suppress(SiteError):
        keep_compiled(cache_directory(os.environ) / "templates")


def site_programs(site: Site) -> dict[str, str]:
    """Return the site's own paths of the programs that a launch runs."""
    named = {"apptainer": site.program("apptainer"), "squashfuse_ll": site.program("squashfuse")}
    return {name: os.fspath(path) for name, path in named.items() if path is not None}


def site_binds(site: Site) -> Binds:
    """Return which of the host's directories programs see."""
    from tykky.runtime.model import Binds

    return Binds(site.no_bind, site.bind)


def open_inside(site: Site, scratch: Path) -> Inside:
    """Return what runs programs inside while building: the same text that launches use."""
    from tykky.runtime.inside import Inside as RuntimeInside
    from tykky.runtime.model import Stack

    keep_templates()
    inside = RuntimeInside(
        scratch / "inside", site.backends, site_programs(site), site.program("mksquashfs"), site_binds(site)
    )

    class Adapter:
        script_network = site.script_network

        def require(self) -> None:
            inside.require()

        def argv(self, prefix: str, images: Sequence[Path], tree: Path | None, command: Sequence[str]) -> list[str]:
            return inside.argv(Stack(prefix, tuple(os.fspath(image) for image in images), tree), command)

        def writable(self, prefix: str, images: Sequence[Path], changes: Path, command: Sequence[str]) -> list[str]:
            stack = Stack(prefix, tuple(os.fspath(image) for image in images), changes=changes)
            return inside.argv(stack, command)

    return Adapter()


def open_workshop(site: Site, access: Access, commands: Commands, reporter: Reporter) -> Callable[[Path], Workshop]:
    """Return what makes a build's tools for a scratch directory."""
    from tykky.layers.squashfs import mksquashfs
    from tykky.layers.workshop import Workshop

    def workshop(scratch: Path) -> Workshop:
        return Workshop(
            access=access,
            commands=commands,
            reporter=reporter,
            inside=open_inside(site, scratch),
            packer=mksquashfs(commands, site.program("mksquashfs")),
            uv=find_uv(),
            scratch=scratch,
            striping=site.striping,
            most_processors=site.processors,
        )

    return workshop


class LaunchPublisher(Struct, frozen=True):
    """Writes the launcher, launch.sh and the mount points of a generation."""

    site: Site

    def settings(self, spec: Spec) -> Json:
        """Return what decides how programs start: the site's and the spec's part, and our own templates."""
        extending: dict[str, Json] = {}
        if spec.environment.extends is not None or spec.runtime.image != "host":
            extending["trusted"] = list(self._trusted())
        if spec.runtime.mounts:
            extending["mounts"] = list(spec.runtime.mounts)
        return {
            **extending,
            "environ": dict(spec.runtime.environ),
            "user-site": spec.runtime.user_site,
            "image": spec.runtime.image,
            "backends": list(self.site.backends),
            "programs": site_programs(self.site),
            "no-bind": list(self.site.no_bind),
            "bind": list(self.site.bind),
            "templates": templates_digest(),
        }

    def _trusted(self) -> tuple[int, ...]:
        return tuple(sorted({os.geteuid(), *self.site.trusted_owners}))

    def launcher(self) -> bytes:
        """Return the launcher's text."""
        from tykky.runtime.render import render_launcher

        return render_launcher().encode()

    def launch(self, spec: Spec, record: GenerationRecord) -> bytes:
        """Return the text of `launch.sh`."""
        from tykky.runtime.render import render_launch

        keep_templates()
        return render_launch(self.value(spec, record, self._trusted())).encode("utf-8", "surrogateescape")

    def value(self, spec: Spec, record: GenerationRecord, trusted: tuple[int, ...]) -> Launch:
        """Return what `launch.sh` says. Images that others lend are used if they belong to one of `trusted`."""
        from tykky.runtime.isolated import Root
        from tykky.runtime.model import Binds, Launch, Stack

        activation, root = record.activation, record.root
        return Launch(
            stack=Stack(
                record.prefix,
                tuple(layer.image for layer in record.layers),
                sizes=tuple(layer.size for layer in record.layers),
                trusted=trusted,
                files=tuple(
                    None if layer.inode is None or layer.modified is None else (layer.inode, layer.modified)
                    for layer in record.layers
                ),
            ),
            name=record.name,
            activation={name: value for name, value in activation.items() if name != "PATH"},
            path_prepend=tuple(entry for entry in activation.get("PATH", "").split(":") if entry),
            environ=spec.runtime.environ,
            user_site=spec.runtime.user_site,
            backends=self.site.backends,
            programs=site_programs(self.site),
            binds=site_binds(self.site) if root is None else Binds(),
            python=record.python,
            brings_python=record.interpreter is None,
            root=None if root is None else Root(root.image, root.size, root.offset, root.mounts),
        )

    def mount_points(self, directory: EnvironmentDirectory, record: GenerationRecord, names: tuple[str, ...]) -> None:
        """Write the host image, and the links that show P inside Apptainer."""
        from tykky.runtime.host_image import make_host_image, make_inside, make_points_image

        image = directory.private / "host.sqfs"
        binds, program = site_binds(self.site), self.site.program("mksquashfs")
        make_host_image(image, record.prefix, names, binds=binds, place=directory.path, program=program)
        if record.root is not None:
            points = directory.private / "points.sqfs"
            make_points_image(points, record.prefix, names, record.root.mounts, place=directory.path, program=program)
        make_inside(directory.private / "inside", record.prefix, names)


@cache
def templates_digest() -> str:
    """Return the sha256 of everything that launch texts are rendered from."""
    from tykky.digests import document_key

    files = sorted((Path(runtime.__file__).parent / "templates").iterdir())
    return document_key({path.name: path.read_text("utf-8") for path in files if path.is_file()})
