"""One request that was sent, its reply, and what the ledger is to be told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from airflow_provider_capillary.core.batching import Batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.general_text import general
from airflow_provider_capillary.core.outcome import Judgement, RowOutcome
from airflow_provider_capillary.core.reply import Reply
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import AuthenticationError, RequestRefusedError
from airflow_provider_capillary.importing.account import issue_of
from airflow_provider_capillary.ledger.facts import Outcome, RowChange, RowIssue


class Sent(msgspec.Struct, frozen=True):
    """A batch, under which key the ledger knows it, what came back, and the judgement on that."""

    batch: Batch
    key: int
    request_id: str
    reply: Reply
    judgement: Judgement

    def outcome(self, changes: Sequence[RowChange] = (), issues: Sequence[RowIssue] = (), **accepted: Any) -> Outcome:
        """What to tell the ledger of the batch; ``accepted`` and ``ids`` as there."""
        judgement = self.judgement
        return Outcome(
            self.key, judgement.verdict.name, self.reply.status, changes, issues, given=judgement.given, **accepted
        )

    def not_applied(self) -> Outcome:
        """What to tell the ledger where the reply proves that nothing was applied."""
        return self.outcome([RowChange(badge, RowState.PLANNED) for badge in self.batch.badges])

    def issue(
        self, badge: EarnedBadge, row: RowOutcome, *, state: RowState | None = None, stage: str = "send"
    ) -> RowIssue:
        """Tell why a row of the batch was not accepted (or what is to be said of it although it was)."""
        return issue_of(
            badge,
            self.batch.origins,
            state or row.state,
            stage,
            row.message,
            code=row.code,
            request_id=self.reply.server_request_id or self.request_id,
            attempt=self.batch.requests,
        )

    def told(self) -> str:
        """What the API said, in short and without the rows' values, for logs and failures."""
        judgement = self.judgement
        if judgement.reason:
            return general(judgement.reason)
        refused = next((row for row in judgement.looked_at if row.state is RowState.REJECTED), None)
        return general(f"code {refused.code}: {refused.message}") if refused else f"HTTP {self.reply.status}"

    def evidence(self) -> str:
        """The same without the API's own words, which never go to a log."""
        codes = {self.judgement.code} | {row.code for row in self.judgement.looked_at}
        told = ", ".join(f"code {code}" for code in sorted(code for code in codes if code is not None))
        status = f"HTTP {self.reply.status}" if self.reply.status is not None else self.reply.delivery.value
        return f"{status}, {told}" if told else status

    def refusal(self, method: str) -> AuthenticationError | RequestRefusedError:
        """The error for a request that was refused as a whole, with what to fix."""
        status, reason = self.reply.status, self.told()
        evidence: dict[str, Any] = {
            "status": status,
            "code": self.judgement.code,
            "request_id": self.reply.server_request_id,
        }
        if status == 401:
            hint = "see login and password of the connection, and its auth_type"
            return AuthenticationError(f"the API does not accept the credentials ({reason}): {hint}", **evidence)
        other = "POST" if method == "PUT" else "PUT"
        hints = {
            403: "the credentials lack access to badges, or badges are not enabled for the organisation",
            404: f"see the connection's host, and whether import_method should be {other} instead of {method}",
            405: f"set the connection's extra import_method to {other}: {method} is not taken",
            415: "something between here and the API changes the Content-Type",
        }
        hint = hints.get(status or 0, "see what the API says")
        return RequestRefusedError(f"the API refused the request as a whole ({reason}): {hint}", **evidence)
