"""Write the shell programs that run at launch. Pure functions; every value is quoted here, none is ever evaluated.

The templates are POSIX sh (dash, bash, busybox ash). Comments are for the reader of the templates: what is handed
from shell to shell as one argument is rendered without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from tykky.digests import Json, document_key
from tykky.runtime import isolated, model
from tykky.runtime.compiled import Templates
from tykky.runtime.isolated import Root
from tykky.runtime.model import Beside, Binds, Launch, Stack

# Variables of the dynamic loader: they would change our own programs on the way to the environment's.
_LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT")
# What the shells of one launch tell one another. The last one unsets them all.
_VARIABLES = (
    *("apptainer", "show", "sh", "real", "p", "path", "cwd", "oldpwd", "uid", "gid", "umask"),
    *("cache", "private", "points", "file", "unshare", "squashfuse", "userns", "tree", "arguments", "locale"),
    *("keep", "keeper", "mounted", "held", "session", "sid", "nsenter"),
)

# The user's own binds of containers: kept, and given back inside as they were.
_BINDS = ("APPTAINER_BIND", "APPTAINER_BINDPATH", "SINGULARITY_BIND", "SINGULARITY_BINDPATH")
# Those that Apptainer hears beside them: mounts, and where it may write.
_HEARD = tuple(
    f"{prefix}_{name}"
    for name in ("CACHEDIR", "CONFIGDIR", "MOUNT", "TMPDIR")
    for prefix in ("APPTAINER", "SINGULARITY")
)
# Variables of Apptainer and SingularityCE (after either's prefix) that a launch must not inherit: those that tell a
# container about itself, and options that would change what is mounted.
_STALE = (
    *("APPNAME", "COMMAND", "CONTAINER", "ENVIRONMENT", "NAME"),
    *("CLEANENV", "CONTAIN", "CONTAINALL", "CWD", "FAKEROOT", "HOME", "HOSTNAME", "NO_MOUNT", "OVERLAYIMAGE", "PWD"),
    *("SCRATCH", "UNSQUASH", "UTS", "WORKDIR", "WRITABLE", "WRITABLE_TMPFS"),
)
# What a Python that starts looks for in its prefix, by its own rules (getpath.py, site.py) and by Debian's.
_FIRST = (
    *("bin/python", "bin/python._pth", "bin/pyvenv.cfg", "{library}/os.py"),
    *("local", "lib/python3", "{library}/dist-packages"),
)
_LONGEST_LOWER = 3500  # bytes of a page, which the other options of a mount share
_BARE = (
    "serve.sh.j2",
    "clean.sh.j2",
    "show.sh.j2",
    "near.sh.j2",
    "ahead.sh.j2",
    "show_image.sh.j2",
    "table.sh.j2",
    "mount_table.sh.j2",
    "assemble.sh.j2",
    "within.sh.j2",
    "environ.sh.j2",
    "keeper.sh.j2",
    "covered.sh.j2",
    "pipe.sh.j2",
)


def quote(text: str) -> str:
    """Return `text` as one word of the shell, whatever it holds. Raises `ValueError` for a null byte."""
    if "\0" in text:
        raise ValueError("a null byte cannot be passed to a program")
    return "'" + text.replace("'", "'\\''") + "'"


def render_launcher() -> str:
    """Return the launcher: the one program behind every name in `P/bin`. It is the same for all environments."""
    return _render("launcher.sh.j2", {})


def render_launch(launch: Launch, beside: Sequence[Beside] = ()) -> str:
    """Return `launch.sh` of one generation, as text to write with `surrogateescape`.

    Environments `beside` it are shown in the same mounts. Raises `ValueError` if two of them have one prefix.
    """
    applied = _applied(launch)
    for other in beside:
        applied["path_prepend"] = (*applied["path_prepend"], f"{other.path}/bin", *other.path_prepend)
    return _render_stack("launch.sh.j2", launch.stack, launch.binds, beside, launch.root, idle=launch.idle, **applied)


def render_environ(launch: Launch) -> str:
    """Return the part of a launch that sets the program's variables: shell text that needs `_tykky_p` and PATH."""
    start = "_tykky_path=${PATH-} _tykky_cwd=${PWD-} _tykky_oldpwd=${OLDPWD+=$OLDPWD}\n"
    return start + _render("environ.sh.j2", _applied(launch) | {"isolated": False})


