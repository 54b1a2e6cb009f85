"""Keeps ids that accept no row, and finds rows that were granted twice, within the caller's transaction.

An id may come when its row is no longer the batch's: another copy took the job over, read back and sent the row again.
Such an id is *proven*: its reply held every proof. Where the row was accepted under another id meanwhile, it was
granted twice; both ids are recorded with the job that owns the row now. Where the row waits to be sent again, it is
accepted instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import text

from airflow_provider_capillary.core.given_ids import GivenId
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger import statements
from airflow_provider_capillary.ledger.base import Job, RowChange
from airflow_provider_capillary.ledger.storable import storable

_IDENTITY = """
    organisation_id = :organisation AND customer_id = :customer AND badge_id = :badge AND earned_at = :earned
    AND occurrence = :occurrence
"""
_KEEP = text("""
    INSERT INTO capillary_given_id (batch_id, organisation_id, earned_badge_id, customer_id, badge_meta_id, earned_at,
        occurrence, is_proven)
    VALUES (:batch, :organisation, :earned_badge_id, :customer, :name, :earned, :occurrence, :is_proven)
""")
_CUSTOMERS = text(
    "SELECT DISTINCT customer_id FROM capillary_given_id WHERE organisation_id = :organisation AND is_proven"
)
_ROW = text(f"""
    SELECT state, batch_id, earned_badge_id, job_id, row_number, attempt, expires_at, doubt FROM capillary_row
    WHERE {_IDENTITY}
""")
_PROVEN = text("""
    SELECT DISTINCT earned_badge_id, batch_id FROM capillary_given_id
    WHERE organisation_id = :organisation AND customer_id = :customer AND badge_meta_id = :name
        AND earned_at = :earned AND occurrence = :occurrence AND is_proven
    ORDER BY batch_id, earned_badge_id
""")
_TAKE_UP = text(
    f"UPDATE capillary_earned_badge SET state = 'intent', batch_id = :batch WHERE {_IDENTITY} AND state = 'planned'"
)
_ACCEPT = text(f"""
    UPDATE capillary_earned_badge SET state = 'accepted', earned_badge_id = :earned_badge_id
    WHERE {_IDENTITY} AND state = 'intent' AND batch_id = :batch
""")
_TAKE_ID = text(f"""
    UPDATE capillary_earned_badge SET earned_badge_id = :earned_badge_id
    WHERE {_IDENTITY} AND state IN ('accepted', 'unknown') AND earned_badge_id IS NULL
""")
_DOUBT = text(f"UPDATE capillary_earned_badge SET doubt = coalesce(doubt, :doubt) WHERE {_IDENTITY}")
_REPORT = text("""
    INSERT INTO capillary_row_issue (job_id, row_number, state, stage, message, request_id, attempt, badge_meta_id,
        source, line, original)
    VALUES (:job, :row_number, :state, 'send', :doubt, NULL, :attempt, :name, '', 0, :original)
    ON CONFLICT (job_id, row_number) DO UPDATE SET state = excluded.state, stage = excluded.stage,
        message = capillary_row_issue.message || '; ' || excluded.message
""")
_ALL = text("""
    SELECT earned_badge_id FROM capillary_row WHERE has_id
    UNION SELECT earned_badge_id FROM capillary_given_id
