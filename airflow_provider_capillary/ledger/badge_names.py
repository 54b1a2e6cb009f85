"""Keeps the names of badges, which page and report show beside the ids. Imports that look badges up record them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from airflow_provider_capillary.ledger.packing import storable
from airflow_provider_capillary.ledger.queries import QUERIES

LONGEST_NAME = 200
_AT_ONCE = 500


def names_of(connection: sa.Connection, badge_ids: Iterable[str]) -> dict[str, str]:
    """The names of those badges whose name is known, by their ids."""
    wanted, found = sorted(set(badge_ids)), dict[str, str]()
    for start in range(0, len(wanted), _AT_ONCE):
        rows = connection.execute(QUERIES["names_of_badges"], {"badges": wanted[start : start + _AT_ONCE]})
        found |= {row.badge_meta_id: row.name for row in rows}
    return found


def news_of(connection: sa.Connection, names: Mapping[str, str]) -> dict[str, str]:
    """The names that are new, or differ from those on record."""
    clean = {badge: (storable(name) or "").strip()[:LONGEST_NAME] for badge, name in names.items()}
    known = names_of(connection, clean)
    return {badge: name for badge, name in clean.items() if name and known.get(badge) != name}


def note(connection: sa.Connection, names: Mapping[str, str]) -> None:
    """Record names; a new name of a badge replaces the old one."""
    # in one order, so that two jobs that record the same badges cannot deadlock
    rows = [{"badge": badge, "name": name} for badge, name in sorted(names.items())]
    connection.execute(QUERIES["name_badge"], rows)
