"""A process of its own that does with a ledger what it is asked, a line at a time.

    python ledger_process.py URL RUN

It answers ``ready``, then to ``upgrade``, ``open`` and ``claim ROW...`` each with a line: what came of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from building import badge, begin, claim  # type: ignore[import-not-found]

from airflow_provider_capillary.exceptions import CapillaryError
from airflow_provider_capillary.ledger.facts import Job
from airflow_provider_capillary.ledger.ledger import Ledger


def main(url: str, run: str) -> None:
    """Answer lines until there are no more."""
    ledger: Ledger | None = None
    job: Job | None = None
    answer("ready")
    for line in sys.stdin:
        words = line.split()
        try:
            if words[0] == "upgrade":
                ledger = Ledger(url)
                answer("upgraded")
            elif words[0] == "open":
                ledger = ledger or Ledger(url)
                job = begin(ledger, run)
                answer("resumed" if job.resumed else "begun")
            elif words[0] == "claim":
                answer(" ".join(won(ledger, job, row) for row in words[1:]))
        except CapillaryError as error:
            answer(type(error).__name__)
    if ledger is not None:
        ledger.close()


def won(ledger: Ledger | None, job: Job | None, row: str) -> str:
    """Claim one row: its number, or a dash where another was quicker."""
    assert ledger is not None
    assert job is not None
    try:
        claim(ledger, job, badge(int(row)))
    except CapillaryError as error:
        return "-" if type(error).__name__ == "IntentConflictError" else type(error).__name__
    return row


def answer(text: str) -> None:
    """One line back."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
