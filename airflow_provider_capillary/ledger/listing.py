"""Lists and counts a job's rows page by page: first those with a state of their own, then batch after batch.

Each page is read in a snapshot of its own, so rows may be settled or revoked while they are listed. A row that changes
during that is not listed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import UNPROVEN, RowState
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.ledger.changes import odd_rows
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.facts import Grants, JobRecord, LedgerRow, Proof
from airflow_provider_capillary.ledger.lease import is_certainly_dead
from airflow_provider_capillary.ledger.packing import BatchColumns, Key, unpack_ids, unpack_rows
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import Found, Rows

ODD_ROWS_AT_ONCE = 1_000
_Page = TypeVar("_Page")


class Mark(NamedTuple):
    """The position in a list: where the next page begins."""

    odd: tuple[int, ...] | None = (-1, 0, 0, 0, 0)  #: row number and key of the last odd row; none: no more of them
    batch: int = 0  #: the last batch


def job_record(row: sa.Row[Any], now: float) -> JobRecord:
    """A job for people. If it is open, but no living process can hold its lease, it is dead."""
    values = dict(row._mapping)
    owner, left = values.pop("lease_owner"), max(0.0, values.pop("lease_until") - now)
    if values["state"] == "open" and (not left or is_certainly_dead(owner)):
        values["state"], left = "dead", 0.0
    values["sources"] = tuple(msgspec.json.decode(values["sources"]))
    values["summary"] = msgspec.json.decode(values["summary"]) if values["summary"] else None
    values["dry_run"] = bool(values["dry_run"])
    return JobRecord(**values, lease_left=left)


def standing(connection: sa.Connection, job_id: str) -> dict[str, int]:
    """Count the rows of a job as they are now; see ``Ledger.standing``."""
    job = connection.execute(QUERIES["one_job"], {"job_id": job_id}).one()
    key = {"job": connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar_one()}
    states = Counter({state: int(rows) for state, rows in connection.execute(QUERIES["count_states"], key)})
    unsent = {row.state: row.row_count for row in connection.execute(QUERIES["count_unsent_issues"], key)}
    counts = dict.fromkeys((state.value for state in FINAL_STATES), 0)
    counts["accepted"] = states[RowState.ACCEPTED] + states[RowState.REVOKED]
    counts["unknown"] = sum(states[state] for state in UNPROVEN)
    counts["rejected"] = max(states[RowState.REJECTED], unsent.get("rejected", 0))
    counts["invalid"] = unsent.get("invalid", 0)
    counts["not_sent"] = max(0, job.rows - sum(counts.values()))
    batches = int(connection.execute(QUERIES["count_batches"], key).scalar_one())
    return {"rows_read": sum(counts.values()), **counts, "batches": batches}


def pages(
    database: Database,
    job_id: str,
    states: Sequence[RowState],
    shaped: Callable[[sa.Connection, int, Sequence[LedgerRow]], list[_Page]],
) -> Iterator[list[_Page]]:
    """Pages of a job's rows. No connection is held between two pages.

    :param shaped: turns a page's rows into what the caller wants, with the connection and the key of the job.
    """
    mark = Mark()
    while True:
        with database.snapshot() as connection:
            key = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
            if key is None:
                return
            rows, mark = next_rows(connection, database.rows, key, states, mark)
            page = shaped(connection, key, rows)
        if not rows:
            return
        if page:
            yield page


def next_rows(
    connection: sa.Connection, rows: Rows, job: int, states: Collection[RowState], mark: Mark
) -> tuple[list[LedgerRow], Mark]:
    """The next rows of a job that are in one of these states; none at the end."""
    names = badge_ids(connection, job)
    values: dict[str, Any] = {"job": job, "states": [state.value for state in states]}
    if mark.odd is not None:
        after = dict(zip(("row_number", "customer", "badge", "earned", "occurrence"), mark.odd, strict=True))
        found = connection.execute(QUERIES["odd_rows_of_job"], values | after | {"limit": ODD_ROWS_AT_ONCE}).all()
        if found:
            last = found[-1]
            odd = (last.row_number, last.customer_id, last.badge_id, last.earned_at, last.occurrence)
            return [_odd_row(row, names) for row in found], Mark(odd)
        mark = Mark(None)
    while batch := connection.execute(QUERIES["next_batch"], values | {"after": mark.batch}).one_or_none():
        mark = Mark(None, batch.id)
        if listed := _rows_of(connection, rows, batch, names):
            return listed, mark
    return [], mark


def count_granted(connection: sa.Connection, rows: Rows, job: int) -> Grants:
    """Count what a job granted. Rows that have their batch's state are counted without an object for each."""
    names = badge_ids(connection, job)
    with_id: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for row in connection.execute(QUERIES["count_odd_rows"], {"job": job}):
        if row.has_id and row.state in (RowState.ACCEPTED, RowState.UNKNOWN):
            with_id[names[row.badge_id]] += row.row_count
        else:
            others[row.state] += row.row_count
    for batch, columns in _batches(connection, job, (*UNPROVEN, RowState.ACCEPTED)):
        ids = unpack_ids(batch.ids, batch.row_count)
        plain = _plain(connection, rows, batch, columns)
        known = Counter(columns.badges[at] for at in plain if ids[at] is not None)
        with_id.update({names[badge]: count for badge, count in known.items()})
        others[batch.state] += len(plain) - known.total()
    unknown = sum(others[state] for state in UNPROVEN)
    return Grants(dict(sorted(with_id.items())), others[RowState.ACCEPTED], unknown, others[RowState.REVOKED])


