"""The ledger as a page reads it: nothing is made, and a hundred thousand refused rows are searched at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import LedgerUnavailableError, UnknownJobError
from airflow_provider_capillary.ledger.facts import Answer, Issues, JobPlan, JobScope, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.reader import JobFilter, LedgerReader, NoLedgerError

from . import building
from .backends import Backend

REFUSED_ROWS = 100_000


@pytest.fixture
def reader(ledger: Ledger, backend: Backend) -> Iterator[LedgerReader]:
    with closing(LedgerReader(backend.url, clock=ledger.now)) as opened:
        yield opened


def begin(ledger: Ledger, dag_id: str = "nightly", run_id: str = "r1", organisation: str = "shop") -> str:
    plan = JobPlan(organisation, "https://api.example.com", "f", 10, {})
    return ledger.open_job(JobScope(dag_id, "import", run_id), plan).job_id


def issue(number: int, message: str, **original: object) -> RowIssue:
    return RowIssue(number, RowState.REJECTED, "send", message, "rows.csv", number, original, code=1000 + number)


def test_looking_makes_no_ledger(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "ledger.db"

    with pytest.raises(NoLedgerError), closing(LedgerReader(f"sqlite:///{file}")) as reader:
        reader.dag_ids()

    assert not file.parent.exists()


def test_a_database_without_a_ledger_is_no_ledger(fresh_backend: Backend) -> None:
    with closing(LedgerReader(fresh_backend.url)) as reader:
        with pytest.raises(NoLedgerError):
            reader.check()
        fresh_backend.open()
        reader.check()  # made meanwhile


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with (
        closing(LedgerReader("postgresql://nobody@127.0.0.1:9/none?connect_timeout=1")) as reader,
        pytest.raises(LedgerUnavailableError),
    ):
        reader.dag_ids()


def test_jobs_are_listed_latest_first_by_every_filter(ledger: Ledger, reader: LedgerReader) -> None:
    first, second = begin(ledger, "nightly", "r1"), begin(ledger, "weekly", "r1", "other shop")
    third = begin(ledger, "nightly", "r2")

    def listed(**wanted: object) -> list[str]:
        chosen = JobFilter(("nightly", "weekly"), **wanted)  # type: ignore[arg-type]
        return [job.job_id for job in reader.jobs(chosen, limit=10)]

    assert listed() == [third, second, first]
    assert listed(dag_id="nightly") == [third, first]
    assert listed(organisation="other shop") == [second]
    assert listed(state="open") == [third, second, first]
    assert listed(state="failed") == []
    assert listed(since=ledger.now() + 60) == listed(until=ledger.now() - 3_600) == []
    assert [job.job_id for job in reader.jobs(JobFilter(("weekly",)), limit=10)] == [second]
    assert reader.jobs(JobFilter(()), limit=10) == []
    assert [job.job_id for job in reader.jobs(JobFilter(("nightly", "weekly")), limit=1, offset=1)] == [second]
    assert (reader.dag_ids(), reader.organisations(["weekly"])) == (["nightly", "weekly"], ["other shop"])


def test_a_missing_job_is_unknown(reader: LedgerReader) -> None:
    with pytest.raises(UnknownJobError):
        reader.job("no-such-job")


def test_accepted_rows_are_counted_by_badge(ledger: Ledger, reader: LedgerReader) -> None:
    job = building.begin(ledger)
    building.bring_to(ledger, job, RowState.ACCEPTED, building.badge(1), building.badge(2, name=building.SILVER))
    building.bring_to(ledger, job, RowState.ACCEPTED, building.badge(3))
    building.bring_to(ledger, job, RowState.REJECTED, building.badge(4))
    ledger.finish_job(job, "finished", {"rows_read": 4, "accepted": 3, "unknown": 0})
    mine = ledger.settlements.take_stock(job.job_id)
    taken = next(row for row in building.granted(ledger, job.job_id) if row.badge.row_number == 3)
    ledger.revocations.note(mine, taken, by="a person")
    ledger.revocations.answer(mine, taken, Answer.REVOKED)

    assert reader.accepted_by_badge(job.job_id) == {building.GOLD: 2, building.SILVER: 1}
    assert reader.accepted_by_badge("no-such-job") == {}


def test_badges_are_called_as_they_were_called_last(ledger: Ledger, reader: LedgerReader) -> None:
    ledger.name_badges({building.GOLD: "Gold", building.SILVER: " Silver\0\ud800 "})
    ledger.name_badges({building.GOLD: "Golden", building.SILVER: ""})

    named = {building.GOLD: "Golden", building.SILVER: "Silver\N{REPLACEMENT CHARACTER}?"}
    assert reader.badge_names([building.GOLD, building.SILVER, "c" * 24]) == named
    assert ledger.badge_names(f"{number:024x}" for number in range(2_000)) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4711", [1]),  # a customer
        ("NOT THERE", [2]),  # a reason, whatever its case
        ("1003", [3]),  # a code
        ("100%", [4]),  # no pattern
        ("under_score", [5]),
        ('say "hi"', [6]),  # written in JSON with a backslash
        ("back\\slash", [7]),
        ("!", [8]),
        ("' OR 1=1 --", []),
        ("", [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_a_search_finds_a_text_as_it_stands(ledger: Ledger, reader: LedgerReader, text: str, found: list[int]) -> None:
    job = ledger.open_job(JobScope("d", "t", "r"), JobPlan("shop", "https://api.example.com", "f", 10, {}))
    rows = [
        issue(1, "refused", customerId=4711),
        issue(2, "the badge is not there"),
        issue(3, "refused"),
        issue(4, "100% wrong"),
        issue(5, "under_score"),
        issue(6, "refused", note='say "hi"'),
        issue(7, "refused", note="back\\slash"),
        issue(8, "stop!"),
    ]
    ledger.record(job, [Issues(rows)])

    assert [one.row_number for one in reader.find_issues(job.job_id, text=text)] == found


def test_a_hundred_thousand_rows_are_searched_quickly(ledger: Ledger, reader: LedgerReader, backend: Backend) -> None:
    job = ledger.open_job(JobScope("d", "t", "r"), JobPlan("shop", "https://api.example.com", "f", REFUSED_ROWS, {}))
    engine = sa.create_engine(backend.url.replace("postgresql:", "postgresql+psycopg:", 1))
    series = (
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :rows)"
        " INSERT INTO capillary_row_issue (job_id, row_number, state, stage, code, message, badge_meta_id, details,"
        " original) SELECT :job, n, 'rejected', 'send', 1054, 'badge ' || n || ' is not there', 'b', :details,"
        " '{\"customerId\":' || (5000000 + n) || '}' FROM s"
    )
    with engine.begin() as connection:
        connection.execute(
            sa.text(series), {"rows": REFUSED_ROWS, "job": job.key, "details": '{"source":"rows.csv","line":1}'}
        )
    engine.dispose()

    began = time.perf_counter()
    (found,) = reader.find_issues(job.job_id, text="5077777")
    last = reader.find_issues(job.job_id, state="rejected", offset=REFUSED_ROWS - 10)
    reader.issue_counts(job.job_id)
    seconds = time.perf_counter() - began

    assert (found.row_number, len(last)) == (77_777, 10)
    assert seconds < 3  # three statements on a machine that has other work; a page asks one or two of them
