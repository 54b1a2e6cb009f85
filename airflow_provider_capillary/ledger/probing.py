"""Notes of probes: each grant before it is asked for, and what became of it, within the caller's transaction.

They stand in tables of their own. What a probe granted is revoked, so it keeps no import from granting the same badge,
and proves nothing about reads.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.organisation_key import organisation_key
from airflow_provider_capillary.core.probing import Before
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.storable import storable


class ProbeGrant(msgspec.Struct, frozen=True):
    """One grant of a probe. Times in epoch seconds, by the ledger's clock."""

    key: int
    probe: int
    customer_id: int
    badge_meta_id: str
    earned_at: int
    state: str  #: intent, granted, revoked, absent
    earned_badge_id: str | None
    noted_at: float
    owner: str  #: the process that noted it
    before: Before  #: what a read showed before the probe's first grant


class ProbeRecord(msgspec.Struct, frozen=True):
    """A probe that ended, and its answers."""

    organisation: str
    started_at: float
    finished_at: float
    asked_by: str
    answers: dict[str, Any]


def begin(
    connection: sa.Connection,
    organisation: str,
    customer: int,
    badge: str,
    before: Before,
    by: str,
    owner: str,
    now: float,
) -> int:
    """Note that a probe begins; give its number."""
    values = {
        "organisation": organisation_key(organisation),
        "customer": customer,
        "name": badge,
        "before": msgspec.json.encode(before).decode(),
        "by": by,
        "owner": owner,
        "now": now,
    }
    return int(connection.execute(QUERIES["add_probe"], values).scalar_one())


def note(
    connection: sa.Connection, probe: int, earned_at: int, way: dict[str, str], request_id: str, now: float
) -> int:
    """Note durably that a badge is about to be granted; give the note's number."""
    values = {"probe": probe, "earned": earned_at, "request_id": request_id, "now": now} | way
    return int(connection.execute(QUERIES["add_probe_grant"], values).scalar_one())


def answer(connection: sa.Connection, grant: int, state: str, earned_badge_id: str | None, now: float) -> None:
    """Note what became of a grant; an id once noted stays."""
    values = {"grant": grant, "state": state, "earned_badge_id": storable(earned_badge_id), "now": now}
    connection.execute(QUERIES["answer_probe_grant"], values)


def open_grants(connection: sa.Connection, organisation: str) -> list[ProbeGrant]:
    """Grants of an organisation's probes that are not known to be revoked or absent, oldest first."""
    return [
        ProbeGrant(
            row.id,
            row.probe_id,
            row.customer_id,
            row.badge_meta_id,
            row.earned_at,
            row.state,
            row.earned_badge_id,
            row.noted_at,
            row.owner,
            msgspec.json.decode(row.before_it, type=Before),
        )
        for row in connection.execute(QUERIES["open_probe_grants"], {"organisation": organisation_key(organisation)})
    ]


def known_ids(connection: sa.Connection, organisation: str, like: ProbeGrant | None) -> set[str]:
    """Ids of all grants of an organisation's probes; or of those of the same badge to the same customer since one."""
    values: dict[str, Any] = {"organisation": organisation_key(organisation)}
    values |= {"customer": None, "name": None, "since": None}
    if like is not None:
        values |= {"customer": like.customer_id, "name": like.badge_meta_id, "since": like.probe}
    return set(connection.execute(QUERIES["ids_of_probes"], values).scalars())


def finish(connection: sa.Connection, probe: int, answers: dict[str, Any], now: float) -> None:
    """Keep what a probe found out."""
    values = {"probe": probe, "answers": msgspec.json.encode(answers).decode(), "now": now}
    connection.execute(QUERIES["finish_probe"], values)


def latest(connection: sa.Connection, organisation: str) -> ProbeRecord | None:
    """The latest probe of an organisation that ended."""
    row = connection.execute(QUERIES["latest_probe"], {"organisation": organisation_key(organisation)}).one_or_none()
    if row is None:
        return None
    return ProbeRecord(
        row.organisation, row.started_at, row.finished_at, row.asked_by, msgspec.json.decode(row.answers)
    )
