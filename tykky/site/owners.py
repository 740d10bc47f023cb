"""Users by name or number."""

from __future__ import annotations

import pwd


class UnknownUser(Exception):
    """No user of that name. Ends in this room, as a problem of the file that names it."""


def uid_of(owner: str | int) -> int:
    """Return the uid of a user; raise `UnknownUser`. A number need not be known on this host."""
    if isinstance(owner, int):
        return owner
    try:
        return pwd.getpwnam(owner).pw_uid
    except (KeyError, ValueError):  # the latter: a null byte
        raise UnknownUser(owner) from None
