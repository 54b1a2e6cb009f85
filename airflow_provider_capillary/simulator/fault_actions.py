"""Carries out a fault: whether the call is applied, what the reply becomes, and how much of it reaches the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from email.utils import formatdate
from typing import Any, Literal

import msgspec

from airflow_provider_capillary.simulator import fault_plan as faults
from airflow_provider_capillary.simulator.import_endpoint import RefuseRow
from airflow_provider_capillary.simulator.messages import JSON, SimulatedReply, json_reply, refusal

#: Does the work of a call. Its reply is what a call without faults would get.
Apply = Callable[[RefuseRow | None], SimulatedReply]

_EDGE = frozenset({413, 502, 503, 504, *range(520, 528)})
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a reply reaches the caller, if it does."""

    reply: SimulatedReply | None = None  #: ``None``: nothing is written
    cut: Literal["no", "instead", "midway"] = "no"  #: the connection, instead of the reply or in the middle of it
    reset: bool = True  #: a cut with RST
    hold: float | None = 0.0  #: seconds of silence before the cut; ``None``: until the simulator stops
    pieces: int = 1
    seconds: float = 0.0  #: from the first piece to the last
    interim: tuple[int, ...] = ()  #: informational replies that come first
    pause: float = 0.0  #: seconds from those to the reply