""")


class GivenIds:
    """The ids of one transaction. ``badge_keys``: name -> the ledger's number, of every badge that is asked for."""

    def __init__(self, connection: sa.Connection, job: Job, badge_keys: Mapping[str, int]) -> None:
        self._connection = connection
        self._organisation = job.organisation_key
        self._badge_keys = badge_keys

    def keep(self, batch: int, given: Sequence[GivenId], *, is_proven: bool = False) -> None:
        """Keep ids with the batch in whose reply they came."""
        if given:
            self._connection.execute(_KEEP, [self._values(batch, one, is_proven) for one in given])

    def keep_late(self, batch: int, accepted: Sequence[RowChange]) -> None:
        """Keep the ids of those rows that did not become accepted under them."""
        late = [change for change in accepted if change.earned_badge_id and not self._stands(change)]
        names = [
            GivenId(change.earned_badge_id or "", change.badge.customer_id, change.badge.badge_meta_id, change.badge)
            for change in late
        ]
        self.keep(batch, names, is_proven=True)

    def look_for_second_grants(self, changes: Sequence[RowChange]) -> None:
        """Look at rows that were changed one by one: which have proven ids that are not their own?

        Rows of a batch that is accepted as a whole need no look: a batch in flight is marked here, before a late id
        can be missed, and its outcome then changes each row.
        """
        customers = set(self._connection.execute(_CUSTOMERS, {"organisation": self._organisation}).scalars())
        touched = [self._identity(change) for change in changes if change.badge.customer_id in customers]
        for row_batch in sorted({row.batch_id for one in touched if (row := self._row(one)) and row.state == "intent"}):
            self._connection.execute(statements.CUT_OFF_BATCH, {"batch": row_batch})
        for identity in touched:  # looked at again: what was in flight may have been settled before it was marked
            self._look(identity)

    def _look(self, identity: dict[str, Any]) -> None:
        row = self._row(identity)
        proven = self._connection.execute(_PROVEN, identity).all()
        if row is None or not proven or row.state == RowState.INTENT:
            return
        first = next((one for one in proven if one.batch_id == row.batch_id), proven[0])
        values = identity | {"batch": first.batch_id, "earned_badge_id": first.earned_badge_id}
        if row.state == RowState.PLANNED:
            # It is granted: sending it again would grant it twice. No single change leads from planned to accepted.
            if self._connection.execute(_TAKE_UP, values).rowcount == 1:
                self._connection.execute(_ACCEPT, values)
            return
        if row.earned_badge_id is None and first.batch_id == row.batch_id:
            self._connection.execute(_TAKE_ID, values)
        ids = {one.earned_badge_id for one in proven} | ({row.earned_badge_id} - {None})
        if len(ids) > 1 or any(one.batch_id != row.batch_id for one in proven):
            self._report(identity, row, sorted(ids))

    def _report(self, identity: dict[str, Any], row: sa.Row[Any], ids: Sequence[str]) -> None:
        doubt = f"the API gave {' and '.join(ids)} for this row, one of them in a late reply: may be granted twice"
        if row.doubt == doubt:
            return
        self._connection.execute(_DOUBT, identity | {"doubt": doubt})
        if row.state == RowState.UNKNOWN:
            return  # whoever settles it reports the doubt
        state = RowState.REJECTED if row.state == RowState.REJECTED else RowState.ACCEPTED
        original = {
            "badgeMetaId": identity["name"],
            "customerId": identity["customer"],
            "earnEventDate": identity["earned"],
            "earnExpiresOn": row.expires_at,
        }
        values = {"job": row.job_id, "row_number": row.row_number, "state": state.value, "attempt": row.attempt}
        values |= {"doubt": doubt, "name": identity["name"], "original": msgspec.json.encode(original).decode()}
        self._connection.execute(_REPORT, values)

    def _stands(self, change: RowChange) -> bool:
        row = self._row(self._identity(change))
        return row is not None and bool(row.earned_badge_id == storable(change.earned_badge_id))

    def _row(self, identity: dict[str, Any]) -> sa.Row[Any] | None:
        return self._connection.execute(_ROW, identity).one_or_none()

    def _identity(self, change: RowChange) -> dict[str, Any]:
        badge = change.badge
        return {
            "organisation": self._organisation,
            "customer": badge.customer_id,
            "badge": self._badge_keys[badge.badge_meta_id],
            "name": badge.badge_meta_id,
            "earned": badge.earned_at,
            "occurrence": badge.occurrence,
        }

    def _values(self, batch: int, one: GivenId, is_proven: bool) -> dict[str, Any]:
        return {
            "batch": batch,
            "organisation": self._organisation,
            "earned_badge_id": storable(one.earned_badge_id),
            "customer": one.customer_id,
            "name": storable(one.badge_meta_id),
            "earned": one.row.earned_at if one.row else None,
            "occurrence": one.row.occurrence if one.row else None,
            "is_proven": is_proven,
        }


def all_ids(connection: sa.Connection) -> Iterator[str]:
    """Every id that the ledger knows, each once: of rows, and kept."""
    yield from connection.execute(_ALL).scalars()
