"""An outcome is recorded even where the row's own columns cannot be shown in its issue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_capillary.datasets.rows import RowWindow

from .trial import Trial

ROWS = 30
REFUSED = {"kind": "row_error", "code": 1026, "positions": [3], "times": 1}


class Silent:
    """A value that cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no text")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


ODD_VALUES = {
    "a lone surrogate": ("\ud800", "?"),
    "an object": (object(), "<object object at"),
    "a complex number": (1 + 2j, "(1+2j)"),
    "keys that are no text": ({(1, 2): 3}, "{(1, 2): 3}"),
    "a value without text": (Silent(), "<Silent>"),
    "a deep list": (nested(100_000), "<list>"),
    "a surrogate within": (["fine", "\udfff"], "['fine', "),
}


def originals(trial: Trial) -> list[dict[str, Any]]:
    rows = trial.ask_ledger("SELECT original FROM capillary_row_issue ORDER BY row_number")
    return [json.loads(original) for (original,) in rows]


@pytest.mark.parametrize(("value", "text"), ODD_VALUES.values(), ids=ODD_VALUES)
def test_a_value_no_report_can_show_becomes_text(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, value: Any, text: str
) -> None:
    given = RowWindow.original
    monkeypatch.setattr(RowWindow, "original", lambda window, index: given(window, index) | {"odd": value})
    trial.faults(REFUSED)
    result = trial.run(trial.rows(ROWS), batch_size=ROWS, max_rejected=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": ROWS - 1, "rejected": 1})
    [original] = originals(trial)
    assert str(original["odd"]).startswith(text)
    assert original["customerId"] == trial.first_customer + 2


@pytest.mark.parametrize("error", [OverflowError, ValueError, AttributeError, KeyError, RecursionError, MemoryError])
@pytest.mark.parametrize("of", ["original", "line"])
def test_unreadable_originals_are_reported_as_sent(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, of: str, error: type[Exception]
) -> None:
    def fail(window: RowWindow, index: int) -> Any:
        raise error("odd")

    monkeypatch.setattr(RowWindow, of, fail)
    trial.faults(REFUSED)
    result = trial.run(trial.rows(ROWS), batch_size=ROWS, max_rejected=1)
    assert (result.error, trial.ends(result)) == (None, {"accepted": ROWS - 1, "rejected": 1})
    assert originals(trial) == [trial.rows(1, first=2)[0]]
    assert trial.issues_of(result)[0][3:] == (
        1026,
        "Multiple actions are running for the same customer. Please try after some time.",
    )


def test_every_way_to_an_issue_is_as_safe(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invalid, lost, found by reading, refused, and not sent."""

    def fail(window: RowWindow, index: int) -> Any:
        raise OverflowError("date value out of range")

    trial.prove_reads()
    monkeypatch.setattr(RowWindow, "original", fail)
    rows = trial.rows(12)
    rows[0]["customerId"] = "x"
    trial.faults(
        {"kind": "drop", "at": "after_applying", "numbers": [1]},
        {"kind": "status", "status": 403, "numbers": [3]},
    )
    result = trial.run(rows, max_rejected=1)
    assert trial.ends(result) == {"accepted": 8, "invalid": 1, "not_sent": 3}
    assert sorted({state for _, state, *_ in trial.issues_of(result)}) == ["accepted", "invalid", "not_sent"]
