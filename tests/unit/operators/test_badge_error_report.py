from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import Asset, Context, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Issues, JobPlan, JobScope, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator

NO_CONTEXT = cast(Context, {})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home of airflow"))
    return tmp_path / "home of airflow"


@pytest.fixture
def job_id(home: Path) -> str:
    return imported(home / "capillary_ledger.db")


def imported(
    database: Path,
    *,
    map_index: int = -1,
    ended: bool = True,
    not_sent: int = 0,
    doubtful: bool = False,
    dry_run: bool = False,
) -> str:
    """A job of three rows, one of which was refused, and one accepted in doubt."""
    twice = RowIssue(3, RowState.ACCEPTED, "send", "may be granted twice", "rows", 3, {"customer_id": "85"})
    issue = RowIssue(2, RowState.REJECTED, "send", "=no", "rows", 2, {"customer_id": "84", "note": "x"}, code=1054)
    counts = {"accepted": 2 - not_sent, "already_accepted": 0, "rejected": 1, "invalid": 0, "unknown": 0}
    with closing(Ledger(f"sqlite:///{database}")) as ledger:
        job = ledger.open_job(
            JobScope("nightly", "import", "manual__2025-01-15T12:00:00+00:00", map_index),
            JobPlan("shop", "https://api", "f00d", 3, {}),
        )
        ledger.record(job, [Issues([issue, twice] if doubtful else [issue])])
        if ended:
            summary = {"rows_read": 3, **counts, "not_sent": not_sent, "requests": 1, "dry_run": dry_run}
            ledger.finish_job(job, "finished", summary)
    return job.job_id


def report(job: Any, **arguments: Any) -> dict[str, Any]:
    arguments = {"fail_with_import": False} | arguments
    return BadgeErrorReportOperator(task_id="report", job=job, **arguments).execute(NO_CONTEXT)


def rows(uri: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(ObjectStoragePath(uri).read_bytes().decode(), newline="")))


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was logged at INFO and above: by Airflow's loggers, which write themselves, or by Python's."""
    caplog.set_level(logging.INFO)
    return lambda: "".join((*capfd.readouterr(), caplog.text))


def test_each_job_has_its_report_folder(home: Path, job_id: str) -> None:
    returned = report({"job_id": job_id, "rows_read": 3})
    folder = home / "capillary_reports" / "nightly" / "manual__2025-01-15T12_00_00_00_00" / job_id
    assert returned["errors_csv"] == f"file://{folder}/errors.csv"
    assert returned["summary_json"] == f"file://{folder}/summary.json"
    assert returned["report_html"] == f"file://{folder}/report.html"
    assert "may_be_granted_twice_csv" not in returned
    [row] = rows(returned["errors_csv"])
    assert (row["customer_id"], row["stage"], row["code"], row["message"]) == ("84", "send", "1054", "'=no")
    total = json.loads((folder / "summary.json").read_text())["total"]["counts"]
    assert {name: returned[name] for name in total} == total
    assert (returned["jobs"], returned["rows_reported"], returned["rows_read"], returned["accepted"]) == (1, 1, 3, 2)


def test_what_is_returned_is_small_and_json(job_id: str) -> None:
    assert len(json.dumps(report(job_id))) < 1_000


def test_a_retry_writes_the_same_bytes(home: Path, job_id: str) -> None:
    first = report(job_id)
    before = {path: path.read_bytes() for path in (home / "capillary_reports").rglob("*.*") if path.is_file()}
    assert report(job_id) == first
    after = {path: path.read_bytes() for path in (home / "capillary_reports").rglob("*.*") if path.is_file()}
    assert {path.name for path in before} == {"errors.csv", "summary.json", "report.html"}
    assert after == before


class LazyXComs(Sequence[Any]):
    """As Airflow hands over what a mapped task returned: a sequence, but no list."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]


@pytest.mark.parametrize("kind", [list, tuple, LazyXComs])
def test_mapped_imports_share_a_report_and_gaps_are_named(home: Path, kind: Any, logged: Callable[[], str]) -> None:
    first, second = (imported(home / "capillary_ledger.db", map_index=index) for index in (0, 1))
    returned = report(kind([{"job_id": first}, None, second, {"job_id": first}]))
    assert [row["job_id"] for row in rows(returned["errors_csv"])] == [first, second]
    assert (returned["jobs"], returned["rows_read"]) == (2, 6)
    assert "1 of the imports began no job: ledger" in logged()


@pytest.mark.parametrize("nothing", [None, "None", "", [], [None, None]])
def test_without_a_job_the_task_is_skipped_and_not_green(home: Path, nothing: Any) -> None:
    with pytest.raises(AirflowSkipException, match="no job to report on"):
        report(nothing)
    assert not home.exists()


@pytest.mark.parametrize(
    ("job", "words"),
    [(7, "job is a int"), ({"rows_read": 3}, "job is a dict"), ([["x"]], "job is a list"), ("x", "holds no job 'x'")],
)
def test_what_is_no_job_says_what_to_give(home: Path, job: Any, words: str) -> None:
    with pytest.raises(AirflowFailException, match=words):
        report(job)


