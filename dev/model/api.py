"""The API in the model: a request is applied or not, its reply arrives or not, reads show what they show.

What a reply proves is asked of the real table, ``core.outcome``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from msgspec.structs import replace

from airflow_provider_capillary.core.outcome import Verdict, judge
from airflow_provider_capillary.core.reply import ApiProblem, Entry, EntryData, Reply, Transmission
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.verification import CustomerBadgeView, Sighting

from .printing import API, Move
from .rules import World
from .state import ROWS, Body, State, Worker


class Sent(NamedTuple):
    """One way in which a request can go."""

    move: Move
    state: State
    proven: RowState | None  #: what the sender makes of the reply
    lives: bool = True  #: whether the sender is still there


def sending(state: State, worker: Worker, slot: int) -> Iterator[Sent]:
    """All ways in which one request can go from the moment when its body is asked for."""
    row, left = worker.row, state.left
    leaves = "sends row {row}; "
    for applied, how in _applied(state, row, worker.job):
        yield Sent(Move(slot, leaves + how + ", and the reply arrives", row), applied, proven_by("grant", row))
    if left.failed_connects:
        unsent = replace(state, left=replace(left, failed_connects=left.failed_connects - 1))
        yield Sent(Move(slot, "cannot connect, row {row} is not sent", row), unsent, proven_by("no connection", row))
    if left.refusals:
        refused = replace(state, left=replace(left, refusals=left.refusals - 1))
        yield Sent(Move(slot, leaves + "the API refuses it, and the reply arrives", row), refused, proven_by("no", row))
    if left.lost_replies:
        lossy = replace(state, left=replace(left, lost_replies=left.lost_replies - 1))
        for applied, how in _applied(lossy, row, worker.job):
            yield Sent(Move(slot, leaves + how + ", and the reply is lost", row), applied, proven_by("lost", row))
        yield Sent(Move(slot, leaves + "no reply comes", row), _on_the_wire(lossy, worker), proven_by("lost", row))
    if left.crashes and left.late_commits:
        dead = replace(state, left=replace(left, crashes=left.crashes - 1))
        yield Sent(Move(slot, leaves + "is killed at once", row), _on_the_wire(dead, worker), None, lives=False)


def late_commits(state: State) -> Iterator[tuple[Move, State]]:
    """A body is applied after its sender gave up or died."""
    if not state.left.late_commits:
        return
    left = replace(state.left, late_commits=state.left.late_commits - 1)
    for body in dict.fromkeys(state.wire):
        at = state.wire.index(body)
        # A body that cannot be applied any more is left out: nothing can see it.
        others = state.wire[:at] + state.wire[at + 1 :] if left.late_commits else ()
        for applied, how in _applied(replace(state, wire=others, left=left), body.row, body.job):
            yield Move(API, f"row {{row}}: the body that was on its way since it was sent, {how}", body.row), applied


def view(world: World, state: State, row: int) -> CustomerBadgeView:
    """What a read of the row's customer and badge shows."""
    customer = ROWS[row].customer_id
    earned = tuple(
        ROWS[other].earned_at
        for other, grants in enumerate(state.grants)
        if ROWS[other].customer_id == customer and other not in state.hidden
        for _ in grants
    )
    return _shown(world, earned)


@cache
def proven_by(kind: str, row: int) -> RowState:
    """What the import makes of a reply to one row, by the real table of outcomes."""
    badge = ROWS[row]
    echo = EntryData(badge.badge_meta_id, badge.customer_id, "id", badge.expires_at, None, "x_1")
    replies = {
        "grant": Reply(Transmission.REPLIED, 200, [Entry(echo)]),
        "no": Reply(Transmission.REPLIED, 200, [Entry(None, [ApiProblem(1, "refused")])]),
        "lost": Reply(Transmission.LOST),
        "no connection": Reply(Transmission.NOT_WRITTEN),
    }
    judgement = judge([badge], replies[kind])
    return RowState.PLANNED if judgement.verdict is Verdict.RETRY_LATER else judgement.rows[0].state


def _applied(state: State, row: int, job: int) -> Iterator[tuple[State, str]]:
    grants = tuple(sorted((*state.grants[row], job)))
    applied = replace(state, grants=(*state.grants[:row], grants, *state.grants[row + 1 :]))
    yield applied, "it is applied"
    left = applied.left
    if left.delayed_reads and row not in state.hidden:
        hidden = tuple(sorted((*state.hidden, row)))
        left = replace(left, delayed_reads=left.delayed_reads - 1)
        yield replace(applied, hidden=hidden, left=left), "it is applied but not shown yet"


def _on_the_wire(state: State, worker: Worker) -> State:
    if not state.left.late_commits:
        return state
    return replace(state, wire=tuple(sorted((*state.wire, Body(worker.row, worker.job)))))


@cache
def _shown(world: World, earned: tuple[int, ...]) -> CustomerBadgeView:
    if not world.shows_imports or not earned:
        return CustomerBadgeView(0, None)
    shown = [instant - instant % world.cuts_to for instant in earned]
    sightings = tuple(Sighting(None, instant) for instant in shown) if world.lists_earns else ()
    return CustomerBadgeView(len(shown), max(shown), sightings)
