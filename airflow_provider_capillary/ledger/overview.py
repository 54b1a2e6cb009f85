"""The ledger's identity, and what it holds: organisations, names of badges, jobs and their rows."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.earned_badge import organisation_key
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.witness import LedgerState
from airflow_provider_capillary.exceptions import JobIsRunningError, UnknownJobError
from airflow_provider_capillary.ledger import given_ids, listing, names
from airflow_provider_capillary.ledger.database import Database
from airflow_provider_capillary.ledger.facts import Grants, JobRecord, LedgerRow, OrganisationRecord, RowIssue
from airflow_provider_capillary.ledger.issues import kept_issue
from airflow_provider_capillary.ledger.queries import QUERIES


class LedgerOverview:
    """The part of ``Ledger`` that is not about the work on one job."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.description = database.description  #: where it is, without credentials

    @functools.cached_property
    def ledger_id(self) -> str:
        """The ledger's own random name, made with it; a copy of it keeps the name."""
        with self.database.reading() as connection:
            return str(connection.execute(QUERIES["identity"]).one().ledger_id)

    @property
    def sealed_for(self) -> str | None:
        """The place to which the ledger was copied, if it was; imports refuse it then."""
        with self.database.reading() as connection:
            place: str | None = connection.execute(QUERIES["identity"]).one().sealed_for
        return place

    def seal(self, place: str | None) -> None:
        """Seal the ledger, so that imports refuse it; ``None`` unseals it.

        :raises JobIsRunningError: a job runs.
        """

        def work(connection: sa.Connection) -> None:
            living = connection.execute(QUERIES["any_living_job"], {"now": self.database.now(connection)}).scalar()
            if living is not None and place is not None:
                raise JobIsRunningError(
                    f"job {living} is running; copy the ledger when it has ended. Nothing was copied"
                )
            connection.execute(QUERIES["seal"], {"place": place})

        self.database.durably(work)

    @contextmanager
    def contents(self) -> Iterator[sa.Connection]:
        """A connection to read all tables as they are at one moment."""
        with self.database.snapshot() as connection:
            yield connection

    def unguarded_replicas(self) -> int:
        """How many replicas of a PostgreSQL server may lack the last commits; 0 on SQLite."""
        if self.database.is_sqlite:
            return 0
        with self.database.reading() as connection:
            return int(connection.execute(QUERIES["unguarded_replicas"]).scalar_one())

    def state(self, job_ids: Iterable[str] = ()) -> LedgerState:
        """The ledger's identity, and how often these jobs have committed to it."""
        with self.database.snapshot() as connection:
            ledger = connection.execute(QUERIES["identity"]).one()
            wanted = list(job_ids)
            found = connection.execute(QUERIES["commits"], {"job_ids": wanted}).all() if wanted else []
        return LedgerState(ledger.ledger_id, bool(ledger.is_empty), {row.job_id: row.commits for row in found})

    def newest_jobs(self, organisation: str, limit: int) -> list[str]:
        """Ids of the newest jobs of an organisation, newest first."""
        with self.database.reading() as connection:
            values = {"folded": organisation_key(organisation), "limit": limit}
            return list(connection.execute(QUERIES["newest_jobs"], values).scalars())

    def now(self) -> float:
        """The ledger's clock, epoch seconds: one clock for all who share the ledger."""
        with self.database.reading() as connection:
            return self.database.now(connection)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    # -- names of badges ---------------------------------------------------------------------------------------------

    def name_badges(self, named: Mapping[str, str]) -> None:
        """Record the names of badges, by their ids. If all are on record, nothing is written."""
        with self.database.reading() as connection:
            news = names.new_badge_names(connection, named)
        if news:
            self.database.durably(lambda connection: names.record_badge_names(connection, news))

    def badge_names(self, badge_ids: Iterable[str]) -> dict[str, str]:
        """The names of those badges whose name is known."""
        with self.database.reading() as connection:
            return names.badge_names(connection, badge_ids)

    # -- organisations -----------------------------------------------------------------------------------------------

    def refuse_unknown_organisation(self, name: str) -> None:
        """Refuse an unknown name that could hide what was granted.

        :raises UnknownOrganisationError: the name is not known, and badges were granted under another one.
        """
        with self.database.snapshot() as connection:
            names.refuse_unknown_organisation(connection, name)

    def organisations(self) -> list[OrganisationRecord]:
        """Every name that the ledger knows."""
        with self.database.snapshot() as connection:
            return names.organisations(connection)

    def add_organisation(self, name: str) -> bool:
        """Add a name because a person says that it is an organisation of its own; give whether it was unknown."""
        return self.database.durably(lambda c: names.add_organisation(c, name))

    def rename_organisation(self, old: str, new: str) -> None:
        """Give an organisation another name; see ``names.rename_organisation``."""
        self.database.durably(lambda c: names.rename_organisation(c, old, new, self.database.now(c)))

    # -- what is shown of a job --------------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobRecord:
        """One job.

        :raises UnknownJobError: there is none of that id.
        """
        with self.database.reading() as connection:
            row = connection.execute(QUERIES["one_job"], {"job_id": job_id}).one_or_none()
            now = self.database.now(connection)
        if row is None:
            raise UnknownJobError(
                f"the ledger {self.description} holds no job {job_id!r}. Give the job that the import returned, and "
                "the same ledger_conn_id as to the import; `airflow capillary jobs` lists the jobs of a ledger"
            )
        return listing.job_record(row, now)

    def jobs(self, limit: int = 50, *, dag_id: str | None = None) -> list[JobRecord]:
        """The latest jobs, latest first; of one DAG or of all."""
        with self.database.reading() as connection:
            found = connection.execute(QUERIES["latest_jobs"], {"limit": limit, "dag_id": dag_id})
            now = self.database.now(connection)
            return [listing.job_record(row, now) for row in found]

    def jobs_of_run(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[JobRecord]:
        """The latest job of each task and map index of a Dag run, by task and index; also if it left no XCom.

        After a clear this is the new job only.
        """
        values = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        with self.database.reading() as connection:
            now = self.database.now(connection)
            latest: dict[tuple[str, int], JobRecord] = {}
            for row in connection.execute(QUERIES["jobs_of_run"], values):
                latest.setdefault((row.task_id, row.map_index), listing.job_record(row, now))
        return [latest[key] for key in sorted(latest)]

    def rows_of_customer(self, customer_id: int) -> list[dict[str, Any]]:
        """All that the ledger holds of one customer, of every organisation, in the order of the earn instants.

        Each row has its organisation, badge, instant (epoch seconds), occurrence (below 0: freed after it was revoked),
        state, job, DAG, run, request id, and the doubt if it may be granted twice.
        """
        with self.database.reading() as connection:
            found = connection.execute(QUERIES["all_rows_of_customer"], {"customer": customer_id})
            return [dict(row._mapping) for row in found]

    def standing(self, job_id: str) -> dict[str, int]:
        """The rows of a job that runs or died, by their present states: ``rows_read``, a summary's states, ``batches``.

        Rows in flight, or left so by a process that died, are ``unknown``. Rows that the ledger does not hold for this
        job are ``not_sent``; rows that an earlier job had accepted are among them.
        """
        with self.database.snapshot() as connection:
            return listing.standing(connection, job_id)

    def job_settings(self, job_id: str) -> dict[str, str]:
        """The settings that a job began with."""
        with self.database.reading() as connection:
            settings: dict[str, str] = msgspec.json.decode(
                connection.execute(QUERIES["job_settings"], {"job_id": job_id}).scalar_one()
            )
        return settings

    def issues(self, job_id: str) -> Iterator[RowIssue]:
        """Stream why rows of a job were not accepted, in dataset order."""
        with (
            self.database.reading() as connection,
            connection.execution_options(yield_per=1000).execute(QUERIES["issues"], {"job_id": job_id}) as rows,
        ):
            for row in rows:
                yield kept_issue(row._asdict())

    def rows(self, job_id: str, states: Sequence[RowState] = tuple(RowState)) -> Iterator[list[LedgerRow]]:
        """Pages of a job's rows in these states: those that differ from their batch first, then batch after batch."""
        return listing.pages(self.database, job_id, states, lambda _connection, _key, rows: list(rows))

    def grants(self, job_id: str) -> Grants:
        """Count what a job granted."""
        with self.database.snapshot() as connection:
            key = connection.execute(QUERIES["job_key"], {"job_id": job_id}).scalar()
            return listing.count_granted(connection, self.database.rows, key or 0)

    def earned_badge_ids(self) -> Iterator[str]:
        """Every ``earnedBadgeId`` that the API gave, of all jobs: of rows, and of replies that accept no row."""
        with self.database.snapshot() as connection:
            yield from given_ids.all_ids(connection)
