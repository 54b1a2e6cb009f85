"""Reads a ledger for the page in Airflow's UI: jobs by page, a job's counts, its rows with search, its history.

It creates no table, no file and no lease, and changes nothing. So the page may read a ledger at any time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_capillary.core.general_text import general
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import LedgerUnusableError, UnknownJobError
from airflow_provider_capillary.ledger import listing, names
from airflow_provider_capillary.ledger.database import reading, shown, snapshot
from airflow_provider_capillary.ledger.engine import make_reading_engine
from airflow_provider_capillary.ledger.facts import Grants, JobRecord, RowIssue
from airflow_provider_capillary.ledger.issues import kept_issue
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import rows_for

PATIENCE_SECONDS = 5.0
ISSUES_LOOKED_AT = 5_000  #: of a job without summary; the reasons of further rows are mostly the same
MOST_HISTORY = 50
MOST_OF_CUSTOMER = 100


class NoLedgerError(LedgerUnusableError):
    """There is no ledger yet: no import has ever opened one there."""


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs to list. ``dag_ids`` are those that the reader of the list may see; times are epoch seconds."""

    dag_ids: Collection[str]
    dag_id: str | None = None
    state: str | None = None
    organisation: str | None = None
    since: float = 0.0
    until: float = 4e9


class IssueCount(msgspec.Struct, frozen=True):
    """How many rows of a job have an issue of this kind."""

    state: RowState
    stage: str
    badge_meta_id: str | None
    rows: int


class JobWaits(msgspec.Struct, frozen=True):
    """What a running job may wait for. Times are epoch seconds by the ledger's clock."""

    now: float
    unproven_since: float | None  #: when the last rows without proof were given up
    in_flight: int  #: rows that are sent, or about to be, and have no outcome yet
    turn: float | None  #: of the organisation's next request, by its budget


