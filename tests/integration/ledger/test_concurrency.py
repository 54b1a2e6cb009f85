"""Several jobs at once: of two that want the same, one gets it and the other is refused; none waits in a circle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import CapillaryError, JobIsRunningError
from airflow_provider_capillary.ledger.facts import Adoption, IntentConflictError, Issues, Job, Note
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS
from airflow_provider_capillary.ledger.ledger import Ledger

from .backends import Backend, PostgresBackend
from .building import EARNED, badge, begin, bring_to, claim, held, intent, issue, outcome, state

DAY = 86_400
GIVE_UP_SECONDS = 60


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Begin the calls together; each one's result, or the package's error that it raised."""
    line = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        line.wait(GIVE_UP_SECONDS)
        try:
            return call()
        except CapillaryError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def at_work(backend: Backend, number: int) -> tuple[list[Ledger], list[Job]]:
    """So many jobs, each with the ledger open for itself."""
    ledgers = [backend.open() for _ in range(number)]
    return ledgers, [begin(ledger, f"run {one}") for one, ledger in enumerate(ledgers)]


def test_one_of_competing_jobs_claims_the_rows(backend: Backend) -> None:
    ledgers, jobs = at_work(backend, 4)
    for turn in range(5):
        contested = badge(1_000 + turn)

        def notes(number: int, turn: int = turn, contested: Any = contested) -> Any:
            own = badge(10 * turn + number + 1)
            return [Issues([issue(turn + 1)]), intent(own), intent(badge(500 + 10 * turn + number), contested)]

        results = at_once(
            [
                lambda number=number: ledgers[number].record(jobs[number], notes(number))  # type: ignore[misc]
                for number in range(4)
            ]
        )
        (winner,) = (number for number, result in enumerate(results) if isinstance(result, list))
        assert [type(result) for result in results].count(IntentConflictError) == 3
        found = held(ledgers[0], jobs[0], contested)
        assert found is not None
        assert found.job == jobs[winner].key
        for number, (ledger, job) in enumerate(zip(ledgers, jobs, strict=True)):
            kept = RowState.INTENT if number == winner else None
            assert state(ledger, job, badge(10 * turn + number + 1)) is kept
            assert any(one.row_number == turn + 1 for one in ledger.issues(job.job_id)) is (number == winner)


def test_opposite_claims_do_not_deadlock(backend: Backend) -> None:
    ledgers, jobs = at_work(backend, 2)
    troubles: list[Any] = []
    for ledger in ledgers:
        sa.event.listen(
            ledger.database.engine,
            "handle_error",
            lambda context: troubles.append(getattr(context.original_exception, "sqlstate", None)),
        )
    for turn in range(3):
        rows = [badge(1_000 * turn + row) for row in range(1, 1_001)]
        results = at_once(
            [
                lambda: ledgers[0].record(jobs[0], [intent(*rows[:500]), intent(*rows[500:])]),  # noqa: B023
                lambda: ledgers[1].record(jobs[1], [intent(*rows[:499:-1]), intent(*rows[499::-1])]),  # noqa: B023
            ]
        )
        assert sorted(type(result).__name__ for result in results) == ["IntentConflictError", "list"]
    assert "40P01" not in troubles  # a deadlock


def test_opposite_new_badges_do_not_deadlock(backend: Backend) -> None:
    ledgers, jobs = at_work(backend, 2)
    names = [f"{number:024x}" for number in range(40)]
    added: list[list[str]] = [[], []]

    def listen(number: int) -> Callable[..., None]:
        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("INSERT INTO capillary_badge"):
                added[number].append(parameters["name"] if isinstance(parameters, dict) else parameters[1])

        return note

    def notes(number: int) -> list[Any]:
        own = names if number == 0 else names[::-1]
        return [intent(badge(1 + i + 100 * number, name=name)) for i, name in enumerate(own)]

    for number, ledger in enumerate(ledgers):
        sa.event.listen(ledger.database.engine, "after_cursor_execute", listen(number))
    results = at_once([lambda: ledgers[0].record(jobs[0], notes(0)), lambda: ledgers[1].record(jobs[1], notes(1))])
    assert [len(result) for result in results] == [40, 40]
    assert added == [names, names]  # in one order, so that neither waits for what the other added before
    with backend.look() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM capillary_badge")) == 40


