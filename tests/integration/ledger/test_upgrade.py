"""The ledger's tables are made and upgraded on first use: once, whole, and never by an older version."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ConfigurationError, LedgerUnusableError
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.migrations import upgrade as migrations
from airflow_provider_capillary.ledger.migrations.upgrade import HEAD, current_revision, upgrade

from .backends import Backend, PostgresBackend, SqliteBackend
from .building import badge, begin, bring_to, claim, held

IN_LEDGER = (RowState.PLANNED, RowState.INTENT, RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN)


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


def test_a_new_ledger_is_what_alembic_would_make_and_loads_none_of_it(tmp_path: Path) -> None:
    made, by_alembic = tmp_path / "made.db", sa.create_engine(f"sqlite:///{tmp_path / 'alembic.db'}")
    code = f"""
        import sys
        from airflow_provider_capillary.ledger.ledger import Ledger
        Ledger("sqlite:///{made}").close()
        sys.exit("alembic" in sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    with by_alembic.begin() as connection:
        migrations._run_alembic(connection, None)
    schema = sa.text("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
    engines = sa.create_engine(f"sqlite:///{made}"), by_alembic
    found = []
    for engine in engines:
        with engine.connect() as connection:
            found.append(connection.execute(schema).all())
        engine.dispose()
    assert found[0] == found[1]


def test_a_current_ledger_is_left_alone(fresh_backend: Backend) -> None:
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


def test_one_process_makes_several_ledgers(tmp_path: Path) -> None:
    line = threading.Barrier(4)

    def begin_one(number: int) -> None:
        line.wait(60)
        with closing(SqliteBackend(tmp_path / str(number), None)) as backend:
            claim(ledger := backend.open(), begin(ledger), badge(1))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(begin_one, range(4))) == [None] * 4


def test_a_newer_ledger_is_refused_untouched(backend: Backend) -> None:
    with backend.look() as connection:
        connection.execute(sa.text("UPDATE capillary_alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"revision 9999.*written by a newer one"):
        backend.open()
    assert revision(backend) == "9999"


def test_a_broken_upgrade_leaves_nothing(sqlite_backend: SqliteBackend) -> None:
    """The first table is there already, made by another program, so that making the others must be undone."""
    sqlite_backend.path.unlink()
    with sqlite_backend.look() as connection:
        connection.execute(sa.text("CREATE TABLE capillary_row_issue (something_else TEXT)"))
    with pytest.raises(LedgerUnusableError, match="already exists"):
        sqlite_backend.open()
    assert tables(sqlite_backend) == ["capillary_row_issue"]
    with sqlite_backend.look() as connection:
        connection.execute(sa.text("DROP TABLE capillary_row_issue"))
    claim(ledger := sqlite_backend.open(), begin(ledger), badge(1))


def test_a_broken_upgrade_leaves_nothing_on_postgresql(postgres_backend: PostgresBackend) -> None:
    with postgres_backend.look() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
        connection.execute(sa.text("CREATE TABLE capillary_row_issue (something_else TEXT)"))
    with pytest.raises(LedgerUnusableError, match="already exists"):
        postgres_backend.open()
    assert tables(postgres_backend) == ["capillary_row_issue"]


def test_a_file_that_is_no_database_is_untouched(sqlite_backend: SqliteBackend) -> None:
    sqlite_backend.path.write_bytes(b"customer_id,badge_id\n" * 1_000)
    with pytest.raises(LedgerUnusableError, match="not a database"):
        sqlite_backend.open()
    assert sqlite_backend.path.read_bytes().startswith(b"customer_id")


def test_a_folder_that_is_missing_is_made(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("empty") / "new" / "deep"
    with closing(SqliteBackend(folder, None)) as backend:
        claim(ledger := backend.open(), begin(ledger), badge(1))
    assert (folder / "ledger.db").exists()


# -- A ledger of an older version, with rows in it: the next revision is made up

NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade():
    op.create_table("capillary_made_up", sa.Column("job_id", sa.Text, primary_key=True))
    op.execute("INSERT INTO capillary_made_up SELECT job_id FROM capillary_job")
    op.add_column("capillary_odd_row", sa.Column("made_up", sa.Text))
"""
BREAKS_OFF = "\n    raise RuntimeError('the machine went down')\n"


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """From now on the code is that of a version with one revision more."""

    def install(text: str = NEXT) -> None:
        scripts = tmp_path / "migrations of the next version"
        if not scripts.exists():
            shutil.copytree(migrations.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        (scripts / "versions" / "0002_made_up.py").write_text(text, "utf-8")
        monkeypatch.setattr(migrations, "SCRIPTS", scripts)
        monkeypatch.setattr(migrations, "HEAD", "0002")

    return install


def contents(backend: Backend) -> dict[str, list[dict[str, Any]]]:
    with backend.look() as connection:
        return {
            table: [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()]
            for table in tables(backend)
            if table != "capillary_alembic_version"
        }


def filled(backend: Backend) -> Job:
    """A ledger with a row in each state."""
    ledger = backend.open()
    job = begin(ledger)
    for row, end in enumerate((one for one in RowState if one in IN_LEDGER), start=1):
        bring_to(ledger, job, end, badge(row), badge(10 + row))
    return job


def test_an_upgrade_changes_no_row(backend: Backend, next_version: Callable[..., None]) -> None:
    job = filled(backend)
    before = contents(backend)
    next_version()
    ledger = backend.open()
    assert ledger.was_upgraded
    after = contents(backend)
    assert after.pop("capillary_made_up") == [{"job_id": job.job_id}]
    for row in after["capillary_odd_row"]:
        assert row.pop("made_up") is None
    assert after == before
    assert revision(backend) == "0002"
    assert ledger.counts(job) == dict.fromkeys(IN_LEDGER, 2)
    assert not backend.open().was_upgraded


def test_a_new_ledger_gets_every_revision(fresh_backend: Backend, next_version: Callable[..., None]) -> None:
    next_version()
    ledger = fresh_backend.open()
    assert (revision(fresh_backend), contents(fresh_backend)["capillary_made_up"]) == ("0002", [])
    claim(ledger, begin(ledger), badge(1))


def test_many_upgrade_an_older_ledger_once(backend: Backend, next_version: Callable[..., None]) -> None:
    job = filled(backend)
    next_version()
    line = threading.Barrier(4)

    def open_one(_: int) -> bool:
        line.wait(60)
        return backend.open().was_upgraded

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(open_one, range(4))) == [False, False, False, True]
    assert contents(backend)["capillary_made_up"] == [{"job_id": job.job_id}]


def test_a_broken_upgrade_leaves_the_ledger(backend: Backend, next_version: Callable[..., None]) -> None:
    job = filled(backend)
    before = contents(backend)
    next_version(NEXT + BREAKS_OFF)
    with pytest.raises(RuntimeError, match="went down"):
        backend.open()
    assert (revision(backend), contents(backend)) == ("0001", before)
    next_version(NEXT)
    assert backend.open().counts(job) == dict.fromkeys(IN_LEDGER, 2)
