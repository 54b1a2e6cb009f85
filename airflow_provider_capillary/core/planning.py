"""Decides what to do with a row, given what the ledger already holds of its identity. Pure, one table."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from airflow_provider_capillary.core.row_state import RowState

#: States in which the ledger accounts for a row of the job itself, whatever became of other rows since.
_ACCOUNTED_FOR = frozenset({RowState.ACCEPTED, RowState.REJECTED, RowState.INTENT, RowState.UNKNOWN})


class Plan(Enum):
    """What to do with a row."""

    SEND = "send"
    ACCEPTED = "accepted by an earlier try of this job"
    REJECTED = (
        "rejected by an earlier try of this job (same DAG, run id, task and max_tries), not sent again: clear the "
        "task, or use another run id"
    )
    SETTLE = "sent before, and no proof either way"
    ALREADY_ACCEPTED = "accepted by an earlier job"
    REVOKED = "revoked, not sent"
    DUPLICATE = "the same row stands earlier in this dataset"
    BUSY = "another job has this badge of this customer, and has not settled it"


class Held(msgspec.Struct, frozen=True, gc=False):
    """What the ledger holds of one identity."""

    job: int
    row_number: int | None  #: always there for a row of the job that asks
    state: RowState
    earned_at: int
    occurrence: int
    attempt: int  #: how many requests with it may have left, the one of its intent included
    batch: int
    job_is_alive: bool = False  #: whether another job has it, and its lease is held; only for unsettled rows
    doubt: str | None = None  #: why it may be granted twice; set when it was freed to be sent again without proof

    @property
    def is_set_aside(self) -> bool:
        """Whether it was revoked and its identity freed. Such rows have occurrences below 1, all others above 0."""
        return self.occurrence < 1


def plan_row(held: Held | None, *, job: int, row_number: int) -> Plan:
    """Decide on one row of ``job``. A revoked row was revoked on purpose, so no import grants it again."""
    if held is None:
        return Plan.SEND
    if held.state is RowState.REVOKED:
        return Plan.REVOKED
    if held.job == job:
        return _plan_own(held, row_number)
    if held.state is RowState.ACCEPTED:
        return Plan.ALREADY_ACCEPTED
    if held.job_is_alive and held.state is not RowState.REJECTED:
        return Plan.BUSY
    if held.state in (RowState.INTENT, RowState.UNKNOWN):
        return Plan.SETTLE
    return Plan.SEND


def _plan_own(held: Held, row_number: int) -> Plan:
    if held.row_number != row_number:
        return Plan.DUPLICATE
    return {
        RowState.PLANNED: Plan.SEND,
        RowState.ACCEPTED: Plan.ACCEPTED,
        RowState.REJECTED: Plan.REJECTED,
        RowState.INTENT: Plan.SETTLE,
        RowState.UNKNOWN: Plan.SETTLE,
    }[held.state]


def plan_once(held_of_badge: list[Held], *, job: int, row_number: int, earned_at: int) -> Plan:
    """Decide on one row if a customer may hold a badge only once, whatever the earn date (``once_per_customer``)."""
    own = [held for held in held_of_badge if held.earned_at == earned_at and held.occurrence == 1]
    if own and own[0].job == job and own[0].row_number == row_number and own[0].state in _ACCOUNTED_FOR:
        return _plan_own(own[0], row_number)
    others = [held for held in held_of_badge if held not in own]
    if any(held.state is RowState.ACCEPTED and held.job != job for held in others):
        return Plan.ALREADY_ACCEPTED
    if any(_kept_out(held) for held in others):
        return Plan.REVOKED
    if any(held.job == job and _goes_before(held, row_number) for held in others):
        return Plan.DUPLICATE
    if any(held.state in (RowState.INTENT, RowState.UNKNOWN) or _is_to_be_sent(held) for held in others):
        return Plan.BUSY
    return plan_row(own[0] if own else None, job=job, row_number=row_number)


def doubt_of(held_of_badge: Iterable[Held], *, earned_at: int, occurrence: int, once: bool) -> str | None:
    """Why a row may be granted twice if it is sent: it, or the row before it in its place, was freed without proof.

    :param earned_at: epoch seconds.
    :param once: a customer may hold the badge only once, whatever the earn date.
    """
    for held in held_of_badge:
        in_its_place = held.earned_at == earned_at and (held.occurrence == occurrence or held.is_set_aside)
        if held.doubt and (once or in_its_place):
            return held.doubt
    return None


def _goes_before(held: Held, row_number: int) -> bool:
    """Whether another row of the job counts instead of this one. Of two that wait to be sent, the earlier counts."""
    if held.is_set_aside or held.row_number == row_number or held.row_number is None:
        return False
    return held.state is not RowState.PLANNED or held.row_number < row_number


def _kept_out(held: Held) -> bool:
    return held.state is RowState.REVOKED and not held.is_set_aside


def _is_to_be_sent(held: Held) -> bool:
    return held.job_is_alive and held.state is RowState.PLANNED
