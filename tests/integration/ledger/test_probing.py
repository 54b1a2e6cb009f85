"""What a probe notes, on both databases."""

from __future__ import annotations

from airflow_provider_capillary.core.probing import Before, Way
from airflow_provider_capillary.ledger.facts import JobPlan, JobScope
from airflow_provider_capillary.ledger.ledger import Ledger

BADGE = "5eed0000bad9e00000000001"
WAY = Way("PUT", "epoch_seconds")


def test_a_grant_is_open_until_revoked_or_absent(ledger: Ledger) -> None:
    probe = ledger.probes.begin("org", 7, BADGE, Before(1, ("old",), 5), by="a person")
    first, second = (ledger.probes.note_grant(probe, 100 + number, WAY, "r") for number in (1, 2))
    noted = ledger.probes.open_grants("org")
    assert [(one.key, one.state, one.earned_badge_id, one.earned_at) for one in noted] == [
        (first, "intent", None, 101),
        (second, "intent", None, 102),
    ]
    assert (noted[0].before, noted[0].owner, noted[0].customer_id) == (Before(1, ("old",), 5), ledger.owner, 7)
    ledger.probes.answer_grant(first, "granted", "a" * 24)
    assert ledger.probes.open_grants("org")[0].earned_badge_id == "a" * 24
    ledger.probes.answer_grant(first, "revoked")
    ledger.probes.answer_grant(second, "absent")
    assert ledger.probes.open_grants("org") == ledger.probes.open_grants("other") == []
    assert ledger.probes.ids("org") == {"a" * 24} == set(ledger.earned_badge_ids())


def test_ids_differ_by_customer_badge_and_probe(ledger: Ledger) -> None:
    likes = []
    for number, customer in enumerate((7, 7, 8)):
        probe = ledger.probes.begin("org", customer, BADGE, Before(), by="a person")
        grant = ledger.probes.note_grant(probe, 100, WAY, "r")
        ledger.probes.answer_grant(grant, "granted", f"id{number}")
        likes.append(ledger.probes.open_grants("org")[-1])
    assert [ledger.probes.ids("org", like=like) for like in likes] == [{"id0", "id1"}, {"id1"}, {"id2"}]


def test_the_latest_answers_are_kept_without_a_job(ledger: Ledger) -> None:
    assert ledger.probes.latest("org") is None
    for answer in (1, 2):
        probe = ledger.probes.begin("org", 7, BADGE, Before(), by="a person")
        ledger.probes.finish(probe, {"answer": answer})
    kept = ledger.probes.latest("org")
    assert kept is not None
    assert (kept.answers, kept.asked_by) == ({"answer": 2}, "a person")
    assert ledger.jobs() == []
    job = ledger.open_job(JobScope("d", "t", "r"), JobPlan("org", "h", "f", 1, {}))
    assert ledger.counts(job) == {}
