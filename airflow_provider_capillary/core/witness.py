"""Compares a ledger with its witness, which is what Airflow remembers of the ledger outside it. Pure.

With a ledger that was lost, replaced by a backup or mistaken for another, everything would be granted again. So Airflow
keeps the id of the ledger that an organisation was last imported with, and how many commits its newest jobs had made.
Commits only grow, and are written to the witness after they were made. The witness may therefore be behind the right
ledger, but never ahead of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

MOST_JOBS = 32  #: jobs that a witness remembers; more than run at the same time


class Witness(msgspec.Struct, frozen=True):
    """What Airflow remembers. ``jobs``: commits by job id, the job that was written last at the end."""

    ledger_id: str
    jobs: dict[str, int] = {}
    ledger: str = ""  #: where it was, without credentials: for people
    noted_at: str = ""
    noted_by: str = ""  #: the person who accepted this ledger, if one did


class LedgerState(msgspec.Struct, frozen=True):
    """The present ledger. ``commits``: by job id, of those jobs that were asked for and that it has."""

    ledger_id: str
    is_empty: bool  #: no job ever began in it
    commits: Mapping[str, int]


class WitnessFault(StrEnum):
    """Why the present ledger is not the expected one. The value is the text that people read."""

    NEW = "is new and empty, although this organisation was imported with another ledger"
    OTHER = "is another ledger than the one that this organisation was last imported with"
    OLDER = "is an older state of the right ledger: it lacks what was committed later"


def encode(witness: Witness) -> str:
    """The witness as text."""
    return msgspec.json.encode(witness).decode()


def decode(text: str) -> Witness | None:
    """The witness that the text holds; ``None`` if it holds none."""
    try:
        return msgspec.json.decode(text, type=Witness)
    except msgspec.DecodeError:
        return None


def find_fault(witness: Witness, state: LedgerState) -> WitnessFault | None:
    """Compare a ledger with its witness; ``None``: it can be the ledger that Airflow remembers.

    A job may be ahead of the witness. A job that is behind it, or missing, shows that the ledger is an older state:

    >>> find_fault(Witness("a", {"job": 7}), LedgerState("a", False, {"job": 9})) is None
    True
    >>> find_fault(Witness("a", {"job": 7}), LedgerState("a", False, {"job": 6}))
    <WitnessFault.OLDER: 'is an older state of the right ledger: it lacks what was committed later'>
    """
    if state.ledger_id != witness.ledger_id:
        return WitnessFault.NEW if state.is_empty else WitnessFault.OTHER
    behind = any(state.commits.get(job_id, 0) < commits for job_id, commits in witness.jobs.items())
    return WitnessFault.OLDER if behind else None


def missing(witness: Witness, state: LedgerState) -> str:
    """What an older state lacks, for people: the first job that is behind the witness."""
    for job_id, commits in witness.jobs.items():
        if state.commits.get(job_id, 0) < commits:
            return f"job {job_id} had {commits:,} commits and has {state.commits.get(job_id, 0):,}"
    return "nothing"


def renewed(
    before: Witness | None,
    state: LedgerState,
    *,
    job_id: str | None,
    newest: Sequence[str] = (),
    ledger: str,
    noted_at: str,
) -> Witness:
    """The next witness: the known jobs with the commits that the ledger has now, and the writing job at the end.

    :param newest: jobs that the ledger itself names, the oldest first. If two tasks write at the same time, one
        overwrites the other. Because of these jobs, the witness that is left still has both.
    """
    known = before.jobs if before is not None and before.ledger_id == state.ledger_id else {}
    order = [name for name in dict.fromkeys([*known, *newest]) if name != job_id] + ([job_id] if job_id else [])
    jobs = {name: state.commits[name] for name in order if name in state.commits}
    return Witness(state.ledger_id, dict(list(jobs.items())[-MOST_JOBS:]), ledger, noted_at)
