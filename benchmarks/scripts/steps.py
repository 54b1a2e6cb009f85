"""The steps of this package's import, each alone on one thread; beside them those of a loop that keeps no account.

Floors are what a step cannot cost less than as long as it does what it does: the same rows into the same table by
``sqlite3`` alone, the same bytes through ``http.client``, the same reply decoded and not looked at.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, repeat
from pathlib import Path

import pyarrow.parquet as pq
import requests

from airflow_provider_capillary.client.badge_client import IMPORT_PATH
from airflow_provider_capillary.client.client_settings import ClientSettings, TimestampFormat
from airflow_provider_capillary.client.transport import Transport
from airflow_provider_capillary.client.wire import decode_reply, encode_batch
from airflow_provider_capillary.core.batching import Batch, Batcher, BatchLimits, fingerprint
from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.outcome import judge
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.jobs.import_job import WINDOW_ROWS
from airflow_provider_capillary.jobs.pacing import lanes_for
from airflow_provider_capillary.jobs.row_check import RowChecker, badge_ids_of
from airflow_provider_capillary.ledger.facts import Intent, Job, JobPlan, JobScope, Note, Outcome
from airflow_provider_capillary.ledger.ledger import Ledger
from benchmarks.sink_process import running_sink

INSPECT, READ, ENCODE = "inspect the dataset", "read, check, deal to lanes", "encode and name bodies"
INTENT, SEND, DECODE = "ledger: intents, with outcomes", "send and receive", "decode replies"
JUDGE, COUNT = "judge replies", "ledger: count at the end"
ROWS, DUMP, POST, LOAD = "loop: rows to dicts", "loop: encode", "loop: send and receive", "loop: decode"
BARE_INSERT, BARE_SEND = "floor: sqlite3 alone", "floor: http.client alone"

TOGETHER = 2  # batches of which one commit notes the intents; an import without latency has 2 to 3

_TABLE = """
    CREATE TABLE row (customer INTEGER, badge INTEGER, earned INTEGER, occurrence INTEGER, batch INTEGER,
        PRIMARY KEY (customer, badge, earned, occurrence)) WITHOUT ROWID
"""


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
    clock = Clock()
    batches = _read(clock, dataset, batch_size)
    with running_sink() as sink:
        _import(clock, batches, sink.url, state)
        _loop(clock, dataset, batch_size, sink.url)
        _bare_requests(clock, batches, sink.url)
    _bare_inserts(clock, batches, Path(state, "bare.db"))
    sys.stdout.write(f"\n{json.dumps(clock.spent)}\n")


def _read(clock: Clock, dataset: str, batch_size: int) -> list[EarnedBadges]:
    rows = open_dataset(dataset)
    with clock.step(INSPECT):
        facts = rows.inspect()
    columns = resolve_columns(column_choices(None), facts.columns)
    badge_ids = badge_ids_of(rows, columns.badge_meta_id, WINDOW_ROWS)
    checker = RowChecker(columns, None, frozenset(), badge_ids=badge_ids)
    batcher = Batcher(BatchLimits(batch_size, sys.maxsize, lanes_for(4), lambda _: 1, 1))
    batches: list[Batch] = []
    with clock.step(READ):
        for window in rows.windows(WINDOW_ROWS):
            batches += batcher.fill(checker.check(window)[0], [window])
        batches += batcher.flush()
    return [batch.badges for batch in batches]


def _import(clock: Clock, batches: list[EarnedBadges], api: str, state: str) -> None:
    transport, noted = Transport(ClientSettings(base_url=api, login="till", password="x")), list[Outcome]()
    rows = sum(map(len, batches))
    with closing(Ledger(f"sqlite:///{state}/ledger.db")) as ledger:
        job = ledger.open_job(JobScope("bench", "import_badges", "1"), JobPlan("bench", api, "", rows, {}))
        for start in range(0, len(batches), TOGETHER):
            noted = _exchanged(
                clock, ledger, job, batches[start : start + TOGETHER], noted, transport, f"{api}{IMPORT_PATH}"
            )
        with clock.step(INTENT):
            ledger.record(job, noted)
        with clock.step(COUNT):
            ledger.counts(job)
    transport.close()


def _exchanged(
    clock: Clock,
    ledger: Ledger,
    job: Job,
    some: list[EarnedBadges],
    noted: list[Outcome],
    transport: Transport,
    url: str,
) -> list[Outcome]:
    """Batches from their columns to their outcomes, which the next commit notes."""
    with clock.step(ENCODE):
        bodies = [encode_batch(badges, TimestampFormat.EPOCH_SECONDS) for badges in some]
        names = list(map(fingerprint, bodies))
    with clock.step(INTENT):
        intents = [Intent(badges, name, "", 1, unseen=True) for badges, name in zip(some, names, strict=True)]
        notes: list[Note] = [*noted, *intents]
        keys = ledger.record(job, notes)
    outcomes = []
    for key, badges, body in zip(keys, some, bodies, strict=True):
        with clock.step(SEND):
            answer = transport.send("PUT", url, {"Content-Type": "application/json"}, body)
        with clock.step(DECODE):
            reply = decode_reply(200, {}, answer.body, now=0.0)
        with clock.step(JUDGE):
            judgement = judge(badges, reply)
        outcomes.append(Outcome(key, "PER_ROW", 200, accepted=badges, ids=judgement.granted_ids))
    return outcomes


def _loop(clock: Clock, dataset: str, batch_size: int, api: str) -> None:
    session = requests.Session()
    batches = pq.ParquetFile(dataset).iter_batches(batch_size=batch_size)
    while True:
        with clock.step(ROWS):
            batch = next(batches, None)
            rows = batch.to_pylist() if batch is not None else []
        if not rows:
            return
        with clock.step(DUMP):
            body = json.dumps(rows)
        with clock.step(POST):
            reply = session.put(f"{api}{IMPORT_PATH}", data=body, headers={"Content-Type": "application/json"})
        with clock.step(LOAD):
            reply.json()


def _bare_requests(clock: Clock, batches: list[EarnedBadges], api: str) -> None:
    bodies = [encode_batch(badges, TimestampFormat.EPOCH_SECONDS) for badges in batches[:10]]
    connection = http.client.HTTPConnection(api.removeprefix("http://"))
    with clock.step(BARE_SEND):
        for number in range(len(batches)):
            connection.request("PUT", IMPORT_PATH, bodies[number % len(bodies)], {"Content-Type": "application/json"})
            connection.getresponse().read()
    connection.close()


def _bare_inserts(clock: Clock, batches: list[EarnedBadges], file: Path) -> None:
    """The rows alone, 500 a statement, as often committed as the ledger's: no lease, no batch, no ids."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(_TABLE)
        for start in range(0, len(batches), TOGETHER):
            some = [(number, rows) for number, rows in enumerate(batches[start : start + TOGETHER], start=start)]
            with clock.step(BARE_INSERT):
                connection.execute("BEGIN IMMEDIATE")
                for number, rows in some:
                    for values in _statements(number, rows):
                        connection.execute(
                            f"INSERT INTO row VALUES {', '.join(['(?,?,?,?,?)'] * (len(values) // 5))}", values
                        )
                connection.execute("COMMIT")


def _statements(number: int, rows: EarnedBadges) -> Iterator[list[int]]:
    badges = [int(name[-8:], 16) for name in rows.badge_meta_ids]
    every = list(chain.from_iterable(zip(rows.customer_ids, badges, rows.earned_at, repeat(1), repeat(number))))
    yield from (every[start : start + 2_500] for start in range(0, len(every), 2_500))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
