"""Describes the faults of a simulator: which calls go wrong, and how. A plan can be written as JSON.

A plan is a seed and a list of faults. Of the faults that fit a call, only the first one happens to it. Calls are
numbered from 1 for each operation: the third import has number 3, whatever was called in between. The same plan
therefore does the same to the same calls::

    {"seed": 7, "faults": [
        {"kind": "status", "status": 503, "when": "after", "numbers": [2]},
        {"kind": "drop", "at": "after_applying", "share": 0.05},
        {"kind": "status", "status": 429, "retry_after": 1, "every": 10},
        {"kind": "row_error", "code": 521, "customer_id": 17, "times": 1}]}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from airflow_provider_capillary.simulator.routing import IMPORT, OPERATIONS

#: When the call still does its work: ``before``: never, the fault comes before it; ``after``: the fault comes after it;
#: ``late``: some time after the fault.
When = Literal["before", "after", "late"]


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", omit_defaults=True
):
    """The calls to which a fault happens. Every condition that is given must hold."""

    operation: str = IMPORT  #: as in ``routing.py``, or ``any``
    numbers: tuple[int, ...] = ()  #: these calls of the operation; empty: any
    first: int = 1  #: not before this number
    every: int = 1  #: from ``first`` on, every n-th call
    share: float = 1.0  #: this part of the calls, drawn with the plan's seed
    times: int | None = None  #: at most this often
    method: str | None = None
    path: str | None = None  #: with ``*`` as in a shell
    min_rows: int = 0
    min_bytes: int = 0  #: of the body
    customer_id: int | None = None  #: a row (or the path) names this customer ...
    badge_id: str | None = None  #: ... and this badge

    def __post_init__(self) -> None:
        if self.operation != "any" and self.operation not in OPERATIONS:
            raise ValueError(f"operation: {self.operation!r} is none of any, {', '.join(sorted(OPERATIONS))}")
        if self.every < 1 or self.first < 1:
            raise ValueError("every and first count from 1")

    @property
    def looks_into_rows(self) -> bool:
        """Whether the body has to be read to know if the fault fits."""
        return bool(self.min_rows) or self.customer_id is not None or self.badge_id is not None


class StatusFault(Fault, frozen=True, kw_only=True, tag="status"):
    """Another status (200 with an error envelope too), as the API or the edge in front of it would send it.

    ``gateway`` is a JSON object that is not of the API's own shape, as a gateway written with Spring sends it.
    """

    status: int
    when: When = "before"
    late_by: float | None = None  #: seconds until a ``late`` call is applied; ``None``: when it is released
    applied_share: float = 1.0  #: only this part of the rows is applied, drawn with the plan's seed
    body: Literal["auto", "envelope", "html", "empty", "gateway"] = "auto"  #: auto: HTML for 413, 502-504 and 520-527
    location: str | None = None  #: where a redirect leads to
    code: int | None = None  #: in the envelope; by default the status, and 999999 for 500
    message: str | None = None
    retry_after: float | None = None  #: seconds
    retry_after_as: Literal["seconds", "date"] = "seconds"


class DropFault(Fault, frozen=True, kw_only=True, tag="drop"):
    """The TCP connection is cut. ``at="late"``: it is cut at once, and the call is applied afterwards."""

    at: Literal["before_reading", "after_reading", "after_applying", "mid_reply", "late"]
    late_by: float | None = None
    applied_share: float = 1.0
    reset: bool = True  #: with RST, as when a process dies; else with FIN, as when it closes in good order


class HangFault(Fault, frozen=True, kw_only=True, tag="hang"):
    """No reply at all: the connection stays open for so many seconds, then it is cut."""

    when: When = "before"
    late_by: float | None = None
    applied_share: float = 1.0
    seconds: float | None = None  #: ``None``: until the simulator stops


class SlowFault(Fault, frozen=True, kw_only=True, tag="slow"):
    """The right reply, in pieces that are spread over ``seconds``."""

    seconds: float
    pieces: int = 10


class InterimFault(Fault, frozen=True, kw_only=True, tag="interim"):
    """Informational replies (102, 103) first, as a proxy may send them; the right reply follows after some seconds."""

    statuses: tuple[int, ...] = (102,)
    seconds: float = 0.0  #: from the last informational reply to the right one

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(100 <= status < 200 and status != 101 for status in self.statuses):
            raise ValueError(f"statuses: {self.statuses!r} are not all from 100 to 199; 101 would change the protocol")


class StrayFault(Fault, frozen=True, kw_only=True, tag="stray"):
    """The reply to a read of a customer's badge is about another one: the next customer, or the next badge."""

    operation: str = "customer_badge"
    about: Literal["customer", "badge"]


class ArrayFault(Fault, frozen=True, kw_only=True, tag="array"):
    """All rows are applied, but the array that says so is wrong.

    ``reordered``: other order, each entry with its own number; ``renumbered``: other order, numbered by
    place; ``duplicated``: the first entry also stands in the second's place; ``misnumbered``: numbers off by one.
    """

    change: Literal["short", "long", "reordered", "renumbered", "duplicated", "misnumbered"]


