"""Write the shell programs that run at launch. Pure functions; every value is quoted here, none is ever evaluated.

The templates are POSIX sh (dash, bash, busybox ash). Comments are for the reader of the templates: what is handed
from shell to shell as one argument is rendered without them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

import jinja2

from tykky.digests import Json, document_key
from tykky.runtime import model
from tykky.runtime.model import Binds, Launch, Stack

# Variables of the dynamic loader: they would change our own programs on the way to the environment's.
_LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT")
# What the shells of one launch tell one another. The last one unsets them all.
_VARIABLES = (
    *("apptainer", "serve", "show", "sh", "real", "root", "p", "path", "cwd", "oldpwd", "uid", "gid", "umask"),
    *("cache", "private", "unshare", "squashfuse", "userns", "fuse", "gate", "tree", "arguments"),
    *("keep", "keeper", "mounted", "held", "session", "sid", "nsenter"),
)

# The user's own binds of containers: kept, and given back inside as they were.
_BINDS = ("APPTAINER_BIND", "APPTAINER_BINDPATH", "SINGULARITY_BIND", "SINGULARITY_BINDPATH")
# Variables of Apptainer and SingularityCE (after either's prefix) that a launch must not inherit: those that tell a
# container about itself, and options that would change what is mounted.
_STALE = (
    *("APPNAME", "COMMAND", "CONTAINER", "ENVIRONMENT", "NAME"),
    *("CLEANENV", "CONTAIN", "CONTAINALL", "CWD", "FAKEROOT", "HOME", "HOSTNAME", "NO_MOUNT", "OVERLAYIMAGE", "PWD"),
    *("SCRATCH", "UNSQUASH", "UTS", "WORKDIR", "WRITABLE", "WRITABLE_TMPFS"),
)
_BARE = ("serve.sh.j2", "server.sh.j2", "show.sh.j2", "within.sh.j2", "environ.sh.j2", "keeper.sh.j2", "covered.sh.j2")


def quote(text: str) -> str:
    """Return `text` as one word of the shell, whatever it holds. Raises `ValueError` for a null byte."""
    if "\0" in text:
        raise ValueError("a null byte cannot be passed to a program")
    return "'" + text.replace("'", "'\\''") + "'"


def render_launcher() -> str:
    """Return the launcher: the one program behind every name in `P/bin`. It is the same for all environments."""
    return _render("launcher.sh.j2", {})


def render_launch(launch: Launch) -> str:
    """Return `launch.sh` of one generation, as text to write with `surrogateescape`."""
    return _render_stack("launch.sh.j2", launch.stack, launch.binds, idle=launch.idle, **_applied(launch))


def render_environ(launch: Launch) -> str:
    """Return the part of a launch that sets the program's variables: shell text that needs `_tykky_p` and PATH."""
    start = "_tykky_path=${PATH-} _tykky_cwd=${PWD-} _tykky_oldpwd=${OLDPWD+=$OLDPWD}\n"
    return start + _render("environ.sh.j2", _applied(launch))


def _applied(launch: Launch) -> dict[str, object]:
    carried = {key: value for key, value in {**launch.activation, **launch.environ}.items() if key in _LOADER}
    return {
        "name": launch.name,
        "identity": True,
        "backends": launch.backends,
        "programs": launch.programs,
        "path_prepend": launch.path_prepend,
        "assignments": tuple(_assignments(launch).items()),
        "carried": carried,
    }


def render_inside(
    stack: Stack,
    root: str,
    host: str,
    backends: tuple[str, ...],
    programs: Mapping[str, str],
    binds: Binds | None = None,
) -> str:
    """Return a shell program that runs its arguments with `stack` shown at its prefix.

    `root` is an empty directory for the new root to grow in, `host` the host image. Nothing of an environment is
    applied.
    """
    return _render_stack(
        "inside.sh.j2",
        stack,
        binds or Binds(),
        name="a build",
        identity=False,
        root=root,
        host=host,
        backends=backends,
        programs=programs,
        path_prepend=(),
        assignments=(),
        carried={},
    )


