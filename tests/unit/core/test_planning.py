"""What to do with a row, for everything that the ledger may hold of its identity."""

from __future__ import annotations

from itertools import product

import pytest

from airflow_provider_capillary.core.planning import Held, Plan, plan_once, plan_row
from airflow_provider_capillary.core.row_state import RowState

OURS, OTHERS = 1, 2
ROW = 5
DATE, ANOTHER_DATE = 1_700_000_000, 1_710_000_000
PLANNED, INTENT, ACCEPTED, REJECTED, UNKNOWN = (
    RowState.PLANNED,
    RowState.INTENT,
    RowState.ACCEPTED,
    RowState.REJECTED,
    RowState.UNKNOWN,
)
IN_LEDGER = (PLANNED, INTENT, ACCEPTED, REJECTED, UNKNOWN)


def held(
    state: RowState,
    *,
    job: int = OTHERS,
    row_number: int = ROW,
    earned_at: int = DATE,
    occurrence: int = 1,
    alive: bool = False,
) -> Held:
    return Held(job, row_number, state, earned_at, occurrence, attempt=1, batch=1, job_is_alive=alive)


def once(*of_badge: Held) -> Plan:
    return plan_once(list(of_badge), job=OURS, row_number=ROW, earned_at=DATE)


def test_an_unknown_row_is_sent() -> None:
    assert plan_row(None, job=OURS, row_number=ROW) is Plan.SEND


@pytest.mark.parametrize(
    ("state", "plan"),
    [
        (PLANNED, Plan.SEND),
        (INTENT, Plan.SETTLE),
        (UNKNOWN, Plan.SETTLE),
        (ACCEPTED, Plan.ACCEPTED),
        (REJECTED, Plan.REJECTED),
    ],
)
def test_a_retry_resumes_each_row(state: RowState, plan: Plan) -> None:
    assert plan_row(held(state, job=OURS), job=OURS, row_number=ROW) is plan


@pytest.mark.parametrize("state", IN_LEDGER)
def test_a_repeat_in_the_dataset_is_not_sent(state: RowState) -> None:
    assert plan_row(held(state, job=OURS, row_number=ROW - 1), job=OURS, row_number=ROW) is Plan.DUPLICATE


OTHER_JOBS = {
    (PLANNED, False): Plan.SEND,
    (PLANNED, True): Plan.BUSY,
    (INTENT, False): Plan.SETTLE,
    (INTENT, True): Plan.BUSY,
    (UNKNOWN, False): Plan.SETTLE,
    (UNKNOWN, True): Plan.BUSY,
    (ACCEPTED, False): Plan.ALREADY_ACCEPTED,
    (ACCEPTED, True): Plan.ALREADY_ACCEPTED,
    (REJECTED, False): Plan.SEND,
    (REJECTED, True): Plan.SEND,
}


@pytest.mark.parametrize("row_number", [ROW, ROW + 1], ids=["same row number", "another row number"])
@pytest.mark.parametrize(("state", "alive"), OTHER_JOBS, ids=str)
def test_another_jobs_row_is_planned_by_its_state(state: RowState, alive: bool, row_number: int) -> None:
    plan = plan_row(held(state, alive=alive, row_number=row_number), job=OURS, row_number=ROW)
    assert plan is OTHER_JOBS[state, alive]


@pytest.mark.parametrize(
    ("state", "job", "alive", "row_number"), list(product(IN_LEDGER, (OURS, OTHERS), (False, True), (ROW, ROW + 1)))
)
def test_only_proven_absent_rows_are_sent(state: RowState, job: int, alive: bool, row_number: int) -> None:
    plan = plan_row(held(state, job=job, alive=alive, row_number=row_number), job=OURS, row_number=ROW)
    assert plan is not Plan.SEND or state in (PLANNED, REJECTED)


@pytest.mark.parametrize(("state", "job", "alive"), list(product(IN_LEDGER, (OURS, OTHERS), (False, True))))
def test_once_per_customer_is_harmless_for_the_same_date(state: RowState, job: int, alive: bool) -> None:
    found = held(state, job=job, alive=alive)
    assert once(found) is plan_row(found, job=OURS, row_number=ROW)


def test_once_per_customer_sends_unknown_rows() -> None:
    assert once() is Plan.SEND


@pytest.mark.parametrize(
    ("of_another_date", "plan"),
    [
        pytest.param(held(ACCEPTED, earned_at=ANOTHER_DATE), Plan.ALREADY_ACCEPTED, id="accepted by another job"),
        pytest.param(
            held(ACCEPTED, earned_at=ANOTHER_DATE, alive=True), Plan.ALREADY_ACCEPTED, id="accepted by a living job"
        ),
        pytest.param(held(REJECTED, earned_at=ANOTHER_DATE), Plan.SEND, id="rejected by another job"),
        pytest.param(held(PLANNED, earned_at=ANOTHER_DATE), Plan.SEND, id="left by a dead job, not applied"),
        pytest.param(
            held(PLANNED, earned_at=ANOTHER_DATE, alive=True), Plan.BUSY, id="about to be sent by a living job"
        ),
        pytest.param(held(INTENT, earned_at=ANOTHER_DATE), Plan.BUSY, id="intent of a dead job"),
        pytest.param(held(INTENT, earned_at=ANOTHER_DATE, alive=True), Plan.BUSY, id="intent of a living job"),
        pytest.param(held(UNKNOWN, earned_at=ANOTHER_DATE), Plan.BUSY, id="unknown"),
        *(
            pytest.param(
                held(state, job=OURS, row_number=ROW - 1, earned_at=ANOTHER_DATE),
                Plan.DUPLICATE,
                id=f"{state}, earlier row",
            )
            for state in IN_LEDGER
        ),
    ],
)
def test_once_per_customer_counts_other_dates(of_another_date: Held, plan: Plan) -> None:
    assert once(of_another_date) is plan