class LedgerReader:
    """Reads one ledger. Threads may share it.

    Every method raises ``NoLedgerError`` if no import has made the ledger yet, and ``LedgerUnavailableError`` if the
    database cannot be reached.

    :param url: a SQLAlchemy URL of an SQLite file or a PostgreSQL database.
    """

    def __init__(self, url: str | URL, clock: Callable[[], float] = time.time) -> None:
        parsed = sa.engine.make_url(url)
        self._file = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        # To open an SQLite ledger would create its folder and file. So each use first checks that the file exists.
        self._url, self._clock = parsed, clock
        self._engine: sa.Engine | None = None
        self._is_there = False
        self.description = shown(parsed)

    def check(self) -> None:
        """Check that the ledger exists.

        :raises NoLedgerError: no import has made it yet.
        """
        self._opened()

    def dag_ids(self) -> list[str]:
        """All DAGs that ever had a job here."""
        with reading(self._opened()) as connection:
            return list(connection.execute(QUERIES["dag_ids_of_jobs"]).scalars())

    def organisations(self, dag_ids: Collection[str]) -> list[str]:
        """The organisations that these DAGs imported for."""
        if not dag_ids:
            return []
        with reading(self._opened()) as connection:
            return list(connection.execute(QUERIES["organisations_of_dags"], {"dag_ids": list(dag_ids)}).scalars())

    def jobs(self, wanted: JobFilter, *, limit: int, offset: int = 0) -> list[JobRecord]:
        """Jobs, latest first."""
        if not wanted.dag_ids:
            return []  # PostgreSQL would not know the type of an empty list
        values = msgspec.structs.asdict(wanted) | {
            "dag_ids": list(wanted.dag_ids),
            "limit": limit,
            "offset": offset,
        }
        with reading(self._opened()) as connection:
            now = self._now(connection)
            found = connection.execute(QUERIES["page_of_jobs"], values | {"now": now})
            return [listing.job_record(row, now) for row in found]

    def jobs_of_run(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[JobRecord]:
        """Every job of a Dag run, or of one of its tasks: latest first."""
        values = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        with reading(self._opened()) as connection:
            now = self._now(connection)
            return [listing.job_record(row, now) for row in connection.execute(QUERIES["jobs_of_run"], values)]

    def job(self, job_id: str) -> JobRecord:
        """One job.

        :raises UnknownJobError: there is none of that id.
        """
        with reading(self._opened()) as connection:
            now = self._now(connection)
            row = connection.execute(QUERIES["one_job"], {"job_id": job_id}).one_or_none()
        if row is None:
            raise UnknownJobError(f"the ledger {self.description} holds no job {job_id!r}")
        return listing.job_record(row, now)

    def standing(self, job_id: str) -> dict[str, int]:
        """The rows of a job by their present states, as ``Ledger.standing`` counts them."""
        with snapshot(self._opened()) as connection:
            return listing.standing(connection, job_id)

    def waits(self, job_id: str) -> JobWaits:
        """What a job may wait for."""
        with reading(self._opened()) as connection:
            now = self._now(connection)
            row = connection.execute(QUERIES["what_a_job_waits_for"], {"job_id": job_id}).one()
        return JobWaits(now, row.unproven_since, row.in_flight, row.turn)

    def issue_counts(self, job_id: str) -> list[IssueCount]:
        """How many rows of a job have an issue, by state, stage and badge."""
        with reading(self._opened()) as connection:
            found = connection.execute(QUERIES["issue_counts"], {"job_id": job_id})
            return [IssueCount(RowState(row.state), row.stage, row.badge_meta_id, row.row_count) for row in found]

    def reasons(self, job_id: str) -> Counter[tuple[RowState, str, int | None, str]]:
        """Rows by state, stage, code and reason, of the first ``ISSUES_LOOKED_AT`` issues; without values of rows."""
        counted: Counter[tuple[RowState, str, int | None, str]] = Counter()
        with reading(self._opened()) as connection:
            values = {"job_id": job_id, "limit": ISSUES_LOOKED_AT}
            for row in connection.execute(QUERIES["first_issues"], values):
                counted[(RowState(row.state), row.stage, row.code, general(row.message))] += 1
        return counted

    def find_issues(
        self, job_id: str, *, text: str = "", state: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[RowIssue]:
        """Rows of a job that were not accepted, in dataset order.

        :param text: found in a row's own columns, its reason or its badge, whatever the case; or equal to its code.
        """
        needle = text.strip().lower()
        values: dict[str, Any] = {
            "job_id": job_id,
            "state": state,
            "text": needle,
            "pattern": _pattern(needle) if needle else None,
            # the columns are kept as JSON, which writes a backslash before quotes and backslashes of a value
            "json_pattern": _pattern(msgspec.json.encode(needle).decode()[1:-1]) if needle else None,
            "limit": limit,
            "offset": offset,
        }
        with reading(self._opened()) as connection:
            found = connection.execute(QUERIES["find_issues"], values)
            return [kept_issue(row._asdict()) for row in found]

    def rows_of_customer(self, job_id: str, customer_id: int) -> list[sa.RowMapping]:
        """What the ledger holds of one customer's rows in a job, accepted ones too."""
        values = {"job_id": job_id, "customer": customer_id, "limit": MOST_OF_CUSTOMER}
        with reading(self._opened()) as connection:
            return [row._mapping for row in connection.execute(QUERIES["rows_of_customer_in_job"], values)]

    def history(self, job_id: str) -> tuple[list[sa.RowMapping], list[sa.RowMapping]]:
        """Settlements and revocations of a job, counted by who and how; latest first."""
        values = {"job_id": job_id, "limit": MOST_HISTORY}
        with reading(self._opened()) as connection:
            settled = [row._mapping for row in connection.execute(QUERIES["settlements_of_job"], values)]
            revoked = [row._mapping for row in connection.execute(QUERIES["revocations_of_job"], values)]
        return settled, revoked

    def grants(self, job_id: str) -> Grants:
        """What an undo of the job would take back, as ``Ledger.grants`` counts it."""
        engine = self._opened()
        with snapshot(engine) as connection:
            key = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
            return listing.count_granted(connection, rows_for(engine.dialect.name), key or 0)

    def accepted_by_badge(self, job_id: str) -> dict[str, int]:
        """How many rows of a job were accepted, by ``badgeMetaId``; revoked ones are included.

        It unpacks every batch of the job, which takes a quarter of a second for a million rows.
        """
        engine = self._opened()
        with snapshot(engine) as connection:
            key = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
            return listing.count_accepted(connection, rows_for(engine.dialect.name), key or 0)

    def badge_names(self, badge_ids: Collection[str]) -> dict[str, str]:
        """The names of those badges whose name is known."""
        with reading(self._opened()) as connection:
            return names.badge_names(connection, badge_ids)

    def close(self) -> None:
        """Give connections back."""
        if self._engine is not None:
            self._engine.dispose()

    def _opened(self) -> sa.Engine:
        if self._file is not None and not self._file.exists():
            raise NoLedgerError(f"there is no ledger at {self.description} yet")
        if self._engine is None:
            self._engine = make_reading_engine(self._url, patience=PATIENCE_SECONDS)
        engine = self._engine
        if not self._is_there:
            with reading(engine) as connection:
                self._is_there = sa.inspect(connection).has_table("capillary_ledger")
            if not self._is_there:
                raise NoLedgerError(f"there is no ledger at {self.description} yet")
        return engine

    def _now(self, connection: sa.Connection) -> float:
        if connection.dialect.name == "sqlite":
            return self._clock()
        return float(connection.execute(QUERIES["now"]).scalar_one())


def _pattern(text: str) -> str:
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"
