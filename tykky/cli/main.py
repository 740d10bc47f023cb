"""The door: find the verb, import only its module, and turn every `TykkyError` into a message and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from tykky import __version__

# verb -> (module below tykky.cli, one line of help). The table is all that `tykky --help` needs, so that no verb's
# libraries are imported to list it. Each module has a click command named `command`.
VERBS = {
    "init": ("init", "write a new tykky.toml"),
    "add": ("add", "add requirements to tykky.toml"),
    "remove": ("remove", "remove requirements from tykky.toml"),
    "lock": ("lock", "choose exact artifacts and write tykky.lock"),
    "build": ("build", "make what is missing and publish the environment directory"),
    "run": ("run", "run a program of an environment"),
    "shell": ("shell", "open a shell inside an environment"),
    "info": ("info", "show an environment: layers, sizes, packages, generation"),
    "list": ("list_", "list environments: yours and the site's"),
    "activate": ("activate", "put an environment in front of PATH in this shell (with shell-init)"),
    "deactivate": ("deactivate", "undo activate"),
    "shell-init": ("shell_init", "print the functions that activate and complete in a shell"),
    "module": ("module", "write a module file for an environment"),
    "tree": ("tree", "show which layer gives which package, and bytes live and dead"),
    "diff": ("diff", "compare two generations of an environment: packages, files"),
    "history": ("history", "list the generations of an environment: what changed, when, who, sizes"),
    "rollback": ("rollback", "make an earlier generation the current one"),
    "vendor": ("vendor", "make an environment that extends another one stand alone"),
    "flatten": ("flatten", "make one layer of the layers of an environment"),
    "verify": ("verify", "check the images of an environment against what was recorded of them"),
    "gc": ("gc", "remove images and generations that nobody needs any more"),
    "doctor": ("doctor", "say what this host offers, what is missing and how to get it"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, or the exit code of the error's class (see `tykky.errors`)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:  # asked by modules and scripts at every login; needs no library
        print(f"tykky {__version__}")
        return
    if len(words) == 2 and words[0] == "shell-init":  # every login waits for it
        from tykky.cli.shell_text import PARTS, print_functions

        if words[1] in PARTS:
            print_functions(words[1])
            return
    # A verb makes some ten thousand objects that stay, by importing; to look among them for garbage is lost time.
    gc.set_threshold(50_000)
    _import_msgspec()
    from tykky.cli.boundary import run

    leave(run(words))


def leave(code: int) -> None:
    """End the process as it stands: nothing is open by now, and what it holds the system takes back.

    To take apart all that was imported needs 6 ms. And an interpreter that does so dies of SIGSEGV where a thread of
    rattler still holds an object of its own (a quarter of those that end at once, with py-rattler 0.28).
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        pass  # was said before, where it can be
    os._exit(code)


def _import_msgspec() -> None:
    """Import msgspec without `typing_extensions`.

    It takes from there what `typing` has had since Python 3.11, and importing it, with `inspect`, takes as long as
    importing msgspec. Whoever else wants it can have it afterwards.
    """
    if "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # its documented meaning: cannot be imported
    try:
        import msgspec  # noqa: F401
    except ImportError:
        pass  # one that insists on it gets it from whoever imports msgspec next
    finally:
        del sys.modules["typing_extensions"]