class LateCommits:
    """Work that is done after its call was answered or dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], object]] = []
        self._timers: list[threading.Timer] = []

    def add(self, work: Callable[[], object], seconds: float | None) -> None:
        """Do it in so many seconds, or with ``None`` when :meth:`release` is called."""
        with self._lock:
            self._waiting.append(work)
            if seconds is not None:
                timer = threading.Timer(seconds, self._do, [work])
                timer.daemon = True
                self._timers.append(timer)
                timer.start()

    def _do(self, work: Callable[[], object]) -> bool:
        with self._lock:
            if work not in self._waiting:
                return False
            self._waiting.remove(work)
        work()
        return True

    def release(self) -> int:
        """Do all waiting work now; give how many pieces there were."""
        with self._lock:
            waiting = list(self._waiting)
        return sum(self._do(work) for work in waiting)

    def discard(self) -> None:
        """Forget what is waiting."""
        with self._lock:
            self._waiting.clear()
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()


def perform(fault: faults.AnyFault, apply: Apply, late: LateCommits, now: float, refuse: RefuseRow) -> Delivery:
    """Let a fault happen to a call.

    :param apply: does the work of the call, and gives its right reply.
    :param now: epoch seconds, for dates in headers.
    :param refuse: says which rows a row error refuses, or a fault leaves unapplied.
    """
    match fault:
        case faults.StatusFault():
            _apply_when(fault.when, fault.late_by, lambda: apply(refuse), late)
            return Delivery(_other_reply(fault, now))
        case faults.HangFault():
            _apply_when(fault.when, fault.late_by, lambda: apply(refuse), late)
            return Delivery(cut="instead", hold=fault.seconds)
        case faults.DropFault():
            return _drop(fault, lambda: apply(refuse), late)
        case faults.InterimFault():
            return Delivery(apply(None), interim=fault.statuses, pause=fault.seconds)
        case faults.SlowFault():
            return Delivery(apply(None), pieces=max(fault.pieces, 1), seconds=fault.seconds)
        case faults.RowErrorFault():
            return Delivery(apply(refuse))
        case _:
            return Delivery(_change(fault, apply(None)))


def _apply_when(
    when: faults.When, late_by: float | None, work: Callable[[], SimulatedReply], late: LateCommits
) -> None:
    if when == "after":
        work()
    elif when == "late":
        late.add(work, late_by)


def _drop(fault: faults.DropFault, work: Callable[[], SimulatedReply], late: LateCommits) -> Delivery:
    if fault.at == "mid_reply":
        return Delivery(work(), cut="midway", reset=fault.reset)
    if fault.at == "after_applying":
        work()
    elif fault.at == "late":
        late.add(work, fault.late_by)
    return Delivery(cut="instead", reset=fault.reset)


def _other_reply(fault: faults.StatusFault, now: float) -> SimulatedReply:
    shape = fault.body if fault.body != "auto" else "html" if fault.status in _EDGE else "envelope"
    if shape == "envelope":
        code = fault.code if fault.code is not None else 999_999 if fault.status == 500 else fault.status
        reply = refusal(fault.status, code, fault.message or f"Injected error {code}")
    elif shape == "gateway":
        reply = json_reply(
            {"status": fault.status, "error": fault.message or "Injected error", "path": "/"}, fault.status
        )
    else:
        reply = SimulatedReply(
            fault.status, b"" if shape == "empty" else _edge_page(fault), {"Content-Type": "text/html"}
        )
    if fault.location is not None:
        reply.headers["Location"] = fault.location
    if fault.retry_after is not None:
        reply.headers["Retry-After"] = (
            f"{fault.retry_after:g}"
            if fault.retry_after_as == "seconds"
            else formatdate(now + fault.retry_after, usegmt=True)
        )
    return reply


def _edge_page(fault: faults.StatusFault) -> bytes:
    title = f"{fault.status}: {fault.message or 'Error'}"
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()


def _change(fault: faults.AnyFault, reply: SimulatedReply) -> SimulatedReply:
    """A reply with a wrong content. One that is no array (a refusal of the whole call) keeps its entries: none."""
    match fault:
        case faults.SuccessStatusFault() if reply.status == 200:
            reply.status = fault.status
        case faults.TruncatedFault():
            content = reply.content()
            reply.entries, reply.body = None, content[: int(len(content) * fault.keep)]
        case faults.ArrayFault() if reply.entries is not None:
            reply.entries = _CHANGES[fault.change](reply.entries)
        case faults.ErrorsShapeFault() if reply.entries is not None:
            reply.entries = [_with_errors(entry, fault.shape) for entry in reply.entries]
        case faults.EchoFault() if reply.entries is not None:
            reply.entries = [
                _with_wrong_echo(entry, fault.field) if fault.position in (None, position) else entry
                for position, entry in enumerate(reply.entries, 1)
            ]
        case _:
            pass
    return reply


def _edited(entry: str, edit: Callable[[dict[str, Any]], None]) -> str:
    """The entry with its ``data`` edited; a refused row has none and stays as it is."""
    decoded = _DECODER.decode(entry)
    if decoded["data"] is not None:
        edit(decoded["data"])
    return JSON.encode(decoded).decode()


def _numbered(entry: str, number: Callable[[int], int]) -> str:
    def edit(data: dict[str, Any]) -> None:
        base, _, position = data["requestId"].rpartition("_")
        data["requestId"] = f"{base}_{number(int(position))}"

    return _edited(entry, edit)


def _renumbered(entries: list[str]) -> list[str]:
    return [_numbered(entry, lambda _, place=place: place) for place, entry in enumerate(reversed(entries), 1)]  # type: ignore[misc]


_CHANGES: dict[str, Callable[[list[str]], list[str]]] = {
    "short": lambda entries: entries[:-1],
    "long": lambda entries: [*entries, *entries[-1:]],
    "reordered": lambda entries: entries[::-1],
    "renumbered": _renumbered,
    "duplicated": lambda entries: [*entries[:1], *entries[:1], *entries[2:]],
    "misnumbered": lambda entries: [_numbered(entry, lambda position: position + 1) for entry in entries],
}


def _with_errors(entry: str, shape: Literal["null", "object", "array"]) -> str:
    decoded = _DECODER.decode(entry)
    errors = decoded["errors"] or []
    # A row without errors shows an empty array, but no empty object: that would be an error without a code.
    shapes = {"null": None, "object": errors[0] if errors else None, "array": errors}
    return JSON.encode(decoded | {"errors": shapes[shape]}).decode()


def _with_wrong_echo(entry: str, field: str) -> str:
    def edit(data: dict[str, Any]) -> None:
        if field == "badge":
            data["badgeMetaId"] = data["badgeMetaId"][::-1]
        elif field == "customer":
            data["customerId"] += 1
        else:
            seconds = data["expiresOn"] + 86_400 if field == "expiry" else data["expiresOn"] * 1_000
            # Without its ISO form, so that the number is what the caller has to judge.
            data["expiresOn"], data["expiresOnISO"] = seconds, None

    return _edited(entry, edit)


def row_refuser(plan: faults.FaultPlan, place: int, number: int) -> RefuseRow:
    """Which rows the fault at this place of the plan refuses, or leaves unapplied, in the call with this number."""
    fault = plan.faults[place]
    if isinstance(fault, (faults.StatusFault, faults.DropFault, faults.HangFault)):
        applied = fault.applied_share
        return lambda position, _: (
            None if faults.fault_share(applied, plan.seed, place, number, position) else (999_999, "not applied")
        )

    def refuse(position: int, row: tuple[Any, ...]) -> tuple[int, str] | None:
        if not isinstance(fault, faults.RowErrorFault) or not faults.names_row(fault, row[1], row[0]):
            return None
        if fault.positions and position not in fault.positions:
            return None
        drawn = faults.fault_share(fault.row_share, plan.seed, place, number, position)
        return (fault.code, fault.message) if drawn else None

    return refuse
