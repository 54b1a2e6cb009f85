"""Whatever jobs do to a ledger in whatever order, it agrees with a model in memory, and sends no row twice unproven."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, invariant, multiple, rule

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import JobIsRunningError, LeaseLostError
from airflow_provider_capillary.ledger.facts import Adoption, IntentConflictError, Job, Outcome, RowChange
from airflow_provider_capillary.ledger.lease import LEASE_SECONDS
from airflow_provider_capillary.ledger.ledger import Ledger

from .building import badge, begin, held, intent, rows_of

ROWS = {number: badge(number) for number in range(1, 6)}
RUNS = ("first run", "second run", "third run")
UNPROVEN = (RowState.INTENT, RowState.UNKNOWN)
REPORTED = (RowState.ACCEPTED, RowState.REJECTED, RowState.PLANNED, RowState.UNKNOWN)

Batch = tuple[Job, int, tuple[int, ...]]

rows = st.sets(st.sampled_from(sorted(ROWS)), min_size=1)


class Row(msgspec.Struct):
    """What the model holds of a row."""

    state: RowState
    job: int
    batch: int
    doubt: str | None = None


class Lease(msgspec.Struct):
    """What the model holds of a job."""

    fence: int
    until: float
    is_open: bool = True


@functools.cache
def template() -> bytes:
    """The file of an empty ledger."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        Ledger(f"sqlite:///{path}").close()
        return path.read_bytes()