def _applied(launch: Launch) -> dict[str, Any]:
    carried = {key: value for key, value in {**launch.activation, **launch.environ}.items() if key in _LOADER}
    library = f"lib/python{launch.python}"
    return {
        "name": launch.name,
        "identity": True,
        "packages": "" if launch.python is None else f"{launch.stack.prefix}/{library}/site-packages",
        "library": library,
        "minor": launch.python,
        "first": tuple(path.format(library=library) for path in _FIRST),
        "brings_python": launch.brings_python,
        "backends": launch.backends,
        "programs": launch.programs,
        "path_prepend": launch.path_prepend,
        "assignments": tuple(_assignments(launch).items()),
        "carried": carried,
    }


def render_inside(
    stack: Stack,
    host: str,
    backends: tuple[str, ...],
    programs: Mapping[str, str],
    binds: Binds | None = None,
) -> str:
    """Return a shell program that runs its arguments with `stack` shown at its prefix.

    `host` is the host image. Nothing of an environment is applied.
    """
    return _render_stack(
        "inside.sh.j2",
        stack,
        binds or Binds(),
        name="a build",
        identity=False,
        packages="",
        brings_python=False,
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


def _render_stack(
    template: str,
    stack: Stack,
    binds: Binds,
    beside: Sequence[Beside] = (),
    root_image: Root | None = None,
    **values: object,
) -> str:
    top = "/" + stack.prefix.split("/")[1]
    stacks = [stack, *(other.stack for other in beside)]
    images = [*stack.images, *(image for other in beside for image in other.images)]
    environments = _environments(top, stack, beside)
    lower = environments[0]["lower"]
    if stack.tree is not None and stack.images:
        lower = (f"/..{top}/.images/tree", *lower)
    variables = [f"_tykky_{name}" for name in _VARIABLES]
    sizes = [size for each in stacks for size in each.sizes] if all(each.sizes for each in stacks) else []
    if root_image is not None:
        # It comes last: whoever serves or looks at images does it for that one too.
        variables.append("_tykky_around")
        images.append(root_image.image)
        sizes += [root_image.size] if sizes else []
    variables += [f"_tykky_image_{number}" for number in range(len(images))]
    values |= {
        "prefix": stack.prefix,
        "top": top,
        "images": images,
        "sizes": sizes,
        "whose": [
            *(each["path"] for each, of in zip(environments, stacks, strict=True) for _ in of.images),
            environments[0]["path"],  # of the image that is the root
        ],
        "environments": environments,
        "beside": environments[1:],
        "lower": lower,
        "trees": [tree for each in environments for tree in each["trees"]],
        "bare": tuple(_bare(environments, str(values["packages"]))),
        "tree": None if stack.tree is None else str(stack.tree),
        "changes": None if stack.changes is None else str(stack.changes),
        "variables": variables,
        "loader_variables": _LOADER,
        "own_binds": _BINDS,
        "heard": _HEARD,
        "stale": _STALE,
        "hidden": binds.hidden,
        # What lies in a link of the root is where the link leads to.
        "shown": [(path, "/" + path.split("/")[1]) for path in binds.shown],
    }
    values |= {
        "isolated": root_image is not None,
        "layers": images if root_image is None else images[:-1],
        "offset": "" if root_image is None or not root_image.offset else f",offset={root_image.offset}",
        "shell_inside": '"$_tykky_sh"' if root_image is None else "/bin/sh",
        "kernels": isolated.KERNELS,
        "places": () if root_image is None else (*isolated.TEMPORARY, *root_image.ordered),
        "files": isolated.FILES,
        "standard_path": isolated.PATH,
    }
    lent, repairs = list(_lent(stacks)), [_repair(image, each) for each in stacks for image in each.images]
    if root_image is not None:
        repairs.append(_repair_root(root_image))
        if root_image.image.startswith("/") and stack.trusted is not None:
            lent.append((len(images) - 1, stack.trusted, None))
    values["lent"], values["repairs"] = lent, repairs
    values["near"] = _near(stack, lower, str(values["packages"])) if root_image is None else ()
    values["settle"] = _render("settle.sh.j2", values)
    values["clean"] = _render("clean.sh.j2", values)
    values["within"] = _render("within.sh.j2", values)
    values["assemble"] = "" if root_image is None else _render("assemble.sh.j2", values)
    values["show"] = _render("show.sh.j2" if root_image is None else "show_image.sh.j2", values)
    if values["identity"]:
        values["keeper"] = _render("keeper.sh.j2", values | {"tick": model.TICK})
        # What another generation mounts is mounted anew: all that decides about that.
        mounted: dict[str, Json] = {"images": list(images), "sizes": list(sizes)}
        mounted |= {name: str(values[name]) for name in ("prefix", "show", "keeper")}
        values["mounted"] = document_key(mounted)[:16]
    return _render(template, values)


def _environments(top: str, stack: Stack, beside: Sequence[Beside]) -> list[dict[str, Any]]:
    """Return what is shown where: words of the shell for each environment's directory, and the trees of its images."""
    prefixes = [stack.prefix, *(other.stack.prefix for other in beside)]
    if len(set(prefixes)) < len(prefixes) or any("/" + prefix.split("/")[1] != top for prefix in prefixes):
        raise ValueError(f"environments in one mount need prefixes of their own below {top}: {', '.join(prefixes)}")
    words = [('"$_tykky_p"', '"$_tykky_real"'), *((quote(other.path), quote(other.real)) for other in beside)]
    found: list[dict[str, Any]] = []
    number = 0
    for (path, real), each in zip(words, (stack, *(other.stack for other in beside)), strict=True):
        trees = [f"{number + index}{each.prefix}" for index in range(len(each.images))]
        number += len(trees)
        bare = ""
        if len(trees) == 1:
            # FUSE remembers neither what is not there nor what a directory holds; overlayfs does, of directories that
            # several layers have. So a lone image gets a layer below it, of directories.
            bare = f"/..{top}/.images/bare{number}"
        lower = (*trees[::-1], bare) if bare else tuple(trees[::-1])
        found.append({"path": path, "real": real, "prefix": each.prefix, "trees": trees, "lower": lower, "bare": bare})
    return found


def _bare(environments: Sequence[Mapping[str, str]], packages: str) -> Iterator[tuple[str, str]]:
    """Give the layers below lone images, and below the first environment's the directory of its packages."""
    for number, environment in enumerate(environments):
        if environment["bare"]:
            yield environment["bare"], packages.removeprefix(environment["prefix"]) if number == 0 else ""


def _near(stack: Stack, lower: Sequence[str], packages: str) -> tuple[str, ...]:
    """Return the directories of the prefix down to its packages, if what a Python opens there can lie in memory."""
    # With one layer more, what is said of them still has to fit into one page.
    if not packages or not stack.images or len(":".join((f"/..{stack.prefix}", *lower))) > _LONGEST_LOWER:
        return ()
    parts = packages.removeprefix(f"{stack.prefix}/").split("/")
    return tuple("/".join(parts[: count + 1]) for count in range(len(parts)))


def _lent(stacks: Sequence[Stack]) -> Iterator[tuple[int, tuple[int, ...], tuple[int, int] | None]]:
    """Give the number of each image that is another environment's, the uids that it may belong to, and its file."""
    before = 0
    for stack in stacks:
        if stack.trusted is not None:
            files = dict(enumerate(stack.files))
            yield from ((before + number, stack.trusted, files.get(number)) for number in stack.lent)
        before += len(stack.images)


def _repair(image: str, stack: Stack) -> str:
    """Return what to do about an image that is not what it was."""
    if image.startswith("/") and stack.trusted is not None:
        return "it is lent by another environment: 'tykky lock --rebase' and 'tykky build' take what is there now"
    return "'tykky build' with its spec and lock makes it again"


def _repair_root(root: Root) -> str:
    """Return what to do about a root that is not what it was."""
    if root.image.startswith("/"):
        return "it is the image of [runtime]: 'tykky lock' and 'tykky build' take what is there now"
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


def _sources() -> dict[str, str]:
    """Return the templates' texts, those of what is handed on as one argument without comments."""
    folder = Path(__file__).with_name("templates")
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.j2")}
    return found | {name: re.sub(r"(?m)^[ ]*#.*\n", "", found[name]) for name in _BARE}


# How they are compiled is said below.
_COMPILED = Templates(_sources, options=Path(__file__).read_bytes())


def keep_compiled(place: Path) -> None:
    """Keep the templates' bytecode in a directory from now on, and take it from there, if it is ours alone."""
    _COMPILED.place = place


@cache
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=_COMPILED,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - this writes shell, and quotes for the shell
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["q"] = quote
    templates.filters["line"] = lambda text: " ".join(text.split())
    templates.filters["image_path"] = _image_path
    templates.filters["mount_word"] = _mount_word
    return templates


def _image_path(image: str) -> str:
    """Return the shell word for an image: an absolute path, or one below the environment directory."""
    return quote(image) if image.startswith("/") else '"$_tykky_real"/' + quote(image)


def _mount_word(path: str) -> str:
    """Return the shell word for a directory that an isolated root shows: `~` is the home directory of who launches."""
    if path == isolated.HOME:
        return '"${HOME-}"'
    below = path.removeprefix(f"{isolated.HOME}/")
    return quote(path) if below == path else '"${HOME-}"/' + quote(below)
