"""The demo ends well only if every account agrees: each kind of disagreement is found."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dev.demo.accounts import Accounts, SeenGrant, checks

FIRST, SECOND, NEVER_EARNED = (SeenGrant(7, "a" * 24, 1), SeenGrant(8, "a" * 24, 1), SeenGrant(9, "a" * 24, 1))

FIRST_DEMO = Accounts(
    rows_in_warehouse=6,
    earned=frozenset({FIRST, SECOND}),
    summary={
        "rows_read": 6,
        "accepted": 2,
        "already_accepted": 1,
        "rejected": 1,
        "invalid": 2,
        "unknown": 0,
        "not_sent": 0,
    },
    reported_rows=3,
    granted_now=(FIRST, SECOND),
    granted_before=(),
)
SECOND_DEMO = msgspec.structs.replace(
    FIRST_DEMO,
    summary={**FIRST_DEMO.summary, "accepted": 0, "already_accepted": 3},
    granted_now=(),
    granted_before=(FIRST, SECOND),
)


def broken(accounts: Accounts) -> list[str]:
    return [check.meaning for check in checks(accounts) if not check.holds]


@pytest.mark.parametrize("accounts", [FIRST_DEMO, SECOND_DEMO])
def test_a_first_and_a_second_demo_agree(accounts: Accounts) -> None:
    assert broken(accounts) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rows_in_warehouse": 7}, "read"),
        ({"summary": {**FIRST_DEMO.summary, "invalid": 1}}, "accounted for"),
        ({"summary": {**FIRST_DEMO.summary, "accepted": 3, "already_accepted": 0}}, "says the simulator"),
        ({"summary": {}}, "accounted for"),
        ({"reported_rows": 2}, "errors.csv"),
        ({"granted_now": (FIRST,)}, "missing"),
        ({"granted_now": (FIRST, SECOND, FIRST)}, "twice"),
        ({"granted_before": (FIRST,)}, "twice"),
        ({"granted_now": (FIRST, SECOND, NEVER_EARNED)}, "was not earned"),
    ],
)
def test_each_disagreement_is_found(changes: dict[str, Any], found: str) -> None:
    assert any(found in meaning for meaning in broken(msgspec.structs.replace(FIRST_DEMO, **changes)))
