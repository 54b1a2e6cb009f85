"""The ledger's tables are made and upgraded on first use: once, whole, and never by an older version."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.exceptions import ConfigurationError, LedgerUnavailableError
from airflow_provider_capillary.ledger.migrations.upgrade import HEAD, current_revision, upgrade

from .backends import Backend, PostgresBackend, SqliteBackend
from .building import badge, begin, claim, held


def tables(backend: Backend) -> list[str]:
    with backend.look() as connection:
        return sorted(name for name in sa.inspect(connection).get_table_names() if name.startswith("capillary"))


def revision(backend: Backend) -> str | None:
    with backend.look() as connection:
        return current_revision(connection)


def test_a_ledger_is_made_where_there_was_none(fresh_backend: Backend) -> None:
    assert revision(fresh_backend) is None
    ledger = fresh_backend.open()
    assert revision(fresh_backend) == HEAD
    claim(ledger, begin(ledger), badge(1))


def test_a_ledger_that_is_up_to_date_is_left_as_it_is(fresh_backend: Backend) -> None:
    first = fresh_backend.open()
    job = begin(first)
    claim(first, job, badge(1))
    before = tables(fresh_backend)
    with closing(fresh_backend.open()) as second:
        assert held(second, job, badge(1)) == held(first, job, badge(1))
    assert tables(fresh_backend) == before
    with fresh_backend.look() as connection:
        assert upgrade(connection) is False


def test_many_that_find_no_ledger_make_one_together(fresh_backend: Backend) -> None:
    line = threading.Barrier(4)

    def begin_one(number: int) -> int:
        line.wait(60)
        ledger = fresh_backend.open()
        return claim(ledger, begin(ledger, f"run {number}"), badge(number + 1))

    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(begin_one, range(4)))
    assert len(set(batches)) == 4
    assert revision(fresh_backend) == HEAD


def test_several_ledgers_are_made_by_one_process_at_once(tmp_path: Path) -> None:
    line = threading.Barrier(4)

    def begin_one(number: int) -> None:
        line.wait(60)
        with closing(SqliteBackend(tmp_path / str(number), None)) as backend:
            claim(ledger := backend.open(), begin(ledger), badge(1))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(begin_one, range(4))) == [None] * 4


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(backend: Backend) -> None:
    with backend.look() as connection:
        connection.execute(sa.text("UPDATE capillary_alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"revision 9999.*written by a newer one"):
        backend.open()
    assert revision(backend) == "9999"


def test_an_upgrade_that_breaks_off_leaves_nothing_half_made(sqlite_backend: SqliteBackend) -> None:
    """The first table is there already, by another hand, so that making the others must be undone."""
    sqlite_backend.path.unlink()
    with sqlite_backend.look() as connection:
        connection.execute(sa.text("CREATE TABLE capillary_row_issue (something_else TEXT)"))
    with pytest.raises(LedgerUnavailableError, match="already exists"):
        sqlite_backend.open()
    assert tables(sqlite_backend) == ["capillary_row_issue"]
    with sqlite_backend.look() as connection:
        connection.execute(sa.text("DROP TABLE capillary_row_issue"))
    claim(ledger := sqlite_backend.open(), begin(ledger), badge(1))


def test_an_upgrade_that_breaks_off_leaves_nothing_half_made_on_postgresql(postgres_backend: PostgresBackend) -> None:
    with postgres_backend.look() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
        connection.execute(sa.text("CREATE TABLE capillary_row_issue (something_else TEXT)"))
    with pytest.raises(LedgerUnavailableError, match="already exists"):
        postgres_backend.open()
    assert tables(postgres_backend) == ["capillary_row_issue"]


def test_a_file_that_is_no_database_is_left_alone(sqlite_backend: SqliteBackend) -> None:
    sqlite_backend.path.write_bytes(b"customer_id,badge_id\n" * 1_000)
    with pytest.raises(LedgerUnavailableError, match="not a database"):
        sqlite_backend.open()
    assert sqlite_backend.path.read_bytes().startswith(b"customer_id")


def test_a_folder_that_is_missing_is_made(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("empty") / "new" / "deep"
    with closing(SqliteBackend(folder, None)) as backend:
        claim(ledger := backend.open(), begin(ledger), badge(1))
    assert (folder / "ledger.db").exists()
