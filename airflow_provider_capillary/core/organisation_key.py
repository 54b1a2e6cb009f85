"""Compares names of organisations: two names that differ in case or outer blanks mean the same one."""

from __future__ import annotations

import hashlib


def organisation_key(name: str) -> str:
    """Give the form by which names are compared: without outer blanks, and whatever the case."""
    return name.strip().casefold()


def organisation_digest(name: str) -> str:
    """Give 16 hexadecimal digits for an organisation, for keys that may hold only some characters."""
    return hashlib.sha256(organisation_key(name).encode()).hexdigest()[:16]