def test_deadlocked_jobs_are_separated_and_continue(
    postgres_backend: PostgresBackend,
) -> None:
    """Each gives up a row of its own and adopts the other's: a deadlock that PostgreSQL ends by refusing one."""
    ledgers, jobs = at_work(postgres_backend, 2)
    batches = [claim(ledgers[number], jobs[number], badge(number + 1)) for number in range(2)]
    both_settled = threading.Barrier(2)
    troubles: list[Any] = []
    for ledger in ledgers:
        sa.event.listen(ledger.database.engine, "after_cursor_execute", once_after_an_update(both_settled.wait))
        sa.event.listen(ledger.database.engine, "handle_error", troubles.append)

    def cross(number: int) -> Any:
        mine, other = badge(number + 1), badge(2 - number)
        found = held(ledgers[number], jobs[number], other)
        assert found is not None
        notes: list[Note] = [
            outcome(batches[number], RowState.UNKNOWN, mine),
            Adoption([(other, found)]),
            intent(badge(10 + number, name=f"{number:024x}")),
        ]
        return ledgers[number].record(jobs[number], notes)

    results = at_once([lambda: cross(0), lambda: cross(1)])
    assert [len(result) for result in results] == [1, 1]
    assert troubles  # where the machine is busy, the one that was refused may meet the other a second time
    fresh = postgres_backend.open()  # knows no badge's number from before
    for number, job in enumerate(jobs):
        assert fresh.counts(job) == {RowState.UNKNOWN: 1, RowState.INTENT: 1}
        assert state(fresh, job, badge(10 + number, name=f"{number:024x}")) is RowState.INTENT


def once_after_an_update(wait: Callable[[float], Any]) -> Callable[..., None]:
    """Waits when the first batch has changed its state, and not again when the transaction is done anew."""
    waited = threading.Event()

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith("UPDATE capillary_batch") and not waited.is_set():
            waited.set()
            wait(GIVE_UP_SECONDS)

    return listen


def test_one_of_two_thieves_gets_the_job(backend: Backend) -> None:
    first = backend.open()
    job = begin(first)
    for fence in (2, 3, 4):
        backend.pass_time(LEASE_SECONDS + 20)
        thieves = [backend.open() for _ in range(3)]
        results = at_once([lambda thief=thief: begin(thief) for thief in thieves])  # type: ignore[misc]
        (winner,) = (result for result in results if not isinstance(result, CapillaryError))
        assert (winner.job_id, winner.fence) == (job.job_id, fence)
        assert [type(result) for result in results].count(JobIsRunningError) == 2


def test_one_of_two_beginners_gets_the_job(backend: Backend) -> None:
    ledgers = [backend.open() for _ in range(3)]
    for turn in range(5):
        results = at_once([lambda ledger=ledger: begin(ledger, f"run {turn}") for ledger in ledgers])  # type: ignore[misc]  # noqa: B023
        assert sorted(type(result).__name__ for result in results) == ["Job", "JobIsRunningError", "JobIsRunningError"]


