"""The simulated API without sockets: takes a call, lets its fault happen, and gives what the caller receives."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from airflow_provider_capillary.simulator.authentication import Gatekeeper
from airflow_provider_capillary.simulator.badge_endpoints import BadgeEndpoints
from airflow_provider_capillary.simulator.badge_store import BadgeStore
from airflow_provider_capillary.simulator.fault_actions import Delivery, LateCommits, perform, row_refuser
from airflow_provider_capillary.simulator.fault_plan import (
    AnyFault,
    Call,
    FaultPlan,
    StrayFault,
    choose_fault,
    read_plan,
)
from airflow_provider_capillary.simulator.import_endpoint import ImportEndpoint, RefuseRow
from airflow_provider_capillary.simulator.messages import Request, SimulatedReply, refusal
from airflow_provider_capillary.simulator.request_rows import UnreadableBodyError, read_rows
from airflow_provider_capillary.simulator.routing import IMPORT, TOKEN, Route, find_route
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings


class Arrival(NamedTuple):
    """A call whose head has been read, with its number."""

    route: Route | None  #: ``None``: the API has no such path
    params: dict[str, str]
    call: Call


class ChosenFault(NamedTuple):
    """A fault of a plan, and where in it."""

    fault: AnyFault
    plan: FaultPlan
    place: int


class Simulator:
    """The state of one simulated cluster: grants, tokens, fault plan, and counts of what was called. Thread-safe."""

    def __init__(
        self,
        settings: SimulatorSettings | None = None,
        faults: FaultPlan | Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or SimulatorSettings()
        self.store = BadgeStore(keep=self.settings.keep_grants)
        self.late = LateCommits()
        self.clock = clock
        self._gatekeeper = Gatekeeper(self.settings, clock)
        self._import = ImportEndpoint(self.settings, self.store, clock)
        self._endpoints = BadgeEndpoints(self.settings, self.store, clock)
        self._lock = threading.Lock()
        self._first_plan = read_plan(faults)
        self._given: dict[str, list[str]] | None = None  #: ids by request; ``None``: they are not collected
        self.reset()

    # ------------------------------------------------------------------------------------------------------- control

    def reset(self) -> None:
        """Forget grants and counts and go back to the fault plan of the start. Tokens stay valid."""
        self.late.discard()
        self.store.clear()
        with self._lock:
            self._numbers: Counter[str] = Counter()
            self._requests: Counter[str] = Counter()
        self.use_faults(self._first_plan)

    def use_faults(self, plan: FaultPlan | Mapping[str, Any] | Sequence[Any] | bytes | None) -> None:
        """Replace the fault plan (``None``: no faults). Calls keep their numbers.

        :raises ValueError: it is no fault plan; the message names the field.
        """
        new_plan = read_plan(plan)
        with self._lock:
            self._plan, self._happened = new_plan, [0] * len(new_plan.faults)

    @property
    def faults(self) -> FaultPlan:
        """The plan in use."""
        return self._plan

    def request_counts(self) -> dict[str, int]:
        """Calls by method and path, as ``PUT /api_gateway/...``; paths with ids as templates."""
        with self._lock:
            return dict(self._requests)

    def watch_given_ids(self) -> dict[str, list[str]]:
        """Collect from now on which ids each reply to an import gives: request id -> ids.

        These are the ids that a caller can have received. A grant whose reply was cut, or is not complete JSON, gave no
        id. Replies that are written slowly are left out, because a caller may have given up on them.
        """
        if self._given is None:
            self._given = {}
        return self._given

    def note_given(self, arrival: Arrival, request_id: str, reply: SimulatedReply) -> None:
        """Collect the ids of a reply that was written as a whole, if ``watch_given_ids`` was called."""
        if self._given is None or arrival.call.operation != IMPORT or reply.stream is not None:
            return
        ids = _ids_in(reply.content())
        with self._lock:
            self._given.setdefault(request_id, []).extend(ids)

    def summary(self) -> dict[str, Any]:
        """Grants, calls and faults, as ``GET /simulator/summary`` shows them."""
        held = self.store.summary()
        with self._lock:
            return {
                "grants": held.grants,
                "active": held.active,
                "distinct": held.distinct,
                "grantedTwice": held.granted_twice,
                "requests": dict(self._requests),
                "faults": [
                    {"kind": type(fault).__struct_config__.tag, "happened": times}
                    for fault, times in zip(self._plan.faults, self._happened, strict=True)
                ],
            }

    # --------------------------------------------------------------------------------------------------------- calls

    def arrive(self, method: str, path: str, size: int) -> Arrival:
        """Count a call and give it its number."""
        prefix = self.settings.path_prefix
        found = find_route(path.removeprefix(prefix)) if path.startswith(prefix) else None
        route, params = found or (None, {})
        operation = route.operation if route else "unknown path"
        with self._lock:
            self._numbers[operation] += 1
            self._requests[f"{method} {route.template if route else path}"] += 1
            number = self._numbers[operation]
        return Arrival(route, params, Call(operation, number, method, path, size))

    def choose_fault(self, call: Call) -> ChosenFault | None:
        """The fault that happens to a call. It is counted as having happened."""
        with self._lock:
            place = choose_fault(self._plan, call, self._happened)
            if place is None:
                return None
            self._happened[place] += 1
            return ChosenFault(self._plan.faults[place], self._plan, place)

    def exchange(self, arrival: Arrival, request: Request) -> Delivery:
        """Do what a call asks for, with the fault that the plan has for it."""
        rows = self._rows(arrival, request)
        call = msgspec.structs.replace(arrival.call, size=len(request.body), rows=rows)
        chosen = self.choose_fault(call)
        if chosen is None:
            return Delivery(self.answer(arrival, request))
        fault, plan, place = chosen

        asked = self._astray(arrival, fault.about) if isinstance(fault, StrayFault) else arrival

        def apply(refuse: RefuseRow | None) -> SimulatedReply:
            return self.answer(asked, request, refuse)

        return perform(fault, apply, self.late, self.clock(), row_refuser(plan, place, call.number))

    def _astray(self, arrival: Arrival, about: str) -> Arrival:
        """The same read, about the next customer or badge. After an unknown badge comes the first of the catalogue."""
        params = dict(arrival.params)
        if about == "customer" and params.get("customer_id", "").isdigit():
            params["customer_id"] = str(int(params["customer_id"]) + 1)
        elif about == "badge" and "badge_id" in params:
            ids = [badge.id for badge in self.settings.badges]
            place = ids.index(params["badge_id"]) if params["badge_id"] in ids else -1
            params["badge_id"] = ids[(place + 1) % len(ids)]
        return arrival._replace(params=params)

    def answer(self, arrival: Arrival, request: Request, refuse_row: RefuseRow | None = None) -> SimulatedReply:
        """The reply of an API without faults; grants the rows of an import."""
        route = arrival.route
        if route is None:
            return refusal(404, 404, "Resource not found")
        if route.operation != TOKEN and (unwelcome := self._gatekeeper.refuse(request)):
            return unwelcome
        methods = self.settings.methods if route.operation == IMPORT else route.methods
        if request.method not in methods:
            reply = refusal(405, 405, f"{request.method} operation is not supported for the resource")
            reply.headers["Allow"] = ", ".join(methods)
            return reply
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method != "GET" and content_type != "application/json":
            return refusal(415, 415, "Unsupported content type, application/json is expected")
        return self._answer(arrival, request, refuse_row)

    def _answer(self, arrival: Arrival, request: Request, refuse_row: RefuseRow | None) -> SimulatedReply:
        operation = arrival.call.operation
        if operation == IMPORT:
            return self._import(request, refuse_row)
        if operation == TOKEN:
            return self._gatekeeper.give_token(request)
        endpoint: Callable[..., SimulatedReply] = getattr(self._endpoints, operation)
        return endpoint(request, **arrival.params)

    def _rows(self, arrival: Arrival, request: Request) -> list[tuple[int | None, str | None]]:
        """Customer and badge of each row of a call; the body is read only if a fault of the plan needs it."""
        if not any(fault.looks_into_rows for fault in self._plan.faults):
            return []
        if arrival.call.operation != IMPORT:
            customer = arrival.params.get("customer_id", "")
            return [(int(customer) if customer.isdigit() else None, arrival.params.get("badge_id"))]
        try:
            return [(customer, badge) for badge, customer, _, _ in read_rows(request.body, self.settings.timestamps)]
        except UnreadableBodyError:
            return []


def _ids_in(content: bytes) -> list[str]:
    try:
        entries = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return []
    found = [entry.get("data") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [data["earnedBadgeId"] for data in found if isinstance(data, dict) and data.get("earnedBadgeId")]
