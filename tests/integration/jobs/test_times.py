"""The times of a try: in the summary and in the metric it begins with the first look at the dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from .trial import Trial

#: What takes its time before the job is open: badges are looked up, once or again after a refusal.
SLOW: dict[str, dict[str, Any]] = {
    "a budget": {"requests_per_minute": 6},
    "a refusal": {"jitter": 0.9},
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_try_begins_at_the_first_look(trial: Trial, slow: dict[str, Any], dry_run: bool) -> None:
    if "jitter" in slow:
        trial.faults({"kind": "status", "operation": "badge", "status": 503, "times": 1})
    trial.run(trial.rows(1), run_id="before", **slow)  # takes the first turns of the budget
    trial.faults(*([{"kind": "status", "operation": "badge", "status": 503, "times": 1}] if "jitter" in slow else []))
    begun = trial.clock.now()
    result = trial.run(trial.rows(4), check_badges=True, dry_run=dry_run, **slow)
    ended = trial.clock.now()
    assert ended > begun
    summary = result.summary
    assert summary.started_at == datetime.fromtimestamp(begun, UTC).isoformat(timespec="seconds")
    assert summary.finished_at == datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds")
    assert result.seconds == pytest.approx(ended - begun)
