"""A job beside what Airflow remembers of its ledger, which is kept in memory here."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_capillary.exceptions import WitnessUnavailableError, WrongLedgerError
from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
from airflow_provider_capillary.ledger.ledger import Ledger

from .moments import Memory
from .trial import Trial


def exchange(trial: Trial, name: str) -> None:
    """Keep the ledger as it is under another name, or put what was kept so in its place."""
    ledger, kept = trial.folder / "ledger.db", trial.folder / name
    if not kept.exists():
        shutil.copy(ledger, kept)
        return
    for suffix in ("", "-wal", "-shm"):
        (trial.folder / f"ledger.db{suffix}").unlink(missing_ok=True)
    shutil.copy(kept, ledger)


def test_the_right_ledger_is_never_refused(trial: Trial, night: Any, memory: Memory) -> None:
    ends = [trial.ends(night(number)) for number in range(3)]
    assert ends == [{"accepted": 3}, {"already_accepted": 3}, {"already_accepted": 3}]
    assert len(memory.written) == 2 * 3
    assert trial.times_granted() == [1]


def test_a_lost_ledger_is_refused_before_sending(trial: Trial, night: Any) -> None:
    exchange(trial, "empty")
    night(1)
    (trial.folder / "ledger.db").unlink()
    calls = trial.calls("")
    with pytest.raises(WrongLedgerError) as refused:
        night(2)
    for part in ("is new and empty", "'org'", "BadgeSeedOperator", "airflow capillary ledger accept"):
        assert part in str(refused.value)
    assert (trial.calls(""), trial.times_granted()) == (calls, [1])


def test_another_ledger_is_refused(trial: Trial, night: Any, memory: Memory) -> None:
    night(1)
    (trial.folder / "ledger.db").unlink()
    trial.run(trial.rows(1, first=10))  # without a witness
    with pytest.raises(WrongLedgerError, match="is another ledger"):
        night(2)


def test_a_restored_backup_is_refused(trial: Trial, night: Any) -> None:
    night(1)
    exchange(trial, "backup")
    trial.run(trial.rows(1, first=10), run_id="not witnessed")
    night(2)
    exchange(trial, "backup")
    with pytest.raises(WrongLedgerError, match=r"older state of the right ledger.*had \d commits and has 0"):
        night(3)
    assert trial.times_granted() == [1]


def test_an_unchanged_backup_is_the_right_ledger(trial: Trial, night: Any) -> None:
    night(1)
    exchange(trial, "backup")
    exchange(trial, "backup")
    assert trial.ends(night(2)) == {"already_accepted": 3}


def test_a_ledger_is_taken_by_a_persons_word(trial: Trial, night: Any, memory: Memory) -> None:
    night(1)
    (trial.folder / "ledger.db").unlink()
    with closing(Ledger(trial.ledger_url)) as ledger:
        expected = LedgerWitness(memory, ledger, "ORG").accept("Ada")
        assert expected is not None
        assert expected.ledger_id != ledger.ledger_id
    night(2)
    assert '"noted_by":"Ada"' in memory.written[2]


def test_an_unwritable_witness_stops_before_sending(trial: Trial, night: Any, memory: Memory) -> None:
    memory.failing = True
    with pytest.raises(WitnessUnavailableError):
        night(1)
    assert trial.calls() == 0
    memory.failing = False
    assert trial.ends(night(1)) == {"accepted": 3}


def test_a_store_that_forgets_is_not_believed(trial: Trial, night: Any, memory: Memory) -> None:
    memory.forgets = True
    with pytest.raises(WitnessUnavailableError, match="was written and is not there"):
        night(1)
    assert trial.calls() == 0


@pytest.mark.parametrize("shadow", ["x", "", '{"ledger_id": 5}'])
def test_a_shadowing_value_is_warned_of_once(
    trial: Trial, night: Any, memory: Memory, caplog: pytest.LogCaptureFixture, shadow: str
) -> None:
    memory.shadow = shadow
    with caplog.at_level(logging.WARNING):
        assert trial.ends(night(1)) == {"accepted": 3}
    assert caplog.text.count("keeps no witness") == 1


def test_an_old_shadowing_witness_is_warned_of(
    trial: Trial, night: Any, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    night(1)
    memory.shadow = memory.text
    with caplog.at_level(logging.WARNING):
        night(2)
    assert caplog.text.count("keeps no witness") == 1


def test_text_that_is_no_witness_is_refused_and_kept(trial: Trial, night: Any, memory: Memory) -> None:
    memory.text = "someone's note"
    with pytest.raises(WrongLedgerError, match="is no witness"):
        night(1)
    assert (memory.text, trial.calls()) == ("someone's note", 0)


def test_without_a_store_one_warning_says_so(trial: Trial, night: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert trial.ends(night(1, store=None)) == {"accepted": 3}
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "no Airflow database" in warning


def test_a_parallel_writer_raises_no_alarm(
    trial: Trial, night: Any, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    def written_by_another() -> None:
        assert memory.text is not None
        memory.text = memory.text.partition('"jobs"')[0] + '"jobs":{}}'  # which had read before this job wrote

    memory.then = written_by_another
    with caplog.at_level(logging.WARNING):
        night(1)
    assert caplog.text == ""
    assert trial.ends(night(2)) == {"already_accepted": 3}


def test_parallel_jobs_are_both_in_the_witness(trial: Trial, night: Any, memory: Memory) -> None:
    night(1)
    before = memory.text
    night(2)
    memory.text = before  # the first job's note, which it computed before the second one wrote, came last
    night(3)
    assert memory.text is not None
    with closing(Ledger(trial.ledger_url)) as ledger:
        noted = json.loads(memory.text)["jobs"]
        assert noted == {job.job_id: ledger.state([job.job_id]).commits[job.job_id] for job in ledger.jobs()}
        assert len(noted) == 3


def test_another_ledger_noted_meanwhile_is_refused(trial: Trial, night: Any, memory: Memory) -> None:
    memory.then = lambda: setattr(memory, "text", '{"ledger_id":"another","jobs":{}}')
    with pytest.raises(WrongLedgerError):
        night(1)
    assert trial.calls() == 0


def test_a_dry_run_leaves_the_witness_alone(trial: Trial, night: Any, memory: Memory) -> None:
    memory.text = "someone's note"
    night(1, dry_run=True)
    assert memory.written == []


def test_a_long_job_notes_once_a_minute(trial: Trial, memory: Memory) -> None:
    trial.run(trial.rows(1))
    with closing(Ledger(trial.ledger_url)) as ledger:
        witness = LedgerWitness(memory, ledger, "org", monotonic=trial.clock.now)
        [job] = ledger.jobs()
        witness.begin(job.job_id)
        for _ in range(60):
            trial.clock.wait(10)
            assert witness.beat() is None
        assert witness.end() is None
    assert len(memory.written) == 2 + 10


def test_a_failed_note_does_not_end_the_job(trial: Trial, memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    trial.run(trial.rows(1))
    with closing(Ledger(trial.ledger_url)) as ledger:
        witness = LedgerWitness(memory, ledger, "org", monotonic=trial.clock.now)
        witness.begin(ledger.jobs()[0].job_id)
        memory.failing = True
        trial.clock.wait(61)
        assert witness.beat() is None
        assert "could not be written" in caplog.text
        memory.text = '{"ledger_id":"another"}'
        trial.clock.wait(61)
        assert isinstance(witness.beat(), WrongLedgerError)


def test_an_end_that_cannot_be_noted_is_retried(trial: Trial, night: Any, memory: Memory) -> None:
    memory.then = lambda: setattr(memory, "failing", True)
    result = night(1)
    assert isinstance(result.error, WitnessUnavailableError)
    assert trial.ends(result) == {"accepted": 3}
    memory.failing = False
    assert night(1).error is None
    assert trial.times_granted() == [1]
