"""A stand-in for conda: it speaks as much of its command line as conda-lock uses, and solves with rattler.

No conda, mamba or micromamba can be had where these tests run (none is on PyPI or in Debian). So what is tested with
this is our side and conda-lock's: the command line, the channels of our own, the environment variables, the reading of
conda's JSON and of its refusals. That a real conda answers alike is not tested here.

What it takes from the real one (conda 24, libmamba solver): `create --dry-run --json`, the variables CONDA_SUBDIR,
CONDA_OVERRIDE_*, CONDA_CHANNEL_PRIORITY and CONDA_OFFLINE, repodata records as FETCH actions, and for failures
`exception_name` and `message`. Virtual packages count only as CONDA_OVERRIDE_* and channels say: nothing is detected.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from tykky.cli.main import leave
from tykky.resolve.conda.running import run


def install(directory: Path, name: str = "conda") -> Path:
    """Write the stand-in as an executable into `directory`."""
    root = Path(__file__).parents[2]
    program = directory / name
    directory.mkdir(parents=True, exist_ok=True)
    program.write_text(
        f"#!{sys.executable} -I\nimport sys\nsys.path.insert(0, {os.fspath(root)!r})\n"
        "from tests.channel.standin import main\nmain()\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def main() -> None:
    """Answer one command line."""
    if sys.argv[1:] == ["--version"]:
        print("conda 24.0.0+standin")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["create"])
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--dry-run", action="store_true", required=True)
    parser.add_argument("--json", action="store_true", required=True)
    parser.add_argument("--override-channels", action="store_true", required=True)
    parser.add_argument("--channel", action="append", required=True)
    parser.add_argument("specs", nargs="+")
    answer(parser.parse_args())


def answer(asked: argparse.Namespace) -> None:
    from rattler.exceptions import GatewayError, SolverError

    _note(asked)
    try:
        records = run(_solve(asked))
    except SolverError as error:
        message = str(error)
        if "No candidates were found for" in message:
            _fail("PackagesNotFoundError", _not_found(message, asked.channel))
        _fail("LibMambaUnsatisfiableError", f"Encountered problems while solving:\n{message}")
    except GatewayError as error:
        channel = next((c for c in asked.channel if c in str(error)), asked.channel[0])
        reason = f"HTTP 404 NOT FOUND for channel {Path(channel).name} <{channel}>\n\n{error}"
        _fail("UnavailableInvalidChannel", reason)
    json.dump({"actions": {"FETCH": records, "LINK": records}, "dry_run": True, "success": True}, sys.stdout)
    leave(0)


async def _solve(asked: argparse.Namespace) -> list[dict[str, Any]]:
    from rattler import Channel, ChannelPriority, Gateway, SourceConfig, solve
    from rattler.platform import Subdir

    cache = Path(os.environ["CONDA_PKGS_DIRS"]) / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    offline = os.environ.get("CONDA_OFFLINE") == "true"
    source = SourceConfig(cache_action="force-cache-only" if offline else "cache-or-fetch")
    strict = os.environ.get("CONDA_CHANNEL_PRIORITY", "flexible") == "strict"
    records = await solve(
        [Channel(channel) for channel in asked.channel],
        [_lenient(spec) for spec in asked.specs],
        gateway=Gateway(cache_dir=cache, default_config=source),
        platforms=[Subdir(os.environ["CONDA_SUBDIR"]), Subdir("noarch")],
        virtual_packages=_overrides(),
        channel_priority=ChannelPriority.Strict if strict else ChannelPriority.Disabled,
    )
    return [json.loads(record.to_json()) for record in records]


def _lenient(spec: str) -> Any:
    from rattler import MatchSpec

    return MatchSpec(spec, strict=False)


def _overrides() -> list[Any]:
    from rattler import BuildString, GenericVirtualPackage, PackageName, Version

    found = []
    for variable, value in os.environ.items():
        if variable.startswith("CONDA_OVERRIDE_") and value:
            name = "__" + variable.removeprefix("CONDA_OVERRIDE_").lower()
            version, build = ("1", value) if name == "__archspec" else (value, "0")
            found.append(GenericVirtualPackage(PackageName(name), Version(version), BuildString(build)))
    return found


def _not_found(message: str, channels: list[str]) -> str:
    specs = message.split("No candidates were found for ")[1].splitlines()[0].rstrip(".")
    listed = "\n".join(f"  - {channel}/linux-64" for channel in channels)
    return (
        "The following packages are not available from current channels:\n\n"
        f"  - {specs.removesuffix(' *')}\n\nCurrent channels:\n\n{listed}\n"
    )


def _fail(name: str, message: str) -> None:
    json.dump({"exception_name": name, "message": message, "error": f"{name}: {message}"}, sys.stdout)
    leave(1)


def _note(asked: argparse.Namespace) -> None:
    """Write what was asked, with all the variables, where a test may look at it."""
    log = Path(sys.argv[0]).with_suffix(".log")
    log.write_text(json.dumps({"argv": sys.argv[1:], "specs": asked.specs, "environ": dict(os.environ)}))
