"""Compares the ledger with Airflow's witness of it before anything is sent, and keeps the witness up to date."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from airflow_provider_capillary.core.witness import (
    MOST_JOBS,
    Witness,
    WitnessFault,
    decode,
    encode,
    find_fault,
    missing,
    renewed,
)
from airflow_provider_capillary.exceptions import CapillaryError, WitnessUnavailableError, WrongLedgerError
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 60.0
WAYS_OUT = (
    "Give the right ledger: check ledger_conn_id, the file, the role's search_path, and which server is the primary. "
    "If it is lost, record what was granted with BadgeSeedOperator and an export from Capillary. Or, if you know that "
    "nothing is missing, accept this one: airflow capillary ledger accept"
)


class WitnessStore(Protocol):
    """Keeps the text of one organisation's witness outside the ledger. Both raise ``WitnessUnavailableError``."""

    def read(self) -> str | None:
        """The text that was written last; ``None`` only if there is certainly none."""
        ...

    def write(self, text: str) -> None:
        """Replace the text."""
        ...


class LedgerWitness:
    """The witness of one organisation, for one job. Used only by the thread that runs the job.

    :param store: ``None`` if there is no Airflow database; then one warning says so.
    """

    def __init__(
        self,
        store: WitnessStore | None,
        ledger: Ledger,
        organisation: str,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._organisation = organisation
        self._clock = clock
        self._monotonic = monotonic
        self._job_id: str | None = None
        self._written = 0.0

    def compare(self) -> None:
        """Refuse a ledger that is not the one that Airflow last saw.

        :raises WrongLedgerError: it is new, another one, or older.
        :raises WitnessUnavailableError: the witness cannot be read.
        """
        if self._store is None:
            _warn("there is no Airflow database to keep it in")
        else:
            self._compared(self._read(self._store))

    def begin(self, job_id: str) -> None:
        """Compare again, write the job into the witness, and check that it can be read. Nothing is sent before.

        :raises WrongLedgerError: the ledger is not the one that Airflow last saw.
        :raises WitnessUnavailableError: the witness cannot be read or written.
        """
        store = self._store
        if store is None:
            return
        before = store.read()
        known = self._compared(self._witness_of(store, before))
        if self._store is None:
            return
        self._job_id = job_id
        written = self._write(store, known)
        after = store.read()
        if after is None:
            raise WitnessUnavailableError(
                f"Airflow's witness of the ledger, of organisation {self._organisation!r}, was written and is not "
                "there. Nothing was sent; the next try writes it again"
            )
        found = decode(after)
        if found is None or (after == before and after != written):
            self._give_up()
        else:
            self._compared(found)  # another job may have written since, with the same ledger

    def beat(self) -> CapillaryError | None:
        """Write how far the job is, at most once a minute; give the error if the witness names another ledger now."""
        if self._job_id is None or self._monotonic() - self._written < SECONDS_BETWEEN_WRITES:
            return None
        try:
            return self.end()
        except WitnessUnavailableError as error:
            self._written = self._monotonic()
            log.warning("The witness of the ledger could not be written; it is tried again in a minute: %s", error)
            return None

    def end(self) -> CapillaryError | None:
        """Write how far the job is; give the error if the witness names another ledger now.

        :raises WitnessUnavailableError: it cannot be read or written.
        """
        if self._store is None or self._job_id is None:
            return None
        try:
            self._write(self._store, self._compared(self._read(self._store)))
        except WrongLedgerError as error:
            return error
        return None

    def accept(self, by: str) -> Witness | None:
        """Make this ledger the expected one because a person says so; give the witness before.

        :raises WitnessUnavailableError: it cannot be written, or another value is read than was written.
        """
        if self._store is None:
            raise WitnessUnavailableError("there is no Airflow database in which this could be recorded")
        text = self._store.read()
        written = self._take(self._store, by)
        if self._store.read() != written:
            raise WitnessUnavailableError(
                "the Variable was written, but another value is read: an environment variable AIRFLOW_VAR_... or a "
                "secrets backend hides it. Remove that value"
            )
        return None if text is None else decode(text)

    def accept_seeded(self, by: str) -> None:
        """Make this ledger the expected one, because it was seeded; only warn if no witness can be kept.

        :raises WitnessUnavailableError: it cannot be written.
        """
        store = self._store
        if store is None:
            _warn("there is no Airflow database to keep it in")
            return
        before = store.read()
        written = self._take(store, by)
        after = store.read()
        if after is None:
            raise WitnessUnavailableError(
                f"the rows are recorded, but Airflow's witness of the ledger, for organisation {self._organisation!r}, "
                "was written and is not there. The next try writes it again"
            )
        if after == before and after != written:
            self._give_up()

    # -- parts -------------------------------------------------------------------------------------------------------

    def _take(self, store: WitnessStore, by: str) -> str:
        """Write a witness of the ledger as it is now, with the person who accepts it; give the text."""
        newest = self._ledger.newest_jobs(self._organisation, MOST_JOBS)
        state = self._ledger.state(newest)
        ordered = {name: state.commits[name] for name in reversed(newest)}
        text = encode(Witness(state.ledger_id, ordered, self._ledger.description, self._now(), by))
        store.write(text)
        return text

    def _read(self, store: WitnessStore) -> Witness | None:
        return self._witness_of(store, store.read())

    def _witness_of(self, store: WitnessStore, text: str | None) -> Witness | None:
        if text is None:
            return None
        witness = decode(text)
        if witness is None:
            self._refuse_unless_shadowed(store, text)
        return witness

    def _refuse_unless_shadowed(self, store: WitnessStore, text: str) -> None:
        """The text is no witness. If a write changes what is read, the text is in the store itself, and is refused."""
        store.write(f"{text} ")
        if store.read() == text:
            self._give_up()
            return
        store.write(text)
        raise WrongLedgerError(
            f"Airflow's witness of the ledger, of organisation {self._organisation!r}, is no witness but "
            f"{text[:40]!r}. Nothing was sent. {WAYS_OUT}"
        )

    def _compared(self, witness: Witness | None) -> Witness | None:
        if witness is None:
            return None
        state = self._ledger.state(witness.jobs)
        fault = find_fault(witness, state)
        if fault is None:
            return witness
        lacks = f" ({missing(witness, state)})" if fault is WitnessFault.OLDER else ""
        raise WrongLedgerError(
            f"the ledger {self._ledger.description} {fault.value}{lacks}. Nothing was sent, because what it does not "
            f"hold would be granted again. Expected for organisation {self._organisation!r}: ledger "
            f"{witness.ledger_id} at {witness.ledger or 'an unknown place'}, as of {witness.noted_at}; found: "
            f"{state.ledger_id}. {WAYS_OUT}"
        )

    def _write(self, store: WitnessStore, before: Witness | None) -> str:
        newest = self._ledger.newest_jobs(self._organisation, MOST_JOBS)[::-1]
        names = {*(before.jobs if before is not None else ()), *newest, *([self._job_id] if self._job_id else ())}
        witness = renewed(
            before,
            self._ledger.state(names),
            job_id=self._job_id,
            newest=newest,
            ledger=self._ledger.description,
            noted_at=self._now(),
        )
        self._written = self._monotonic()
        text = encode(witness)
        store.write(text)
        return text

    def _give_up(self) -> None:
        self._store = None
        _warn("an environment variable AIRFLOW_VAR_... or a secrets backend gives another value instead")

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")


def _warn(why: str) -> None:
    log.warning(
        "Airflow keeps no witness of this ledger, because %s. If the ledger is lost, another one, or restored from a "
        "backup, nothing notices it, and badges are granted again",
        why,
    )
