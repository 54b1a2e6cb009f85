"""The import operator against the simulator, with a plain dict as context: no database, no server of Airflow's."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.datasets.files import FilesDataset
from airflow_provider_capillary.datasets.rows import RowsDataset
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.simulator.fault_plan import RowErrorFault, StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator
from tests.integration.operators.given_rows import BADGE, DELETED, EARNED, ENDS, ends, granted_twice, parquet, rows

SUMMARY = [
    "job_id",
    "rows_read",
    "accepted",
    "already_accepted",
    "rejected",
    "invalid",
    "unknown",
    "not_sent",
    "requests",
    "batches",
    "started_at",
    "finished_at",
    "reasons",
    "ledger",
]
Tasks = Callable[..., Any]


# -- Forms of a dataset


def test_every_form_of_a_dataset_is_taken(simulator: RunningSimulator, task: Tasks, tmp_path: Path) -> None:
    first = parquet(tmp_path / "a.parquet", rows(2))
    second = parquet(tmp_path / "b.parquet", rows(2, 3))
    folder = tmp_path / "folder"
    folder.mkdir()
    parquet(folder / "part-0.parquet", rows(1, 5))
    with gzip.open(folder / "more.csv.gz", "wt") as text:
        writer = csv.DictWriter(text, list(rows(1)[0]))
        writer.writeheader()
        writer.writerows(rows(3, 6))
    zipped = str(folder / "more.csv.gz")
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows(1, 9)))
    extracted = {"uri": folder.as_uri(), "parts": [(folder / "part-0.parquet").as_uri()], "rows": 1, "columns": ["x"]}
    forms: list[tuple[Any, int]] = [
        (first, 2),
        ([first, second], 4),
        (extracted, 1),
        ([extracted], 1),
        (zipped, 3),
        (lines, 1),
        (rows(2, 10), 2),
    ]
    for number, (form, count) in enumerate(forms):
        summary = task(run_id=f"form {number}").run(form)
        assert summary["rows_read"] == count, form
        assert ends(summary).keys() <= {"accepted", "already_accepted"}
    assert simulator.simulator.summary()["grants"] == 11
    assert granted_twice(simulator) == []


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("/none/such.parquet", "/none/such.parquet"),
        ("/none/such.xlsx", "/none/such.xlsx"),
        (rows(10_001), "10001 rows.*URI"),
        ([{"badgeMetaId": BADGE}], "customerId"),
        ([7], "not a dict"),
        ({"uri": "/d"}, "parts"),
    ],
    ids=["missing", "format", "too many rows", "columns", "no rows", "no parts"],
)
def test_a_bad_dataset_sends_nothing_and_is_not_retried(
    simulator: RunningSimulator, task: Tasks, dataset: Any, words: str
) -> None:
    error, pushed = task().fail(dataset)
    assert isinstance(error, AirflowFailException)
    with pytest.raises(AirflowFailException, match=words):
        raise error
    assert pushed is None
    assert simulator.simulator.request_counts() == {}


# -- Arguments as templates give them


def test_texts_from_templates_mean_what_they_say(simulator: RunningSimulator, task: Tasks) -> None:
    given = [*rows(95), *rows(5, 96, badgeMetaId=DELETED)]
    summary = task().run(given, batch_size="10", max_rejected="5%", max_unknown="0", dry_run="False", canary=False)
    assert ends(summary) == {"accepted": 95, "rejected": 5}
    assert summary["requests"] >= 10
    error, _ = task(run_id="another").fail(given, max_rejected="4")
    assert "max_rejected" in str(error) or "allowed: 4" in str(error)


def test_a_dry_run_given_as_text_sends_nothing(simulator: RunningSimulator, task: Tasks) -> None:
    summary = task().run(rows(3), dry_run="True")
    assert ends(summary) == {"not_sent": 3}
    assert not summary["complete"]
    assert simulator.simulator.summary()["grants"] == 0


def test_the_configured_batch_size_is_only_a_default(
    simulator: RunningSimulator, task: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"canary": False, "concurrency": 1}
    assert task(run_id="a").run(rows(600), **plain)["requests"] == 2
    monkeypatch.setenv("AIRFLOW__CAPILLARY__DEFAULT_BATCH_SIZE", "100")
    assert task(run_id="b").run(rows(600, 1_001), **plain)["requests"] == 6
    assert task(run_id="c").run(rows(600, 2_001), batch_size=500, **plain)["requests"] == 2


def test_columns_and_naive_timestamps_follow_the_arguments(simulator: RunningSimulator, task: Tasks) -> None:
    given = [{"b": BADGE, "c": "77", "at": "2025-01-15T13:00:00", "until": "2026-01-15T13:00:00"}]
    mapping = {"badgeMetaId": "b", "customerId": "c", "earnEventDate": "at", "earnExpiresOn": "until"}
    assert ends(task().run(given, field_mapping=mapping, timezone="Europe/Berlin")) == {"accepted": 1}
    [grant] = simulator.store.grants()
    assert (grant.customer_id, grant.earned_at) == (77, EARNED)


# -- What it returns


def test_the_summary_is_small_json_with_promised_keys(simulator: RunningSimulator, task: Tasks) -> None:
    given = [*rows(40), *rows(20, 41, badgeMetaId=DELETED), *({"badgeMetaId": f"bad {n}" * 50} for n in range(40))]
    summary = task().run(given, max_rejected="100%")
    assert list(summary)[: len(SUMMARY)] == SUMMARY
    assert set(summary) - set(SUMMARY) <= {"dry_run", "assumed", "complete"}
    assert summary["complete"] is False
    assert sum(summary[name] for name in ENDS) == summary["rows_read"] == 100
    assert json.loads(json.dumps(summary)) == summary
    assert len(json.dumps(summary)) < 8_000
    assert summary["ledger"].endswith("/home/capillary_ledger.db")
    began, ended = (datetime.fromisoformat(summary[name]) for name in ("started_at", "finished_at"))
    assert began.tzinfo is not None
    assert abs((datetime.now(UTC) - began).total_seconds()) < 120
    assert began <= ended
    for reason in summary["reasons"]:
        assert set(reason) == {"stage", "code", "message", "rows"}


def test_many_reasons_keep_the_summary_small(connect: Tasks, task: Tasks) -> None:
    simulator = connect()
    simulator.use_faults([RowErrorFault(code=1000 + n, message=f"{n} " + "ä" * 500, positions=(n,)) for n in (1,)])
    given = [*rows(5), *({**row, "customerId": "x" * n} for n, row in enumerate(rows(200, 6), 1))]
    summary = task().run(given, max_rejected="100%", canary=False)
    assert len(summary["reasons"]) <= 10
    assert len(json.dumps(summary).encode()) < 8_000


# -- Failures


def test_too_many_refusals_fail_with_the_summary(simulator: RunningSimulator, task: Tasks) -> None:
    error, pushed = task().fail([*rows(90), *rows(8, 91, badgeMetaId=DELETED), *rows(2, 99, customerId="nobody")])
    assert isinstance(error, AirflowFailException)
    assert pushed is not None
    assert ends(pushed) == {"accepted": 90, "rejected": 8, "invalid": 2}
    assert len(simulator.store) == 90
    text = str(error)
    for words in (
        "10 of 100 rows are refused",
        "allowed: 5%",
        "100 rows read",
        "90 accepted",
        "8 rejected",
        "2 invalid",
        "8 x badge_check 1054",
        "2 x validate",
        "the tab Badge import of this task",
        pushed["job_id"],
    ):
        assert words in text


def test_without_xcom_the_failure_is_the_same(simulator: RunningSimulator, task: Tasks) -> None:
    with pytest.raises(AirflowFailException, match="allowed: 0"):
        task().run([*rows(1), *rows(1, badgeMetaId="none")], max_rejected=0)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "credentials"), (403, "access"), (405, "import_method to POST"), (404, "host")]
)
def test_what_a_person_must_fix_is_not_retried(
    simulator: RunningSimulator, task: Tasks, status: int, words: str
) -> None:
    simulator.use_faults([StatusFault(status=status)])
    error, pushed = task().fail(rows(20))
    assert isinstance(error, AirflowFailException)
    assert words in str(error)
    assert pushed is not None
    assert ends(pushed) == {"not_sent": 20}
    assert len(simulator.store) == 0


def test_a_server_without_proof_is_retried_by_airflow(simulator: RunningSimulator, task: Tasks) -> None:
    simulator.use_faults([StatusFault(status=503, when="after")])
    arguments = {"on_unknown": "hold", "batch_size": 10, "canary": False, "max_unknown": "100%", "concurrency": 1}
    error, pushed = task().fail(rows(200), **arguments)
    assert not isinstance(error, AirflowFailException)
    assert pushed is not None
    assert pushed["unknown"] > 0
    assert pushed["not_sent"] > 0
    assert pushed["unknown"] + pushed["not_sent"] == 200


# -- Which ledger


def test_the_ledger_argument_overrides_the_option(
    simulator: RunningSimulator, task: Tasks, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("configured", "given"):
        fields = {"conn_type": "sqlite", "host": str(tmp_path / f"{name}.db")}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW__CAPILLARY__LEDGER_CONN_ID", "configured")
    assert task().run(rows(1))["ledger"].endswith("/configured.db")
    assert task().run(rows(1), ledger_conn_id="given")["ledger"].endswith("/given.db")
    assert not (home / "capillary_ledger.db").exists()


@pytest.mark.parametrize("executor", ["CeleryExecutor", "LocalExecutor,KubernetesExecutor"])
def test_a_ledger_file_is_refused_for_remote_tasks(
    simulator: RunningSimulator, task: Tasks, home: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    error, _ = task().fail(rows(1))
    assert isinstance(error, AirflowFailException)
    assert "ledger_conn_id" in str(error)
    assert simulator.simulator.request_counts() == {}
    assert not home.exists()


# -- Mapping


def test_mapped_parts_are_jobs_of_one_ledger(simulator: RunningSimulator, task: Tasks, tmp_path: Path) -> None:
    parts = [parquet(tmp_path / f"part-{n}.parquet", rows(10, n * 5)) for n in range(3)]  # neighbours overlap
    with DAG("nightly", schedule=None):
        mapped: Any = BadgeImportOperator.partial(task_id="import_badges", batch_size=5).expand(dataset=parts)
    summaries = []
    for index, part in enumerate(parts):
        operator = mapped.unmap({"dataset": part})
        summaries.append(operator.execute(task(map_index=index).context()))
    assert len({summary["job_id"] for summary in summaries}) == 3
    assert [ends(summary) for summary in summaries] == [
        {"accepted": 10},
        {"accepted": 5, "already_accepted": 5},
        {"accepted": 5, "already_accepted": 5},
    ]
    assert len(simulator.store) == 20


# -- What the log says


def test_row_values_are_neither_logged_nor_returned(
    simulator: RunningSimulator, task: Tasks, logged: Callable[[int], str]
) -> None:
    email: dict[str, Any] = {"email": "jane.recognisable@example.org"}
    given = [
        *rows(30, **email),
        *rows(3, 31, badgeMetaId=DELETED, **email),
        *rows(1, customerId="Recognisable", **email),
    ]
    simulator.use_faults([RowErrorFault(code=1026, message="Customer 9000007 jane.recognisable@example.org is gone")])
    error, pushed = task().fail(given, max_rejected=0)
    text = f"{logged(logging.INFO)}\n{error}\n{json.dumps(pushed)}"
    assert "34 rows read" in text
    for value in ("9000001", "9000007", "9000031", "jane.", "Recognisable", BADGE):
        assert value not in text


# -- the dataset


@pytest.mark.parametrize("form", ["file", "rows"])
@pytest.mark.parametrize("ends_well", [True, False])
def test_a_closed_dataset_is_not_read(
    simulator: RunningSimulator,
    task: Tasks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    ends_well: bool,
) -> None:
    closed: list[object] = []
    kind: Any = FilesDataset if form == "file" else RowsDataset
    close = kind.close
    for name in ("inspect", "windows"):
        monkeypatch.setattr(kind, name, _while_open(getattr(kind, name), closed))

    def noted(self: Any) -> None:
        close(self)
        closed.append(self)

    monkeypatch.setattr(kind, "close", noted)
    dataset = parquet(tmp_path / "rows.parquet", rows(3)) if form == "file" else rows(3)
    if ends_well:
        assert task().run(dataset)["accepted"] == 3
    else:
        simulator.use_faults([StatusFault(status=403)])
        task().fail(dataset)
    assert len(closed) == 1


def _while_open(read: Callable[..., Any], closed: list[object]) -> Callable[..., Any]:
    def checked(self: object, *arguments: Any) -> Any:
        assert self not in closed, f"{read.__name__} after close"
        return read(self, *arguments)

    return checked


def test_complete_means_that_every_badge_is_there(simulator: RunningSimulator, task: Tasks) -> None:
    assert task(run_id="a").run(rows(3))["complete"] is True
    assert task(run_id="b").run([*rows(3), rows(1)[0]])["complete"] is True
    assert task(run_id="c").run([*rows(3), *rows(1, 9, customerId="none")], max_rejected=1)["complete"] is False
