"""The registry: every reason that rows can have finds an entry of its own, by its whole or shortened message."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary import exceptions
from airflow_provider_capillary.core import outcome
from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import InvalidRow
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.general_text import general
from airflow_provider_capillary.core.planning import Plan
from airflow_provider_capillary.core.reason_table import API_CODES, OTHER, OTHER_INVALID
from airflow_provider_capillary.core.reasons import FAILURES, REGISTRY, explain, names
from airflow_provider_capillary.core.seeding import SeedPlan
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.core.verification import Disbelief, Finding
from airflow_provider_capillary.exceptions import Trouble
from airflow_provider_capillary.jobs import account, aside, read_back, reconcile, repeats, row_check

BADGE, CUSTOMER, EARNED, EXPIRES = "654e08f2041fd452b3ef5b2e", 7, 1_736_942_400, 1_768_478_400
COLUMNS = ("badge_meta_id", "customer_id", "earn_event_date", "earn_expires_on")
#: Of these nothing is sent, and the task fails.
OF_THE_CONNECTION = {Trouble.INVALID_HOST, Trouble.INVALID_URL, Trouble.INVALID_HEADER}
PROOF_LACKING = "no complete reply within the timeout"


def both_forms(message: str) -> tuple[str, str]:
    """As the ledger keeps it, and as summaries have it: values masked, cut to a line."""
    return message, general(message)


def message_of(*values: Any, timezone: str | None = None, unit: str = "s") -> str:
    reader = RowReader(resolve_columns(column_choices(None), COLUMNS), named_zone(timezone), unit)
    [row] = reader.read(1, *([value] for value in values))
    assert isinstance(row, InvalidRow), values
    return row.message


@pytest.mark.parametrize(
    ("badge", "name"),
    [
        (None, "value-missing"),
        ("  ", "value-missing"),
        (float("nan"), "value-not-a-number"),
        ("x" * 65, "value-text"),
        ("654e08f2041fd452b3ef5b2e\n", "value-text"),
        (7, "value-type"),
        (["a"], "value-type"),
        (date(2025, 1, 1), "value-type"),
        ("Big basket", "badge-id"),
        ("654e08f2041fd452b3ef5b2", "badge-id"),
    ],
    ids=repr,
)
def test_a_bad_badge_id_is_explained(badge: Any, name: str) -> None:
    for message in both_forms(message_of(badge, CUSTOMER, EARNED, EXPIRES)):
        assert names("validate", None, message) == name


@pytest.mark.parametrize(
    ("customer", "name"),
    [
        ("919876543210x", "customer-id"),
        ("ada@example.com", "customer-id"),
        ("0123456", "customer-id"),
        ("1,234,567", "customer-id"),
        (-7, "customer-id"),
        (2**63, "customer-id"),
        ("1.2E+11", "customer-id-rounded, customer-id"),
        (2.0**53, "customer-id-rounded"),
        (1.5, "customer-id-rounded"),
        (True, "value-type"),
    ],
    ids=repr,
)
def test_a_bad_customer_id_is_explained(customer: Any, name: str) -> None:
    for message in both_forms(message_of(BADGE, customer, EARNED, EXPIRES)):
        assert names("validate", None, message) == name


@pytest.mark.parametrize(
    ("earned", "name"),
    [
        ("2025-01-15 12:00", "instant-without-offset"),
        (datetime(2025, 1, 15), "instant-without-offset"),
        (date(2025, 1, 15), "instant-without-offset"),
        (EARNED * 1_000, "instant-unit"),
        (EARNED * 1_000_000_000, "instant-unit"),
        ("1999-12-31T00:00:00Z", "instant-range"),
        (17, "instant-range"),
        ("yesterday", "instant-unreadable"),
        ("2025-01-15 12:00:00 Mars/Base", "instant-unreadable"),
        (True, "value-type"),
        (Decimal("Infinity"), "value-not-a-number"),
        ("2027-01-15T12:00:00Z", "expiry-not-after-earning"),
    ],
    ids=repr,
)
def test_a_bad_instant_is_explained(earned: Any, name: str) -> None:
    for message in both_forms(message_of(BADGE, CUSTOMER, earned, EXPIRES)):
        assert names("validate", None, message) == name


def test_a_time_that_clocks_skipped_is_explained() -> None:
    message = message_of(BADGE, CUSTOMER, "2025-03-30T02:30:00", EXPIRES, timezone="Europe/Berlin")
    assert names("validate", None, general(message)) == "instant-skipped"


def test_a_row_of_many_faults_names_several_entries() -> None:
    message = message_of("Big basket", "ada@example.com", "2025-01-15 12:00", EXPIRES)
    assert names("validate", None, message) == "badge-id, customer-id, instant-without-offset"


def test_every_deciding_code_is_explained() -> None:
    codes = {*outcome.ARRAY_REFUSED, outcome.BATCH_TOO_LARGE, outcome.REQUEST_ID_REUSED, row_check.NOT_FOUND_CODE}
    silent = codes - API_CODES.keys()
    assert not silent, f"{silent}: say in core/reason_table.py (API_CODES) what they mean and what to do"


@pytest.mark.parametrize("plan", [Plan.REJECTED, Plan.REVOKED, Plan.DUPLICATE, Plan.BUSY])
def test_every_plan_of_an_unsent_row_is_explained(plan: Plan) -> None:
    assert {names("plan", None, message) for message in both_forms(plan.value)} <= set(REGISTRY) - {OTHER.name}


@pytest.mark.parametrize("ends", [*repeats._ENDS.values(), repeats._NOT_SENT], ids=lambda one: one[1][:40])
def test_a_row_that_repeats_another_is_explained(ends: Any) -> None:
    assert explain("plan", None, ends[1])[0].name == "repeated-row"


@pytest.mark.parametrize(
    ("why", "name"),
    [
        (Disbelief.TOO_MANY_EARNS.value, "too-many-earns"),
        (Disbelief.NO_CONTROL.value, "no-control-yet"),
        (Disbelief.NOT_SHOWN.value, "reads-do-not-show-imports"),
        (Finding.UNDECIDED.value, "read-proves-neither"),
        (read_back.REFUSED, "read-refused"),
        (read_back.FOUND, "found-by-reading-back"),
        (reconcile.ABSENT, "proven-absent"),
    ],
)
def test_a_read_outranks_the_replys_fault(why: str, name: str) -> None:
    for message in both_forms(f"{PROOF_LACKING}; {why}"):
        assert explain("verify", None, message)[0].name == name
    assert explain("verify", 404, f"{PROOF_LACKING}; {why}")[0].name == name


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (read_back.MAY_BE_TWICE, "may-be-granted-twice"),
        (reconcile.DOUBT.format(by="ada"), "by-a-persons-word"),
        (read_back.CUT_OFF, "cut-off"),
        (aside.NO_ROOM, "no-control-yet"),
        (account.ELSEWHERE, "in-another-job"),
        (reconcile.ELSEWHERE, "in-another-job"),
        (SeedPlan.IN_FLIGHT.value, "in-another-job"),
        ("HTTP 503", "server-error"),
        ("HTTP 302, moved", "redirected"),
        ("HTTP 409", "status-does-not-prove"),
        ("the reply has 3 entries for 4 rows", "reply-does-not-prove"),
        ("entry 2 of the reply is not about row 2 of the batch", "reply-does-not-prove"),
        ("the entry holds neither an earnedBadgeId nor errors", "reply-does-not-prove"),
        ("the job stopped: stopped early: 5 batches in a row were refused", "job-stopped"),
    ],
)
def test_every_other_reason_has_its_entry(message: str, name: str) -> None:
    assert explain("send", None, message)[0].name == name


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - OF_THE_CONNECTION, key=str), ids=str)
def test_every_trouble_of_the_network_is_explained(trouble: Trouble) -> None:
    assert explain("send", None, f"{trouble.value} (errno 104)")[0].name == "no-reply"


def test_an_api_code_decides() -> None:
    assert names("send", 1054, "HTTP 503 is missing") == names("badge_check", 1054, "x") == "api-1054"
    assert names("send", 4711, "whatever") == "api-other"


@given(st.sampled_from(["validate", "plan", "send", "verify", "?"]), st.none() | st.integers(), st.text())
def test_every_reason_has_an_entry(stage: str, code: int | None, message: str) -> None:
    found = explain(stage, code, message)
    assert found
    assert all(REGISTRY[entry.name] is entry for entry in found)
    assert explain("validate", None, "\0")[0] is OTHER_INVALID


def test_every_entry_has_an_anchor_and_a_meaning() -> None:
    for name, entry in REGISTRY.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*|[A-Z]\w+Error", name), name
        assert entry.title, name
        assert entry.meaning.endswith("."), name
        assert not entry.to_do or entry.to_do.endswith("."), name


def test_every_ending_error_says_what_to_do() -> None:
    def leaves(kind: type[exceptions.CapillaryError]) -> set[type[exceptions.CapillaryError]]:
        below = set().union(*(leaves(each) for each in kind.__subclasses__() if each.__module__ == exceptions.__name__))
        return below or {kind}

    assert leaves(exceptions.CapillaryError) <= set(FAILURES)
    assert all(entry.to_do for entry in FAILURES.values())
