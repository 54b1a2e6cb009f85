"""Watches what comes back, over all lanes, for signs that the job should not go on."""

from __future__ import annotations

import threading

from airflow_provider_capillary.core.early_stop import EarlyStop
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ApiUnavailableError, ImportStoppedError
from airflow_provider_capillary.importing.sent import Sent
from airflow_provider_capillary.importing.shared import Shared

WRONG_UNIT = (
    "the API echoed expiry dates that are off by a factor of 1000: it reads another time unit than the "
    "connection's extra 'timestamp_format' sends. Correct it, and revoke the badges of this batch"
)
REDIRECTED = (
    "the API's address answers with a redirect, which is never followed: host or path of the connection is wrong, or a "
    "proxy asks for something. Correct it; whether the rows of this request were granted is not known"
)


class Watch:
    """One for all lanes: five bad batches in a row are so over all of them."""

    def __init__(self, shared: Shared) -> None:
        self._stop = shared.stop
        self._backoff = shared.backoff
        self._early_stop = EarlyStop()
        self._lock = threading.Lock()

    def look(self, sent: Sent) -> None:
        """Look at one outcome that is recorded; stop the job where it must not go on."""
        judgement = sent.judgement
        if judgement.wrong_time_unit:
            self._stop.request(ImportStoppedError(f"{WRONG_UNIT} ({sent.told()})"))
        if judgement.redirected:
            self._stop.request(ImportStoppedError(f"{REDIRECTED} ({sent.told()})"))
        again = not self._backoff.exhausted(sent.batch.tries, sent.batch.waited)
        states = {RowState.PLANNED if row.passing and again else row.state for row in judgement.looked_at}
        if judgement.granted_ids:
            states = {RowState.ACCEPTED}
        with self._lock:
            reason = self._early_stop.observe(
                states,
                rows=len(sent.batch.badges),
                canary=sent.batch.canary,
                split=sent.batch.split,
                proof_failed=judgement.proof_failed,
            )
            sick = self._early_stop.server_is_sick
        if reason:
            self._stop.request(ImportStoppedError(f"stopped early: {reason} ({sent.told()})"))
        elif sick:
            told = f"several batches in a row came back without proof ({sent.told()})"
            self._stop.request(ApiUnavailableError(told, retry_after=sent.reply.retry_after))
