"""A process of its own for conda-lock: a question as JSON on stdin, conda's choice as JSON on stdout.

    {"program": …, "channels": [url …], "specs": […], "platform": …, "virtual": ["__glibc=2.28" …], "pkgs": directory}
    {"actions": [repodata record …]}  or  {"refused": what conda said}  or  {"broken": what it wrote, no answer at all}

What conda-lock prints goes to stderr, where the parent shows it if the process fails.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def solve(question: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the repodata records of conda's choice. Raises `CalledProcessError` if conda refuses."""
    from conda_lock import invoke_conda
    from conda_lock.conda_solver import solve_specs_for_arch
    from conda_lock.models.channel import Channel
    from conda_lock.virtual_package import FakeRepoData, VirtualPackage

    # Kept from run to run: conda keeps its copies of repodata.json there.
    Path(question["pkgs"]).mkdir(parents=True, exist_ok=True)
    invoke_conda.CONDA_PKGS_DIRS = question["pkgs"]
    platform = question["platform"]
    virtual = FakeRepoData(base_path=Path.cwd() / "virtual")
    virtual.base_path.mkdir()
    for text in question["virtual"]:
        name, version, build = (*text.split("="), "")[:3]
        virtual.add_package(VirtualPackage(name=name, version=version, build_string=build), [platform])
    virtual.write()
    channels = [Channel(url=url, used_env_vars=()) for url in question["channels"]]
    with virtual, virtual.conda_virtual_package_overrides(platform):
        answer = solve_specs_for_arch(
            conda=question["program"],
            channels=[*channels, virtual.channel],
            specs=question["specs"],
            platform=platform,
        )
    return [dict(action) for action in answer["actions"]["FETCH"]]


def refusal(error: subprocess.CalledProcessError) -> dict[str, Any]:
    """Return what conda said when it failed: its JSON has the reason; without JSON it did not get that far."""
    text = "\n".join(part for part in (error.stdout, error.stderr) if part)
    try:
        document = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except ValueError:
        return {"broken": text}
    if document.get("success"):  # it died when it had answered
        return {"broken": f"{error}\n{error.stderr or ''}".rstrip()}
    name = document.get("exception_name", "")
    said = document.get("message") or document.get("error") or "\n".join(document.get("solver_problems", [])) or text
    # micromamba says what went wrong with a download on stderr, beside JSON that only says that it did.
    return {"refused": "\n".join(part for part in (name, said, error.stderr) if part)}


def main() -> None:
    """Answer one question."""
    question = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer: dict[str, Any] = {"actions": solve(question)}
        except subprocess.CalledProcessError as error:
            answer = refusal(error)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
