"""What a job writes into logs, errors and the ledger: counts and advice, never secrets, rows or the API's words."""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from typing import Any

import pytest

from .trial import Trial

WORDS = "Jane Doe of Elm Street is not known"

EVENTFUL: dict[str, dict[str, Any]] = {
    "a row is refused": {"kind": "row_error", "code": 1026, "message": WORDS, "positions": [2]},
    "a row is refused for a while": {"kind": "row_error", "code": 521, "message": WORDS, "positions": [2], "times": 1},
    "all are refused": {"kind": "row_error", "code": 1026, "message": WORDS},
    "too fast": {"kind": "status", "status": 429, "message": WORDS, "times": 1},
    "no proof": {"kind": "status", "status": 503, "message": WORDS, "body": "envelope", "when": "after", "times": 1},
    "an edge page": {"kind": "status", "status": 520, "message": WORDS, "body": "html", "times": 1},
    "access denied": {"kind": "status", "status": 403, "message": WORDS, "times": 1},
    "a poisoned row": {"kind": "status", "status": 400, "code": 400, "message": WORDS, "min_rows": 3},
}


@pytest.mark.parametrize("policy", ["hold", "verify", "resend"])
@pytest.mark.parametrize("fault", EVENTFUL.values(), ids=EVENTFUL)
def test_logs_have_no_rows_and_no_api_texts(
    trial: Trial, caplog: pytest.LogCaptureFixture, fault: dict[str, Any], policy: str
) -> None:
    trial.faults(fault)
    rows = trial.rows(12)
    rows[7]["customerId"] = "Jane Doe"
    with caplog.at_level(logging.INFO, logger="airflow_provider_capillary"):
        trial.run(rows, on_unknown=policy, max_rejected="100%", max_unknown="100%")
    assert caplog.records
    assert "Jane" not in caplog.text
    for row in rows:
        assert str(row["customerId"]) not in caplog.text
        assert str(row["earnEventDate"]) not in caplog.text


@pytest.mark.parametrize("auth_type", ["basic", "oauth"])
@pytest.mark.parametrize("status", [200, 401, 403, 429, 503])
def test_no_secret_is_in_log_error_or_ledger(
    trial: Trial, caplog: pytest.LogCaptureFixture, auth_type: str, status: int
) -> None:
    settings = trial.simulator.settings
    digest = hashlib.md5(settings.password.encode(), usedforsecurity=False).hexdigest()
    basic = b64encode(f"{settings.username}:{digest}".encode()).decode()
    secrets = [settings.password, digest, basic, settings.oauth_secret]
    echoed = f"who are you, {' '.join(secrets)}? Authorization: Basic {basic}"
    if status != 200:
        trial.faults({"kind": "status", "status": status, "message": echoed, "body": "envelope", "first": 2})
    else:
        trial.faults({"kind": "row_error", "code": 1026, "message": echoed, "positions": [1]})
    with caplog.at_level(logging.DEBUG):
        result = trial.run(trial.rows(12), client={"auth_type": auth_type}, max_rejected="100%")
    own = secrets[:3] if auth_type == "basic" else secrets[3:]
    shown = [caplog.text, str(result.error), repr(result.summary)]
    kept = (trial.folder / "ledger.db").read_bytes() + b"".join(
        path.read_bytes() for path in trial.folder.glob("ledger.db-*")
    )
    for secret in own:
        assert not any(secret in text for text in shown)
        assert secret.encode() not in kept
