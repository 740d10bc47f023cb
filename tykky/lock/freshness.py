"""Is a lock still an answer to the spec?

By satisfiability: what is asked for is compared with what is locked, not with a hash of the question. A
requirement that was only loosened or tightened, and that the locked version still satisfies, leaves the lock
fresh. What the locked packages cannot show (indexes, channels, cut-off dates, extras, URLs) is compared with
what was asked for when the lock was made.
"""

from __future__ import annotations

from collections.abc import Iterable

from tykky.lock.asked import requirements_of
from tykky.lock.closure import missing
from tykky.lock.fresh_conda import stale_conda
from tykky.lock.fresh_pypi import stale_pypi
from tykky.lock.model import Lock, LockedPlatform, Requirements
from tykky.spec.image_reference import is_reference
from tykky.spec.model import Pypi, Spec

_DEFAULTS = Pypi()


def stale_reasons(spec: Spec, lock: Lock) -> tuple[str, ...]:
    """Return why the lock is no answer to the spec any more, one line each; empty if it is fresh."""
    asked, before = requirements_of(spec), lock.requirements
    platforms = [p for p in lock.platform if p.name in spec.environment.platforms]
    return (
        *_platforms(spec, lock),
        *_settings(asked, before),
        *_image(spec, lock),
        *_python(asked, before, platforms),
        *_everywhere((p, _managed(asked, lock, p)) for p in platforms),
        *_everywhere(stale_conda(asked, lock, p) for p in platforms),
        *_everywhere(stale_pypi(asked, lock, p) for p in platforms),
        *_everywhere(missing(lock, p) for p in platforms),
    )


def _platforms(spec: Spec, lock: Lock) -> list[str]:
    locked = [platform.name for platform in lock.platform]
    wanted = spec.environment.platforms
    return [f"platform {name} is asked for but not locked" for name in wanted if name not in locked] + [
        f"platform {name} is locked but no longer asked for" for name in locked if name not in wanted
    ]


def _image(spec: Spec, lock: Lock) -> list[str]:
    """A registry's image is locked for every platform. What its tag names by now is for `--upgrade` to ask."""
    image = spec.runtime.image
    if not is_reference(image) or image != lock.requirements.image:
        return []
    wanted = spec.environment.platforms
    return [f"the image {image} is not locked for {name}" for name in wanted if lock.manifest(name) is None]


def _settings(asked: Requirements, before: Requirements) -> list[str]:
    """Compare what no package shows. A setting counts where both sides have packages that it is about."""
    reasons = [
        *_changed("environment.exclude-newer", before.exclude_newer, asked.exclude_newer),
        *_changed("runtime.image", before.image, asked.image),
        *_changed("environment.extends", before.extends, asked.extends),
        *_changed("environment.extends-policy", before.extends_policy or "pinned", asked.extends_policy or "pinned"),
    ]
    if asked.conda and before.conda:
        reasons += [
            *_changed("conda.channels", before.channels, asked.channels),
            *_changed(
                "conda.channel-priority", before.channel_priority or "strict", asked.channel_priority or "strict"
            ),
            *_changed("conda.virtual-packages", before.virtual_packages, asked.virtual_packages),
        ]
    if asked.pypi and before.pypi:
        default = _DEFAULTS.prerelease
        reasons += [
            *_changed("pypi.index-url", before.index_url, asked.index_url),
            *_changed("pypi.extra-index-url", before.extra_index_url, asked.extra_index_url),
            *_changed("pypi.find-links", before.find_links, asked.find_links),
            *_changed("pypi.prerelease", before.prerelease or default, asked.prerelease or default),
            *_changed("pypi.no-binary", before.no_binary, asked.no_binary),
            *_changed("pypi.only-binary", before.only_binary, asked.only_binary),
            *_changed("pypi.overrides", before.pypi_overrides, asked.pypi_overrides),
        ]
    return reasons


def _python(asked: Requirements, before: Requirements, platforms: list[LockedPlatform]) -> list[str]:
    """A minor version is compared with the locked one, a path with the path that was asked for."""
    reasons = _changed("pypi.managed-python", _yes(before.managed_python), _yes(asked.managed_python))
    if asked.python is None or asked.python == before.python:
        return reasons
    if asked.python.startswith("/"):
        return reasons + _changed("pypi.python", before.python, asked.python)
    locked = [platform.python for platform in platforms if platform.python != asked.python]
    if locked:
        reasons.append(f"Python {asked.python} is asked for, {locked[0] or 'none'} is locked")
    return reasons


def _managed(asked: Requirements, lock: Lock, platform: LockedPlatform) -> list[str]:
    """The lock has an interpreter exactly where one is asked for. A changed setting was said already."""
    locked = lock.packages(platform.name, "python")
    if asked.managed_python != lock.requirements.managed_python or asked.managed_python == bool(locked):
        return []
    if asked.managed_python:
        return ["a managed Python is asked for but not locked"]
    return [f"{locked[0].name} {locked[0].version} is locked but not asked for"]


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _changed(label: str, old: str | tuple[str, ...] | None, new: str | tuple[str, ...] | None) -> list[str]:
    was = ", ".join(old) if isinstance(old, tuple) else old
    now = ", ".join(new) if isinstance(new, tuple) else new
    if was == now:
        return []
    if not was:
        return [f"{label} {now} was added"]
    if not now:
        return [f"{label} {was} was removed"]
    return [f"{label} changed from {was} to {now}"]


def _everywhere(found: Iterable[tuple[LockedPlatform, list[str]]]) -> list[str]:
    """Return each reason once, with the platforms it is about unless it is about all of them."""
    places: dict[str, list[str]] = {}
    count = 0
    for platform, reasons in found:
        count += 1
        for reason in reasons:
            places.setdefault(reason, []).append(platform.name)
    return [reason if len(names) == count else f"{reason} ({', '.join(names)})" for reason, names in places.items()]
