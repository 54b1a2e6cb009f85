"""Probes every mode, and prints those in which an answer is not the truth or something is left behind."""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_capillary.exceptions import CapillaryError
from dev.first_contact.contact import Clock
from dev.first_contact.modes import modes, quick_ledger, try_mode

_MODES_OF_A_LEDGER = 2_000


def main() -> int:
    """Try every mode; 1 where the probe failed in one."""
    clock, begun = Clock(), time.monotonic()
    every, tried, failed = modes(), 0, 0
    while some := list(itertools.islice(every, _MODES_OF_A_LEDGER)):
        with tempfile.TemporaryDirectory() as folder, quick_ledger(Path(folder), clock) as ledger:
            for mode in some:
                tried += 1
                try:
                    try_mode(ledger, clock, mode)
                except (AssertionError, CapillaryError) as error:
                    failed += 1
                    sys.stdout.write(f"{mode}: {type(error).__name__}: {error}\n")
    sys.stdout.write(f"{tried:,} modes in {time.monotonic() - begun:,.0f} s; the probe failed in {failed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
