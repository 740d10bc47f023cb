"""What makes a venv-type environment a base that other venvs can stand on, as any installation of Python is.

Python makes a venv's venv a venv of the interpreter behind both: `python -m venv --system-site-packages v` would show
what the host has installed instead of the environment. So the tree has, as links to the host's library, what CPython
(`Modules/getpath.py`) looks for above the `home` of a pyvenv.cfg:

* `lib/pythonX.Y/os.py` and `lib/pythonX.Y/lib-dynload` are the landmarks by which a prefix is found;
* `lib/pythonXY.zip` is the first entry of that prefix' `sys.path`, and may be a directory: so all of the library is
  there, and nothing in the image depends on which modules the host's has;
* `include/pythonX.Y` are the headers for what is compiled in such a venv; `lib/pythonX.Y/config-…` has the Makefile
  that `sysconfig` speaks of;
* and a `.pth` file names the environment's own python as the one to make venvs of, in the environment and in those
  venvs on top of it that see its packages.

virtualenv makes venvs of the base that an interpreter names, and calls one an installation whose base is its prefix,
once both are plain paths (`os.path.abspath`). So the `.pth` file makes the environment its own base, by a detour
(`P/lib/..`): Python, Debian's changes to it, pip and uv compare the two as they are, and to them it stays a venv.
Decision 0018 has the reasons.

The environment itself finds the library as any venv does, through the `home` in its own pyvenv.cfg.
"""

from __future__ import annotations

import json
from pathlib import Path

from tykky.process import Commands

_QUESTION = """
import json, os, sys, sysconfig
library = sysconfig.get_path("stdlib")
dynload = [path for path in sys.path if path.endswith("/lib-dynload")]
paths = [dynload[0] if dynload else library, os.path.dirname(sysconfig.get_makefile_filename())]
print(json.dumps([library, *paths, sysconfig.get_path("include")]))
"""
# One line, as it has to be, that leaves no names. By the link to `os` the environment knows itself, and its venvs it.
_PTH = (
    "import os, sys; vars(sys).update("
    "dict(_base_executable=sys.executable, base_prefix=sys.prefix + '/lib/..', base_exec_prefix=sys.prefix + '/lib/..')"
    " if os.path.islink(sys.prefix + '/lib/python{minor}/os.py') else "
    "dict(_base_executable=sys.base_prefix + '/bin/python')"
    " if os.path.islink(sys.base_prefix + '/lib/python{minor}/os.py') else {{}})\n"
)


def make_base(tree: Path, interpreter: Path, minor: str, commands: Commands) -> None:
    """Make a base of the venv in `tree`, of the host's `interpreter`, which says where its library is.

    To be done last: whoever walks the tree with no eye for links would come into the host's library. Raises
    `CommandFailed` if the interpreter does not start.
    """
    asked = commands.run([interpreter, "-I", "-S", "-c", _QUESTION])
    library, dynload, config, include = (Path(path) for path in json.loads(asked.stdout))
    own = tree / "lib" / f"python{minor}"
    headers = tree / "include"
    headers.mkdir(exist_ok=True)
    (own / "site-packages" / "_tykky_base.pth").write_text(_PTH.format(minor=minor))
    for link, target in (
        (own / "os.py", library / "os.py"),
        (own / "lib-dynload", dynload),
        (own / config.name, config),
        (own.with_name(f"python{minor.replace('.', '')}.zip"), library),
        (headers / f"python{minor}", include),
    ):
        if not link.is_symlink() and not link.exists():  # a package may have put headers there
            link.symlink_to(target)