@pytest.mark.parametrize("own", [PLANNED, REJECTED])
@pytest.mark.parametrize("other", [ACCEPTED, INTENT, UNKNOWN])
def test_once_per_customer_another_date_stops_a_row(own: RowState, other: RowState) -> None:
    here, elsewhere = held(own), held(other, earned_at=ANOTHER_DATE)
    assert once(here, elsewhere) is once(elsewhere, here)
    assert once(here, elsewhere) in (Plan.ALREADY_ACCEPTED, Plan.BUSY)


def test_once_per_customer_an_accepted_row_stays() -> None:
    assert once(held(ACCEPTED, job=OURS), held(REJECTED, earned_at=ANOTHER_DATE)) is Plan.ACCEPTED


@pytest.mark.parametrize("second", [ACCEPTED, INTENT, UNKNOWN])
@pytest.mark.parametrize("swapped", [False, True], ids=["in order", "swapped"])
def test_once_per_customer_counts_every_occurrence(second: RowState, swapped: bool) -> None:
    """An earlier job with ``on_duplicate=allow`` may have left a rejected row and another one behind it."""
    pair = [held(REJECTED, occurrence=1), held(second, occurrence=2, row_number=ROW + 1)]
    assert once(*(pair[::-1] if swapped else pair)) is not Plan.SEND


@pytest.mark.parametrize("alive", [False, True])
@pytest.mark.parametrize("row_number", [ROW, ROW + 1])
@pytest.mark.parametrize("job", [OURS, OTHERS])
def test_what_was_revoked_is_never_sent_again(job: int, row_number: int, alive: bool) -> None:
    found = held(RowState.REVOKED, job=job, row_number=row_number, alive=alive)
    assert plan_row(found, job=OURS, row_number=ROW) is Plan.REVOKED
    assert once(found) is Plan.REVOKED


@pytest.mark.parametrize("job", [OURS, OTHERS])
@pytest.mark.parametrize("own", [None, PLANNED, REJECTED])
def test_once_per_customer_a_revoked_badge_is_not_regranted(own: RowState | None, job: int) -> None:
    revoked = held(RowState.REVOKED, job=job, earned_at=ANOTHER_DATE)
    assert once(revoked, *([held(own)] if own else [])) is Plan.REVOKED


def test_once_per_customer_held_comes_before_revoked() -> None:
    revoked = held(RowState.REVOKED, earned_at=ANOTHER_DATE)
    assert once(revoked, held(ACCEPTED, earned_at=ANOTHER_DATE, occurrence=2)) is Plan.ALREADY_ACCEPTED


@pytest.mark.parametrize("row_number", [ROW, ROW + 1])
@pytest.mark.parametrize("job", [OURS, OTHERS])
def test_what_was_revoked_and_freed_blocks_nothing(job: int, row_number: int) -> None:
    aside = held(RowState.REVOKED, job=job, row_number=row_number, occurrence=-1)
    elsewhere = held(RowState.REVOKED, job=job, row_number=row_number, occurrence=-2, earned_at=ANOTHER_DATE)
    assert once(aside, elsewhere) is Plan.SEND
    assert once(aside, held(ACCEPTED, earned_at=ANOTHER_DATE)) is Plan.ALREADY_ACCEPTED


@pytest.mark.parametrize("own", [ACCEPTED, REJECTED, INTENT, UNKNOWN])
@pytest.mark.parametrize("other", IN_LEDGER)
@pytest.mark.parametrize("job", [OURS, OTHERS])
def test_once_per_customer_own_rows_end_as_held(own: RowState, other: RowState, job: int) -> None:
    """Whatever became of another date since: the job's counts are compared with its rows in the ledger."""
    here, elsewhere = held(own, job=OURS), held(other, job=job, row_number=ROW + 1, earned_at=ANOTHER_DATE)
    assert once(elsewhere, here) is plan_row(here, job=OURS, row_number=ROW)


@pytest.mark.parametrize("row_number", [ROW - 1, ROW + 1])
def test_once_per_customer_the_earlier_waiting_row_is_sent(row_number: int) -> None:
    here, elsewhere = held(PLANNED, job=OURS), held(PLANNED, job=OURS, row_number=row_number, earned_at=ANOTHER_DATE)
    assert once(here, elsewhere) is (Plan.DUPLICATE if row_number < ROW else Plan.SEND)
