"""When two names stand for the same organisation."""

from __future__ import annotations

import hashlib


def organisation_key(name: str) -> str:
    """Names are compared by this: case and blanks around do not count."""
    return name.strip().casefold()


def organisation_digest(name: str) -> str:
    """A short text for names of other things, which may hold only some characters: 16 hexadecimal digits."""
    return hashlib.sha256(organisation_key(name).encode()).hexdigest()[:16]
