"""The lines of the table of outcomes that speak of a request as a whole."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import Verdict, judge
from airflow_provider_capillary.core.reply import ApiProblem, Entry, EntryData, Reply, Transmission
from airflow_provider_capillary.core.row_state import RowState

BADGE_ID = "654e08f2041fd452b3ef5b2e"
BATCH = [EarnedBadge(number, BADGE_ID, 382_442_800 + number, 1_674_292_011, 1_705_828_011) for number in (1, 2, 3)]
GRANTS = [
    Entry(EntryData(BADGE_ID, badge.customer_id, f"id{n}", float(badge.expires_at), None, f"base_{n}"))
    for n, badge in enumerate(BATCH, 1)
]


def replied(status: int, *codes: int, entries: list[Entry] | None = None, retry_after: float | None = None) -> Reply:
    """A complete reply with an envelope of these codes; without codes the body was of neither shape."""
    envelope = [ApiProblem(code, f"reported {code}") for code in codes] or None
    return Reply(Transmission.REPLIED, status, entries, envelope, retry_after)


NOT_WRITTEN = [
    pytest.param(
        Reply(Transmission.NOT_WRITTEN, problem=text), Verdict.RETRY_LATER, id=f"{text} failed: nothing written"
    )
    for text in ("DNS", "connect", "TLS")
]
REFUSED = [
    pytest.param(replied(401, 401), Verdict.STOP, id="401"),
    *(
        pytest.param(replied(status), Verdict.STOP, id=f"{status}, whatever its body")
        for status in (403, 404, 405, 415)
    ),
    *(
        pytest.param(replied(status, 7), Verdict.STOP, id=f"{status} with an envelope")
        for status in (403, 404, 405, 415)
    ),
    pytest.param(replied(413), Verdict.HALVE, id="413, whatever its body"),
    pytest.param(replied(413, 400), Verdict.HALVE, id="413 with code 400"),
    pytest.param(replied(400, 1060), Verdict.HALVE, id="400 with code 1060"),
    pytest.param(replied(400, 400), Verdict.BISECT, id="400 with code 400: parse or validation error"),
    pytest.param(replied(400, 1054), Verdict.BISECT, id="400 with code 1054 for the whole call"),
    pytest.param(replied(400, 1, 1054), Verdict.BISECT, id="400 with code 1054 beside another"),
    pytest.param(replied(429), Verdict.RETRY_LATER, id="429, whatever its body"),
    pytest.param(replied(429, 429), Verdict.RETRY_LATER, id="429 with an envelope"),
    pytest.param(replied(400, 717), Verdict.STOP, id="400 with another code"),
    pytest.param(replied(422, 1060), Verdict.STOP, id="422 with code 1060, which only a 400 makes 'too large'"),
    pytest.param(replied(461, 461), Verdict.STOP, id="461 with an error envelope"),
]
NO_PROOF = [
    pytest.param(Reply(Transmission.LOST, problem="read timeout"), id="read timeout"),
    pytest.param(Reply(Transmission.LOST, problem="reset"), id="reset after write"),
    pytest.param(Reply(Transmission.LOST, 200, GRANTS), id="a good reply of which the end was lost"),
    pytest.param(Reply(Transmission.REPLIED), id="a reply without a status"),
    *(pytest.param(replied(status), id=f"{status} with HTML") for status in (500, 502, 503, 504, *range(520, 525))),
    *(pytest.param(replied(status, status), id=f"{status} with an envelope") for status in (500, 503, 521)),
    pytest.param(replied(500, 400), id="500 that speaks of a parse error"),
    pytest.param(replied(503, entries=GRANTS), id="503 with an array of grants"),
    pytest.param(replied(599), id="599"),
    pytest.param(replied(600), id="600, which is no status"),
    pytest.param(replied(100), id="100"),
    pytest.param(replied(200), id="HTML, undecodable or truncated 200"),
    pytest.param(replied(204), id="204: nothing is reported of the rows"),
    pytest.param(replied(201, 1054), id="201 with an error envelope"),
    pytest.param(replied(200, 1054), id="200 with an error envelope"),
    pytest.param(replied(200, 521), id="200 with an error envelope of a passing reason"),
    pytest.param(Reply(Transmission.REPLIED, 200, envelope=[]), id="200 with an object that holds no error"),
    pytest.param(replied(400), id="400 with HTML"),
    pytest.param(Reply(Transmission.REPLIED, 400, envelope=[]), id="400 with an empty object"),
    pytest.param(Reply(Transmission.REPLIED, 409, envelope=[]), id="409 with an object that holds no error"),
    pytest.param(replied(400, entries=GRANTS), id="400 with an array"),
    *(pytest.param(replied(status), id=f"{status} with HTML") for status in (408, 409, 499)),
    *(pytest.param(replied(status, status), id=f"{status} with an envelope") for status in (408, 409, 499)),
    pytest.param(replied(409, 810), id="409 with another code"),
    pytest.param(replied(409, 1060), id="409 that says 'too large'"),
    pytest.param(replied(408, 400), id="408 that speaks of a parse error"),
    *(pytest.param(replied(status), id=f"{status}, never followed") for status in (300, 301, 302, 303, 304, 307, 308)),
    pytest.param(replied(302, 400), id="302 with an envelope"),
    *(pytest.param(replied(status), id=f"{status}, which no line names") for status in (402, 406, 410, 418, 425, 451)),
    pytest.param(replied(429, 809), id="429 with code 809"),
    pytest.param(replied(413, 809), id="413 with code 809"),
    pytest.param(replied(400, 809), id="400 with code 809: this request id was used before"),
    pytest.param(replied(409, 809), id="409 with code 809"),
    pytest.param(replied(400, 400, 809), id="400 with code 809 after a refusal of the array"),
    pytest.param(replied(400, 1060, 809), id="400 with code 809 after 'too large'"),
]


@pytest.mark.parametrize(("reply", "verdict"), NOT_WRITTEN + REFUSED)
def test_what_was_not_applied_is_not_unknown(reply: Reply, verdict: Verdict) -> None:
    judgement = judge(BATCH, reply)
    assert judgement.verdict is verdict
    assert judgement.rows == ()
    assert judgement.reason
    assert not judgement.proof_failed
    assert not judgement.wrong_time_unit


@pytest.mark.parametrize("reply", NO_PROOF)
def test_without_proof_every_row_is_unknown(reply: Reply) -> None:
    judgement = judge(BATCH, reply)
    assert judgement.verdict is Verdict.UNKNOWN
    assert [row.state for row in judgement.rows] == [RowState.UNKNOWN] * len(BATCH)
    assert judgement.reason
    assert all(row.message == judgement.reason for row in judgement.rows)


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_success_without_rows_fails_the_proof(status: int) -> None:
    assert judge(BATCH, replied(status)).proof_failed


@pytest.mark.parametrize("status", [400, 408, 500, 502, 524])
def test_a_failure_without_proof_contradicts_nothing(status: int) -> None:
    assert not judge(BATCH, replied(status)).proof_failed


@pytest.mark.parametrize("asked", [None, 0.0, 17.5])
def test_a_429_carries_its_wait(asked: float | None) -> None:
    assert judge(BATCH, replied(429, retry_after=asked)).retry_after == asked


def test_a_reused_request_id_is_named_per_row() -> None:
    judgement = judge(BATCH, replied(400, 809))
    assert judgement.code == 809
    assert [row.code for row in judgement.rows] == [809] * len(BATCH)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_only_a_redirect_stops_without_proof(status: int) -> None:
    assert judge(BATCH, replied(status)).redirected
    assert not judge(BATCH, replied(408)).redirected


@pytest.mark.parametrize(("status", "code"), [(400, 1060), (400, 1054), (403, 403), (409, 810), (429, 429)])
def test_the_reason_names_status_code_and_text(status: int, code: int) -> None:
    judgement = judge(BATCH, replied(status, code))
    assert judgement.code == code
    assert judgement.reason == f"HTTP {status}, code {code}: reported {code}"
    wordless = Reply(Transmission.REPLIED, status, envelope=[ApiProblem(code)])
    assert judge(BATCH, wordless).reason == f"HTTP {status}, code {code}: no message"


def test_without_envelope_the_transport_gives_the_reason() -> None:
    reply = Reply(Transmission.REPLIED, 502, problem="512 bytes of text/html")
    assert judge(BATCH, reply).reason == "HTTP 502, 512 bytes of text/html"
    assert judge(BATCH, Reply(Transmission.LOST, problem="read timeout")).reason == "read timeout"
    assert judge(BATCH, Reply(Transmission.NOT_WRITTEN, problem="no such host")).reason == "no such host"
    assert judge(BATCH, Reply(Transmission.NOT_WRITTEN, problem="no token", retry_after=7)).retry_after == 7


@pytest.mark.parametrize("status", [200, 201, 202, 207])
def test_any_2xx_with_proofs_is_judged(status: int) -> None:
    judgement = judge(BATCH, replied(status, entries=GRANTS))
    assert judgement.verdict is Verdict.PER_ROW
    assert [row.state for row in judgement.rows] == [RowState.ACCEPTED] * len(BATCH)
