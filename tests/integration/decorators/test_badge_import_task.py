"""What a decorated function returns is imported as any dataset is: once, each row accounted for, over retries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_capillary.simulator.fault_plan import StatusFault
from airflow_provider_capillary.simulator.server import RunningSimulator

BADGE = "654e08f2041fd452b3ef5b2e"
Try = Callable[..., dict[str, Any]]


def rows(count: int, first: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "badge_meta_id": BADGE,
            "customer_id": 9_000_000 + number,
            "earn_event_date": "2025-01-15T12:00:00Z",
            "earn_expires_on": "2026-01-15T12:00:00Z",
        }
        | more
        for number in range(first, first + count)
    ]


def json_lines(path: Path, given: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    return path.as_uri()


def test_every_returned_form_is_imported(simulator: RunningSimulator, try_once: Try, tmp_path: Path) -> None:
    first = json_lines(tmp_path / "a.jsonl", rows(3, first=100))
    second = json_lines(tmp_path / "b.jsonl", rows(4, first=200))
    extract = {"uri": tmp_path.as_uri(), "parts": [first, second], "rows": 7, "columns": []}
    returned = [rows(2), first, [first, second], extract]
    accounts = [
        (summary["accepted"], summary["already_accepted"])
        for tries, dataset in enumerate(returned)
        for summary in [try_once(lambda dataset=dataset: dataset, max_tries=tries)]
    ]
    assert accounts == [(2, 0), (3, 0), (4, 3), (0, 7)]
    assert len(simulator.store) == 9


def test_the_function_gets_arguments_and_context(simulator: RunningSimulator, try_once: Try) -> None:
    def import_badges(count: int, params: Any = None, first: int = 1) -> list[dict[str, Any]]:
        return rows(count + params["more"], first)

    assert try_once(import_badges, 2, context={"params": {"more": 3}})["accepted"] == 5


def test_no_rows_are_an_import_of_no_rows(simulator: RunningSimulator, try_once: Try) -> None:
    summary = try_once(list)
    assert (summary["rows_read"], summary["requests"]) == (0, 0)
    assert summary["job_id"]


def test_a_function_that_skips_skips_the_task(simulator: RunningSimulator, try_once: Try) -> None:
    def nothing_today() -> list[Any]:
        raise AirflowSkipException("a holiday")

    with pytest.raises(AirflowSkipException, match="a holiday"):
        try_once(nothing_today)


def test_a_retry_calls_the_function_and_continues_the_job(simulator: RunningSimulator, try_once: Try) -> None:
    simulator.use_faults([StatusFault(status=403, first=2, times=1)])
    called = []

    def import_badges() -> list[dict[str, Any]]:
        called.append(1)
        return rows(20)

    small = {"batch_size": 5, "canary": False, "concurrency": 1}
    with pytest.raises(AirflowFailException, match="403"):
        try_once(import_badges, **small)
    assert len(simulator.store) == 5
    summary = try_once(import_badges, **small)
    assert (summary["accepted"], summary["already_accepted"], len(called)) == (20, 0, 2)
    assert len(simulator.store) == 20


@pytest.mark.parametrize("changed", ["other rows", "another order", "another value"])
def test_a_retry_with_other_rows_sends_nothing(simulator: RunningSimulator, try_once: Try, changed: str) -> None:
    again = {
        "other rows": rows(4),
        "another order": rows(3)[::-1],
        "another value": [row | {"customer_id": row["customer_id"] + 50} for row in rows(3)],
    }[changed]
    returned = [rows(3), again, again]

    def import_badges() -> list[dict[str, Any]]:
        return returned.pop(0)

    assert try_once(import_badges)["accepted"] == 3
    before = simulator.simulator.request_counts()
    with pytest.raises(
        AirflowFailException, match=r"the dataset changed.*import_badges\(\) is called at each try.*same"
    ):
        try_once(import_badges)
    sent = {call: count for call, count in simulator.simulator.request_counts().items() if "import" in call}
    assert sent == {call: count for call, count in before.items() if "import" in call}
    cleared = try_once(import_badges, max_tries=7)
    assert cleared["accepted"] + cleared["already_accepted"] == len(again)
    assert simulator.simulator.summary()["grantedTwice"] == 0
