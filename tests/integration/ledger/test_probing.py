"""What a probe notes, on both databases."""

from __future__ import annotations

from airflow_provider_capillary.core.probing import Before, Way
from airflow_provider_capillary.ledger.facts import JobPlan, JobScope
from tests.integration.ledger.backends import Backend

BADGE = "5eed0000bad9e00000000001"
WAY = Way("PUT", "epoch_seconds")


def test_a_grant_is_open_until_it_is_revoked_or_absent(backend: Backend) -> None:
    ledger = backend.open()
    probe = ledger.begin_probe("org", 7, BADGE, Before(1, ("old",), 5), by="a person")
    first, second = (ledger.note_probe_grant(probe, 100 + number, WAY, "r") for number in (1, 2))
    noted = ledger.open_probe_grants("org")
    assert [(one.key, one.state, one.earned_badge_id, one.earned_at) for one in noted] == [
        (first, "intent", None, 101),
        (second, "intent", None, 102),
    ]
    assert (noted[0].before, noted[0].owner, noted[0].customer_id) == (Before(1, ("old",), 5), ledger.owner, 7)
    ledger.answer_probe_grant(first, "granted", "a" * 24)
    assert ledger.open_probe_grants("org")[0].earned_badge_id == "a" * 24
    ledger.answer_probe_grant(first, "revoked")
    ledger.answer_probe_grant(second, "absent")
    assert ledger.open_probe_grants("org") == ledger.open_probe_grants("other") == []
    assert ledger.probe_ids("org") == {"a" * 24} == set(ledger.earned_badge_ids())


def test_ids_are_told_apart_by_customer_badge_and_probe(backend: Backend) -> None:
    ledger = backend.open()
    likes = []
    for number, customer in enumerate((7, 7, 8)):
        probe = ledger.begin_probe("org", customer, BADGE, Before(), by="a person")
        grant = ledger.note_probe_grant(probe, 100, WAY, "r")
        ledger.answer_probe_grant(grant, "granted", f"id{number}")
        likes.append(ledger.open_probe_grants("org")[-1])
    assert [ledger.probe_ids("org", like=like) for like in likes] == [{"id0", "id1"}, {"id1"}, {"id2"}]


def test_the_latest_answers_are_kept_and_no_job_begins(backend: Backend) -> None:
    ledger = backend.open()
    assert ledger.latest_probe("org") is None
    for answer in (1, 2):
        probe = ledger.begin_probe("org", 7, BADGE, Before(), by="a person")
        ledger.finish_probe(probe, {"answer": answer})
    kept = ledger.latest_probe("org")
    assert kept is not None
    assert (kept.answers, kept.asked_by) == ({"answer": 2}, "a person")
    assert ledger.jobs() == []
    job = ledger.open_job(JobScope("d", "t", "r"), JobPlan("org", "h", "f", 1, {}))
    assert ledger.counts(job) == {}
