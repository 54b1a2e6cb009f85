"""A first contact finds the truth in every mode of the simulator, and leaves nothing behind, even when it is killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.core.probing import Shown
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError, JobIsRunningError
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.fault_plan import DropFault, RowErrorFault, StatusFault
from airflow_provider_capillary.simulator.simulator_settings import Reads
from dev.first_contact.contact import BADGE, CUSTOMER, Clock, Deaths, FirstContact, KilledError
from dev.first_contact.modes import modes, quick_ledger, try_mode

SHIFT = -19_800


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Ledger]:
    with quick_ledger(tmp_path_factory.mktemp("probe"), clock) as ledger:
        yield ledger


def test_a_probe_finds_the_truth_about_any_api(ledger: Ledger, clock: Clock) -> None:
    """A share of all combinations; ``make first-contact`` tries every one."""
    for mode in modes(every=307):
        try_mode(ledger, clock, mode)


def test_the_answers_are_kept_and_block_no_import(ledger: Ledger, clock: Clock) -> None:
    contact = FirstContact(ledger, clock)
    probed = contact.probe()
    kept = ledger.probes.latest(contact.name)
    assert kept is not None
    assert kept.asked_by == "a person"
    assert kept.answers["connection_extras"] == probed.answers.extras
    assert kept.answers["verify_after"] == 60
    assert ledger.jobs() == []  # nothing that an import, a control or a reconciliation could meet
    ids = {grant.earned_badge_id for grant in contact.simulator.store.grants()}
    assert ids <= set(ledger.earned_badge_ids())


def test_a_badge_held_before_the_probe_stays(ledger: Ledger, clock: Clock) -> None:
    for detail in (True, False):
        contact = FirstContact(ledger, clock, earns_detail=detail)
        now = int(clock.now())
        before = [(1, CUSTOMER, BADGE, (now - day * 86_400, 0), (now + 86_400, 0)) for day in (400, 30)]
        contact.simulator.store.grant(before, "earlier", clock.now())
        probed = contact.probe()
        assert (contact.active, probed.revoked, probed.answers.read_instant) == (2, 2, Shown.EXACT)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "modes",
    [
        {},
        {"timestamps": "epoch_milliseconds", "methods": ("POST",)},
        {"timestamps": "iso_fields", "refuse_repeated_request_ids": True, "read_delay_seconds": 20.0},
        {"earns_shape": "event", "reads": Reads(event_shift_seconds=SHIFT)},
    ],
)
def test_a_probe_killed_anywhere_is_cleaned_up_next(
    ledger: Ledger, clock: Clock, modes: dict[str, Any], after: bool
) -> None:
    for step in itertools.count(1):
        contact = FirstContact(ledger, clock, **modes)
        deaths = Deaths(step, after=after)
        try:
            contact.probe(deaths)
        except KilledError:
            pass
        else:
            assert step > 15
            return
        probed = contact.probe()
        assert (contact.active, probed.left, probed.error) == (0, (), None), f"killed at step {step}"
        assert contact.grants <= 6
        assert ledger.probes.open_grants(contact.name) == []


def test_killed_twice_the_third_call_leaves_nothing(ledger: Ledger, clock: Clock) -> None:
    for first, second in itertools.product(range(5, 16, 2), range(3, 20, 3)):
        contact = FirstContact(ledger, clock)
        for step in (first, second):
            with pytest.raises(KilledError):
                contact.probe(Deaths(step, after=True))
        probed = contact.probe()
        assert (contact.active, probed.left) == (0, ())


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("detail", [True, False])
def test_a_lost_reply_is_found_or_reported(ledger: Ledger, clock: Clock, number: int, detail: bool) -> None:
    contact = FirstContact(ledger, clock, earns_detail=detail)
    contact.simulator.use_faults([DropFault(at="after_applying", numbers=(number,))])
    probed = contact.probe()
    if detail:
        assert (contact.active, probed.left, probed.error) == (0, (), None)
        assert probed.answers.extras["timestamp_format"] == "epoch_seconds"
    else:
        assert contact.active == len(probed.left) == 1
        assert str(CUSTOMER) in probed.left[0]
        assert isinstance(probed.error, CapillaryError)


def test_what_was_never_applied_is_closed_as_absent(ledger: Ledger, clock: Clock) -> None:
    contact = FirstContact(ledger, clock)
    contact.simulator.use_faults([DropFault(at="after_reading", numbers=(1,))])
    probed = contact.probe()
    assert (contact.active, len(probed.left), contact.grants) == (0, 1, 0)
    again = contact.probe()
    assert (contact.active, again.left, again.error) == (0, (), None)


def test_a_passing_refusal_is_waited_for(ledger: Ledger, clock: Clock) -> None:
    contact = FirstContact(ledger, clock)
    contact.simulator.use_faults([StatusFault(status=429, numbers=(1, 2), retry_after=5)])
    probed = contact.probe()
    assert (contact.active, probed.error, probed.granted) == (0, None, 2)


@pytest.mark.parametrize(
    "fault",
    [
        StatusFault(status=403),
        StatusFault(status=502, body="html"),
        RowErrorFault(code=1026, message="no such customer"),
        RowErrorFault(code=815, message="Badge is not live"),
    ],
)
def test_an_api_granting_nothing_costs_few_requests(ledger: Ledger, clock: Clock, fault: Any) -> None:
    contact = FirstContact(ledger, clock)
    contact.simulator.use_faults([fault])
    probed = contact.probe()
    assert (contact.active, contact.grants, probed.answers.way) == (0, 0, None)
    assert probed.error is not None
    assert sum(count for call, count in contact.simulator.request_counts().items() if "import" in call) <= 2


def test_a_missing_badge_or_customer_is_refused_first(ledger: Ledger, clock: Clock) -> None:
    contact = FirstContact(ledger, clock, customers=frozenset({CUSTOMER}))
    with pytest.raises(ConfigurationError, match="has no badge"):
        contact.probe(badge="0123456789abcdef01234567")
    with pytest.raises(CapillaryError, match="1026"):
        contact.probe(customer=7)
    assert not any("import" in call for call in contact.simulator.request_counts())


def test_a_probe_that_runs_elsewhere_is_left_alone(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with (
        closing(Ledger(url, clock=clock.now, owner="another machine/7/1")) as elsewhere,
        closing(Ledger(url, clock=clock.now)) as here,
    ):
        contact = FirstContact(elsewhere, clock)
        with pytest.raises(KilledError):
            contact.probe(Deaths(8, after=True))
        assert contact.active == 1
        contact.ledger = here
        with pytest.raises(JobIsRunningError, match="another probe"):
            contact.probe()
        clock.wait(601)
        assert (contact.probe().recovered, contact.active) == (1, 0)