class ErrorsShapeFault(Fault, frozen=True, kw_only=True, tag="errors_shape"):
    """``errors`` of each entry as null, an object or an array. With ``null`` a refused row gives no reason."""

    shape: Literal["null", "object", "array"]


class EchoFault(Fault, frozen=True, kw_only=True, tag="echo"):
    """The rows are applied, but an entry echoes another value than was sent. ``thousandfold``: milliseconds."""

    field: Literal["badge", "customer", "expiry", "thousandfold"]
    position: int | None = None  #: from 1; ``None``: every entry


class RowErrorFault(Fault, frozen=True, kw_only=True, tag="row_error"):
    """Some rows are refused in the array, by default for a passing reason; the others are granted.

    With ``customer_id`` or ``badge_id`` only the rows that name them are refused.
    """

    code: int = 521
    message: str = "Multiple actions are running for the same customer. Please try after some time."
    positions: tuple[int, ...] = ()  #: only these rows, from 1
    row_share: float = 1.0  #: only this part of the rows, drawn with the plan's seed


class SuccessStatusFault(Fault, frozen=True, kw_only=True, tag="success_status"):
    """The right reply under another status of success."""

    status: int = 201


class TruncatedFault(Fault, frozen=True, kw_only=True, tag="truncated"):
    """A complete HTTP reply whose JSON ends too early."""

    keep: float = 0.5  #: part of the body that is left


AnyFault = (
    StatusFault
    | DropFault
    | HangFault
    | SlowFault
    | InterimFault
    | StrayFault
    | ArrayFault
    | ErrorsShapeFault
    | EchoFault
    | RowErrorFault
    | SuccessStatusFault
    | TruncatedFault
)


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A seed and faults. Of those that fit a call, the first one happens."""

    seed: int = 0
    faults: tuple[AnyFault, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """The facts of a call that a plan may use. ``rows`` is ``None`` until the body has been read."""

    operation: str
    number: int  #: from 1, counted for each operation
    method: str
    path: str
    size: int  #: bytes of the body
    rows: Sequence[tuple[int | None, str | None]] | None = None  #: customerId and badgeMetaId of each


def read_plan(plan: FaultPlan | Mapping[str, Any] | Sequence[Any] | bytes | None) -> FaultPlan:
    """A plan from JSON, from what JSON decodes to, or from a list of faults.

    :raises ValueError: it is no fault plan; the message names the field.
    """
    if plan is None:
        return FaultPlan()
    if isinstance(plan, FaultPlan):
        return plan
    try:
        if isinstance(plan, bytes):
            return msgspec.json.decode(plan, type=FaultPlan)
        if not isinstance(plan, Mapping):
            plan = {"faults": [msgspec.to_builtins(fault) for fault in plan]}
        return msgspec.convert(plan, type=FaultPlan)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a fault plan: {error}") from error


def choose_fault(plan: FaultPlan, call: Call, happened: Sequence[int] = ()) -> int | None:
    """The place in the plan of the fault that happens to a call, or ``None``.

    Pure: the same arguments choose the same fault. Before the body is read, only a drop before reading can be chosen.

    :param happened: how often each fault of the plan has happened already, for ``times``.
    """
    for place, fault in enumerate(plan.faults):
        if call.rows is None and not (isinstance(fault, DropFault) and fault.at == "before_reading"):
            continue
        used = happened[place] if place < len(happened) else 0
        if (fault.times is None or used < fault.times) and _fits(fault, call) and _is_drawn(plan, place, call):
            return place
    return None


def _fits(fault: Fault, call: Call) -> bool:
    return (
        fault.operation in ("any", call.operation)
        and (not fault.numbers or call.number in fault.numbers)
        and call.number >= fault.first
        and (call.number - fault.first) % fault.every == 0
        and fault.method in (None, call.method)
        and (fault.path is None or fnmatchcase(call.path, fault.path))
        and call.size >= fault.min_bytes
        and (not fault.looks_into_rows or _fits_rows(fault, call.rows or ()))
    )


def _fits_rows(fault: Fault, rows: Sequence[tuple[int | None, str | None]]) -> bool:
    return len(rows) >= fault.min_rows and any(names_row(fault, customer, badge) for customer, badge in rows)


def names_row(fault: Fault, customer: int | None, badge: str | None) -> bool:
    """Whether a row has the customer and the badge that a fault names; a fault may name neither."""
    return fault.customer_id in (None, customer) and fault.badge_id in (None, badge)


def _is_drawn(plan: FaultPlan, place: int, call: Call) -> bool:
    return fault_share(plan.faults[place].share, plan.seed, place, call.operation, call.number)


def fault_share(share: float, *names: int | str) -> bool:
    """Whether the named thing belongs to a share: always the same answer for the same names."""
    if share >= 1:
        return True
    drawn = hashlib.blake2b(repr(names).encode(), digest_size=8).digest()
    return int.from_bytes(drawn) / 2**64 < share
