"""What Airflow remembers of a ledger, outside it, and whether the ledger at hand can be that one.

A ledger that was lost, replaced by a backup or mistaken for another would have everything granted again. So Airflow
keeps the identity of the ledger that an organisation was last imported with, and how often the newest jobs had
committed to it. Commits only grow, and are noted here after they were made: a note can be weaker than the ledger, but
never ahead of the right one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

MOST_JOBS = 32  #: of which a witness knows; more than run side by side


class Witness(msgspec.Struct, frozen=True):
    """The note. ``jobs``: commits by job id, in the order in which they were noted last."""

    ledger_id: str
    jobs: dict[str, int] = {}
    ledger: str = ""  #: where it was, without credentials: for people
    noted_at: str = ""
    noted_by: str = ""  #: the person whose word it rests on, if any


class LedgerState(msgspec.Struct, frozen=True):
    """The ledger at hand. ``commits``: of those jobs that were asked for, as far as it has them."""

    ledger_id: str
    is_empty: bool  #: no job ever began in it
    commits: Mapping[str, int]


class WitnessFault(StrEnum):
    """Why the ledger at hand is not the one that is expected. The value is the text that people read."""

    NEW = "is new and empty, although this organisation was imported with another ledger"
    OTHER = "is another ledger than the one that this organisation was last imported with"
    OLDER = "is an older state of the right ledger: it lacks what was committed later"


def encode(witness: Witness) -> str:
    """The witness as text."""
    return msgspec.json.encode(witness).decode()


def decode(text: str) -> Witness | None:
    """The witness of a text; ``None`` where the text is none."""
    try:
        return msgspec.json.decode(text, type=Witness)
    except msgspec.DecodeError:
        return None


def find_fault(witness: Witness, state: LedgerState) -> WitnessFault | None:
    """Compare; ``None`` where the ledger can be the one that the witness is about.

    A job that is ahead of its note is as it should be. One that is behind it, or not there, shows an older state:

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
    """What an older state lacks, for people: the first job that is behind its note."""
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
    """The next witness: jobs that it knew stand as the ledger has them now, and the job at hand comes last.

    :param newest: jobs that the ledger itself names, the oldest first. Of two tasks that write at the same time one
        overwrites the other; with these, what is left still knows of both.
    """
    known = before.jobs if before is not None and before.ledger_id == state.ledger_id else {}
    order = [name for name in dict.fromkeys([*known, *newest]) if name != job_id] + ([job_id] if job_id else [])
    jobs = {name: state.commits[name] for name in order if name in state.commits}
    return Witness(state.ledger_id, dict(list(jobs.items())[-MOST_JOBS:]), ledger, noted_at)
