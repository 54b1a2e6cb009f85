"""Client and simulator were written from the same documentation and share no code: here they must agree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow.sdk import BaseHook

from airflow_provider_capillary.client.client_settings import TimestampFormat
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.verification import Finding, settle
from airflow_provider_capillary.exceptions import RequestRefusedError
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator

KNOWN, UNKNOWN = "654e08f2041fd452b3ef5b2e", "f" * 24
EARNED, EXPIRES = 1674292011, 1705828011
ROW = EarnedBadge(1, KNOWN, 382442802, EARNED, EXPIRES)


@pytest.fixture(params=["basic", "oauth"])
def simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSimulator]:
    with running_simulator(zone="Asia/Kolkata", identifiers={("email", "a+b@example.com"): 7}) as running:
        monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", running.airflow_connection(request.param))
        yield running


@pytest.fixture
def hook(simulator: RunningSimulator) -> Iterator[CapillaryBadgeHook]:
    made = CapillaryBadgeHook()
    assert isinstance(made, BaseHook)
    yield made
    made.get_conn().close()


def test_a_badge_is_granted_read_back_and_revoked(hook: CapillaryBadgeHook) -> None:
    before = hook.get_customer_badge(ROW.customer_id, KNOWN)
    assert settle(EARNED, before.view(), others_at_instant=0).finding is Finding.ABSENT
    [outcome] = hook.import_badges([ROW])
    assert outcome.state is RowState.ACCEPTED
    assert outcome.earned_badge_id is not None
    after = hook.get_customer_badge(ROW.customer_id, KNOWN)
    settled = settle(EARNED, after.view(), others_at_instant=0)
    assert (settled.finding, settled.earned_badge_id) == (Finding.GRANTED, outcome.earned_badge_id)
    assert hook.revoke_earned_badge(KNOWN, ROW.customer_id, outcome.earned_badge_id).is_active is False
    with pytest.raises(RequestRefusedError) as again:
        hook.revoke_earned_badge(KNOWN, ROW.customer_id, outcome.earned_badge_id)
    assert again.value.code == 814


def test_an_unknown_badge_is_rejected_beside_an_accepted_row(hook: CapillaryBadgeHook) -> None:
    outcomes = hook.import_badges([ROW, EarnedBadge(2, UNKNOWN, 7, EARNED, EXPIRES), ROW])
    assert [(outcome.state, outcome.code) for outcome in outcomes] == [
        (RowState.ACCEPTED, None),
        (RowState.REJECTED, 1054),
        (RowState.ACCEPTED, None),
    ]


def test_badges_are_listed_and_found(hook: CapillaryBadgeHook) -> None:
    listed = [badge.badge_meta_id for badge in hook.list_badges(page_size=3)]
    assert KNOWN in listed
    assert len(listed) == len(set(listed)) == 13
    found = hook.get_badge(KNOWN)
    assert found is not None
    assert found.badge_meta_id == KNOWN
    assert hook.get_badge(UNKNOWN) is None


def test_a_customer_is_looked_up(hook: CapillaryBadgeHook) -> None:
    assert hook.lookup_customer("email", "a+b@example.com") == 7
    assert hook.lookup_customer("email", "nobody@example.com") is None


def test_the_connection_test_succeeds(hook: CapillaryBadgeHook) -> None:
    assert hook.test_connection()[0]


def test_a_wrong_method_names_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_simulator(methods=("POST",)) as running:
        monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", running.airflow_connection())
        with pytest.raises(RequestRefusedError, match="import_method POST"):
            CapillaryBadgeHook().import_badges([ROW])
        assert len(running.store) == 0


@pytest.mark.parametrize("timestamp_format", [each for each in TimestampFormat if "milli" not in each])
def test_every_correct_format_stores_the_same_instants(monkeypatch: pytest.MonkeyPatch, timestamp_format: str) -> None:
    with running_simulator() as running:
        connection = running.airflow_connection(timestamp_format=str(timestamp_format))
        monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", connection)
        hook = CapillaryBadgeHook()
        assert [outcome.state for outcome in hook.import_badges([ROW])] == [RowState.ACCEPTED]
        assert hook.get_customer_badge(ROW.customer_id, KNOWN).last_earn_event_at == EARNED
        hook.get_conn().close()


def test_milliseconds_are_never_taken_for_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_simulator() as running:
        connection = running.airflow_connection(timestamp_format="epoch_milliseconds")
        monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY_DEFAULT", connection)
        assert [outcome.state for outcome in CapillaryBadgeHook().import_badges([ROW])] == [RowState.UNKNOWN]
