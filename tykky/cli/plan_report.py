"""What `tykky build --dry-run` shows: the layers, the packages that a delta adds, changes and removes, and why."""

from __future__ import annotations

import json

from tykky.cli.reporters import human_bytes
from tykky.environment.plan import Plan, Step
from tykky.environment.registry_root import RegistryRoot
from tykky.layers.keys import counted
from tykky.layers.merged import PackageName


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print the plan, as text or as one JSON document."""
    if as_json:
        print(json.dumps(_as_json(plan), indent=2, ensure_ascii=False))
        return
    print(f"{plan.prefix} for {plan.platform}: generation {plan.number}")
    if isinstance(plan.root, RegistryRoot):
        root = plan.root
        what = f"to make, {human_bytes(root.locked.size)} to download at most"
        print(f"  {root.layer.kind:<6} {root.layer.key[:12]}  {root.written}: {what}")
    for step in plan.steps:
        note = "" if step.lasting else ", then gone from the stack"
        print(f"  {step.layer.kind:<6} {step.layer.key[:12]}  {step.layer.reason}: {_state(step)}{note}")
    for sign, name, text in _changes(plan) if plan.missing else ():
        print(f"    {sign} {name} {text}")
    for line in _reasons(plan):
        print(line)
    if not plan.missing and not isinstance(plan.root, RegistryRoot):
        print("nothing to build")


def _state(step: Step) -> str:
    if step.cached:
        return f"there already, {human_bytes(step.size or 0)}"
    if step.elsewhere is not None:
        return f"in {step.elsewhere}, {human_bytes(step.size or 0)}"
    if step.download and step.layer.kind not in ("delta", "flat"):
        return f"to build, {human_bytes(step.download)} of packages"
    return "to build"


def _reasons(plan: Plan) -> list[str]:
    found = []
    cost = plan.cost
    if cost is not None:
        parts = [f"a delta takes about {human_bytes(cost.delta)} of packages, fresh layers {human_bytes(cost.fresh)}"]
        if cost.whiteouts:
            parts.append(f"at least {counted(cost.whiteouts, 'whiteout')}")
        if round(cost.dead, 2):
            parts.append(f"{cost.dead:.0%} of the bytes below are dead then")
        found.append("; ".join(parts))
    if plan.why:
        found.append(f"why: {plan.why}")
    return found


def _changes(plan: Plan) -> list[tuple[str, str, str]]:
    """Return sign, name, and the versions before and after, of the packages that change, by name."""
    if plan.moves is None or plan.lower is None:
        return []
    after: dict[PackageName, str] = {
        (p.kind, p.name): p.version for layer in plan.target.layers for p in layer.packages
    }
    before = {name: package.version for name, package in plan.lower.packages.items()}
    found = []
    for name in plan.moves.install | plan.moves.gone:
        old, new = before.get(name), after.get(name)
        sign = "-" if new is None else "~" if old is not None else "+"
        versions = " -> ".join(version for version in (old, new) if version is not None)
        found.append((sign, name[1], f"{versions} ({name[0]})"))
    return sorted(found, key=lambda change: change[1:])


def _as_json(plan: Plan) -> dict[str, object]:
    cost = plan.cost
    return {
        "environment-directory": str(plan.prefix),
        "prefix": plan.target.spec.prefix,
        "platform": plan.platform,
        "generation": plan.number,
        "layers": [_step_json(step) for step in plan.steps],
        "root": _root_json(plan),
        "why": plan.why,
        "changes": [{"change": sign, "name": name, "what": text} for sign, name, text in _changes(plan)],
        "cost": None
        if cost is None
        else {
            "delta-bytes": cost.delta,
            "fresh-bytes": cost.fresh,
            "whiteouts": cost.whiteouts,
            "live-bytes": cost.live,
            "bytes": cost.total,
        },
    }


def _root_json(plan: Plan) -> dict[str, object] | None:
    """Return what programs will see as their root; None for the host's own."""
    root = plan.root
    if root is None:
        return None
    if isinstance(root, RegistryRoot):
        manifest = f"sha256:{root.locked.digest}"
        return {"image": root.written, "manifest": manifest, "cached": False, "download": root.locked.size}
    return {"image": root.written, "manifest": root.manifest, "cached": True, "download": 0}


def _step_json(step: Step) -> dict[str, object]:
    return {
        "kind": step.layer.kind,
        "key": step.layer.key,
        "reason": step.layer.reason,
        "cached": step.cached,
        "elsewhere": str(step.elsewhere) if step.elsewhere is not None else None,
        "size": step.size,
        "download": step.download,
        "lasting": step.lasting,
        "packages": [f"{p.name}=={p.version}" for p in step.layer.packages],
    }
