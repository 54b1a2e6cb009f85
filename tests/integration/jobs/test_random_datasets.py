"""Small random datasets with many repeats, under random faults and deaths: granted once, none lost, all counted.

Each seed is a series of tries, of one job or two over shuffled rows, then a job without faults that ends what is left.
Every try has lanes, batch sizes and canaries of its own.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_capillary.jobs import import_job, row_check

if TYPE_CHECKING:
    from airflow_provider_capillary.jobs.import_job import ImportResult

    from .trial import Trial

SEEDS = range(24)
#: What two rows have in common that are granted once, by how the jobs treat repeats.
RULES: tuple[dict[str, Any], ...] = ({}, {"on_duplicate": "allow"}, {"once_per_customer": True})
MOMENTS = ("intent", "intent-done", "sent", "outcome", "outcome-done", "read", "finding-done", "issues")
ALL_OF_THEM = {"max_rejected": "100%", "max_unknown": "100%"}


def random_rows(chance: random.Random, trial: Trial) -> list[dict[str, Any]]:
    customers, dates = chance.choice((2, 5, 20)), chance.choice((1, 2, 3))
    rows = [
        row
        | {
            "customerId": trial.first_customer + chance.randrange(customers),
            "earnEventDate": trial.first_earned + chance.randrange(dates),
            "badgeMetaId": trial.badge[:-1] + str(chance.randint(1, 2)),
        }
        for row in trial.rows(chance.randint(1, 40))
    ]
    order = chance.choice((1, -1, None))
    if order is not None:
        rows.sort(key=lambda row: order * row["customerId"])
    return rows


def random_faults(chance: random.Random, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    which: dict[str, Any] = chance.choice(({"share": 0.3}, {"times": 2}, {"every": 3}))
    customer = chance.choice(rows)["customerId"]
    every: list[dict[str, Any]] = [
        {"kind": "status", "status": 429, **which},
        {"kind": "status", "status": 413, "min_rows": chance.randint(2, 4)},
        {"kind": "status", "status": 400, "code": 400, "customer_id": customer},
        {"kind": "status", "status": 400, "code": 809, "when": chance.choice(("before", "after")), **which},
        {"kind": "status", "status": 503, "when": chance.choice(("before", "after")), **which},
        {"kind": "status", "status": 403, "every": 4, "times": 1},
        {"kind": "row_error", "row_share": 0.5, **which},
        {"kind": "row_error", "customer_id": customer, "times": 9},
        {"kind": "row_error", "code": 1026, "row_share": 0.5, **which},
        {"kind": "array", "change": chance.choice(("short", "long", "reordered", "duplicated")), **which},
        {"kind": "drop", "at": "after_applying", "applied_share": chance.choice((0.5, 1.0)), **which},
        {"kind": "drop", "at": "after_reading", **which},
    ]
    return chance.sample(every, chance.randint(0, 3))


class Series:
    """The tries of one seed."""

    def __init__(self, trial: Trial, chance: random.Random, rule: dict[str, Any]) -> None:
        self._trial = trial
        self._chance = chance
        self._rule = rule
        self._policy = chance.choice(("verify", "verify", "hold"))
        rows = random_rows(chance, trial)
        self._datasets = [rows, chance.sample(rows, chance.randint(1, len(rows)))]

    def play(self) -> None:
        for _ in range(self._chance.randint(1, 4)):
            night = self._chance.choice((0, 0, 1))
            self._trial.faults(*random_faults(self._chance, self._datasets[night]))
            if self._chance.random() < 0.5:
                self._trial.moments.die(self._chance.choice(MOMENTS), number=self._chance.randint(1, 5))
            try:
                self._run(f"night-{night}", self._datasets[night], self._policy, ALL_OF_THEM)
            except self._trial.killed:
                self._trial.left_in_memory.clear()
                self._trial.clock.advance(61)

    def finish(self) -> ImportResult:
        """End all that is left, by a job of its own: it sends what the others were refused."""
        self._trial.faults()
        rows = self._chance.sample(self._datasets[0], len(self._datasets[0]))
        return self._run("the last night", rows, "verify", {})

    def _run(self, run_id: str, rows: list[dict[str, Any]], policy: str, budgets: dict[str, Any]) -> ImportResult:
        return self._trial.run(
            rows,
            run_id=run_id,
            on_unknown=policy,
            concurrency=self._chance.choice((1, 2, 4, 16)),
            batch_size=self._chance.choice((1, 2, 3, 5, 50)),
            canary=self._chance.random() < 0.5,
            verify_after=self._chance.choice((0, 60)),
            **budgets,
            **self._rule,
        )

    def granted(self) -> Counter[tuple[Any, ...]]:
        """How often each was granted, of what the rule wants once."""
        return Counter(map(self._identity, self._trial.granted().elements()))

    def wanted(self) -> Counter[tuple[Any, ...]]:
        rows = ((row["customerId"], row["badgeMetaId"], row["earnEventDate"]) for row in self._datasets[0])
        often = Counter(map(self._identity, rows))
        return often if self._rule.get("on_duplicate") == "allow" else Counter(dict.fromkeys(often, 1))

    def _identity(self, granted: tuple[int, str, int]) -> tuple[Any, ...]:
        return granted[:2] if self._rule.get("once_per_customer") else granted


@pytest.mark.parametrize("rule", RULES, ids=["skip", "allow", "once per customer"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_repeats_are_granted_as_they_should(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, seed: int, rule: dict[str, Any]
) -> None:
    chance = random.Random(f"{seed} {rule}")
    monkeypatch.setattr(import_job, "WINDOW_ROWS", chance.choice((3, 7, 4_000)))
    monkeypatch.setattr(row_check, "MOST_ROWS", chance.choice((6, 100_000)))
    series = Series(trial, chance, rule)
    series.play()
    assert series.granted() <= series.wanted()
    result = series.finish()
    assert series.granted() <= series.wanted()
    if result.error is None:
        assert series.granted() == series.wanted()
    else:  # a read cannot show which of several instants or equal rows it shows: reported, and left to a person
        assert result.summary.unknown or result.summary.not_sent