def count_accepted(connection: sa.Connection, rows: Rows, job: int) -> dict[str, int]:
    """Count the accepted rows of a job by badge, revoked ones included."""
    names = badge_ids(connection, job)
    counted: Counter[str] = Counter()
    for row in connection.execute(QUERIES["count_odd_rows"], {"job": job}):
        if row.state in (RowState.ACCEPTED, RowState.REVOKED):
            counted[names[row.badge_id]] += row.row_count
    for batch, columns in _batches(connection, job, (RowState.ACCEPTED,)):
        plain = _plain(connection, rows, batch, columns)
        counted.update({names[badge]: count for badge, count in Counter(columns.badges[at] for at in plain).items()})
    return dict(counted)


def plain_numbers(
    connection: sa.Connection, rows: Rows, job: int, states: Collection[RowState], wanted: set[int]
) -> dict[RowState, set[int]]:
    """The row numbers among ``wanted`` whose rows belong to the job and have their batch's state, by state."""
    numbers: dict[RowState, set[int]] = {state: set() for state in states}
    for batch, columns in _batches(connection, job, states) if wanted else ():
        if not wanted.isdisjoint(columns.numbers):
            here = {columns.numbers[at] for at in _plain(connection, rows, batch, columns)}
            numbers[RowState(batch.state)] |= wanted & here
    return numbers


def badge_ids(connection: sa.Connection, job: int) -> dict[int, str]:
    """The ``badgeMetaId`` of each badge of a job's organisation, by the ledger's number."""
    return {row.id: row.badge_meta_id for row in connection.execute(QUERIES["badge_names"], {"job": job})}


def _batches(
    connection: sa.Connection, job: int, states: Collection[RowState]
) -> Iterator[tuple[sa.Row[Any], BatchColumns]]:
    """The batches of a job in these states, with their rows, one at a time."""
    values: dict[str, Any] = {"job": job, "states": [state.value for state in states], "after": 0}
    while batch := connection.execute(QUERIES["next_batch"], values).one_or_none():
        values["after"] = batch.id
        yield batch, unpack_rows(batch.rows, batch.row_count)


def _odd_row(row: Any, names: dict[int, str]) -> LedgerRow:
    badge = EarnedBadge(
        row.row_number, names[row.badge_id], row.customer_id, row.earned_at, row.expires_at, row.occurrence
    )
    proof = Proof(row.proof) if row.proof else None
    return LedgerRow(
        badge,
        row.badge_id,
        row.batch_id,
        RowState(row.state),
        row.request_id,
        row.sent_at,
        row.earned_badge_id,
        proof,
    )


def _rows_of(connection: sa.Connection, rows: Rows, batch: Any, names: dict[int, str]) -> list[LedgerRow]:
    numbers, customers, badges, earned, expires, occurrences = columns = unpack_rows(batch.rows, batch.row_count)
    ids = unpack_ids(batch.ids, batch.row_count)
    state, proof = RowState(batch.state), Proof(batch.proof) if batch.proof else None
    sending = (state, batch.request_id, batch.sent_at)
    found = []
    for at in _plain(connection, rows, batch, columns):
        badge = EarnedBadge(numbers[at], names[badges[at]], customers[at], earned[at], expires[at], occurrences[at])
        found.append(LedgerRow(badge, badges[at], batch.id, *sending, ids[at], proof))
    return found


def _plain(connection: sa.Connection, rows: Rows, batch: Any, columns: BatchColumns) -> Sequence[int]:
    """The positions of the rows that have the batch's state."""
    every = range(batch.row_count)
    if batch.gone == batch.row_count:
        return ()
    if not batch.gone and not batch.odd:
        return every
    keys = columns.keys()
    away: set[Key] = set(odd_rows(connection, batch.id)) if batch.odd else set()
    if batch.gone:
        found = map(Found._make, rows.find(connection, sorted(keys), any_date=False))
        away |= set(keys) - {row.key for row in found if row.batch == batch.id}
    return [at for at in every if keys[at] not in away]
