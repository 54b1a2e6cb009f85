"""The names of organisations: known, added, renamed, refused."""

from __future__ import annotations

import pytest

from airflow_provider_capillary.core.probing import Before, Way
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import ConfigurationError, JobIsRunningError, UnknownOrganisationError
from airflow_provider_capillary.ledger import names
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.ledger import Ledger

from .building import GOLD, badge, begin, bring_to, claim, state


def grant(ledger: Ledger, name: str, *, host: str = "api.example.com", run: str = "2026-01-01") -> Job:
    job = begin(ledger, run, organisation=name, host=host)
    bring_to(ledger, job, RowState.ACCEPTED, badge(1))
    return job


@pytest.mark.parametrize("host", ["api.example.com", "elsewhere.example.com"])
def test_an_unknown_name_beside_grants_is_refused(ledger: Ledger, host: str) -> None:
    grant(ledger, "old name")
    with pytest.raises(UnknownOrganisationError) as refused:
        begin(ledger, organisation="new name", host=host)
    for part in ("'new name'", "'old name'", "rename 'old name' 'new name'", "organisations add 'new name'"):
        assert part in str(refused.value)
    assert [each.name for each in ledger.organisations()] == ["old name"]


@pytest.mark.parametrize("left", [RowState.INTENT, RowState.UNKNOWN, RowState.ACCEPTED])
def test_rows_perhaps_granted_count_as_grants(ledger: Ledger, left: RowState) -> None:
    bring_to(ledger, begin(ledger, organisation="old"), left, badge(1))
    with pytest.raises(UnknownOrganisationError):
        ledger.refuse_unknown_organisation("new")


def test_where_nothing_was_granted_any_name_is_taken(ledger: Ledger) -> None:
    begin(ledger, organisation="never sent")
    bring_to(ledger, begin(ledger, organisation="rejected"), RowState.REJECTED, badge(1))
    grant(ledger, "new")
    begin(ledger, "next", organisation="new")
    assert [each.name for each in ledger.organisations() if each.holds_grants] == ["new"]


def test_a_known_name_is_taken_beside_others(ledger: Ledger) -> None:
    first, second = begin(ledger, organisation="first"), begin(ledger, organisation="second")
    for job in (first, second):
        claim(ledger, job, badge(1))
    for name in ("first", " FIRST ", "Second"):
        begin(ledger, f"next of {name!r}", organisation=name)


def test_an_added_name_is_another_organisation(ledger: Ledger) -> None:
    job = grant(ledger, "old")
    assert ledger.add_organisation("new")
    assert not ledger.add_organisation("NEW")
    other = grant(ledger, "new")
    assert state(ledger, other, badge(1)) is state(ledger, job, badge(1)) is RowState.ACCEPTED


def test_a_renamed_organisation_keeps_what_was_granted(ledger: Ledger) -> None:
    job = grant(ledger, "old")
    ledger.finish_job(job, "finished", None)
    ledger.rename_organisation("OLD", "Brand new")
    again = begin(ledger, "next", organisation="brand NEW")
    assert state(ledger, again, badge(1)) is RowState.ACCEPTED
    assert ledger.job(job.job_id).organisation == "Brand new"
    with pytest.raises(UnknownOrganisationError):
        begin(ledger, organisation="old")


def test_probes_go_with_a_rename(ledger: Ledger) -> None:
    job = grant(ledger, "Old")
    ledger.finish_job(job, "finished", None)
    probe = ledger.probes.begin("Old", 7, GOLD, Before(), by="a person")
    ledger.probes.note_grant(probe, 100, Way("PUT", "epoch_seconds"), "r")
    ledger.probes.finish(probe, {"answer": 1})
    ledger.rename_organisation("OLD", "New")
    assert [one.probe for one in ledger.probes.open_grants(" new ")] == [probe]
    assert ledger.probes.open_grants("old") == []
    assert ledger.probes.latest("NEW") is not None


def test_a_rename_takes_over_a_name_without_badges(ledger: Ledger) -> None:
    empty = begin(ledger, organisation="new")
    job = grant(ledger, "old")
    ledger.finish_job(job, "finished", None)
    ledger.rename_organisation("old", "new")
    assert [(each.name, each.jobs) for each in ledger.organisations()] == [("new", 2)]
    assert ledger.job(empty.job_id).organisation == "new"


def test_a_name_with_badges_is_not_reassigned(ledger: Ledger) -> None:
    first, second = begin(ledger, organisation="first"), begin(ledger, organisation="second")
    for job in (first, second):
        bring_to(ledger, job, RowState.ACCEPTED, badge(1))
        ledger.finish_job(job, "finished", None)
    with pytest.raises(ConfigurationError, match="badges were sent under the name 'second'"):
        ledger.rename_organisation("first", "Second")
    assert [each.name for each in ledger.organisations()] == ["first", "second"]


def test_a_running_job_prevents_a_rename(ledger: Ledger) -> None:
    grant(ledger, "old")
    with pytest.raises(JobIsRunningError):
        ledger.rename_organisation("old", "new")


def test_renaming_what_is_not_there_names_what_is(ledger: Ledger) -> None:
    grant(ledger, "acme")
    with pytest.raises(ConfigurationError, match="'nobody'; it knows 'acme'"):
        ledger.rename_organisation("nobody", "new")


def test_a_name_granted_meanwhile_is_known(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(ledger, "new")
    monkeypatch.setattr(names, "_find", lambda *_: None)  # what the first look saw
    ledger.refuse_unknown_organisation("New")
    with pytest.raises(UnknownOrganisationError):
        ledger.refuse_unknown_organisation("another")
