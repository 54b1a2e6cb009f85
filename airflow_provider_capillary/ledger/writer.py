"""Gives the ledger a thread of its own: callers wait for their commit; notes that arrive together commit together."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.exceptions import LeaseLostError, LedgerUnavailableError
from airflow_provider_capillary.ledger.facts import Age, Controls, Intent, IntentConflictError, Job, Note, Outcome
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_MOST_TOGETHER = 64
_PATIENCE_SECONDS = 0.005  # so long, notes that no caller waits for may wait for others to commit with


class _Entry:
    """Notes to commit, or a question to ask, and the future for the answer."""

    def __init__(
        self,
        notes: Sequence[Note] | None = None,
        question: Callable[[], Any] | None = None,
        *,
        is_patient: bool = False,
    ) -> None:
        self.notes = notes
        self.question = question
        self.is_patient = is_patient  #: no caller waits for the answer
        self.answer: Future[Any] = Future()


class LedgerWriter:
    """Serves many callers from one thread, and renews the job's lease however idle or busy they are.

    A call puts an entry into the queue. The thread takes all entries that wait (``_all_waiting``). ``_commit`` gives
    their notes to ``Ledger.record`` as one transaction.

    :param heartbeat_seconds: how often the lease is renewed.
    :param monotonic: the clock of the heartbeat, in seconds.
    :param on_loss: called on the writer's thread with the error if notes are lost that no caller waits for.
    """

    def __init__(
        self,
        ledger: Ledger,
        job: Job,
        *,
        heartbeat_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        on_loss: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._job = job
        self._heartbeat_seconds = heartbeat_seconds
        self._monotonic = monotonic
        self._on_loss = on_loss
        self._waiting: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="capillary-ledger", daemon=True)
        self._thread.start()

    def record(self, *notes: Note) -> list[int]:
        """Commit durably, then return; see ``Ledger.record``."""
        keys: list[int] = self._submit(_Entry(notes)).result()
        return keys

    def record_later(self, note: Outcome, then: Callable[[], None]) -> None:
        """Let the outcome be committed durably, and ``then`` called on the writer's thread; do not wait for it.

        The caller's next intent comes soon and is committed together with the outcome, so there are half as many
        commits. The intent never comes before the outcome. If the outcome cannot be committed, ``on_loss`` is called.
        """

        def end(answer: Future[Any]) -> None:
            error = answer.exception()
            if error is None:
                then()
            else:
                self._on_loss(error)

        later = _Entry([note], is_patient=True)
        later.answer.add_done_callback(end)
        self._submit(later)

    def catch_up(self) -> None:
        """Wait until all notes that were given before are committed, or lost."""
        self._ask(lambda: None)

    def find(self, badges: Sequence[EarnedBadge], *, any_date: bool = False) -> dict[tuple[int, str], list[Held]]:
        """See ``Ledger.find``."""
        return self._ask(lambda: self._ledger.find(self._job, badges, any_date=any_date))

    def ages(self, batches: Collection[int]) -> dict[int, Age]:
        """See ``Ledger.ages``."""
        return self._ask(lambda: self._ledger.ages(batches))

    def find_controls(self, near: EarnedBadge, *, before: float) -> Controls:
        """See ``Ledger.find_controls``."""
        return self._ask(lambda: self._ledger.find_controls(self._job, near, before=before))

    def reserve_request(self, organisation: str, per_minute: int) -> float:
        """See ``Ledger.reserve_request``."""
        return self._ask(lambda: self._ledger.reserve_request(organisation, per_minute))

    def now(self) -> float:
        """The ledger's clock."""
        return self._ask(self._ledger.now)

    def close(self) -> None:
        """Commit the notes that were given, then end the thread."""
        with self._closing:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _ask(self, question: Callable[[], _Result]) -> _Result:
        answer: _Result = self._submit(_Entry(question=question)).result()
        return answer

    def _submit(self, entry: _Entry) -> Future[Any]:
        with self._closing:
            if self._closed:  # an answer would never come
                raise LedgerUnavailableError("the job's ledger is closed; nothing was recorded")
            self._waiting.put(entry)
        return entry.answer

    def _run(self) -> None:
        due = self._monotonic() + self._heartbeat_seconds
        together: list[_Entry | None] = []
        while None not in together:
            together = self._all_waiting(max(0.0, due - self._monotonic()))
            self._serve([entry for entry in together if entry is not None])
            if self._monotonic() >= due:
                # questions alone do not renew the lease, however many there are
                self._renew_lease()
                due = self._monotonic() + self._heartbeat_seconds

    def _all_waiting(self, seconds: float) -> list[_Entry | None]:
        try:
            together = [self._waiting.get(timeout=seconds)]
        except queue.Empty:
            return []
        due = time.monotonic() + _PATIENCE_SECONDS
        while len(together) < _MOST_TOGETHER and together[-1] is not None:
            is_patient = all(entry is not None and entry.is_patient for entry in together)
            try:
                together.append(self._waiting.get(timeout=max(0.0, due - time.monotonic()) if is_patient else 0.0))
            except queue.Empty:
                break
        return together

    def _serve(self, together: list[_Entry]) -> None:
        notes = [entry for entry in together if entry.notes is not None]
        if notes:
            self._commit(notes)
        for entry in together:
            if entry.question is not None:
                _answer(entry, entry.question)

    def _commit(self, entries: list[_Entry]) -> None:
        every = [note for entry in entries for note in entry.notes or ()]
        try:
            keys = iter(self._ledger.record(self._job, every))
        except (IntentConflictError, LeaseLostError) as error:
            if len(entries) == 1:
                entries[0].answer.set_exception(error)
            for entry in entries if len(entries) > 1 else ():
                # one batch's conflict must not fail the others, and an outcome counts without the lease, too
                self._commit([entry])
        except BaseException as error:  # noqa: BLE001 - the waiting callers get it
            for entry in entries:
                entry.answer.set_exception(error)
        else:
            for entry in entries:
                entry.answer.set_result([next(keys) for note in entry.notes or () if isinstance(note, Intent)])

    def _renew_lease(self) -> None:
        try:
            self._ledger.renew_lease(self._job)
        except Exception as error:  # noqa: BLE001 - if this thread died, its callers would wait for ever
            # the next intent raises this again, to a caller that can stop
            log.warning("The job's lease could not be renewed: %s", error)


def _answer(entry: _Entry, question: Callable[[], Any]) -> None:
    try:
        entry.answer.set_result(question())
    except BaseException as error:  # noqa: BLE001 - the waiting caller gets it
        entry.answer.set_exception(error)