def test_the_path_argument_overrides_the_option(tmp_path: Path, job_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CAPILLARY__REPORT_PATH", f"file://{tmp_path}/option")
    assert report(job_id)["errors_csv"].startswith(f"file://{tmp_path}/option/nightly/")
    assert report(job_id, report_path=f"{tmp_path}/argument/")["errors_csv"].startswith(
        f"file://{tmp_path}/argument/nightly/"
    )


def test_the_ledger_is_that_of_the_import(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.db"
    job = imported(other)
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "sqlite", "host": str(other)}))
    assert report(job, ledger_conn_id="other")["rows_reported"] == 1
    with pytest.raises(AirflowFailException, match="same ledger_conn_id"):
        report(job)


def test_an_unfinished_job_and_unlisted_rows_are_warned_of(home: Path, logged: Callable[[], str]) -> None:
    open_job = imported(home / "capillary_ledger.db", map_index=0, ended=False)
    short = imported(home / "capillary_ledger.db", map_index=1, not_sent=2)
    report([open_job, short])
    text = logged()
    assert f"Job {open_job} has not come to an end" in text
    assert f"Job {short}: the import counted 2 rows as not_sent, the ledger lists 0" in text


def test_rows_perhaps_double_are_counted_and_warned_of(home: Path, logged: Callable[[], str]) -> None:
    jobs = [imported(home / "capillary_ledger.db", map_index=index, doubtful=index == 1) for index in (0, 1)]
    returned = report(jobs)
    assert (returned["rows_reported"], returned["may_be_granted_twice"]) == (2, 1)
    [row] = rows(returned["may_be_granted_twice_csv"])
    assert (row["customer_id"], row["state"], row["job_id"]) == ("85", "accepted", jobs[1])
    assert {row["customer_id"] for row in rows(returned["errors_csv"])} == {"84"}
    assert returned["may_be_granted_twice_csv"].endswith("/may_be_granted_twice.csv")
    assert "1 accepted rows may be granted twice: they were sent again without proof" in (text := logged())
    assert returned["may_be_granted_twice_csv"] in text


def test_without_a_doubt_nothing_is_warned_of(job_id: str, logged: Callable[[], str]) -> None:
    assert report(job_id)["may_be_granted_twice"] == 0
    assert "granted twice" not in logged()


def test_event_and_lineage_cover_all_jobs(home: Path) -> None:
    reports, events = Asset("capillary://shop.example/reports"), OutletEventAccessors()
    jobs = [imported(home / "capillary_ledger.db", map_index=index, ended=index == 0) for index in (0, 1)]
    operator = BadgeErrorReportOperator(task_id="report", job=jobs, outlets=[reports], fail_with_import=False)
    returned = operator.execute(cast(Context, {"outlet_events": events}))
    extra = events[reports].extra
    assert (extra["jobs"], extra["rows_reported"], extra["accepted"], extra["succeeded"]) == (2, 2, 2, False)
    assert (extra["job_ids"], extra["report_html"]) == (jobs, returned["report_html"])
    assert "84" not in json.dumps(extra).replace(jobs[0], "").replace(jobs[1], "")
    reported = operator.get_openlineage_facets_on_complete(None)
    assert reported is not None
    paths = {returned[name].removeprefix("file://") for name in ("errors_csv", "summary_json", "report_html")}
    assert {one.name for one in reported.outputs} == paths


@pytest.mark.parametrize(("dry_runs", "reported"), [((True, True), False), ((True, False), True), ((False,), True)])
def test_only_dry_runs_emit_nothing(home: Path, dry_runs: tuple[bool, ...], reported: bool) -> None:
    reports, events = Asset("capillary://shop.example/reports"), OutletEventAccessors()
    jobs = [imported(home / "capillary_ledger.db", map_index=nth, dry_run=dry) for nth, dry in enumerate(dry_runs)]
    declared = [reports]
    operator = BadgeErrorReportOperator(task_id="report", job=jobs, outlets=declared)
    operator.execute(cast(Context, {"outlet_events": events}))
    # Airflow makes an event of each outlet that the task has when it ends, whether or not anything is reported of it.
    assert operator.outlets == ([reports] if reported else [])
    assert bool(events[reports].extra) is reported
    assert declared == [reports]


def test_no_row_and_no_message_is_logged(job_id: str, logged: Callable[[], str]) -> None:
    report(job_id)
    text = logged()
    assert "1 rows of 1 jobs were not accepted" in text
    assert "customer_id" not in text
    assert "=no" not in text


def test_arguments_are_rendered_and_nothing_is_done_before(tmp_path: Path, home: Path) -> None:
    operator = BadgeErrorReportOperator(
        task_id="report", job="{{ job }}", report_path="file:///{{ ds }}", ledger_conn_id="{{ ledger }}"
    )
    assert (operator.job, operator.report_path, operator.ledger_conn_id) == (
        "{{ job }}",
        "file:///{{ ds }}",
        "{{ ledger }}",
    )
    operator.render_template_fields(cast(Context, {"job": "j", "ds": "2025-01-15", "ledger": "l"}))
    assert (operator.job, operator.report_path, operator.ledger_conn_id) == ("j", "file:///2025-01-15", "l")
    assert not home.exists()