def _assignments(launch: Launch) -> dict[str, str | None]:
    """Return the variables to set or unset before a program starts, without those that go round our own programs."""
    isolated: dict[str, str | None] = {}
    if not launch.user_site:
        isolated = {"PYTHONPATH": None, "PYTHONHOME": None, "PYTHONNOUSERSITE": "1"}
    patch = {key: value for key, value in launch.activation.items() if key != "PATH"}
    merged = {**isolated, **patch, **launch.environ}
    return {key: value for key, value in merged.items() if key not in _LOADER}


def _render_stack(template: str, stack: Stack, binds: Binds, **values: object) -> str:
    top = "/" + stack.prefix.split("/")[1]
    lower = [f"{top[1:]}/.images/{number}{stack.prefix}" for number in range(len(stack.images))]
    if stack.tree is not None and stack.images:
        lower.append(f"{top[1:]}/.images/tree")
    variables = [f"_tykky_{name}" for name in _VARIABLES]
    variables += [f"_tykky_image_{number}" for number in range(len(stack.images))]
    values |= {
        "prefix": stack.prefix,
        "top": top,
        "images": stack.images,
        "sizes": stack.sizes,
        "lower": lower[::-1],
        "tree": None if stack.tree is None else str(stack.tree),
        "changes": None if stack.changes is None else str(stack.changes),
        "variables": variables,
        "loader_variables": _LOADER,
        "own_binds": _BINDS,
        "stale": _STALE,
        "hidden": binds.hidden,
        # What lies in a link of the root is where the link leads to.
        "shown": [(path, "/" + path.split("/")[1]) for path in binds.shown],
    }
    values["lent"] = stack.lent
    values["trusted"] = stack.trusted if stack.lent else None
    values["repairs"] = tuple(_repair(image, stack) for image in stack.images)
    values["settle"] = _render("settle.sh.j2", values)
    values["server"] = _render("server.sh.j2", values)
    values["serve"] = _render("serve.sh.j2", values)
    values["within"] = _render("within.sh.j2", values)
    values["show"] = _render("show.sh.j2", values)
    if values["identity"]:
        values["keeper"] = _render("keeper.sh.j2", values | {"tick": model.TICK})
        # What another generation mounts is mounted anew: all that decides about that.
        mounted: dict[str, Json] = {"images": list(stack.images), "sizes": list(stack.sizes)}
        mounted |= {name: str(values[name]) for name in ("prefix", "server", "show", "keeper")}
        values["mounted"] = document_key(mounted)[:16]
    return _render(template, values)


def _repair(image: str, stack: Stack) -> str:
    """Return what to do about an image that is not what it was."""
    if image.startswith("/") and stack.trusted is not None:
        return "it is lent by another environment: 'tykky lock --rebase' and 'tykky build' take what is there now"
    return "'tykky build' with its spec and lock makes it again"


def _render(template: str, values: Mapping[str, object]) -> str:
    codes = {
        "exit_cannot_nest": model.EXIT_CANNOT_NEST,
        "exit_damaged": model.EXIT_DAMAGED,
        "exit_mount_failed": model.EXIT_MOUNT_FAILED,
        "exit_no_backend": model.EXIT_NO_BACKEND,
        "format": model.FORMAT,
    }
    return _templates().get_template(template).render(**codes, **values)


@cache
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - this writes shell, and quotes for the shell
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["q"] = quote
    templates.filters["line"] = lambda text: " ".join(text.split())
    templates.filters["image_path"] = _image_path
    return templates


def _source(name: str) -> str:
    """Return a template. Of what is handed on as one argument, comments are left out (before any value is put in)."""
    text = resources.files("tykky.runtime").joinpath("templates", name).read_text(encoding="utf-8")
    if name in _BARE:
        text = re.sub(r"(?m)^[ ]*#.*\n", "", text)
    return text


def _image_path(image: str) -> str:
    """Return the shell word for an image: an absolute path, or one below the environment directory."""
    return quote(image) if image.startswith("/") else '"$_tykky_real"/' + quote(image)
