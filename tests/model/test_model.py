"""The protocol keeps its promises in every interleaving, and needs each of its rules. ``make model`` goes deeper."""

from __future__ import annotations

import re
from functools import cache

import pytest

from dev.model.counterexamples import NEEDED
from dev.model.rules import (
    ALL_RULES,
    BLIND,
    COPIES,
    CUTTING,
    HONEST,
    JOBS,
    LISTING,
    Bound,
    Mishaps,
    Rules,
    World,
    without,
)
from dev.model.search import Result, search
from dev.model.state import Model


@cache
def explored(rules: Rules, world: World, bound: Bound) -> Result:
    return search(Model(rules, world, bound))


#: Two workers, three rows of two customers.
MAIN = (HONEST, COPIES, Mishaps(crashes=2, lost_replies=1, late_commits=1, clock_steps=1))


@pytest.mark.parametrize(
    ("world", "jobs", "mishaps"),
    [
        pytest.param(*MAIN, id="two copies, two deaths, a late commit, a clock step"),
        pytest.param(
            HONEST, JOBS, Mishaps(crashes=1, lost_replies=1, late_commits=1), id="two jobs with the same rows"
        ),
        pytest.param(
            HONEST, COPIES, Mishaps(crashes=1, refusals=1, failed_connects=1, pauses=1), id="refusals and pauses"
        ),
        pytest.param(HONEST, COPIES, Mishaps(lost_replies=2, delayed_reads=2, pauses=1), id="reads show grants late"),
        pytest.param(LISTING, JOBS, Mishaps(lost_replies=2, late_commits=1), id="reads list every earn"),
        pytest.param(BLIND, COPIES, Mishaps(crashes=1, lost_replies=2, late_commits=1), id="reads do not show imports"),
        pytest.param(CUTTING, JOBS, Mishaps(lost_replies=2, late_commits=1), id="reads cut instants"),
    ],
)
def test_no_interleaving_breaks_a_promise(world: World, jobs: tuple[int, ...], mishaps: Mishaps) -> None:
    result = explored(ALL_RULES, world, Bound(jobs, mishaps=mishaps))
    assert result.fault is None, result.run
    assert result.complete > 0, "no run ends with every row granted, so the search proves nothing"


def test_ticks_at_any_moment_change_nothing() -> None:
    bound = Bound(COPIES, 2, mishaps=Mishaps(crashes=1, lost_replies=1, late_commits=1, pauses=1), free_time=True)
    result = search(Model(bound=bound))
    assert result.fault is None, result.run
    assert result.complete > 0


def test_each_rule_has_its_counterexample() -> None:
    assert list(NEEDED) == list(Rules.__struct_fields__)


@pytest.mark.parametrize("rule", NEEDED)
def test_without_the_rule_a_promise_breaks(rule: str) -> None:
    needed = NEEDED[rule]
    result = explored(without(rule), needed.world, needed.bound)
    assert result.fault is not None
    assert needed.breaks in result.fault
    assert explored(ALL_RULES, needed.world, needed.bound).fault is None, "the promise breaks with the rule, too"


def test_a_counterexample_can_be_followed_step_by_step() -> None:
    *lines, end = explored(without("control"), NEEDED["control"].world, NEEDED["control"].bound).run.splitlines()
    assert [int(line.split(".")[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert all(re.match(r" +\d+\. (worker \d \(job \d\)|API|time) +\S", line) for line in lines)
    assert end == "  => row 1 is granted twice"
