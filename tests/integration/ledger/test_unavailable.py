"""A database that cannot be used: one clear error, nothing half committed, and work goes on when it is back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import (
    CapillaryError,
    LedgerUnavailableError,
    LedgerUnusableError,
)
from airflow_provider_capillary.hooks.errors import BadgeTaskInterrupted, as_airflow_error
from airflow_provider_capillary.ledger import engine
from airflow_provider_capillary.ledger.database import durably, reading
from airflow_provider_capillary.ledger.facts import Issues, Note
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend, PostgresBackend, SqliteBackend
from .building import badge, begin, bring_to, claim, intent, issue, outcome, state


def execute(ledger: Ledger, statement: str) -> None:
    """Change a setting of the very connection that the ledger writes with."""
    with ledger.database.engine.connect() as connection:
        connection.exec_driver_sql(statement)


def with_setting(backend: PostgresBackend, setting: str) -> sa.URL:
    """The URL with a setting of the server for its connections."""
    return sa.make_url(backend.url).update_query_dict({"options": f"-c {setting}"})


def test_a_read_only_file_takes_no_job(sqlite_backend: SqliteBackend) -> None:
    ledger = sqlite_backend.open()
    job = begin(ledger)
    claim(ledger, job, badge(1))
    read_only = sqlite_backend.open(url=f"sqlite:///file:{sqlite_backend.path}?mode=ro&uri=true")
    assert read_only.job(job.job_id).run_id == "2026-01-01"
    with pytest.raises(LedgerUnusableError, match="readonly") as refused:
        begin(read_only, "another run")
    assert "may read and write" in str(refused.value)
    assert [one.run_id for one in ledger.jobs()] == ["2026-01-01"]


def test_a_read_only_file_without_ledger_is_refused(sqlite_backend: SqliteBackend) -> None:
    sqlite_backend.path.unlink()
    sqlite_backend.path.touch()
    with pytest.raises(LedgerUnusableError, match="readonly"):
        sqlite_backend.open(url=f"sqlite:///file:{sqlite_backend.path}?mode=ro&uri=true")


@pytest.mark.parametrize(
    ("broken", "repaired", "reported", "error", "advice"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "readonly", LedgerUnusableError, "may read and write"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1073741823", "full", LedgerUnavailableError, "space"),
    ],
    ids=["read-only in mid-job", "disk full in mid-job"],
)
def test_a_full_file_keeps_what_was_committed(
    sqlite_backend: SqliteBackend, broken: str, repaired: str, reported: str, error: type[Exception], advice: str
) -> None:
    ledger = sqlite_backend.open()
    job = begin(ledger)
    batch = claim(ledger, job, badge(1))
    execute(ledger, broken)
    many = [badge(row) for row in range(2, 2_000)]
    with pytest.raises(error, match=reported) as refused:
        ledger.record(job, [outcome(batch, RowState.ACCEPTED, badge(1)), Issues([issue(1)]), intent(*many)])
    assert advice in str(refused.value)
    assert state(ledger, job, badge(1)) is RowState.INTENT
    assert ledger.counts(job) == {RowState.INTENT: 1}
    assert list(ledger.issues(job.job_id)) == []
    execute(ledger, repaired)
    ledger.record(job, [outcome(batch, RowState.ACCEPTED, badge(1)), intent(*many)])
    assert ledger.counts(job) == {RowState.ACCEPTED: 1, RowState.INTENT: len(many)}


@pytest.fixture
def holder(backend: Backend) -> Iterator[sa.Connection]:
    """Another process that holds what the ledger wants to write, for as long as it likes."""
    engine = sa.create_engine(backend.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_locked_database_is_given_up_in_time(backend: Backend, holder: sa.Connection) -> None:
    """The impatient one does one thing only: PostgreSQL also gives up who is slow between two statements."""
    ledger, impatient = backend.open(), backend.open(patience=0.5)
    job = begin(ledger)
    batch = claim(ledger, job, badge(1))
    holder.execute(sa.text("UPDATE capillary_batch SET gone = gone"))
    with pytest.raises(LedgerUnavailableError, match=r"lock|idle-in-transaction"):
        impatient.record(job, [Issues([issue(1)]), outcome(batch, RowState.REJECTED, badge(1))])
    assert state(ledger, job, badge(1)) is RowState.INTENT  # reading waits for no other process
    assert list(ledger.issues(job.job_id)) == []
    holder.rollback()
    ledger.record(job, [outcome(batch, RowState.ACCEPTED, badge(1))])
    assert ledger.counts(job) == {RowState.ACCEPTED: 1}


def test_a_frozen_writer_loses_its_locks(postgres_backend: PostgresBackend) -> None:
    """The server ends a transaction of ours in which nothing happens any more; it must not hold up other jobs."""
    frozen = postgres_backend.open(patience=1.0)
    job = begin(postgres_backend.open())
    dropped: list[bool] = []

    def freeze(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO capillary_batch" in statement and not dropped:
            mine = {"pid": connection.connection.driver_connection.info.backend_pid}
            with postgres_backend.look() as other:
                while other.scalar(sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), mine):
                    pass
            dropped.append(True)

    sa.event.listen(frozen.database.engine, "after_cursor_execute", freeze)
    with pytest.raises(LedgerUnavailableError):
        claim(frozen, job, badge(1))
    assert dropped
    assert state(frozen, job, badge(1)) is None
    claim(frozen, job, badge(1))


@pytest.mark.parametrize("moment", ["between two transactions", "in mid-transaction"])
def test_a_restarted_server_is_used_again(postgres_backend: PostgresBackend, postgres_server: Any, moment: str) -> None:
    ledger = postgres_backend.open()
    job = begin(ledger)
    batch = claim(ledger, job, badge(1))
    stopped: list[bool] = []

    def stop(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO capillary_batch" in statement and not stopped:
            stopped.append(True)
            postgres_server.stop()

    try:
        if moment == "in mid-transaction":
            sa.event.listen(ledger.database.engine, "after_cursor_execute", stop)
        else:
            postgres_server.stop()
        notes: list[Note] = [outcome(batch, RowState.ACCEPTED, badge(1)), Issues([issue(1)]), intent(badge(2))]
        with pytest.raises(LedgerUnavailableError, match="reachable"):
            ledger.record(job, notes)
        with pytest.raises(LedgerUnavailableError):
            ledger.find(job, [badge(1)])
        with pytest.raises(LedgerUnavailableError):
            ledger.renew_lease(job)
        with pytest.raises(LedgerUnavailableError):
            postgres_backend.open()
    finally:
        postgres_server.start()
    assert ledger.counts(job) == {RowState.INTENT: 1}
    assert list(ledger.issues(job.job_id)) == []
    ledger.record(job, notes)
    assert ledger.counts(job) == {RowState.ACCEPTED: 1, RowState.INTENT: 1}


@pytest.mark.parametrize("warm_seconds", [60.0, 0.0], ids=["just used", "idle"])
def test_a_broken_connection_is_replaced(
    postgres_backend: PostgresBackend, monkeypatch: pytest.MonkeyPatch, warm_seconds: float
) -> None:
    monkeypatch.setattr(engine, "_WARM_SECONDS", warm_seconds)
    ledger = postgres_backend.open()
    job = begin(ledger)
    with postgres_backend.look() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )
        )
    claim(ledger, job, badge(1))
    assert ledger.counts(job) == {RowState.INTENT: 1}


def test_a_read_only_standby_takes_no_job(postgres_backend: PostgresBackend) -> None:
    ledger = postgres_backend.open()
    standby = postgres_backend.open(url=with_setting(postgres_backend, "default_transaction_read_only=on"))
    with pytest.raises(LedgerUnavailableError, match="read-only"):
        begin(standby)
    assert ledger.jobs() == []


def test_a_vanished_file_is_not_made_anew(sqlite_backend: SqliteBackend) -> None:
    ledger = sqlite_backend.open()
    job = begin(ledger)
    bring_to(ledger, job, RowState.ACCEPTED, badge(1))
    ledger.close()  # a later connection finds an empty folder
    shutil.rmtree(sqlite_backend.path.parent)
    sqlite_backend.path.parent.mkdir()
    with pytest.raises(LedgerUnusableError):
        claim(ledger, job, badge(1))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT no_such_column FROM capillary_job",
        "SELECT 1 FROM no_such_table",
        "SELEKT 1",
        "SELECT no_such_function()",
    ],
)
def test_a_refused_statement_is_not_retried(statement: str, ledger: Ledger) -> None:
    tries: list[str] = []

    def work(connection: sa.Connection) -> None:
        tries.append(statement)
        connection.execute(sa.text(statement))

    with pytest.raises(LedgerUnusableError, match="tables are those of this version"):
        durably(ledger.database.engine, work)
    assert len(tries) == 1
    with pytest.raises(LedgerUnusableError), reading(ledger.database.engine) as connection:
        work(connection)
    begin(ledger)  # the ledger itself goes on


def test_a_user_without_rights_learns_it_at_once(postgres_backend: PostgresBackend) -> None:
    postgres_backend.open()
    with postgres_backend.look() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS capillary_stranger"))
        connection.execute(sa.text("CREATE ROLE capillary_stranger"))
    url = with_setting(postgres_backend, "role=capillary_stranger")
    with pytest.raises(LedgerUnusableError, match="permission denied") as refused:
        begin(postgres_backend.open(url=url))
    assert "GRANT" in str(refused.value)


def test_a_user_without_create_learns_the_ways(postgres_backend: PostgresBackend) -> None:
    with postgres_backend.look() as connection:
        for statement in (
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
            "DROP ROLE IF EXISTS capillary_newcomer",
            "CREATE ROLE capillary_newcomer LOGIN",
            "GRANT USAGE ON SCHEMA public TO capillary_newcomer",  # as PostgreSQL 15 gives it
        ):
            connection.execute(sa.text(statement))
    url = sa.make_url(postgres_backend.url).set(username="capillary_newcomer")
    with pytest.raises(LedgerUnusableError, match="permission denied for schema public") as refused:
        postgres_backend.open(url=url)
    assert "airflow capillary ledger upgrade" in str(refused.value)
    assert "GRANT CREATE ON SCHEMA public TO capillary_newcomer" in str(refused.value)
    assert not isinstance(as_airflow_error(refused.value), BadgeTaskInterrupted)


def test_a_user_without_create_uses_the_owners_tables(postgres_backend: PostgresBackend) -> None:
    postgres_backend.open()
    with postgres_backend.look() as connection:
        for statement in (
            "DROP ROLE IF EXISTS capillary_clerk",
            "CREATE ROLE capillary_clerk LOGIN",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "GRANT USAGE ON SCHEMA public TO capillary_clerk",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO capillary_clerk",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO capillary_clerk",
        ):
            connection.execute(sa.text(statement))
    ledger = postgres_backend.open(url=sa.make_url(postgres_backend.url).set(username="capillary_clerk"))
    assert claim(ledger, begin(ledger), badge(1))


@pytest.mark.parametrize("error", [LedgerUnusableError("no rights"), LedgerUnavailableError("no connection")])
def test_airflow_retries_only_what_may_pass(error: CapillaryError) -> None:
    assert isinstance(as_airflow_error(error), BadgeTaskInterrupted) is isinstance(error, LedgerUnavailableError)
