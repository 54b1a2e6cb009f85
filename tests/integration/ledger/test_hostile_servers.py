"""Imports over a PostgreSQL server that is set oddly, or whose connections break in the very commit."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.exceptions import ConfigurationError, LedgerUnavailableError
from airflow_provider_capillary.ledger.facts import Issues
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.server import RunningSimulator

from .backends import PostgresBackend
from .building import begin, issue
from .office import ROWS, Office

LOST = [
    {"kind": "drop", "at": "after_applying", "numbers": [2]},
    {"kind": "drop", "at": "after_reading", "numbers": [4]},
]
#: What a database may be set to without being refused. Each changes how something is written, read or planned.
ODD = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "TimeZone": "'Asia/Kolkata'",
    "transform_null_equals": "on",
    "row_security": "off",
    "plan_cache_mode": "force_generic_plan",
    "synchronous_commit": "off",
}


@pytest.fixture
def office(postgres_backend: PostgresBackend, start_capillary_simulator: Callable[..., RunningSimulator]) -> Office:
    return Office(postgres_backend, start_capillary_simulator())


def set_database(backend: PostgresBackend, **settings: str) -> None:
    """Let sessions that begin from now on be set so."""
    with backend.look() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
        for setting, value in settings.items():
            connection.execute(sa.text(f"ALTER DATABASE {name} SET {setting} = {value}"))


def granted(office: Office) -> dict[int, int]:
    return dict(Counter(grant.customer_id for grant in office.simulator.store.grants()))


ONCE_EACH = {row["customerId"]: 1 for row in ROWS}


def test_an_oddly_configured_server_grants_once(office: Office) -> None:
    assert isinstance(office.backend, PostgresBackend)
    set_database(office.backend, **ODD)
    office.simulator.use_faults(LOST)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(office.run, run_id, max_unknown="100%") for run_id in ("first", "second")]
        results = [one.result(120) for one in both]
    assert [result.summary.rows_read for result in results] == [len(ROWS)] * 2
    office.simulator.use_faults(None)
    office.backend.pass_time(3_600)
    final = office.run("third")
    assert (final.error, final.summary.unknown) == (None, 0)
    assert granted(office) == ONCE_EACH
    assert office.states() == {"accepted": len(ROWS)}


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252"])
def test_any_script_is_kept_in_any_encoding(postgres_backend: PostgresBackend, encoding: str) -> None:
    set_database(postgres_backend, client_encoding=encoding)
    ledger = postgres_backend.open()
    job = begin(ledger)
    ledger.record(job, [Issues([issue(1, message="不明な顧客 ß €")])])
    assert [one.message for one in ledger.issues(job.job_id)] == ["不明な顧客 ß €"]


def test_a_database_without_unicode_is_refused(postgres_server: Any) -> None:
    name = f"latin_{uuid.uuid4().hex}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(ConfigurationError, match="encoded in LATIN1"):
        Ledger(postgres_server.uri_of(name))
    postgres_server.drop_database(name)


@contextmanager
def broken_commits(numbers: set[int], *, applied: bool) -> Iterator[None]:
    """Let connections break in the very commit: of these transactions nothing is known."""
    count = itertools.count(1)
    lock = threading.Lock()

    def commit(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("capillary_purpose") != "writing":
            return
        with lock:
            number = next(count)
        if number in numbers:
            driver: Any = connection.connection.driver_connection
            if applied:
                driver.execute("COMMIT")
            driver.close()

    sa.event.listen(sa.Engine, "commit", commit)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "commit", commit)


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied"])
def test_a_connection_broken_in_commit_doubles_nothing(office: Office, applied: bool) -> None:
    known = ROWS[0] | {"customerId": 9_100_000}  # a read of it shows that reads show imports
    assert office.run("before", rows=[known]).error is None
    for number in (2, 3, 5):
        rows = [{**row, "customerId": row["customerId"] + 1_000 * number} for row in ROWS]
        office.backend.pass_time(3_600)
        with broken_commits({number}, applied=applied), suppress(LedgerUnavailableError):
            office.run(f"night {number}", rows=rows)
        office.backend.pass_time(3_600)
        again = office.run(f"night {number}", rows=rows)
        assert (again.error, again.summary.accepted) == (None, len(rows)), number
    assert set(granted(office).values()) == {1}
    assert len(granted(office)) == 3 * len(ROWS) + 1
