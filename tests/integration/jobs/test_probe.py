"""A first contact finds the truth in every mode of the simulator, and leaves nothing behind, even when it is killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_capillary.core.probing import RepeatedId, Shown
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError, JobIsRunningError
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.fault_plan import DropFault, RowErrorFault, StatusFault
from airflow_provider_capillary.simulator.settings import Reads

from .probing import BADGE, CUSTOMER, Clock, Deaths, FirstContact, KilledError

FORMATS = ("epoch_seconds", "epoch_milliseconds", "iso_inline", "iso_fields")
SHIFT = -19_800


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Ledger]:
    """One for all modes: each is an organisation of its own. Its disk is not waited for: no power is cut here."""
    with closing(Ledger(f"sqlite:///{tmp_path_factory.mktemp('probe') / 'ledger.db'}", clock=clock.now)) as ledger:
        ledger.database.engine.dispose()
        sa.event.listen(ledger.database.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))
        yield ledger


@pytest.mark.parametrize("timestamps", FORMATS)
@pytest.mark.parametrize("methods", [("PUT",), ("POST",), ("PUT", "POST")])
def test_method_and_unit_are_found_whatever_they_are(
    ledger: Ledger, clock: Clock, timestamps: str, methods: tuple[str, ...]
) -> None:
    others = itertools.product(
        (False, True),
        ("UTC", "Asia/Kolkata"),
        (Reads(), Reads(show_imports=False)),
        (0.0, 45.0),
        ("PUT", "POST"),
    )
    for refuses, zone, reads, delay, first in others:
        contact = FirstContact(
            ledger,
            clock,
            first,
            methods=methods,
            timestamps=timestamps,
            refuse_repeated_request_ids=refuses,
            zone=zone,
            reads=reads,
            read_delay_seconds=delay,
        )
        probed = contact.probe()
        answers = probed.answers
        method = first if first in methods else methods[0]
        assert answers.extras == {"import_method": method, "timestamp_format": timestamps}
        expected = RepeatedId.REFUSED if refuses else RepeatedId.GRANTED_AGAIN
        assert answers.repeated_request_id is expected
        assert answers.server_offset == ("Z" if zone == "UTC" else "+05:30")
        assert answers.reads_show is reads.show_imports
        assert (contact.active, probed.left, probed.error) == (0, (), None)
        assert 1 <= contact.grants == probed.granted == probed.revoked <= 3
        if reads.show_imports:
            assert answers.read_after is not None
            assert delay <= answers.read_after <= delay + 10
            assert answers.verify_after == (60 if not delay else answers.verify_after)
            assert (answers.verify_after or 0) >= 2 * delay
        else:
            assert (answers.verify_after, answers.on_unknown) == (None, "hold")


@pytest.mark.parametrize("shape", ["issuals", "event", "none"])
@pytest.mark.parametrize("precision", [1, 60, 86_400])
@pytest.mark.parametrize("shift", [0, SHIFT, 7_200])
def test_what_reads_show_is_found_whatever_it_is(
    ledger: Ledger, clock: Clock, shape: str, precision: int, shift: int
) -> None:
    for milliseconds, last, delay, echo in itertools.product(
        (False, True), ("latest", "posted"), (0.0, 45.0), (False, True)
    ):
        reads = Reads(
            event_shift_seconds=shift,
            event_precision_seconds=precision,
            milliseconds=milliseconds,
            last=last,  # type: ignore[arg-type]
            echo_customer=echo,
        )
        contact = FirstContact(
            ledger,
            clock,
            reads=reads,
            read_delay_seconds=delay,
            earns_detail=shape != "none",
            earns_shape=shape if shape != "none" else "issuals",
        )
        probed = contact.probe()
        answers = probed.answers
        assert answers.reads_show
        assert answers.read_id is (shape != "none")
        readable = not milliseconds or shape == "event"  # else number and ISO text contradict each other
        assert answers.read_instant is _shown(shift, precision) if readable else Shown.NONE
        assert answers.on_unknown == ("verify" if readable and (shift, precision) == (0, 1) else "hold")
        assert (contact.active, probed.left, probed.error) == (0, (), None)


def _shown(shift: int, precision: int) -> Shown:
    if precision > 1:
        return Shown.COARSE
    return Shown.SHIFTED if shift else Shown.EXACT


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


def test_a_customer_who_holds_the_badge_already_keeps_it(ledger: Ledger, clock: Clock) -> None:
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
def test_killed_at_any_step_the_next_call_revokes_what_was_granted(
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
def test_a_lost_reply_is_found_by_a_read_or_reported(ledger: Ledger, clock: Clock, number: int, detail: bool) -> None:
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


def test_what_was_lost_before_it_was_applied_is_closed_as_absent(ledger: Ledger, clock: Clock) -> None:
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
def test_an_api_that_grants_nothing_is_reported_after_few_requests(ledger: Ledger, clock: Clock, fault: Any) -> None:
    contact = FirstContact(ledger, clock)
    contact.simulator.use_faults([fault])
    probed = contact.probe()
    assert (contact.active, contact.grants, probed.answers.way) == (0, 0, None)
    assert probed.error is not None
    assert sum(count for call, count in contact.simulator.request_counts().items() if "import" in call) <= 2


def test_a_badge_or_customer_that_is_not_there_is_refused_before_anything_is_granted(
    ledger: Ledger, clock: Clock
) -> None:
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
