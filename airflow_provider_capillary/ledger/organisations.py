"""Keeps the names of organisations, and refuses a new name that could hide what was granted under another one."""

from __future__ import annotations

import shlex
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import organisation_key
from airflow_provider_capillary.exceptions import ConfigurationError, JobIsRunningError, UnknownOrganisationError
from airflow_provider_capillary.ledger.facts import OrganisationRecord
from airflow_provider_capillary.ledger.queries import QUERIES


def claim(connection: sa.Connection, name: str, host: str) -> int:
    """The number of an organisation; a new name is added.

    :raises UnknownOrganisationError: the name is not known, and badges were granted under another one.
    """
    refuse_unknown(connection, name)
    _note(connection, name, host)
    return int(connection.execute(QUERIES["find_organisation"], {"folded": organisation_key(name)}).one().id)


def refuse_unknown(connection: sa.Connection, name: str) -> None:
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


def add(connection: sa.Connection, name: str) -> bool:
    """Add a name because a person says that it is an organisation of its own; give whether it was unknown."""
    found = _find(connection, name)
    if found is not None and found.is_known:
        return False
    _note(connection, name, "")
    connection.execute(QUERIES["confirm_organisation"], {"folded": organisation_key(name)})
    return True


def rename(connection: sa.Connection, old: str, new: str, now: float) -> None:
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


def listed(connection: sa.Connection) -> list[OrganisationRecord]:
    """Every name that the ledger knows."""
    granted = {row.folded for row in connection.execute(QUERIES["granted_organisations"])}
    return [
        OrganisationRecord(row.name, row.host, row.jobs, row.last_job, row.folded in granted)
        for row in connection.execute(QUERIES["organisations"])
    ]


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
