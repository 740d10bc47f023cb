"""`tykky doctor`: say what this host offers, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import rich_click as click

from tykky.cli.options import Place, common
from tykky.cli.ports import site_programs
from tykky.errors import RuntimeUnavailable
from tykky.layers.squashfs import known_problem
from tykky.runtime.probe import Finding, Host, probe_host, usable
from tykky.site import load_site

_MARKS = {"ok": "found", "warn": "look", "missing": "missing"}


@click.command("doctor")
@click.argument("directory", default=".", type=Place())
@common
def command(directory: Path, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Say what this host offers, what is missing and how to get it; DIRECTORY is where an environment would be.

    The exit status is 0 if at least one backend can start programs here, else 12.

    \b
    Examples:
      tykky doctor
      tykky doctor /scratch/project/envs
    """
    site = load_site(os.environ)
    host = Host(programs=site_programs(site), image_tool_problem=known_problem)
    findings = probe_host(host, directory.absolute(), Path(tempfile.gettempdir()))
    working = usable(findings)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(findings, quiet=quiet)))
        print(f"\nbackends that work here: {', '.join(working)}" if working else "\nno backend works here")
    return 0 if working else RuntimeUnavailable.exit_code


def _lines(findings: tuple[Finding, ...], *, quiet: bool) -> list[str]:
    """Return the table: what is found, and under what is not, how to get it."""
    shown = [finding for finding in findings if not quiet or finding.status != "ok"]
    width = max((len(finding.name) for finding in shown), default=0)
    lines = []
    for finding in shown:
        lines.append(f"{_MARKS[finding.status]:<8} {finding.name:<{width}}  {finding.detail}")
        if finding.advice is not None:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.advice}")
    return lines
