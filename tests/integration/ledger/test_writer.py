"""The ledger's own thread: callers are committed together, and each hears of what is its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import JobIsRunningError, LeaseLostError, LedgerUnavailableError
from airflow_provider_capillary.ledger.facts import IntentConflictError, Issues, Job, Note
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.writer import LedgerWriter

from .backends import Backend, SqliteBackend
from .building import badge, begin, bring_to, claim, intent, issue, outcome, state

GIVE_UP_SECONDS = 60
NEVER = 10_000.0


class GatedLedger(Ledger):
    """Holds the thread at its first question until all callers have said what they want."""

    def __init__(self, url: str, **arguments: Any) -> None:
        super().__init__(url, **arguments)
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.renewed = threading.Semaphore(0)
        self.commits: list[int] = []

    def now(self) -> float:
        self.reached.set()
        assert self.gate.wait(GIVE_UP_SECONDS)
        return super().now()

    def record(self, job: Job, notes: Sequence[Note]) -> list[int]:
        self.commits.append(len(notes))
        return super().record(job, notes)

    def renew_lease(self, job: Job) -> None:
        super().renew_lease(job)
        self.renewed.release()


@pytest.fixture
def gated(backend: Backend) -> Iterator[GatedLedger]:
    arguments = {"clock": lambda: backend._now} if isinstance(backend, SqliteBackend) else {}
    with closing(GatedLedger(backend.url, **arguments)) as ledger:
        yield ledger


@pytest.fixture
def job(gated: GatedLedger) -> Job:
    return begin(gated)


Futures = list[Future[list[int]]]
Together = Callable[..., Futures]


@pytest.fixture
def together(gated: GatedLedger, job: Job) -> Iterator[Together]:
    """Several callers of one thread, who all spoke before it could answer the first."""
    with (
        closing(LedgerWriter(gated, job, heartbeat_seconds=NEVER)) as book,
        ThreadPoolExecutor(20) as pool,
    ):

        def call(*callers: Sequence[Note]) -> Futures:
            gated.gate.clear()
            gated.reached.clear()
            gated.commits.clear()
            first = pool.submit(book.now)
            assert gated.reached.wait(GIVE_UP_SECONDS)
            reported = []
            for number, notes in enumerate(callers, start=1):
                reported.append(pool.submit(book.record, *notes))
                while book._waiting.qsize() < number:  # until the caller has put its notes down
                    pass
            gated.gate.set()
            first.result(GIVE_UP_SECONDS)
            return reported

        yield call


def test_notes_that_arrive_together_commit_together(together: Together, gated: GatedLedger, job: Job) -> None:
    reported = together(
        [intent(badge(1)), Issues([issue(9)]), intent(badge(2))], [Issues([issue(8)])], [intent(badge(3))]
    )
    first, second, third = (one.result(GIVE_UP_SECONDS) for one in reported)
    assert gated.commits == [5]
    assert (len(first), second, len(third)) == (2, [], 1)
    found = gated.find(job, [badge(row) for row in (1, 2, 3)])
    batches = {held.row_number: held.batch for rows in found.values() for held in rows}
    assert batches == {1: first[0], 2: first[1], 3: third[0]}


def test_one_callers_conflict_is_not_the_others(together: Together, gated: GatedLedger, job: Job) -> None:
    claim(gated, begin(gated, "another run"), badge(2))
    reported = together([intent(badge(1))], [intent(badge(4), badge(2))], [Issues([issue(8)])], [intent(badge(3))])
    with pytest.raises(IntentConflictError):
        reported[1].result(GIVE_UP_SECONDS)
    for number in (0, 2, 3):
        reported[number].result(GIVE_UP_SECONDS)
    assert [state(gated, job, badge(row)) for row in (1, 3, 4)] == [RowState.INTENT, RowState.INTENT, None]
    assert len(list(gated.issues(job.job_id))) == 1


def test_two_callers_with_the_same_row_are_parted(together: Together, gated: GatedLedger, job: Job) -> None:
    reported = together([intent(badge(1))], [intent(badge(1), badge(2))])
    reported[0].result(GIVE_UP_SECONDS)
    with pytest.raises(IntentConflictError):
        reported[1].result(GIVE_UP_SECONDS)
    assert gated.counts(job) == {RowState.INTENT: 1}


def test_outcomes_are_recorded_after_a_lost_lease(
    together: Together, gated: GatedLedger, job: Job, backend: Backend
) -> None:
    batches = [claim(gated, job, badge(row)) for row in (1, 2)]
    backend.pass_time(LEASE_SECONDS + 20)
    thief = begin(gated)
    reported = together(
        [outcome(batches[0], RowState.ACCEPTED, badge(1))],
        [intent(badge(3))],
        [outcome(batches[1], RowState.ACCEPTED, badge(2))],
    )
    with pytest.raises(LeaseLostError):
        reported[1].result(GIVE_UP_SECONDS)
    for number in (0, 2):
        assert reported[number].result(GIVE_UP_SECONDS) == []
    assert gated.counts(thief) == {RowState.ACCEPTED: 2}


def test_every_caller_gets_the_database_error(
    together: Together, gated: GatedLedger, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> list[int]:
        raise LedgerUnavailableError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(gated, "record", fail)
        for one in together([intent(badge(1))], [Issues([issue(8)])]):
            with pytest.raises(LedgerUnavailableError, match="gone"):
                one.result(GIVE_UP_SECONDS)
    (again,) = together([intent(badge(1))])
    assert len(again.result(GIVE_UP_SECONDS)) == 1


def test_a_defect_is_heard_of_by_its_caller(gated: GatedLedger, job: Job) -> None:
    with closing(LedgerWriter(gated, job, heartbeat_seconds=NEVER)) as book:
        with pytest.raises(ValueError, match="two rows of one identity"):
            book.record(intent(badge(1), badge(1)))
        with pytest.raises(AttributeError):
            book.find([None])  # type: ignore[list-item]
        assert len(book.record(intent(badge(1)))) == 1


def test_an_unawaited_outcome_commits_with_the_next_intent(gated: GatedLedger, job: Job) -> None:
    counted: list[dict[RowState, int]] = []
    batch = claim(gated, job, badge(1))
    gated.commits.clear()
    with closing(LedgerWriter(gated, job, heartbeat_seconds=NEVER)) as book:
        first = hold(book, gated)
        book.record_later(outcome(batch, RowState.ACCEPTED, badge(1)), lambda: counted.append(dict(gated.counts(job))))
        assert counted == []
        second = threading.Thread(target=book.record, args=(intent(badge(2)),))
        second.start()
        while book._waiting.qsize() < 2:
            pass
        gated.gate.set()
        second.join(GIVE_UP_SECONDS)
        first.join(GIVE_UP_SECONDS)
    assert gated.commits == [2]
    assert counted == [{RowState.ACCEPTED: 1, RowState.INTENT: 1}]


def test_an_unawaited_outcome_commits_alone(gated: GatedLedger, job: Job) -> None:
    counted = threading.Event()
    batch = claim(gated, job, badge(1))
    with closing(LedgerWriter(gated, job, heartbeat_seconds=NEVER)) as book:
        book.record_later(outcome(batch, RowState.ACCEPTED, badge(1)), counted.set)
        assert counted.wait(GIVE_UP_SECONDS)
        assert gated.counts(job) == {RowState.ACCEPTED: 1}


def test_catching_up_waits_for_every_outcome(gated: GatedLedger, job: Job) -> None:
    gated.gate.set()
    counted: list[int] = []
    batches = [claim(gated, job, badge(row)) for row in range(1, 6)]
    with closing(LedgerWriter(gated, job, heartbeat_seconds=NEVER)) as book:
        for row, batch in enumerate(batches, start=1):
            book.record_later(outcome(batch, RowState.ACCEPTED, badge(row)), partial(counted.append, row))
        book.catch_up()
        assert counted == [1, 2, 3, 4, 5]
        assert gated.counts(job) == {RowState.ACCEPTED: 5}


def test_closing_commits_unawaited_outcomes(gated: GatedLedger, job: Job) -> None:
    counted: list[bool] = []
    batch = claim(gated, job, badge(1))
    book = LedgerWriter(gated, job, heartbeat_seconds=NEVER)
    book.record_later(outcome(batch, RowState.ACCEPTED, badge(1)), lambda: counted.append(True))
    book.close()
    assert counted == [True]
    assert gated.counts(job) == {RowState.ACCEPTED: 1}


@pytest.mark.parametrize("trouble", [LedgerUnavailableError("gone"), RuntimeError("defect")])
def test_a_lost_unawaited_outcome_is_reported(
    gated: GatedLedger, job: Job, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    gated.gate.set()
    counted: list[bool] = []
    lost: list[BaseException] = []
    batch = claim(gated, job, badge(1))

    def fail(*_: Any) -> list[int]:
        raise trouble

    with closing(LedgerWriter(gated, job, heartbeat_seconds=NEVER, on_loss=lost.append)) as book:
        with monkeypatch.context() as broken:
            broken.setattr(gated, "record", fail)
            book.record_later(outcome(batch, RowState.ACCEPTED, badge(1)), lambda: counted.append(True))
            book.catch_up()
        assert lost == [trouble]
        assert counted == []
        assert gated.counts(job) == {RowState.INTENT: 1}


def hold(book: LedgerWriter, gated: GatedLedger) -> threading.Thread:
    """Keep the writer at a question until the gate is set."""
    asking = threading.Thread(target=book.now)
    asking.start()
    assert gated.reached.wait(GIVE_UP_SECONDS)
    return asking


def test_questions_are_answered(gated: GatedLedger, job: Job) -> None:
    gated.gate.set()
    bring_to(gated, job, RowState.ACCEPTED, badge(1))
    with closing(LedgerWriter(gated, job, heartbeat_seconds=NEVER)) as book:
        assert book.find([badge(1)]) == gated.find(job, [badge(1)])
        assert book.find([badge(1)], any_date=True) == gated.find(job, [badge(1)], any_date=True)
        assert book.now() == pytest.approx(gated.now(), abs=20)
        waits = [book.reserve_request("acme", 1), gated.reserve_request("acme", 1)]
        assert waits == pytest.approx([0, 60], abs=20)


def test_closing_commits_and_takes_nothing_more(gated: GatedLedger, job: Job) -> None:
    book = LedgerWriter(gated, job, heartbeat_seconds=NEVER)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(book.now)
        assert gated.reached.wait(GIVE_UP_SECONDS)
        reported = pool.submit(book.record, intent(badge(1)))
        while book._waiting.qsize() < 1:
            pass
        closed = pool.submit(book.close)
        while book._waiting.qsize() < 2:
            pass
        gated.gate.set()
        assert len(reported.result(GIVE_UP_SECONDS)) == 1
        first.result(GIVE_UP_SECONDS)
        closed.result(GIVE_UP_SECONDS)
    with pytest.raises(LedgerUnavailableError, match="closed"):
        book.record(intent(badge(2)))
    book.close()  # once more is no trouble
    assert gated.counts(job) == {RowState.INTENT: 1}


class Heart:
    """The clock of the heartbeat."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_an_idle_job_keeps_its_lease(gated: GatedLedger, job: Job, backend: Backend) -> None:
    with closing(LedgerWriter(gated, job, heartbeat_seconds=0.001)):
        backend.pass_time(LEASE_SECONDS + 20)
        while gated.renewed.acquire(blocking=False):
            pass
        for _ in range(2):  # one more may have begun before the time had passed
            assert gated.renewed.acquire(timeout=GIVE_UP_SECONDS)
        with pytest.raises(JobIsRunningError):
            begin(gated)


def test_questions_alone_keep_the_lease(gated: GatedLedger, job: Job) -> None:
    heart = Heart()
    with closing(LedgerWriter(gated, job, heartbeat_seconds=15.0, monotonic=heart)) as book:
        for second in range(1, 61):
            heart.seconds = float(second)
            book.find([badge(1)])
        book.find([badge(1)])
    renewals = 0
    while gated.renewed.acquire(blocking=False):
        renewals += 1
    assert renewals in (3, 4)  # at 15, 30, 45 and, where the thread saw it, 60


@pytest.mark.parametrize("trouble", [LeaseLostError("stolen"), LedgerUnavailableError("gone"), RuntimeError("defect")])
def test_a_failed_heartbeat_leaves_the_thread_running(
    gated: GatedLedger, job: Job, monkeypatch: pytest.MonkeyPatch, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    def fail(_job: Job) -> None:
        failed.set()
        raise trouble

    monkeypatch.setattr(gated, "renew_lease", fail)
    with closing(LedgerWriter(gated, job, heartbeat_seconds=0.001)) as book:
        assert failed.wait(GIVE_UP_SECONDS)
        assert len(book.record(intent(badge(1)))) == 1
    assert f"could not be renewed: {trouble}" in caplog.text
