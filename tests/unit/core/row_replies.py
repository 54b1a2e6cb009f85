"""Replies that speak of the rows of a batch, entry by entry, and what they are judged to prove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import Judgement, Verdict, judge
from airflow_provider_capillary.core.reply import ApiProblem, Entry, EntryData, Reply, Transmission
from airflow_provider_capillary.core.row_state import RowState

BADGE_ID = "654e08f2041fd452b3ef5b2e"
OTHER_BADGE_ID = "696f0fd40772ad476ecf74ac"
EXPIRES = 1_705_828_011  # 2024-01-21T09:06:51Z
ACCEPTED, REJECTED, UNKNOWN = RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN
NOT_FOUND = ApiProblem(1054, "GLOBAL.BADGE_NOT_FOUND")
BUSY = ApiProblem(521, "Multiple actions are running for the same customer. Please try after some time.")

GRANT_MISSES_ITS_PLACE = [
    pytest.param({"badge_meta_id": OTHER_BADGE_ID}, id="another badge is echoed"),
    pytest.param({"badge_meta_id": None}, id="no badge is echoed"),
    pytest.param({"badge_meta_id": ""}, id="an empty badge is echoed"),
    pytest.param({"customer_id": 999}, id="another customer is echoed"),
    pytest.param({"customer_id": "999"}, id="another customer is echoed as text"),
    pytest.param({"customer_id": None}, id="no customer is echoed"),
    pytest.param({"request_id": "f93f_1"}, id="the requestId is that of another position"),
    pytest.param({"request_id": "f93f_12"}, id="the requestId's suffix only begins with the position"),
    pytest.param({"request_id": "f93f_22"}, id="the requestId's suffix only ends with the position"),
    pytest.param({"request_id": "f93f2"}, id="the requestId has no suffix"),
    pytest.param({"request_id": ""}, id="the requestId is empty"),
    pytest.param({"request_id": None}, id="no requestId is echoed"),
]


def batch_of(rows: int) -> list[EarnedBadge]:
    return [EarnedBadge(10 + n, BADGE_ID, 1000 + n, 1_674_292_011, EXPIRES) for n in range(1, rows + 1)]


def echo(position: int, **changed: Any) -> EntryData:
    """What a server that granted the row at a position (from 1) echoes."""
    fields: dict[str, Any] = {
        "badge_meta_id": BADGE_ID,
        "customer_id": 1000 + position,
        "earned_badge_id": f"6576f7d291e0b01c659ad6{position:02}",
        "expires_on": float(EXPIRES),
        "expires_on_iso": "2024-01-21T09:06:51Z",
        "request_id": f"f93f710f169c8390c41ae095986c5a50_{position}",
    }
    return EntryData(**{**fields, **changed})


def grant(position: int, **changed: Any) -> Entry:
    return Entry(echo(position, **changed))


def refusal(*problems: ApiProblem, data: EntryData | None = None) -> Entry:
    return Entry(data, list(problems))


def judged(entries: Sequence[Entry], rows: int | None = None) -> Judgement:
    badges = batch_of(len(entries) if rows is None else rows)
    return judge(badges, Reply(Transmission.REPLIED, 200, list(entries)))


def states(judgement: Judgement) -> list[RowState]:
    return [row.state for row in judgement.rows]


def assert_all_unknown(judgement: Judgement, rows: int) -> None:
    assert judgement.verdict is Verdict.UNKNOWN
    assert states(judgement) == [UNKNOWN] * rows
    assert judgement.proof_failed
    assert judgement.reason
