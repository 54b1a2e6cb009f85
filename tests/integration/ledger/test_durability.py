"""What the guarantees rest on: settings of the very connections that write, and reads that stay small."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import CapillaryError
from airflow_provider_capillary.ledger.facts import Adoption, Job
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend, PostgresBackend, SqliteBackend
from .building import EARNED, badge, begin, claim, held, outcome


def while_claiming(ledger: Ledger, ask: Callable[[Any], None]) -> None:
    """Ask the connection that just wrote an intent, within its transaction."""
    asked = []

    def listen(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO capillary_batch" in statement:
            asked.append(True)
            ask(connection.connection.driver_connection)

    sa.event.listen(ledger.database.engine, "after_cursor_execute", listen)
    claim(ledger, begin(ledger), badge(1))
    assert asked


def test_sqlite_writes_ahead_and_flushes_every_commit(sqlite_backend: SqliteBackend) -> None:
    def ask(connection: Any) -> None:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.in_transaction

    while_claiming(sqlite_backend.open(), ask)


@pytest.mark.parametrize(
    ("set_to", "used"), [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")]
)
def test_postgresql_flushes_every_commit(postgres_backend: PostgresBackend, set_to: str, used: str) -> None:
    with postgres_backend.look() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
        connection.execute(sa.text(f"ALTER DATABASE {name} SET synchronous_commit = {set_to}"))
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"))

    def ask(connection: Any) -> None:
        assert connection.execute("SHOW synchronous_commit").fetchone() == (used,)
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)

    while_claiming(postgres_backend.open(), ask)


BATCH = 500
#: Those that grow with the rows.
TABLES = ("capillary_earned_badge", "capillary_odd_row", "capillary_doubt")


@pytest.mark.parametrize("statistics", ["none", "fresh"])
def test_a_batch_is_read_by_index(backend: Backend, statistics: str, ledger: Ledger, job: Job) -> None:
    """Whatever the planner knows of the table: in a night it grows past all statistics."""
    for first in range(1, 6_001, 2_000):
        claim(ledger, job, *(badge(row) for row in range(first, first + 2_000)))
    if statistics == "fresh":
        with backend.look() as connection:
            connection.execute(sa.text("ANALYZE"))
    watch = {"sqlite": no_scan_on_sqlite, "postgresql": few_rows_on_postgresql}[backend.name]
    seen = watch(ledger)
    rows = [badge(row) for row in range(10_001, 10_001 + BATCH)]
    batch = claim(ledger, job, *rows, once=True)
    ledger.find(job, rows)
    ledger.find(job, rows, any_date=True)
    ledger.record(job, [outcome(batch, RowState.UNKNOWN, *rows)])
    heir = begin(ledger, "another run")
    ledger.record(heir, [Adoption([(row, one) for row in rows[:9] if (one := held(ledger, heir, row))])])
    assert {"SELECT", "INSERT"} <= seen


def no_scan_on_sqlite(ledger: Ledger) -> set[str]:
    seen = set()

    def listen(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if any(table in statement for table in TABLES):
            seen.add(statement.split()[0])
            one = parameters[0] if many else parameters
            steps = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", one).fetchall()
            scanned = [step[3] for step in steps if re.match(r"SCAN ([tbxd]|capillary_\w+)\b", step[3])]
            assert not scanned, statement

    sa.event.listen(ledger.database.engine, "after_cursor_execute", listen)
    return seen


def few_rows_on_postgresql(ledger: Ledger) -> set[str]:
    seen = set()
    before = [0]

    def rows_read(connection: Any) -> int:
        read: int = connection.connection.driver_connection.execute(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables"
            f" WHERE relname IN {TABLES}"
        ).fetchone()[0]
        return read

    def note(connection: Any, *_: Any) -> None:
        before[0] = rows_read(connection)

    def compare(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if any(table in statement for table in TABLES):
            seen.add(statement.split()[0])
            assert rows_read(connection) - before[0] <= 4 * BATCH, statement

    sa.event.listen(ledger.database.engine, "before_cursor_execute", note)
    sa.event.listen(ledger.database.engine, "after_cursor_execute", compare)
    return seen


SECRET = "s3cr3t-pässword"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://loader:s3cr3t-p%C3%A4ssword@127.0.0.1:1/ledger",
        "postgresql://loader@127.0.0.1:1/ledger?password=s3cr3t-p%C3%A4ssword&sslpassword=s3cr3t",
        "postgresql://loader:s3cr3t@127.0.0.1:one/ledger",
        "mysql://loader:s3cr3t@127.0.0.1/ledger",
        "loader:s3cr3t@127.0.0.1/ledger",
    ],
    ids=["as password", "as option", "bad port", "other database", "no URL"],
)
def test_a_password_stands_in_no_error(url: str) -> None:
    with pytest.raises(CapillaryError) as refused:
        Ledger(url)
    reported = "".join(traceback.format_exception(refused.value)) + repr(refused.value)
    assert "s3cr3t" not in reported


def test_a_password_stands_in_no_description(postgres_backend: PostgresBackend) -> None:
    url = sa.make_url(postgres_backend.url).set(password=SECRET)
    as_option = url.set(password=None).update_query_dict({"sslpassword": SECRET})
    for one in (url, url.render_as_string(hide_password=False), as_option):
        ledger = postgres_backend.open(url=one)
        assert "s3cr3t" not in ledger.description + repr(ledger)
        assert str(url.database) in ledger.description


def test_rows_stand_in_no_error(backend: Backend, ledger: Ledger, job: Job) -> None:
    with backend.look() as connection:
        cascade = "" if backend.name == "sqlite" else " CASCADE"  # a view reads it
        connection.execute(sa.text(f"DROP TABLE capillary_earned_badge{cascade}"))
    with pytest.raises(CapillaryError) as refused:
        claim(ledger, job, badge(1, customer=987_654_321, earned=EARNED))
    reported = "".join(traceback.format_exception(refused.value))
    assert "987654321" not in reported.replace("987_654_321", "")
