"""Random faults for a campaign: every kind that the simulator knows, within what the design can promise.

Left out on purpose, because no sender can survive them: a commit later than ``verify_after`` and a proxy that
sends a request twice. Also left out: an expiry echoed in milliseconds, which ends every job by design.
What the table of outcomes calls "not applied" (429, 4xx, ...) is never applied here either.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from airflow_provider_capillary.simulator.fault_plan import (
    AnyFault,
    ArrayFault,
    DropFault,
    EchoFault,
    ErrorsShapeFault,
    FaultPlan,
    HangFault,
    InterimFault,
    RowErrorFault,
    SlowFault,
    StatusFault,
    StrayFault,
    SuccessStatusFault,
    TruncatedFault,
    When,
)

CLIENT_TIMEOUT = 0.6  #: seconds
LATEST_COMMIT = 0.25  #: seconds after the call: well within ``verify_after``, on a busy machine too
_AMBIGUOUS = (500, 502, 503, 504, 520, 521, 522, 523, 524)
_WHENS: tuple[When, ...] = ("before", "after", "late")
_BODIES: tuple[Literal["envelope", "html", "empty"], ...] = ("envelope", "html", "empty")
_RETRY_FORMS: tuple[Literal["seconds", "date"], ...] = ("seconds", "date")
_CUTS: tuple[Literal["before_reading", "after_reading", "after_applying", "mid_reply", "late"], ...] = (
    "before_reading", "after_reading", "after_applying", "mid_reply", "late",
)  # fmt: skip
_FIELDS: tuple[Literal["badge", "customer", "expiry"], ...] = ("badge", "customer", "expiry")
_SHAPES: tuple[Literal["null", "object", "array"], ...] = ("null", "object", "array")
_ARRAYS: tuple[Literal["short", "long", "reordered", "renumbered", "duplicated", "misnumbered"], ...] = (
    "short", "long", "reordered", "renumbered", "duplicated", "misnumbered",
)  # fmt: skip

Make = Callable[[random.Random, float], AnyFault]


def _late(chance: random.Random) -> float:
    return round(chance.uniform(0.02, LATEST_COMMIT), 3)


def _ambiguous_status(chance: random.Random, share: float) -> AnyFault:
    status, when = chance.choice(_AMBIGUOUS), chance.choice(_WHENS)
    return StatusFault(status=status, when=when, late_by=_late(chance), share=share)


def _success_without_array(chance: random.Random, share: float) -> AnyFault:
    body, when = chance.choice(_BODIES), chance.choice(_WHENS)
    return StatusFault(status=200, code=500, body=body, when=when, late_by=_late(chance), share=share)


def _request_id_reused(chance: random.Random, share: float) -> AnyFault:
    return StatusFault(status=400, code=809, when=chance.choice(_WHENS[:2]), share=share)


def _too_many_requests(chance: random.Random, share: float) -> AnyFault:
    asked, form = chance.choice((None, 0.0, 0.1)), chance.choice(_RETRY_FORMS)
    return StatusFault(status=429, retry_after=asked, retry_after_as=form, share=share)


def _too_large(chance: random.Random, share: float) -> AnyFault:
    if chance.random() < 0.5:
        return StatusFault(status=413, min_rows=20, share=share)
    return StatusFault(status=400, code=1060, min_rows=20, share=share)


def _refused(chance: random.Random, share: float) -> AnyFault:
    return StatusFault(status=chance.choice((401, 403, 404, 405, 409, 415)), share=share / 5)


def _drop(chance: random.Random, share: float) -> AnyFault:
    at = chance.choice(_CUTS)
    return DropFault(at=at, late_by=_late(chance), reset=chance.random() < 0.5, share=share)


def _hang(chance: random.Random, share: float) -> AnyFault:
    when = chance.choice(_WHENS)
    return HangFault(when=when, late_by=_late(chance), seconds=CLIENT_TIMEOUT + 0.3, share=share / 2)


def _slow(chance: random.Random, share: float) -> AnyFault:
    return SlowFault(seconds=chance.choice((0.05, 0.2, CLIENT_TIMEOUT + 0.3)), share=share / 2)


def _array(chance: random.Random, share: float) -> AnyFault:
    return ArrayFault(change=chance.choice(_ARRAYS), share=share)


def _echo(chance: random.Random, share: float) -> AnyFault:
    position = chance.choice((None, 1, chance.randrange(1, 60)))
    return EchoFault(field=chance.choice(_FIELDS), position=position, share=share)


def _errors_shape(chance: random.Random, share: float) -> AnyFault:
    return ErrorsShapeFault(shape=chance.choice(_SHAPES), share=share * 2)


def _passing_refusal(chance: random.Random, share: float) -> AnyFault:
    return RowErrorFault(row_share=chance.choice((0.02, 0.3, 1.0)), share=share * 2)


def _lasting_refusal(chance: random.Random, share: float) -> AnyFault:
    return RowErrorFault(code=1026, message="Customer not found", row_share=0.05, share=share)


def _success_status(chance: random.Random, share: float) -> AnyFault:
    return SuccessStatusFault(status=chance.choice((201, 202, 207)), share=share)


def _truncated(chance: random.Random, share: float) -> AnyFault:
    return TruncatedFault(keep=chance.choice((0.0, 0.5, 0.99)), share=share)


_IMPORT_FAULTS: tuple[Make, ...] = (
    _ambiguous_status, _success_without_array, _request_id_reused, _too_many_requests, _too_large, _refused, _drop,
    _hang, _slow, _array, _echo, _errors_shape, _passing_refusal, _lasting_refusal, _success_status, _truncated,
)  # fmt: skip


def _read_faults(chance: random.Random) -> list[AnyFault]:
    """Reading back fails too: what is read while verifying, the badges, the token."""
    every: list[AnyFault] = [
        StatusFault(operation="customer_badge", status=503, share=0.01),
        StatusFault(operation="customer_badge", status=429, retry_after=0.0, share=0.01),
        DropFault(operation="customer_badge", at="after_reading", share=0.01),
        DropFault(operation="customer_badge", at="mid_reply", share=0.005),
        TruncatedFault(operation="customer_badge", share=0.005),
        HangFault(operation="customer_badge", seconds=CLIENT_TIMEOUT + 0.3, share=0.001),
        StatusFault(operation="badge", status=503, share=0.1),
        DropFault(operation="token", at="before_reading", share=0.1),
        StatusFault(operation="token", status=503, share=0.1),
    ]
    return chance.sample(every, 4)


def choose_faults(seed: int, poison: list[int]) -> FaultPlan:
    """The fault plan of a seed. ``poison``: customers whose row makes the API refuse any array that holds it."""
    chance = random.Random(f"faults {seed}")
    faults: list[AnyFault] = [StatusFault(status=400, code=400, customer_id=customer) for customer in poison]
    chosen = [*_IMPORT_FAULTS, _drop, _ambiguous_status, _drop]
    faults += [make(chance, round(chance.uniform(0.005, 0.04), 4)) for make in chance.sample(chosen, 9)]
    # in every plan: applied after the sender gave up, the one fault that reading back too early falls for
    faults.append(DropFault(at="late", late_by=_late(chance), share=0.04))
    faults += _read_faults(chance)
    faults += [
        InterimFault(operation="any", statuses=chance.choice(((102,), (103,), (102, 103))), seconds=0.05, share=0.02),
        StrayFault(about="badge", share=0.01),  # of another customer no reply says so
    ]
    return FaultPlan(seed=seed, faults=tuple(_half_applied(seed, faults)))


def _half_applied(seed: int, faults: list[AnyFault]) -> Iterator[AnyFault]:
    """Some calls without a proof are applied in part. A chance of its own leaves the rest of each seed's plan as is."""
    chance = random.Random(f"applied {seed}")
    for fault in faults:
        if isinstance(fault, (StatusFault, DropFault, HangFault)) and chance.random() < 0.3:
            yield msgspec.structs.replace(fault, applied_share=0.5)
        else:
            yield fault
