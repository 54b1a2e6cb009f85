"""Notes of probes: each grant before it is asked for, and what became of it.

They stand in tables of their own. What a probe granted is revoked, so it keeps no import from granting the same badge,
and proves nothing about reads.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import organisation_key
from airflow_provider_capillary.core.probing import Before, Way
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.packing import storable
from airflow_provider_capillary.ledger.queries import QUERIES


class ProbeGrant(msgspec.Struct, frozen=True):
    """One grant of a probe. Times are epoch seconds by the ledger's clock."""

    key: int
    probe: int
    customer_id: int
    badge_meta_id: str
    earned_at: int
    state: str  #: intent, granted, revoked, absent
    earned_badge_id: str | None
    noted_at: float
    owner: str  #: the process that recorded it
    before: Before  #: what a read showed before the probe's first grant


class ProbeRecord(msgspec.Struct, frozen=True):
    """A probe that ended, and its answers."""

    organisation: str
    started_at: float
    finished_at: float
    asked_by: str
    answers: dict[str, Any]


class Probes:
    """The probes that a ledger has on record."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    def begin(self, organisation: str, customer_id: int, badge_meta_id: str, before: Before, *, by: str) -> int:
        """Record that a probe begins, and what a read showed before it; give its number."""
        values = {
            "organisation": organisation_key(organisation),
            "customer": customer_id,
            "name": badge_meta_id,
            "before": msgspec.json.encode(before).decode(),
            "by": by,
            "owner": self._owner,
        }
        return self._write("add_probe", values)

    def note_grant(self, probe: int, earned_at: int, way: Way, request_id: str) -> int:
        """Record durably that a badge is about to be granted; give the grant's number."""
        values = {"probe": probe, "earned": earned_at, "request_id": request_id} | msgspec.structs.asdict(way)
        return self._write("add_probe_grant", values)

    def answer_grant(self, grant: int, state: str, earned_badge_id: str | None = None) -> None:
        """Record the outcome of a grant: ``granted``, ``revoked`` or ``absent``. A recorded id stays."""
        self._write(
            "answer_probe_grant", {"grant": grant, "state": state, "earned_badge_id": storable(earned_badge_id)}
        )

    def open_grants(self, organisation: str) -> list[ProbeGrant]:
        """Badges that probes of the organisation granted, or may have granted, and did not revoke; oldest first."""
        with self._database.reading() as connection:
            found = connection.execute(QUERIES["open_probe_grants"], {"organisation": organisation_key(organisation)})
            return list(map(_grant, found))

    def ids(self, organisation: str, *, like: ProbeGrant | None = None) -> set[str]:
        """Ids of all badges that probes of the organisation granted.

        :param like: only those of this grant's badge and customer, from its probe on.
        """
        values: dict[str, Any] = {"organisation": organisation_key(organisation)}
        values |= {"customer": None, "name": None, "since": None}
        if like is not None:
            values |= {"customer": like.customer_id, "name": like.badge_meta_id, "since": like.probe}
        with self._database.reading() as connection:
            return set(connection.execute(QUERIES["ids_of_probes"], values).scalars())

    def finish(self, probe: int, answers: dict[str, Any]) -> None:
        """Keep what a probe found out."""
        self._write("finish_probe", {"probe": probe, "answers": msgspec.json.encode(answers).decode()})

    def latest(self, organisation: str) -> ProbeRecord | None:
        """The answers of the organisation's latest probe that ended."""
        with self._database.reading() as connection:
            values = {"organisation": organisation_key(organisation)}
            row = connection.execute(QUERIES["latest_probe"], values).one_or_none()
        if row is None:
            return None
        answers = msgspec.json.decode(row.answers)
        return ProbeRecord(row.organisation, row.started_at, row.finished_at, row.asked_by, answers)

    def _write(self, statement: str, values: dict[str, Any]) -> int:
        """Execute one statement, durably, with the ledger's time; give the number that it gives, or 0."""

        def work(connection: sa.Connection) -> int:
            done = connection.execute(QUERIES[statement], values | {"now": self._database.now(connection)})
            return int(done.scalar_one()) if done.returns_rows else 0

        return self._database.durably(work)


def _grant(row: sa.Row[Any]) -> ProbeGrant:
    return ProbeGrant(
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
