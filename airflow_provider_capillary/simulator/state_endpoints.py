"""Serves ``/simulator/...``: grants, counts and faults of the simulator itself, for tests and demos.

===================================  ==================================================================
``GET /simulator/health``            200 as soon as calls are answered
``GET /simulator/grants``            every grant, as JSON lines, streamed
``GET /simulator/summary``           grants, distinct grants, those granted twice, calls by path, faults
``GET``, ``PUT /simulator/faults``   the fault plan
``POST /simulator/release``          apply what late faults hold back
``POST /simulator/reset``            forget everything
===================================  ==================================================================

They need no credentials, because the simulator listens on loopback, or inside a closed network of containers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from airflow_provider_capillary.simulator.badge_store import Grant
from airflow_provider_capillary.simulator.messages import JSON, SimulatedReply, json_reply, refusal
from airflow_provider_capillary.simulator.simulator import Simulator

PREFIX = "/simulator/"
_LINES_PER_PIECE = 1_000


def answer_state(simulator: Simulator, method: str, path: str, body: bytes) -> SimulatedReply:
    """The reply to a call below ``/simulator/``."""
    endpoints: dict[tuple[str, str], Callable[[], SimulatedReply]] = {
        ("GET", "health"): lambda: json_reply({"status": "ok"}),
        ("GET", "grants"): lambda: SimulatedReply(
            200, headers={"Content-Type": "application/x-ndjson"}, stream=_grant_lines(simulator.store.grants())
        ),
        ("GET", "summary"): lambda: json_reply(simulator.summary()),
        ("GET", "faults"): lambda: json_reply(simulator.faults),
        ("PUT", "faults"): lambda: _use_faults(simulator, body),
        ("POST", "release"): lambda: json_reply({"released": simulator.late.release()}),
        ("POST", "reset"): lambda: _reset(simulator),
    }
    endpoint = endpoints.get((method, path.removeprefix(PREFIX)))
    return endpoint() if endpoint else refusal(404, 404, f"The simulator has no {method} {path}")


def _use_faults(simulator: Simulator, body: bytes) -> SimulatedReply:
    try:
        simulator.use_faults(body)
    except ValueError as error:
        return refusal(400, 400, str(error))
    return json_reply({"faults": len(simulator.faults.faults)})


def _reset(simulator: Simulator) -> SimulatedReply:
    simulator.reset()
    return json_reply({"status": "ok"})


def _grant_lines(grants: Iterator[Grant]) -> Iterator[bytes]:
    while piece := list(islice(grants, _LINES_PER_PIECE)):
        yield b"".join(JSON.encode(_shown(grant)) + b"\n" for grant in piece)


def _shown(grant: Grant) -> dict[str, object]:
    return {
        "customerId": grant.customer_id,
        "badgeMetaId": grant.badge_meta_id,
        "earnedBadgeId": grant.earned_badge_id,
        "earnEventDate": grant.earned_at,
        "expiresOn": grant.expires_at,
        "grantedOn": grant.granted_at,
        "requestId": grant.request_id,
        "isActive": grant.is_active,
    }
