"""Keeps the names of organisations and of badges.

A new name of an organisation is refused if it could hide what was granted under another one. The names of badges stand
beside their ids on page and report; imports that look badges up record them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import organisation_key
from airflow_provider_capillary.exceptions import ConfigurationError, JobIsRunningError, UnknownOrganisationError
from airflow_provider_capillary.ledger.facts import OrganisationRecord
from airflow_provider_capillary.ledger.packing import storable
from airflow_provider_capillary.ledger.queries import QUERIES

LONGEST_BADGE_NAME = 200
_BADGES_AT_ONCE = 500


def claim_organisation(connection: sa.Connection, name: str, host: str) -> int:
    """The number of an organisation; a new name is added.

    :raises UnknownOrganisationError: the name is not known, and badges were granted under another one.
    """
    refuse_unknown_organisation(connection, name)
    _note(connection, name, host)
    return int(connection.execute(QUERIES["find_organisation"], {"folded": organisation_key(name)}).one().id)


def refuse_unknown_organisation(connection: sa.Connection, name: str) -> None:
    """Refuse an unknown name if badges were granted under another one, because it may be the same organisation.

    :raises UnknownOrganisationError: the name is not known, and badges were granted under another one.
    """
    found = _find(connection, name)
    if found is not None and found.is_known:
        return
    granted = {row.folded: row.name for row in connection.execute(QUERIES["granted_organisations"])}
    if not granted or organisation_key(name) in granted:  # another first import has added it since the look above
        return
    others = list(granted.values())
    listed, new = ", ".join(map(repr, others)), shlex.quote(name)
    raise UnknownOrganisationError(
        f"the ledger does not know the organisation {name!r}, and holds what was granted for {listed}. Nothing was "
        "sent, because under another name the same organisation would be granted everything again. If it is the same, "
        f"set the connection's extra 'organisation' to that name, or run: airflow capillary organisations rename "
        f"{shlex.quote(others[0])} {new}. If it is another organisation, run: airflow capillary organisations add {new}"
    )


def add_organisation(connection: sa.Connection, name: str) -> bool:
    """Add a name because a person says that it is an organisation of its own; give whether it was unknown."""
    found = _find(connection, name)
    if found is not None and found.is_known:
        return False
    _note(connection, name, "")
    connection.execute(QUERIES["confirm_organisation"], {"folded": organisation_key(name)})
    return True


def rename_organisation(connection: sa.Connection, old: str, new: str, now: float) -> None:
    """Give an organisation another name.

    :raises ConfigurationError: the old name is not known, or badges were sent under the new one.
    :raises JobIsRunningError: a job of the organisation runs.
    """
    found = _find(connection, old)
    if found is None:
        known = ", ".join(repr(row.name) for row in connection.execute(QUERIES["organisations"])) or "none"
        raise ConfigurationError(f"the ledger does not know the organisation {old!r}; it knows {known}")
    if connection.execute(QUERIES["has_living_job"], {"organisation": found.id, "now": now}).first():
        raise JobIsRunningError(f"a job of the organisation {found.name!r} is running; rename it when it has ended")
    if organisation_key(old) != organisation_key(new):
        _make_room(connection, found, new)
    values = {"organisation": found.id, "name": new.strip(), "folded": organisation_key(new)}
    connection.execute(QUERIES["rename_organisation"], values)


def organisations(connection: sa.Connection) -> list[OrganisationRecord]:
    """Every name that the ledger knows."""
    granted = {row.folded for row in connection.execute(QUERIES["granted_organisations"])}
    return [
        OrganisationRecord(row.name, row.host, row.jobs, row.last_job, row.folded in granted)
        for row in connection.execute(QUERIES["organisations"])
    ]


def badge_names(connection: sa.Connection, badge_ids: Iterable[str]) -> dict[str, str]:
    """The names of those badges whose name is known, by their ids."""
    wanted, found = sorted(set(badge_ids)), dict[str, str]()
    for start in range(0, len(wanted), _BADGES_AT_ONCE):
        rows = connection.execute(QUERIES["names_of_badges"], {"badges": wanted[start : start + _BADGES_AT_ONCE]})
        found |= {row.badge_meta_id: row.name for row in rows}
    return found


def new_badge_names(connection: sa.Connection, names: Mapping[str, str]) -> dict[str, str]:
    """The names that are new, or differ from those on record."""
    clean = {badge: (storable(name) or "").strip()[:LONGEST_BADGE_NAME] for badge, name in names.items()}
    known = badge_names(connection, clean)
    return {badge: name for badge, name in clean.items() if name and known.get(badge) != name}


def record_badge_names(connection: sa.Connection, names: Mapping[str, str]) -> None:
    """Record names; a new name of a badge replaces the old one."""
    # in one order, so that two jobs that record the same badges cannot deadlock
    rows = [{"badge": badge, "name": name} for badge, name in sorted(names.items())]
    connection.execute(QUERIES["name_badge"], rows)


def _make_room(connection: sa.Connection, old: sa.Row[Any], new: str) -> None:
    taken = _find(connection, new)
    if taken is not None:
        if connection.execute(QUERIES["has_badges"], {"organisation": taken.id}).first():
            raise ConfigurationError(
                f"badges were sent under the name {taken.name!r} already, so {old.name!r} cannot take it. Nothing was "
                "changed; give a name under which no badge was sent"
            )
        connection.execute(QUERIES["give_jobs_up"], {"organisation": taken.id, "to": old.id})
        connection.execute(QUERIES["drop_organisation"], {"organisation": taken.id})
    connection.execute(QUERIES["forget_turns"], {"folded": organisation_key(new)})
    names = {"folded": organisation_key(old.name), "to": organisation_key(new)}
    connection.execute(QUERIES["rename_turns"], names)
    connection.execute(QUERIES["rename_probes"], names)


def _note(connection: sa.Connection, name: str, host: str) -> None:
    values = {"name": name.strip(), "folded": organisation_key(name), "host": host}
    connection.execute(QUERIES["note_organisation"], values)


def _find(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    return connection.execute(QUERIES["find_organisation"], {"folded": organisation_key(name)}).one_or_none()
