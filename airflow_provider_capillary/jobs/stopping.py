"""Stops an import if going on could only do harm, and says why and what to fix."""

from __future__ import annotations

import threading
from typing import Any

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.budget import EarlyStop
from airflow_provider_capillary.core.general_text import general
from airflow_provider_capillary.core.outcome import Judgement
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import (
    ApiUnavailableError,
    AuthenticationError,
    ImportStoppedError,
    RequestRefusedError,
)
from airflow_provider_capillary.jobs.pacing import Backoff, StopSignal

WRONG_UNIT = (
    "the API echoed expiry dates that are off by a factor of 1000: it reads another time unit than the "
    "connection's extra 'timestamp_format' sends. Correct it, and revoke the badges of this batch"
)
REDIRECTED = (
    "the API's address answers with a redirect, which is never followed: host or path of the connection is wrong, or a "
    "proxy asks for something. Correct it; whether the rows of this request were granted is not known"
)


class HarmWatch:
    """Checks every outcome for signs that the job should not go on.

    There is one for all lanes, because five bad batches in a row are counted over all lanes.
    """

    def __init__(self, stop: StopSignal, backoff: Backoff) -> None:
        self._stop = stop
        self._backoff = backoff
        self._early_stop = EarlyStop()
        self._lock = threading.Lock()

    def look(self, batch: Batch, reply: Reply, judgement: Judgement) -> None:
        """Check one outcome that is recorded, and stop the job if it must not go on."""
        if judgement.wrong_time_unit:
            self._stop.request(ImportStoppedError(f"{WRONG_UNIT} ({short_reason(reply, judgement)})"))
        if judgement.redirected:
            self._stop.request(ImportStoppedError(f"{REDIRECTED} ({short_reason(reply, judgement)})"))
        again = not self._backoff.exhausted(batch.tries, batch.waited)
        states = {RowState.PLANNED if row.passing and again else row.state for row in judgement.looked_at}
        if judgement.granted_ids:
            states = {RowState.ACCEPTED}
        with self._lock:
            harm = self._early_stop.observe(
                states,
                rows=len(batch.badges),
                canary=batch.canary,
                split=batch.split,
                proof_failed=judgement.proof_failed,
            )
            sick = self._early_stop.server_is_sick
        if harm:
            self._stop.request(ImportStoppedError(f"stopped early: {harm} ({short_reason(reply, judgement)})"))
        elif sick:
            message = f"several batches in a row came back without proof ({short_reason(reply, judgement)})"
            self._stop.request(ApiUnavailableError(message, retry_after=reply.retry_after))


def short_reason(reply: Reply, judgement: Judgement) -> str:
    """The API's message, cut and with values masked, for errors."""
    if judgement.reason:
        return general(judgement.reason)
    refused = next((row for row in judgement.looked_at if row.state is RowState.REJECTED), None)
    return general(f"code {refused.code}: {refused.message}") if refused else f"HTTP {reply.status}"


def evidence(reply: Reply, judgement: Judgement) -> str:
    """Status and codes only, because the API's own text must not reach a log."""
    codes = {judgement.code} | {row.code for row in judgement.looked_at}
    listed = ", ".join(f"code {code}" for code in sorted(code for code in codes if code is not None))
    status = f"HTTP {reply.status}" if reply.status is not None else reply.transmission.value
    return f"{status}, {listed}" if listed else status


def refusal(reply: Reply, judgement: Judgement, method: str) -> AuthenticationError | RequestRefusedError:
    """The error for a request that was refused as a whole, with what to fix."""
    status, reason = reply.status, short_reason(reply, judgement)
    facts: dict[str, Any] = {"status": status, "code": judgement.code, "request_id": reply.server_request_id}
    if status == 401:
        hint = "see login and password of the connection, and its auth_type"
        return AuthenticationError(f"the API does not accept the credentials ({reason}): {hint}", **facts)
    other = "POST" if method == "PUT" else "PUT"
    hints = {
        403: "the credentials lack access to badges, or badges are not enabled for the organisation",
        404: f"see the connection's host, and whether import_method should be {other} instead of {method}",
        405: f"set the connection's extra import_method to {other}: {method} is not taken",
        415: "something between here and the API changes the Content-Type",
    }
    hint = hints.get(status or 0, "see what the API says")
    return RequestRefusedError(f"the API refused the request as a whole ({reason}): {hint}", **facts)