class LedgerMachine(RuleBasedStateMachine):
    """Several jobs, each run by one copy after another; old copies go on."""

    copies: Bundle[Job] = Bundle("copies")
    batches: Bundle[Batch] = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "ledger.db"
        path.write_bytes(template())
        self.clock = 1_700_000_000.0
        self.ledger = Ledger(f"sqlite:///{path}", clock=lambda: self.clock, boot_id=lambda: None, owner="elsewhere")
        self.rows: dict[int, Row] = {}
        self.job_ids: dict[str, str] = {}
        self.job_keys: dict[str, int] = {}
        self.leases: dict[str, Lease] = {}
        self.maybe_granted: dict[int, int] = {}  #: row -> the batch that may have granted it

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    def holds(self, job: Job) -> bool:
        lease = self.leases[job.job_id]
        return lease.fence == job.fence and lease.is_open

    def renew(self, job: Job) -> None:
        if self.holds(job):
            self.leases[job.job_id].until = self.clock + LEASE_SECONDS

    def free(self, number: int) -> bool:
        return number not in self.rows or self.rows[number].state in (RowState.PLANNED, RowState.REJECTED)

    def in_doubt(self) -> set[int]:
        return {number for number, row in self.rows.items() if row.doubt}

    @rule(target=copies, run=st.sampled_from(RUNS))
    def begin_or_resume(self, run: str) -> Job | MultipleResults[Job]:
        before = self.leases.get(self.job_ids.get(run, ""))
        if before is not None and before.is_open and before.until > self.clock:
            with pytest.raises(JobIsRunningError) as refused:
                begin(self.ledger, run)
            assert refused.value.retry_after == before.until - self.clock
            return multiple()
        job = begin(self.ledger, run)
        assert (job.resumed, job.fence) == (before is not None, before.fence + 1 if before else 1)
        self.job_ids[run] = job.job_id
        self.job_keys[job.job_id] = job.key
        self.leases[job.job_id] = Lease(job.fence, self.clock + LEASE_SECONDS)
        for row in self.rows.values():
            if row.job == job.key and row.state is RowState.INTENT:
                row.state = RowState.UNKNOWN
        return job

    @rule(target=batches, job=copies, numbers=rows, knows=st.sets(st.sampled_from(sorted(ROWS))))
    def note_an_intent(self, job: Job, numbers: set[int], knows: set[int]) -> Batch | MultipleResults[Batch]:
        """``knows``: rows of which the job has heard that they are in doubt; it can claim no other such row."""
        badges = [ROWS[number] for number in sorted(numbers)]
        note = msgspec.structs.replace(intent(*badges), doubted=frozenset(knows))
        unaware = self.in_doubt() & numbers - knows
        if not self.holds(job) or unaware or not all(self.free(number) for number in numbers):
            with pytest.raises(IntentConflictError if self.holds(job) else LeaseLostError):
                self.ledger.record(job, [note])
            return multiple()
        (batch,) = self.ledger.record(job, [note])
        # never sent twice without a proof in between, but where a person chose to, and then every later job knows of it
        assert numbers & self.maybe_granted.keys() <= self.in_doubt()
        self.renew(job)
        for number in numbers:
            doubt = self.rows[number].doubt if number in self.rows else None
            self.rows[number] = Row(RowState.INTENT, job.key, batch, doubt)
            self.maybe_granted[number] = batch
        return (job, batch, tuple(sorted(numbers)))

    @rule(batch=batches, reported=st.lists(st.sampled_from(REPORTED), min_size=len(ROWS), max_size=len(ROWS)))
    def report_an_outcome(self, batch: Batch, reported: list[RowState]) -> None:
        """By the copy that sent the batch, whatever became of that copy; also more than once."""
        job, key, numbers = batch
        changes = list(zip(numbers, reported, strict=False))
        self.ledger.record(job, [Outcome(key, "PER_ROW", 200, [RowChange(ROWS[n], one) for n, one in changes])])
        self.renew(job)
        for number, one in changes:
            row = self.rows[number]
            if row.batch != key or row.state not in UNPROVEN:
                continue
            late_refusal = one is RowState.REJECTED and row.state is RowState.UNKNOWN
            row.state = RowState.PLANNED if late_refusal else one
            if one in (RowState.PLANNED, RowState.REJECTED):
                self.maybe_granted.pop(number, None)

    @rule(batch=batches, doubt=st.sampled_from(["the policy", "a second one"]))
    def choose_to_send_again_without_proof(self, batch: Batch, doubt: str) -> None:
        job, key, numbers = batch
        changes = [RowChange(ROWS[number], RowState.PLANNED) for number in numbers]
        self.ledger.record(job, [Outcome(key, "", None, changes, doubt=doubt)])
        self.renew(job)
        for number in numbers:
            row = self.rows[number]
            if row.batch == key and row.state is RowState.UNKNOWN:
                row.state, row.doubt = RowState.PLANNED, row.doubt or doubt
            elif row.batch == key and row.state is RowState.INTENT:
                row.state = RowState.PLANNED
                self.maybe_granted.pop(number, None)

    @rule(job=copies, number=st.sampled_from(sorted(ROWS)))
    def adopt(self, job: Job, number: int) -> None:
        found = held(self.ledger, job, ROWS[number])
        if found is None or found.job == job.key:
            return
        adoption = Adoption([(ROWS[number], found)])
        if not self.holds(job) or found.state not in UNPROVEN:
            with pytest.raises(IntentConflictError if self.holds(job) else LeaseLostError):
                self.ledger.record(job, [adoption])
            return
        self.ledger.record(job, [adoption])
        self.renew(job)
        for row in self.rows.values():  # who takes one row over says that the batch is cut off, and no row is in flight
            if row.batch == found.batch and row.state is RowState.INTENT:
                row.state = RowState.UNKNOWN
        self.rows[number] = Row(RowState.UNKNOWN, job.key, found.batch, self.rows[number].doubt)

    @rule(job=copies)
    def finish(self, job: Job) -> None:
        lease = self.leases[job.job_id]
        if lease.fence != job.fence:
            with pytest.raises(LeaseLostError):
                self.ledger.finish_job(job, "finished", {})
            return
        self.ledger.finish_job(job, "finished", {})
        lease.is_open = False

    @rule(job=copies)
    def heartbeat(self, job: Job) -> None:
        if not self.holds(job):
            with pytest.raises(LeaseLostError):
                self.ledger.renew_lease(job)
            return
        self.ledger.renew_lease(job)
        self.renew(job)

    @rule(seconds=st.sampled_from([LEASE_SECONDS / 2, LEASE_SECONDS, 2 * LEASE_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.clock += seconds

    @invariant()
    def the_ledger_holds_what_the_model_holds(self) -> None:
        if not self.leases:
            return
        anyone = Job(0, "", 1, 0, False)
        found = {one.customer_id: one for one in ROWS.values()}
        by_customer = self.ledger.find(anyone, list(found.values()))
        in_ledger = {
            found[customer].row_number: Row(one.state, one.job, one.batch, one.doubt)
            for (customer, _), every in by_customer.items()
            for one in every
        }
        assert in_ledger == self.rows

    @invariant()
    def each_job_holds_what_the_model_holds(self) -> None:
        """By counts and in lists, which come from the batches and not from the rows."""
        for job_id, key in self.job_keys.items():
            own = {number: row for number, row in self.rows.items() if row.job == key}
            assert self.ledger.counts(Job(key, job_id, 1, 0, False)) == Counter(row.state for row in own.values())
            listed = rows_of(self.ledger, job_id)
            assert {number: (row.state, row.batch) for number, row in listed.items()} == {
                number: (row.state, row.batch) for number, row in own.items()
            }

    @invariant()
    def no_row_that_may_be_granted_is_free_for_sending(self) -> None:
        assert not [number for number in self.maybe_granted.keys() - self.in_doubt() if self.free(number)]


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
