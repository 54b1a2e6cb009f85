"""The ledger's tables are made and upgraded on first use: once, whole, and never by an older version."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.settings import ClientSettings
from airflow_provider_capillary.core.field_mapping import column_choices
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError, LedgerUnusableError
from airflow_provider_capillary.import_job import ImportJob, ImportResult
from airflow_provider_capillary.importing.api import CapillaryApi
from airflow_provider_capillary.importing.settings import import_settings
from airflow_provider_capillary.ledger.base import JobScope
from airflow_provider_capillary.ledger.migrations.upgrade import HEAD, current_revision, upgrade
from airflow_provider_capillary.ledger.sql_ledger import SqlLedger
from airflow_provider_capillary.simulator.server import RunningSimulator
from airflow_provider_capillary.simulator.settings import Badge as SimulatedBadge

from . import older_ledger
from .backends import Backend, PostgresBackend, SqliteBackend
from .building import GOLD, SILVER, badge, begin, claim, held


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
    with pytest.raises(LedgerUnusableError, match="already exists"):
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
    with pytest.raises(LedgerUnusableError, match="already exists"):
        postgres_backend.open()
    assert tables(postgres_backend) == ["capillary_row_issue"]


def test_a_file_that_is_no_database_is_left_alone(sqlite_backend: SqliteBackend) -> None:
    sqlite_backend.path.write_bytes(b"customer_id,badge_id\n" * 1_000)
    with pytest.raises(LedgerUnusableError, match="not a database"):
        sqlite_backend.open()
    assert sqlite_backend.path.read_bytes().startswith(b"customer_id")


def test_a_folder_that_is_missing_is_made(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("empty") / "new" / "deep"
    with closing(SqliteBackend(folder, None)) as backend:
        claim(ledger := backend.open(), begin(ledger), badge(1))
    assert (folder / "ledger.db").exists()


# -- A ledger of an older version, with rows in it

OLDER = ["0001", "0002", "0003", "0004", "0005", "0006"]
NEW_ROW = 14


def rows_of_long_ago() -> list[dict[str, Any]]:
    """The dataset of all the old jobs, and one new row."""
    return [
        {
            "badgeMetaId": (GOLD, SILVER)[row % 2],
            "customerId": older_ledger.customer(row),
            "earnEventDate": older_ledger.earned_at(row),
            "earnExpiresOn": older_ledger.earned_at(row) + 86_400,
        }
        for row in [*older_ledger.STATES, NEW_ROW]
    ]


def grant_what_was_granted(simulator: RunningSimulator) -> None:
    for row, state in older_ledger.STATES.items():
        if state == "accepted" or row in older_ledger.GRANTED:
            earned = older_ledger.earned_at(row)
            earn = (1, older_ledger.customer(row), (GOLD, SILVER)[row % 2], (earned, 0), (earned + 86_400, 0))
            simulator.store.grant([earn], f"old-{row}", older_ledger.LONG_AGO + row)


@pytest.mark.parametrize("revision_before", OLDER)
def test_every_row_of_an_older_ledger_is_still_there_after_the_upgrade(
    fresh_backend: Backend, revision_before: str
) -> None:
    older_ledger.make(fresh_backend.url, revision_before)
    with fresh_backend.look() as connection:
        before = older_ledger.contents(connection)
    assert revision(fresh_backend) == revision_before
    assert len(before["capillary_earned_badge"]) == len(older_ledger.STATES)
    assert {row["state"] for row in before["capillary_row_issue"]} == {"rejected", "unknown", "invalid"}

    ledger = fresh_backend.open()

    assert revision(fresh_backend) == HEAD
    with fresh_backend.look() as connection:
        after = older_ledger.contents(connection)
    for row in after["capillary_earned_badge"]:
        assert row.pop("doubt") is None
    for row in before["capillary_earned_badge"]:
        row.pop("doubt", None)
    assert {table: after[table] for table in before} == before
    assert set(after) - set(before) == ({"capillary_request_budget"} if revision_before == "0001" else set())
    with fresh_backend.look() as connection:
        told = connection.execute(sa.text("SELECT row_number, state FROM capillary_row")).all()
    assert Counter(map(tuple, told)) == Counter(
        (row["row_number"], row["state"]) for row in before["capillary_earned_badge"]
    )
    jobs = ledger.jobs()
    assert [job.state for job in jobs] == ["open", "failed", "finished"]
    assert [issue.row_number for job in jobs for issue in ledger.issues(job.job_id)] == [12, 112, 6, 8, 108, 3, 4, 104]


@pytest.mark.parametrize("revision_before", OLDER)
def test_the_trigger_of_an_upgraded_ledger_still_refuses_what_is_not_allowed(
    fresh_backend: Backend, revision_before: str
) -> None:
    older_ledger.make(fresh_backend.url, revision_before)
    fresh_backend.open()
    with fresh_backend.look() as connection:
        for state in ("planned", "intent", "unknown", "rejected"):
            with pytest.raises(sa.exc.DBAPIError, match="not allowed"):
                connection.execute(
                    sa.text("UPDATE capillary_earned_badge SET state = :state WHERE row_number = 1"), {"state": state}
                )


@pytest.mark.parametrize("revision_before", OLDER)
def test_a_job_on_an_upgraded_ledger_skips_what_was_accepted_and_settles_what_was_unknown(
    fresh_backend: Backend,
    revision_before: str,
    start_capillary_simulator: Callable[..., RunningSimulator],
) -> None:
    older_ledger.make(fresh_backend.url, revision_before)
    simulator = start_capillary_simulator(badges=(SimulatedBadge(GOLD, "gold"), SimulatedBadge(SILVER, "silver")))
    grant_what_was_granted(simulator)
    before = dict(older_ledger.STATES)

    result = import_all(fresh_backend.open(), simulator)

    assert result.error is None
    assert result.summary.already_accepted == list(before.values()).count("accepted")
    assert result.summary.accepted == len(before) + 1 - result.summary.already_accepted
    granted = Counter((grant.customer_id, grant.earned_at) for grant in simulator.store.grants())
    every = [*before, NEW_ROW]
    assert granted == {(older_ledger.customer(row), older_ledger.earned_at(row)): 1 for row in every}
    with fresh_backend.look() as connection:
        states = connection.execute(sa.text("SELECT DISTINCT state FROM capillary_row")).scalars().all()
    assert set(states) == ({"accepted"} if revision_before < "0003" else {"accepted", "revoked"})


def import_all(ledger: SqlLedger, simulator: RunningSimulator) -> ImportResult:
    caller = ClientSettings(
        base_url=simulator.url, login=simulator.settings.username, password=simulator.settings.password
    )
    settings = import_settings(verify_after=0, canary=False, check_badges=False, batch_size=3)
    with (
        closing(open_dataset(rows_of_long_ago(), required_columns=column_choices(None))) as dataset,
        closing(BadgeClient(caller)) as client,
    ):
        api = CapillaryApi(client, older_ledger.ORGANISATION)
        scope = JobScope(dag_id="nightly", task_id="import_badges", run_id="new")
        return ImportJob(dataset, api, ledger, scope, settings).run()
