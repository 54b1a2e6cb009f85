"""The steps of this package's import, each alone on one thread, without Airflow and without a server."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_capillary.client.client_settings import TimestampFormat
from airflow_provider_capillary.client.wire import decode_reply, encode_batch
from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import judge
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.jobs.row_check import RowChecker
from airflow_provider_capillary.ledger.facts import Intent, Job, JobPlan, JobScope, Outcome
from airflow_provider_capillary.ledger.ledger import Ledger
from benchmarks.sink import answer_to

READ, ENCODE, DECODE, JUDGE = "read and check rows", "encode bodies", "decode replies", "judge replies"
INTENT, OUTCOME, COUNT = "ledger: intents", "ledger: outcomes", "ledger: count at the end"


class Clock:
    """CPU seconds of this process, by step."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What is done within is the step."""
        began = time.process_time()
        yield
        self.spent[name] += time.process_time() - began  # type: ignore[assignment]  # a Counter takes fractions


def main(dataset: str, batch_size: int, state: str) -> None:
    """Go through all rows; print the CPU seconds of each step, as JSON."""
    clock, ledger = Clock(), Ledger(f"sqlite:///{state}/ledger.db")
    rows = open_dataset(dataset)
    columns = resolve_columns(column_choices(None), rows.inspect().columns)
    check, facts = RowChecker(columns, None, frozenset()), rows.inspect()
    plan = JobPlan("bench", "http://localhost", facts.fingerprint, facts.rows, {})
    job = ledger.open_job(JobScope("bench", "import_badges", "1"), plan)
    windows = rows.windows(batch_size)
    while True:
        with clock.step(READ):
            badges = next((check.check(window)[0] for window in windows), None)
        if badges is None:
            break
        _one_batch(clock, ledger, job, badges)
    with clock.step(COUNT):
        ledger.counts(job)
    sys.stdout.write(f"\n{json.dumps(clock.spent)}\n")


def _one_batch(clock: Clock, ledger: Ledger, job: Job, badges: list[EarnedBadge]) -> None:
    with clock.step(ENCODE):
        body = encode_batch(badges, TimestampFormat.EPOCH_SECONDS)
    with clock.step(INTENT):
        (key,) = ledger.record(job, [Intent(badges, "", "", 1, unseen=True)])
    answer = answer_to(body)
    with clock.step(DECODE):
        reply = decode_reply(200, {}, answer, now=0.0)
    with clock.step(JUDGE):
        judgement = judge(badges, reply)
    with clock.step(OUTCOME):
        ledger.record(job, [Outcome(key, "PER_ROW", 200, accepted=badges, ids=judgement.granted_ids)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