def test_a_renewed_lease_is_not_stolen(postgres_backend: PostgresBackend) -> None:
    owner, thief = postgres_backend.open(), postgres_backend.open()
    job = begin(owner)
    postgres_backend.pass_time(LEASE_SECONDS + 20)

    def renew(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "lease_until, state" in statement:
            owner.renew_lease(job)

    sa.event.listen(thief.database.engine, "after_cursor_execute", renew)
    with pytest.raises(JobIsRunningError):
        begin(thief)
    owner.renew_lease(job)


def test_a_steal_and_a_renewal_leave_one_owner(backend: Backend) -> None:
    ledgers = [backend.open() for _ in range(2)]
    for turn in range(5):
        job = begin(ledgers[0], f"run {turn}")
        backend.pass_time(LEASE_SECONDS + 20)
        noted, thief = at_once(
            [
                lambda: claim(ledgers[0], job, badge(turn + 1)),  # noqa: B023
                lambda: begin(ledgers[1], f"run {turn}"),  # noqa: B023
            ]
        )
        if isinstance(thief, CapillaryError):
            assert isinstance(noted, int)
            assert state(ledgers[0], job, badge(turn + 1)) is RowState.INTENT
        else:  # the intent came before, and is the thief's to settle; or it came too late
            expected = RowState.UNKNOWN if isinstance(noted, int) else None
            assert state(ledgers[1], thief, badge(turn + 1)) is expected


def test_one_of_two_jobs_adopts_the_rows(backend: Backend) -> None:
    ledgers: list[Ledger] = [backend.open() for _ in range(2)]
    dead = begin(ledgers[0], "dead")
    heirs = [begin(ledger, f"heir {number}") for number, ledger in enumerate(ledgers)]
    rows = [badge(row) for row in range(1, 11)]
    bring_to(ledgers[0], dead, RowState.UNKNOWN, *rows)
    pairs = [(row, one) for row in rows if (one := held(ledgers[0], heirs[0], row))]
    results = at_once(
        [
            lambda: ledgers[0].record(heirs[0], [Adoption(pairs)]),
            lambda: ledgers[1].record(heirs[1], [Adoption(pairs[::-1])]),
        ]
    )
    assert sorted(type(result).__name__ for result in results) == ["IntentConflictError", "list"]
    assert sorted(len(ledgers[0].counts(heir)) for heir in heirs) == [0, 1]


def test_once_per_customer_holds_for_parallel_dates(backend: Backend) -> None:
    ledgers, jobs = at_work(backend, 3)
    for customer in range(1, 11):
        results = at_once(
            [
                lambda number=number: claim(  # type: ignore[misc]
                    ledgers[number],
                    jobs[number],
                    badge(customer, customer=customer, earned=EARNED + number * DAY),  # noqa: B023
                    once=True,
                )
                for number in range(3)
            ]
        )
        assert sorted(type(result).__name__ for result in results) == ["IntentConflictError"] * 2 + ["int"]
        found = ledgers[0].find(jobs[0], [badge(customer, customer=customer)], any_date=True)
        assert [len(rows) for rows in found.values()] == [1]


def test_parallel_requests_get_different_turns(backend: Backend) -> None:
    ledgers = [backend.open() for _ in range(4)]
    waits = at_once([lambda ledger=ledger: ledger.reserve_request("acme", 1) for ledger in ledgers])  # type: ignore[misc]
    assert sorted(waits) == pytest.approx([0, 60, 120, 180], abs=20)


def test_a_copy_waits_for_an_open_claim_then_fails(postgres_backend: PostgresBackend) -> None:
    ledgers, jobs = at_work(postgres_backend, 2)
    claim(ledgers[0], jobs[0], badge(1))
    contested = badge(2)
    unseen = msgspec.structs.replace(intent(badge(3), contested), unseen=True)
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO capillary_%'"
    )
    open_claim = """
        INSERT INTO capillary_earned_badge (customer_id, earned_at, batch_id, badge_id, occurrence)
        SELECT :customer, earned_at, batch_id, badge_id, occurrence FROM capillary_earned_badge
    """
    with ThreadPoolExecutor(1) as pool, postgres_backend.look() as other, postgres_backend.look() as observer:
        other.execute(sa.text("BEGIN"))
        other.execute(sa.text(open_claim), {"customer": contested.customer_id})
        recorded = pool.submit(ledgers[1].record, jobs[1], [unseen])
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while not observer.scalar(sa.text(waits)) and not recorded.done() and time.monotonic() < give_up:
            pass
        assert not recorded.done()
        other.execute(sa.text("COMMIT"))
        with pytest.raises(IntentConflictError):
            recorded.result(GIVE_UP_SECONDS)
    assert state(ledgers[1], jobs[1], badge(3)) is None
    assert ledgers[1].counts(jobs[1]) == {}
